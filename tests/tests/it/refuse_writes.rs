//! Attacks on the write itself, by a thief of the executor's credentials or a foreign webhook.

use serde_json::{Value, json};

use super::{Planned, planned, planned_scale, refused, refused_natively};
use assent_tests::mutator::Mutator;
use assent_tests::seats;
use assent_tests::world::{World, impersonated, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_credential_without_proof_writes_nothing() {
    let world = World::start("writes").await;
    world.deployment("web", "registry.invalid/x:1").await;
    let path = "/apis/apps/v1/namespaces/shop/deployments/web";
    let incident = seats::incident();
    let manager = "?fieldManager=assent-executor";
    let as_it_is = world.read_deployment("web").await;
    let five = seats::scale(&as_it_is, 5);
    refused(world.apply_proposal(&incident, &five, None, false).await, "no-plan");
    let evil = |old: &Value| {
        let mut other = old.clone();
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.invalid/evil:1");
        other
    };
    let template = seats::rollback(&as_it_is, &json!({}));
    refused(world.rewrite(&[incident.as_str()], &template, false, &evil).await, "no-plan");
    // A patch and a deletion are not even granted.
    refused_natively(world.write(&[incident.as_str()], "PATCH", &format!("{path}{manager}"), &json!({"spec": {"replicas": 0}})).await, "cannot patch");
    refused_natively(world.write(&[incident.as_str()], "DELETE", path, &Value::Null).await, "cannot delete");
    refused_natively(world.write(&[incident.as_str()], "DELETE", "/apis/apps/v1/namespaces/shop/deployments", &Value::Null).await, "cannot deletecollection");
    // As itself the account holds no verb on workloads at all.
    let body = serde_json::to_vec(&evil(&as_it_is)).unwrap();
    let own = http::Request::put(path).header("Content-Type", "application/json").body(body).unwrap();
    refused_natively(send(&world.executor, own).await, "cannot update");
    assert_eq!(world.read_deployment("web").await["metadata"]["generation"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_names_exactly_one_incident_of_its_own() {
    let world = World::start("writes").await;
    let it = planned_scale(&world, "web", 3).await;
    let (path, old) = world.object_of(&it.proposal).await;
    let mut new = it.proposal.action.act().expected(&old, None).unwrap();
    // Without a version the write meets whatever is there, and the gate.
    new["metadata"]["resourceVersion"] = Value::Null;
    let path = format!("{path}?fieldManager=assent-executor");
    let other = seats::incident();
    refused_natively(world.write(&[], "PUT", &path, &new).await, "exactly one incident");
    refused_natively(world.write(&[it.incident.as_str(), other.as_str()], "PUT", &path, &new).await, "exactly one incident");
    refused(world.write(&[other.as_str()], "PUT", &path, &new).await, "no-plan");
    refused(world.write(&["not-a-uid"], "PUT", &path, &new).await, "incident-extra");
    // Nobody else may become the executor, not even the director.
    let director = world.account("assent-director").await;
    refused_natively(impersonated(&director, &[it.incident.as_str()], "PUT", &path, &new).await, "cannot impersonate");
    // And the executor may become nobody else.
    let become_admin = http::Request::get("/api/v1/secrets").header("Impersonate-User", "assent:cluster-admin").header("Impersonate-Group", "system:masters");
    refused_natively(send(&world.executor, become_admin.body(Vec::new()).unwrap()).await, "cannot impersonate");
    world.write(&[it.incident.as_str()], "PUT", &path, &new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_other_path_is_one_too_many() {
    let world = World::start("writes").await;
    let it = planned(&world).await;
    let changes: [(&str, Value, &str); 6] = [
        ("/spec/template/spec/containers/0/image", json!("registry.invalid/evil:1"), "difference"),
        ("/spec/replicas", json!(9), "only `spec.template`"),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "absent", "uid": "0"}]), "metadata of a target"),
        ("/metadata/finalizers", json!(["a.b/c"]), "metadata of a target"),
        ("/metadata/labels", json!({"x": "y"}), "metadata of a target"),
        ("/metadata/annotations/x", json!("y"), "metadata of a target"),
    ];
    for (pointer, value, words) in changes {
        let result = world.rewrite(&[it.incident.as_str()], &it.proposal, false, &twisted(&it, pointer, &value)).await;
        match words {
            "difference" => refused(result, words),
            native => refused_natively(result, native),
        }
    }
    // Options are part of the plan: another field manager is refused.
    let (path, old) = world.object_of(&it.proposal).await;
    let mut honest = it.proposal.action.act().expected(&old, Some(&it.good)).unwrap();
    honest["metadata"]["resourceVersion"] = Value::Null;
    refused(world.write(&[it.incident.as_str()], "PUT", &format!("{path}?fieldManager=kubectl"), &honest).await, "resource");
    world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_itself_finds_every_foreign_path() {
    let world = World::start("writes").await;
    // Without the native policy behind it, the same changes meet the gate alone.
    let bindings: kube::Api<k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding> = kube::Api::all(world.admin.clone());
    bindings.delete("assent-executor-limits", &kube::api::DeleteParams::default()).await.unwrap();
    let it = planned(&world).await;
    let changes = [
        ("/spec/replicas", json!(9)),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "absent", "uid": "0"}])),
        ("/metadata/finalizers", json!(["a.b/c"])),
        ("/metadata/annotations/x", json!("y")),
        ("/spec/paused", json!(true)),
    ];
    for (pointer, value) in changes {
        // The policy's removal takes a moment to be seen; until then it is the one that refuses.
        let twisted = twisted(&it, pointer, &value);
        let mut result = world.rewrite(&[it.incident.as_str()], &it.proposal, false, &twisted).await;
        for _ in 0..100 {
            match &result {
                Err(text) if !text.contains("assent[") => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                _ => break,
            }
            result = world.rewrite(&[it.incident.as_str()], &it.proposal, false, &twisted).await;
        }
        refused(result, "difference");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_mutating_policy_cannot_ride_along() {
    let world = World::start("writes").await;
    let it = planned(&world).await;
    let _mutator =
        Mutator::start(&world, &json!([{"op": "add", "path": "/spec/template/spec/containers/0/env", "value": [{"name": "EVIL", "value": "1"}]}])).await;
    // The foreign webhook changes dry run and write alike, so comparing the two would find nothing.
    let dry = world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), true).await;
    refused(dry, "difference");
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "difference");
}

/// The voted change with one more.
fn twisted(it: &Planned, pointer: &str, value: &Value) -> impl Fn(&Value) -> Value {
    move |old| {
        let mut new = it.proposal.action.act().expected(old, Some(&it.good)).unwrap();
        set(&mut new, pointer, value.clone());
        new
    }
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = parent.split('/').skip(1).fold(object, |at, part| match part.parse::<usize>() {
        Ok(index) => &mut at[index],
        Err(_) => &mut at[part],
    });
    parent[key] = value;
}
