//! What Blueprints said: kept by the director word for word, shown and gone back to by people, made up by nobody.

use std::process::Output;

use assent_api::names::{SYSTEM_NAMESPACE, accounts};
use assent_api::resources::{Blueprint, BlueprintRevision};
use assent_tests::images;
use assent_tests::world::{SHOP, World};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{refused, refused_natively};

fn revisions(client: &Client) -> Api<BlueprintRevision> {
    Api::namespaced(client.clone(), SYSTEM_NAMESPACE)
}

async fn change(world: &World, spec: Value) -> Blueprint {
    let api: Api<Blueprint> = Api::namespaced(world.admin.clone(), SHOP);
    api.patch("orders", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await.unwrap()
}

/// `kubectl assent blueprint …` as an administrator.
async fn plugin(world: &World, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(images::program("kubectl-assent"));
    command.env("KUBECONFIG", world.cluster.kubeconfig_path()).arg("blueprint").args(args).args(["orders", "-n", SHOP]).output().await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_generation_is_kept_as_it_was_and_gone_back_to_under_ones_own_rights() {
    let world = World::start("revisions").await;
    world.blueprint("orders").await;
    let first = change(&world, json!({"limits": {"maxReplicas": 4}})).await;
    let director = world.account(accounts::DIRECTOR).await;
    let kept = revisions(&director);
    let written = kept.create(&PostParams::default(), &BlueprintRevision::of(&first).unwrap()).await.unwrap();

    // Nobody else writes one, nobody makes one up, and none changes.
    let honest = BlueprintRevision::of(&first).unwrap();
    refused_natively(revisions(&world.account(accounts::EXECUTOR).await).create(&PostParams::default(), &honest).await, "forbidden");
    refused(revisions(&world.admin).create(&PostParams::default(), &honest).await, "account");
    for forged in [("generation", json!(77)), ("payload", json!("{\"mode\":\"autonomous\"}")), ("manager", json!("jane")), ("name", json!("cart"))] {
        let mut spec = json!(honest.spec);
        spec[forged.0] = forged.1;
        let made_up = BlueprintRevision::named(serde_json::from_value(spec).unwrap()).unwrap();
        refused(kept.create(&PostParams::default(), &made_up).await, "payload");
    }
    let mut renamed = honest.clone();
    renamed.metadata.name = Some("bpr-other".into());
    refused(kept.create(&PostParams::default(), &renamed).await, "payload");
    let edit = Patch::Merge(json!({"spec": {"manager": "jane"}}));
    refused_natively(revisions(&world.admin).patch(&written.name_any(), &PatchParams::default(), &edit).await, "stays said");
    refused(kept.delete(&written.name_any(), &DeleteParams::default()).await, "immutable");
    // What was changed again meanwhile can no longer be said of the Blueprint.
    let second = change(&world, json!({"limits": {"maxReplicas": 5}})).await;
    let third = change(&world, json!({"limits": {"maxReplicas": 9}})).await;
    refused(kept.create(&PostParams::default(), &BlueprintRevision::of(&second).unwrap()).await, "payload");
    kept.create(&PostParams::default(), &BlueprintRevision::of(&third).unwrap()).await.unwrap();
    assert_eq!(kept.list(&ListParams::default()).await.unwrap().items.len(), 2);

    let shown = text(&plugin(&world, &["history"]).await);
    assert!(shown.contains("first that is kept") && shown.contains("spec.limits.maxReplicas (Assent may more)"), "{shown}");
    let dry = text(&plugin(&world, &["rollback", "--dry-run"]).await);
    assert!(dry.contains("less") && dry.contains("nothing was written"), "{dry}");
    let back = plugin(&world, &["rollback"]).await;
    assert!(back.status.success(), "{}", text(&back));
    let api: Api<Blueprint> = Api::namespaced(world.admin.clone(), SHOP);
    let now = api.get("orders").await.unwrap();
    assert_eq!((now.spec.clone(), now.metadata.generation > third.metadata.generation), (first.spec, true));
    let unknown = plugin(&world, &["rollback", "--generation", "55"]).await;
    assert!(!unknown.status.success() && text(&unknown).contains("generation 55 is not kept; there are"), "{}", text(&unknown));
}
