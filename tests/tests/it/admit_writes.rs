//! What a quorum voted for passes, once, and can be undone once.

use serde_json::{Value, json};

use super::{planned, planned_scale, refused, voted};
use assent_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_voted_rollback_is_applied_once_and_reverted_once() {
    let world = World::start("admit").await;
    let it = planned(&world).await;
    let bad = world.read_deployment("orders").await;
    let applied = world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await.unwrap();
    assert_eq!(applied.pointer("/spec/template"), Some(&it.good));

    // A second use finds the target a generation further.
    let again = world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await;
    refused(again, "difference");

    let reverted = world.revert(&it.plan).await.unwrap();
    assert_eq!(reverted.pointer("/spec/template"), bad.pointer("/spec/template"));

    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "revert");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voted_scale_goes_through_the_sub_resource_and_back() {
    let world = World::start("admit").await;
    let it = planned_scale(&world, "web", 4).await;
    world.apply_proposal(&it.incident, &it.proposal, None, false).await.unwrap();
    assert_eq!(world.read_deployment("web").await["spec"]["replicas"], 4);
    world.revert(&it.plan).await.unwrap();
    assert_eq!(world.read_deployment("web").await["spec"]["replicas"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_what_was_voted_needs_no_plan_yet() {
    let world = World::start("admit").await;
    let it = voted(&world).await;
    world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), true).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "no-plan");
    let evil = |old: &Value| {
        let mut other = old.clone();
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.invalid/evil:1");
        other
    };
    refused(world.rewrite(&[it.incident.as_str()], &it.proposal, true, &evil).await, "difference");
    assert_eq!(world.read_deployment("orders").await["metadata"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_decision_is_admitted_only_as_the_live_ballots_count() {
    let world = World::start("admit").await;
    let it = voted(&world).await;
    let director = world.account("assent-director").await;
    let api: kube::Api<assent_api::resources::Decision> = kube::Api::namespaced(director, "assent-system");
    let honest = world.decision(&it.incident).await;
    let mut lie = honest.clone();
    let mut outcome: Value = serde_json::from_str(&lie.spec.payload).unwrap();
    outcome["voted"]["cause"] = json!(["network"]);
    lie.spec.payload = assent_core::canonical::text(&outcome).unwrap();
    refused(api.create(&kube::api::PostParams::default(), &lie).await, "tally");
    api.create(&kube::api::PostParams::default(), &honest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_any_number_of_times_the_gate_says_the_same_and_writes_nothing() {
    let world = World::start("asked").await;
    let it = planned_scale(&world, "web", 3).await;
    for _ in 0..3 {
        world.apply_proposal(&it.incident, &it.proposal, None, true).await.unwrap();
        assert_eq!(world.read_deployment("web").await["metadata"]["generation"], 1);
    }
    // All of these are reviewed, one lands: single use comes from the version that each names.
    let (path, old) = world.object_of(&it.proposal).await;
    let new = it.proposal.action.act().expected(&old, None).unwrap();
    let path = format!("{path}?fieldManager=assent-executor");
    let incidents = [it.incident.as_str()];
    let writes = futures::future::join_all((0..5).map(|_| world.write(&incidents, "PUT", &path, &new))).await;
    assert_eq!(writes.iter().filter(|write| write.is_ok()).count(), 1, "{writes:?}");
    assert_eq!(world.read_deployment("web").await["metadata"]["generation"], 2);
    let log = std::fs::read_to_string(world.cluster.audit_log()).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_gate: Vec<Value> = events.filter(|event| event["user"]["username"] == "system:serviceaccount:assent-system:assent-gate").collect();
    assert!(!of_gate.is_empty());
    let written: Vec<&Value> = of_gate.iter().filter(|event| event["verb"] != "get" && event["verb"] != "list").collect();
    assert!(written.is_empty(), "the gate wrote: {written:?}");
}
