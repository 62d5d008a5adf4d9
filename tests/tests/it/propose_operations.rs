//! Proposals at the gate: any name, by anybody who may, under their own name; answered in the same breath, never edited, kept until
//! they are on record, and answered by nobody but the director.

use assent_api::names::accounts;
use assent_api::resources::OperationProposal;
use assent_tests::world::{SHOP, World, apply, shipped};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{refused, refused_natively};

const BOT: &str = "system:serviceaccount:shop:a-bot";

/// The bot proposes, in the name of `user`: what was stored or refused, and what it was told beside.
async fn propose(world: &World, namespace: &str, operation: &str, user: &str) -> (Result<Value, String>, String) {
    let body = json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "OperationProposal", "metadata": {"generateName": "prop-"},
        "spec": {"operation": operation, "service": "orders", "user": user},
    });
    let request = http::Request::post(format!("/apis/assent.dev/v1alpha1/namespaces/{namespace}/operationproposals"))
        .header("content-type", "application/json")
        .header("impersonate-user", BOT)
        .body(serde_json::to_vec(&body).unwrap().into())
        .unwrap();
    let response = world.admin.send(request).await.unwrap();
    let warnings: Vec<String> = response.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    let stored = response.status().is_success();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    let result = if stored { Ok(answer) } else { Err(answer["message"].as_str().unwrap().to_owned()) };
    (result, warnings.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_proposed_is_answered_at_once_and_stays_until_it_is_on_record() {
    let world = World::start("proposals").await;
    world.blueprint("orders").await;
    let (before_any_right, _) = propose(&world, SHOP, "delete_deployment", BOT).await;
    refused_natively(before_any_right, "forbidden");
    for role in shipped(&["namespace/people.yaml"]).iter().filter(|object| object["metadata"]["name"] == "assent-proposer") {
        apply(&world.admin, role).await;
    }
    for namespace in [SHOP, "kube-system"] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "bot", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "assent-proposer"},
            "subjects": [{"kind": "ServiceAccount", "name": "a-bot", "namespace": SHOP}],
        });
        apply(&world.admin, &binding).await;
    }
    // The authorizer learns of the binding a moment later.
    let (stored, told) = loop {
        match propose(&world, SHOP, "delete_deployment", BOT).await {
            (Err(message), _) if message.contains("is forbidden: User") => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            answer => break answer,
        }
    };
    let name = stored.unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(told.contains("assent[forbidden]") && told.contains("scale_to_zero"), "{told}");
    let (_, told) = propose(&world, SHOP, "ScaleWorkload", BOT).await;
    assert!(told.contains("ScaleWorkload is allowed"), "{told}");
    let (_, told) = propose(&world, SHOP, "make_coffee", BOT).await;
    assert!(told.contains("assent[blueprint]: make_coffee is forbidden") && told.contains("on no list"), "{told}");

    refused(propose(&world, SHOP, "RestartWorkload", "alice").await.0, "account");
    refused(propose(&world, "kube-system", "RestartWorkload", BOT).await.0, "forbidden-target");

    let proposals: Api<OperationProposal> = Api::namespaced(world.admin.clone(), SHOP);
    let edit = Patch::Merge(json!({"spec": {"operation": "RestartWorkload"}}));
    refused_natively(proposals.patch(&name, &PatchParams::default(), &edit).await, "stays proposed");
    refused(proposals.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}}))).await, "immutable");
    refused(proposals.delete(&name, &DeleteParams::default()).await, "immutable");
    let answer = Patch::Merge(json!({"status": {"tier": "allowed", "executable": true, "alert": false, "incident": "x"}}));
    refused(proposals.patch_status(&name, &PatchParams::default(), &answer).await, "account");
    let director: Api<OperationProposal> = Api::namespaced(world.account(accounts::DIRECTOR).await, SHOP);
    director.patch_status(&name, &PatchParams::default(), &answer).await.unwrap();
    proposals.delete(&name, &DeleteParams::default()).await.unwrap();
}
