//! Attacks on plans: planted, changed, re-created, out of date, with another ledger.

use std::time::Duration;

use assent_api::resources::{CheckpointSpec, Remediation, Roster};
use assent_core::action::Inverse;
use assent_core::canonical::{self, Digest};
use assent_core::ledger::{Checkpoint, Head, Proof};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{planned, planned_scale, refused, refused_natively, voted, voted_scale};
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
    other.inverse = Inverse::Template { template: json!({"spec": {"containers": []}}), replicas: Some(2) };
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
    stale.ledger.head = Head::empty();
    stale.ledger.proof = Proof::default();
    refused(world.submit(&stale).await, "ledger");
    let mut unproven = it.plan.clone();
    unproven.ledger.proof = Proof::default();
    refused(world.submit(&unproven).await, "ledger");
    // Nobody begins an era by saying so.
    let mut begun = it.plan.clone();
    begun.ledger.era = 1;
    refused(world.submit(&begun).await, "ledger");
    let mut longer = serde_json::to_value(&it.plan).unwrap();
    longer["ledger"]["proof"] = json!(vec![Digest::of_bytes(b""); 100]);
    let mut object = Remediation::of(&it.plan).unwrap();
    object.spec.payload = canonical::text(&longer).unwrap();
    refused(world.remediations(&world.executor).create(&PostParams::default(), &object).await, "payload");
    world.submit(&it.plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_entries_between_two_plans_are_proven_like_one() {
    let world = World::start("plans").await;
    planned_scale(&world, "web", 3).await;
    for _ in 0..5000 {
        world.record();
    }
    let it = voted(&world).await;
    assert!(it.plan.ledger.head.sequence > 5000 && it.plan.ledger.proof.digests().len() < 20);
    world.submit(&it.plan).await.unwrap();
}

/// Writes a checkpoint as `client`.
async fn vouch(client: &kube::Client, checkpoint: &Checkpoint) -> Result<Roster, kube::Error> {
    let spec = CheckpointSpec::from(checkpoint);
    Api::<Roster>::all(client.clone()).patch("default", &PatchParams::default(), &Patch::Merge(json!({"spec": {"ledger": spec}}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_ledger_only_a_persons_checkpoint_for_this_very_moment_lets_plans_pass() {
    let mut world = World::start("plans").await;
    planned_scale(&world, "web", 3).await;
    let lost = world.newest().await;
    let begun = world.rewrite_ledger(2);
    let refused_without = voted_scale(&world, "stock", 3).await;
    refused(world.submit(&refused_without.plan).await, "ledger");

    let checkpoint = Checkpoint::new(&lost, begun).unwrap();
    for account in ["assent-director", "assent-executor", "assent-gate"] {
        refused_natively(vouch(&world.account(account).await, &checkpoint).await, "forbidden");
    }
    // Neither does RBAC's consent make a person of a service account.
    let machine = "system:serviceaccount:ci:deployer";
    apply(
        &world.admin,
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "ci", "name": "deployer"}]}),
    )
    .await;
    let deployer = world.cluster.client_as(machine, &["system:serviceaccounts"]).await.unwrap();
    refused(vouch(&deployer, &checkpoint).await, "account");
    // One that supersedes another head than the newest, or begins another era than the next.
    let mut other = checkpoint.clone();
    other.supersedes = Head::empty();
    refused(vouch(&world.admin, &other).await, "ledger");
    let mut far = checkpoint.clone();
    far.begins.era = 2;
    refused(vouch(&world.admin, &far).await, "ledger");

    vouch(&world.admin, &checkpoint).await.unwrap();
    world.roster.ledger = Some(checkpoint.clone());
    // The votes under the roster before are void, with or without a proof.
    let mut void = refused_without.plan.clone();
    void.ledger = world.pin(&lost.next(world.roster.ledger.as_ref()));
    refused(world.submit(&void).await, "authority");
    let first = planned_scale(&world, "orders", 3).await;
    assert_eq!((world.newest().await, first.plan.ledger.era), (first.plan.ledger.position(), 1));

    // It is used up: what was recorded since cannot be hidden by the same checkpoint, though it still stands there.
    let _another = world.rewrite_ledger(2);
    let hiding = voted_scale(&world, "carts", 3).await;
    let mut hiding = hiding.plan;
    hiding.ledger = world.pin(&checkpoint.begins);
    refused(world.submit(&hiding).await, "ledger");
    refused(vouch(&world.admin, &other).await, "ledger");
    // A roster may change otherwise while it stands there, and lose it.
    let api: Api<Roster> = Api::all(world.admin.clone());
    api.patch("default", &PatchParams::default(), &Patch::Merge(json!({"spec": {"quorum": 4}}))).await.unwrap();
    api.patch("default", &PatchParams::default(), &Patch::Merge(json!({"spec": {"ledger": null}}))).await.unwrap();
    refused(vouch(&world.admin, &checkpoint).await, "ledger");
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

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_definition_gives_no_stored_plan_another_meaning() {
    let world = World::start("definition").await;
    let it = planned_scale(&world, "web", 3).await;
    let name = it.plan.name().unwrap();
    let stored =
        async || assent_tests::world::get(&world.admin, &format!("/apis/assent.dev/v1alpha1/namespaces/assent-system/remediations/{name}")).await.unwrap();
    let before = stored().await;
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let edit = async |operation: Value, seen: &dyn Fn(&Value) -> bool| {
        let definitions: kube::Api<CustomResourceDefinition> = kube::Api::all(world.admin.clone());
        let patch = Patch::<()>::Json(serde_json::from_value(json!([operation])).unwrap());
        definitions.patch("remediations.assent.dev", &PatchParams::default(), &patch).await.unwrap();
        // Nothing announces that the server reads by a new definition; it is asked until it does.
        while !seen(&stored().await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // A default that was not there at the vote: the same object, the same version, one more field.
    edit(json!({"op": "add", "path": format!("{properties}/replicas"), "value": {"type": "integer", "default": 5}}), &|plan| plan["spec"]["replicas"] == 5)
        .await;
    assert_eq!(stored().await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    let to_five = seats::scale(&world.read_deployment("web").await, 5);
    refused(world.apply_proposal(&it.incident, &to_five, None, false).await, "difference");
    // A field that is read no longer: no plan that can be checked is no plan.
    let required = json!({"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/required", "value": []});
    edit(required, &|_| true).await;
    edit(json!({"op": "remove", "path": format!("{properties}/epoch")}), &|plan| plan["spec"]["epoch"].is_null()).await;
    refused(world.apply_proposal(&it.incident, &it.proposal, None, false).await, "unavailable");
    // Put back, the plan is what it was.
    edit(json!({"op": "add", "path": format!("{properties}/epoch"), "value": {"type": "integer"}}), &|plan| plan["spec"]["epoch"] == 1).await;
    world.apply_proposal(&it.incident, &it.proposal, None, false).await.unwrap();
    assert_eq!(world.read_deployment("web").await["spec"]["replicas"], 3);
}
