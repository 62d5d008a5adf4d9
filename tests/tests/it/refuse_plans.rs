//! Attacks on plans: planted, changed, re-created, out of date, with another ledger.

use assent_api::resources::Remediation;
use assent_core::action::Inverse;
use assent_core::canonical::Digest;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{planned, planned_scale, refused, refused_natively, voted};
use assent_tests::seats;
use assent_tests::world::{World, apply};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_planted_by_anybody_else_is_refused() {
    let world = World::start("plans").await;
    let it = voted(&world).await;
    let object = Remediation::of(&it.plan).unwrap();
    refused(world.remediations(&world.admin).create(&PostParams::default(), &object).await, "account");
    for account in ["assent-director", "assent-seat-change", "default"] {
        let client = world.account(account).await;
        refused_natively(world.remediations(&client).create(&PostParams::default(), &object).await, "forbidden");
    }
    world.submit(&it.plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_its_payload_says_under_its_own_name() {
    let world = World::start("plans").await;
    let it = voted(&world).await;
    let api = world.remediations(&world.executor);
    let honest = Remediation::of(&it.plan).unwrap();
    let mut renamed = honest.clone();
    renamed.metadata.name = Some("rem-another".into());
    refused(api.create(&PostParams::default(), &renamed).await, "plan-name");
    let mut typed = honest.clone();
    typed.spec.action = "do nothing".into();
    refused(api.create(&PostParams::default(), &typed).await, "payload");
    let mut spaced = honest.clone();
    spaced.spec.payload = spaced.spec.payload.replacen(':', ": ", 1);
    refused(api.create(&PostParams::default(), &spaced).await, "payload");
    let mut owned = honest.clone();
    owned.metadata.finalizers = Some(vec!["a.b/c".into()]);
    refused(api.create(&PostParams::default(), &owned).await, "immutable");
    api.create(&PostParams::default(), &honest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_never_changes_and_is_not_deleted_early() {
    let world = World::start("plans").await;
    let it = planned(&world).await;
    let name = it.plan.name().unwrap();
    for client in [&world.admin, &world.executor] {
        let patch = json!({"spec": {"payload": "{}"}});
        assert!(world.remediations(client).patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.is_err());
    }
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    refused(world.remediations(&world.admin).patch(&name, &PatchParams::default(), &Patch::Merge(&label)).await, "immutable");
    refused(world.remediations(&world.admin).delete(&name, &DeleteParams::default()).await, "immutable");
    // Its name is taken, so it cannot be created afresh either.
    let mut again = it.plan.clone();
    again.ledger = world.plan(&it.incident, &it.proposal).await.ledger;
    refused_natively(world.submit(&again).await, "already exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_carries_the_true_inverse_and_the_ballots_that_count() {
    let world = World::start("plans").await;
    let it = voted(&world).await;
    let mut lost = it.plan.clone();
    lost.inverse = Inverse::Empty;
    refused(world.submit(&lost).await, "revert");
    let mut other = it.plan.clone();
    other.inverse = Inverse::Template { template: json!({"spec": {"containers": []}}) };
    refused(world.submit(&other).await, "revert");
    let mut fewer = it.plan.clone();
    fewer.ballots.pop();
    refused(world.submit(&fewer).await, "tally");
    let mut elsewhere = it.plan.clone();
    elsewhere.cluster = "another".into();
    refused(world.submit(&elsewhere).await, "cluster");
    let mut long = it.plan.clone();
    long.expires_after_ms = 3_600_000;
    refused(world.submit(&long).await, "expired");
    world.submit(&it.plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_head_extends_the_last_admitted_one() {
    let world = World::start("plans").await;
    planned_scale(&world, "web", 3).await;
    let it = voted(&world).await;
    // A rewritten ledger: the same length, another past.
    let mut rewritten = it.plan.clone();
    rewritten.ledger.head.hash = Digest::of_bytes(b"another past");
    refused(world.submit(&rewritten).await, "ledger");
    let mut stale = it.plan.clone();
    stale.ledger.head = assent_core::ledger::Head::empty();
    stale.ledger.links.clear();
    refused(world.submit(&stale).await, "ledger");
    world.submit(&it.plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_changed_after_the_vote_is_stale() {
    let world = World::start("plans").await;
    let it = voted(&world).await;
    world.deployment("orders", "registry.invalid/orders:3").await;
    refused(world.submit(&it.plan).await, "stale");
    // The same name with another uid is another target, too.
    let again = planned_scale(&world, "web", 3).await;
    kube::Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(world.admin.clone(), "shop").delete("web", &DeleteParams::default()).await.unwrap();
    world.deployment("web", "registry.invalid/x:1").await;
    refused(world.apply_proposal(&again.incident, &again.proposal, None, false).await, "stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn system_namespaces_are_never_targets() {
    let world = World::start("plans").await;
    for namespace in ["assent-system", "kube-system"] {
        apply(&world.admin, &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "seat", "namespace": namespace},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "s"}}, "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}
        })).await;
        let seat = assent_tests::world::get(&world.admin, &format!("/apis/apps/v1/namespaces/{namespace}/deployments/seat")).await.unwrap();
        let incident = seats::incident();
        let proposal = seats::scale(&seat, 3);
        world.quorum(&incident, &proposal).await;
        let mut plan = {
            let it = voted(&world).await;
            it.plan
        };
        plan.incident = incident.clone();
        plan.proposal = proposal;
        refused(world.submit(&plan).await, "forbidden-target");
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/seat/scale");
        let scale = assent_tests::world::get(&world.admin, &path).await.unwrap();
        refused_natively(world.write(&[incident.as_str()], "PUT", &format!("{path}?fieldManager=assent-executor"), &scale).await, "never targets");
        // Namespaced Blueprints cannot give authority over them either.
        let blueprint = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "b", "namespace": namespace}, "spec": {"target": {"kind": "Deployment", "name": "seat"}, "mode": "autonomous"}});
        let post = http::Request::post(format!("/apis/assent.dev/v1alpha1/namespaces/{namespace}/blueprints")).header("Content-Type", "application/json");
        refused(assent_tests::world::send(&world.admin, post.body(serde_json::to_vec(&blueprint).unwrap()).unwrap()).await, "blueprint");
    }
}
