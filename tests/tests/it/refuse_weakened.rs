//! Rules weakened between a vote and its write: the stricter wins. Guardrails edited or deleted, exemptions given, params gone
//! while writes are judged, and a gate that sees other guardrails than the one that admitted the plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use assent_api::resources::{FreezeWindow, Guardrail, GuardrailBinding, GuardrailExemption};
use assent_tests::replica;
use assent_tests::world::{World, apply, get};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{planned, refused, voted, voted_scale};

/// Server times are whole seconds: what is done after this is later by them too.
async fn a_second_later() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

/// A guardrail on writes to Deployments with its binding.
fn rule(name: &str, expression: &str, more: Value) -> [Value; 2] {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments", "deployments/scale"]}]},
        "validations": [{"expression": expression, "message": format!("{name} says no")}]
    });
    let mut binding = json!({"policyName": name, "validationActions": ["Deny"]});
    if let Value::Object(fields) = more {
        spec["paramKind"] = fields["paramKind"].clone();
        binding["paramRef"] = fields["paramRef"].clone();
    }
    [
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": name}, "spec": spec}),
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailBinding", "metadata": {"name": name}, "spec": binding}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardrail_weakened_after_the_vote_began_helps_nobody() {
    let world = World::start("weakened").await;
    for object in rule("never", "false", Value::Null) {
        apply(&world.admin, &object).await;
    }
    a_second_later().await;
    let it = voted(&world).await;
    let api: Api<Guardrail> = Api::all(world.admin.clone());
    let bindings: Api<GuardrailBinding> = Api::all(world.admin.clone());
    // A deletion leaves no trace, so while the vote is live there is none.
    refused(api.delete("never", &DeleteParams::default()).await, "authority");
    refused(bindings.delete("never", &DeleteParams::default()).await, "authority");
    refused(bindings.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await.map(|_| ()), "authority");
    // An edit leaves its time.
    a_second_later().await;
    let softer = Patch::Merge(json!({"spec": {"validations": [{"expression": "true"}]}}));
    api.patch("never", &PatchParams::default(), &softer).await.unwrap();
    refused(world.submit(&world.plan(&it.incident, &it.proposal).await).await, "authority");
    // Nobody hides when it was.
    let timeless = Patch::Merge(json!({"metadata": {"managedFields": [{}]}, "spec": {"validations": [{"expression": "1 == 1"}]}}));
    refused(api.patch("never", &PatchParams::default(), &timeless).await, "guardrail");
    // The next vote is cast under the softer one.
    a_second_later().await;
    let next = voted_scale(&world, "web", 3).await;
    world.submit(&next.plan).await.unwrap();
    world.apply_proposal(&next.incident, &next.proposal, None, false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn once_there_is_a_plan_its_rules_are_pinned_by_digest() {
    let world = World::start("weakened").await;
    for object in rule("never", "false", Value::Null) {
        apply(&world.admin, &object).await;
    }
    a_second_later().await;
    let it = planned(&world).await;
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "guardrail");
    Api::<GuardrailBinding>::all(world.admin.clone()).delete("never", &DeleteParams::default()).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exemption_holds_for_the_votes_after_it_and_a_freeze_at_once() {
    let world = World::start("exempt").await;
    let exemption = |name: &str, target: &str| {
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailExemption", "metadata": {"name": name}, "spec": {
            "guardrail": "scale-step", "target": {"kind": "Deployment", "namespace": "shop", "name": target}, "owner": "jane@example.com", "reason": "a sale",
            "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}})
    };
    // From two to five is more than twice as many.
    let late = voted_scale(&world, "web", 5).await;
    a_second_later().await;
    apply(&world.admin, &exemption("web", "web")).await;
    world.submit(&late.plan).await.unwrap();
    let refusal = world.apply_proposal(&late.incident, &late.proposal, None, false).await;
    assert!(refusal.as_ref().is_err_and(|words| words.contains("scale-step")), "{refusal:?}");
    apply(&world.admin, &exemption("cart", "cart")).await;
    a_second_later().await;
    let exempt = voted_scale(&world, "cart", 5).await;
    world.submit(&exempt.plan).await.unwrap();
    world.apply_proposal(&exempt.incident, &exempt.proposal, None, true).await.unwrap();
    // People may say so only for a time and one object, and take it back whenever they like.
    let api: Api<GuardrailExemption> = Api::all(world.admin.clone());
    let forever = Patch::Merge(json!({"spec": {"expires": "2099-01-01T00:00:00Z"}}));
    refused(api.patch("cart", &PatchParams::default(), &forever).await, "guardrail");
    refused(api.patch("cart", &PatchParams::default(), &Patch::Merge(json!({"spec": {"target": {"name": "*"}}}))).await, "guardrail");
    api.delete("cart", &DeleteParams::default()).await.unwrap();
    refused(world.apply_proposal(&exempt.incident, &exempt.proposal, None, false).await, "guardrail");

    // A freeze stops what was voted before it, and its end is not moved while somebody votes.
    a_second_later().await;
    let stopped = voted_scale(&world, "mail", 3).await;
    a_second_later().await;
    let freeze = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "FreezeWindow", "metadata": {"name": "launch"}, "spec": {
        "from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "namespaces": ["shop"], "owner": "jane@example.com", "reason": "launch"}});
    apply(&world.admin, &freeze).await;
    refused(world.submit(&stopped.plan).await, "authority");
    refused(Api::<FreezeWindow>::all(world.admin.clone()).delete("launch", &DeleteParams::default()).await, "authority");
    a_second_later().await;
    let frozen = voted_scale(&world, "stock", 3).await;
    let refusal = world.submit(&frozen.plan).await;
    assert!(refusal.as_ref().is_err_and(|error| error.to_string().contains("launch")), "{refusal:?}");
    let backwards = Patch::Merge(json!({"spec": {"until": "2019-01-01T00:00:00Z"}}));
    refused(Api::<FreezeWindow>::all(world.admin.clone()).patch("launch", &PatchParams::default(), &backwards).await, "guardrail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_params_object_that_is_deleted_while_writes_are_judged_denies_them() {
    let world = Arc::new(World::start("params").await);
    let most = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "most", "namespace": "shop"}, "data": {"replicas": "4"}});
    apply(&world.admin, &most).await;
    let params =
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "paramRef": {"name": "most", "namespace": "shop", "parameterNotFoundAction": "Deny"}});
    let expression = "request.subResource != 'scale' || object.spec.replicas <= int(params.data.replicas)";
    for object in rule("most", expression, params) {
        apply(&world.admin, &object).await;
    }
    a_second_later().await;
    let it = voted_scale(&world, "web", 3).await;
    world.submit(&it.plan).await.unwrap();
    let (incident, proposal) = (it.incident.clone(), it.proposal.clone());
    world.apply_proposal(&incident, &proposal, None, true).await.unwrap();
    // Four ask all the time; what was asked after the deletion was answered is denied, every time.
    let (before, after) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let deleted = assent_runtime::CancellationToken::new();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (world, incident, proposal, deleted) = (Arc::clone(&world), incident.clone(), proposal.clone(), deleted.clone());
            let (before, after) = (Arc::clone(&before), Arc::clone(&after));
            tokio::spawn(async move {
                while after.load(Ordering::Relaxed) < 40 {
                    let gone = deleted.is_cancelled();
                    let verdict = world.apply_proposal(&incident, &proposal, None, true).await;
                    if gone {
                        assert!(verdict.as_ref().is_err_and(|words| words.contains("no params found")), "{verdict:?}");
                        after.fetch_add(1, Ordering::Relaxed);
                    } else if verdict.is_ok() {
                        before.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    while before.load(Ordering::Relaxed) < 20 {
        assert!(askers.iter().all(|asker| !asker.is_finished()), "an asker ended early");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(world.admin.clone(), "shop").delete("most", &DeleteParams::default()).await.unwrap();
    deleted.cancel();
    for asker in askers {
        asker.await.unwrap();
    }
    refused(world.apply_proposal(&incident, &proposal, None, false).await, "guardrail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_sees_other_guardrails_refuses_the_plan() {
    let world = World::start("replicas").await;
    // This one reads through an API server that never heard of the guardrail.
    let stale = get(&world.admin, "/apis/assent.dev/v1alpha1/guardrails?limit=500").await.unwrap();
    for object in rule("always", "true", Value::Null) {
        apply(&world.admin, &object).await;
    }
    a_second_later().await;
    let it = planned(&world).await;
    let review = replica::review(&world, &it.incident, &it.proposal, &it.good).await;
    let same = replica::Replica::start(&world, None).await;
    let other = replica::Replica::start(&world, Some(stale)).await;
    let admitted = same.ask(&review).await;
    assert_eq!(admitted["response"]["allowed"], json!(true), "{admitted}");
    let verdict = other.ask(&review).await;
    assert_eq!(verdict["response"]["allowed"], json!(false), "{verdict}");
    let words = verdict["response"]["status"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("assent[authority]: the set of guardrails changed"), "{words}");
    world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await.unwrap();
}
