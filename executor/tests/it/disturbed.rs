//! What others do while a plan is on its way, and what servers do: for each the end that is right, and a reason that a person
//! understands. What stands before the plan is in `refuses`, hotfixes while the effect is watched are in `reverts`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use assent_api::resources::RemediationPhase;
use assent_core::proof::as_left;
use assent_tests::onlooker::{Moment, Onlooker};
use assent_tests::processes::{Component, Process};
use assent_tests::scene::{Case, Scene};
use assent_tests::world::{SHOP, World, apply, get, send};
use futures::future::join_all;
use serde_json::{Value, json};

/// What others do to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// Labels it, which is no other generation of it.
    Labelled,
    /// Annotates it, which is one.
    Annotated,
    /// Changes its specification.
    Changed,
    /// Deletes it.
    Deleted,
    /// Deletes it and makes another one under its name.
    Recreated,
    /// Forbids everybody to change it.
    Frozen,
    /// As [`Disturbance::Frozen`], until the first write was denied.
    Thawed,
    /// The node that its pods run on is gone: the node controller says of each that it is not ready.
    NodeGone,
}

/// What the target is at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// As voted for.
    Voted,
    /// As it was judged.
    Before,
    /// As the disturbance left it.
    Disturbed,
}

/// A disturbance and its end: phase, what its reason says, how many writes were stored, the last kind in the ledger, the target.
type Row = (Disturbance, RemediationPhase, &'static str, usize, &'static str, Left);

use Disturbance as D;
use RemediationPhase as P;

/// After the target was read for its write, and before that arrives.
const BEFORE_THE_WRITE: [Row; 6] = [
    (D::Labelled, P::Verified, "well for the soak time", 1, "verified", Left::Voted),
    (D::Annotated, P::Refused, "the target is not as the seats judged it: it is at generation", 0, "refused", Left::Disturbed),
    (D::Changed, P::Refused, "the target is not as the seats judged it: it is at generation", 0, "refused", Left::Disturbed),
    (D::Deleted, P::Refused, "not found", 0, "refused", Left::Disturbed),
    (D::Recreated, P::Failed, "it was deleted, and what has its name now is another object", 0, "failed", Left::Disturbed),
    (D::Frozen, P::Refused, FREEZE, 0, "refused", Left::Before),
];

/// While its effect is watched; the frozen ones do not help.
const WATCHED: [Row; 5] = [
    (D::Recreated, P::Failed, GONE, 1, "failed", Left::Disturbed),
    (D::Frozen, P::Failed, FREEZE, 1, "failed", Left::Voted),
    (D::Thawed, P::Reverted, "it did not help; the target is as it was", 2, "reverted", Left::Before),
    (D::Deleted, P::Failed, GONE, 1, "failed", Left::Disturbed),
    (D::NodeGone, P::Reverted, "of 3 replicas are ready", 2, "reverted", Left::Before),
];

/// Also where another one is seen that has its name.
const GONE: &str = "somebody changed the target while its effect was watched: it was deleted";

/// What the policy of somebody else says.
const FREEZE: &str = "change freeze of the platform team until Monday";
/// What it allows: writes that change nothing of the specification, or none.
const NO_CHANGE: &str = "object.spec == oldObject.spec";
const NOTHING: &str = "false";

/// Does it; what the target is then.
async fn disturb(scene: &Scene, case: &Case, disturbance: Disturbance) -> Value {
    let name = &case.proposal.target.name;
    match disturbance {
        D::Labelled => patch(&scene.world, &path(name), &json!({"metadata": {"labels": {"example.org/note": "seen"}}})).await.unwrap(),
        D::Annotated => patch(&scene.world, &path(name), &json!({"metadata": {"annotations": {"example.org/note": "seen"}}})).await.unwrap(),
        D::Changed => patch(&scene.world, &path(name), &json!({"spec": {"minReadySeconds": 1}})).await.unwrap(),
        D::Deleted => {
            delete(&scene.world, &path(name)).await;
            Value::Null
        }
        D::Recreated => {
            delete(&scene.world, &path(name)).await;
            scene.world.deployment(name, "registry.invalid/x:other").await
        }
        D::NodeGone => {
            let pods = get(&scene.world.admin, &format!("/api/v1/namespaces/{SHOP}/pods?labelSelector=app%3D{name}")).await.unwrap();
            for pod in pods["items"].as_array().unwrap() {
                let lost = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}});
                let path = format!("/api/v1/namespaces/{SHOP}/pods/{}/status", pod["metadata"]["name"].as_str().unwrap());
                patch(&scene.world, &path, &lost).await.unwrap();
            }
            scene.world.read_deployment(name).await
        }
        D::Frozen | D::Thawed => {
            freeze(&scene.world, name, NO_CHANGE).await;
            scene.world.read_deployment(name).await
        }
    }
}

fn path(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{SHOP}/deployments/{name}")
}

async fn patch(world: &World, path: &str, body: &Value) -> Result<Value, String> {
    let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
    send(&world.admin, request.body(body.to_string().into_bytes()).unwrap()).await
}

/// Deletes an object at once.
async fn delete(world: &World, path: &str) {
    let options = json!({"propagationPolicy": "Background"}).to_string().into_bytes();
    send(&world.admin, http::Request::delete(path).header("content-type", "application/json").body(options).unwrap()).await.unwrap();
}

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A policy of somebody else, who knows nothing of Assent: nobody may write that Deployment but as `allowed`. Returns once it holds.
async fn freeze(world: &World, name: &str, allowed: &str) {
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": format!("freeze-{name}")},
        "spec": {"failurePolicy": "Fail", "validations": [{"expression": allowed, "message": FREEZE}],
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["deployments", "deployments/scale"], "resourceNames": [name]}]}}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": format!("freeze-{name}")},
        "spec": {"policyName": format!("freeze-{name}"), "validationActions": ["Deny"]}});
    apply(&world.admin, &policy).await;
    apply(&world.admin, &binding).await;
    until_frozen(world, name, true).await;
}

async fn thaw(world: &World, name: &str) {
    delete(world, &format!("{ADMISSION}/validatingadmissionpolicybindings/freeze-{name}")).await;
    until_frozen(world, name, false).await;
}

/// Waits until the API server's own copy of its policies says so.
async fn until_frozen(world: &World, name: &str, frozen: bool) {
    for _ in 0..600 {
        if patch(world, &format!("{}?dryRun=All", path(name)), &json!({"spec": {"minReadySeconds": 1}})).await.is_err() == frozen {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the freeze of `{name}` never became {frozen}");
}

/// A quota of the shop, once its controller has counted; its path.
async fn quota(world: &World, hard: &Value) -> String {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": SHOP}, "spec": {"hard": hard}});
    apply(&world.admin, &quota).await;
    let path = format!("/api/v1/namespaces/{SHOP}/resourcequotas/few");
    for _ in 0..600 {
        if get(&world.admin, &path).await.unwrap().pointer("/status/hard") == Some(hard) {
            return path;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody counted for the quota");
}

/// Checks how it ended. `disturbed` is what the target was after the disturbance.
async fn ended(scene: &Scene, case: &Case, row: &Row, disturbed: &Value) {
    let (disturbance, phase, words, writes, last, left) = row;
    let plan = scene.until_phase(case, *phase).await;
    let message = plan.status.unwrap().message.unwrap();
    eprintln!("{disturbance:?}: {phase:?}: {message}");
    assert!(message.contains(words), "{disturbance:?}: ended, but not for `{words}`: {message}");
    assert_eq!(scene.audited(&case.incident).len(), *writes, "{disturbance:?}: writes that were stored");
    let kinds: &[&str] = if *writes == 0 { &["apply-intended", last] } else { &["apply-intended", "applied", last] };
    assert_eq!(scene.record.kinds(&case.incident), kinds, "{disturbance:?}");
    let recorded = scene.record.until(&case.incident, last).await;
    assert!(recorded.body["reason"].as_str().unwrap().contains(words), "{disturbance:?}: the record says why");
    let now = get(&scene.world.admin, &path(&case.proposal.target.name)).await.unwrap_or(Value::Null);
    match left {
        Left::Voted => assert!(as_left(&case.proposal.action, &now), "{disturbance:?}: {now:#}"),
        Left::Before => assert_eq!(now["spec"], case.before["spec"], "{disturbance:?}"),
        Left::Disturbed => assert_eq!((&now["spec"], &now["metadata"]["uid"]), (&disturbed["spec"], &disturbed["metadata"]["uid"]), "{disturbance:?}"),
    }
}

async fn disturbed_before_the_write(scene: &Scene, onlooker: &Onlooker, row: &Row) {
    let case = scene.scale(&format!("{:?}-before", row.0).to_lowercase(), 3).await;
    let mut entry = onlooker.hold(&case, Moment::Entry);
    scene.decide(&case).await;
    entry.come().await;
    let disturbed = disturb(scene, &case, row.0).await;
    entry.pass();
    ended(scene, &case, row, &disturbed).await;
    if row.0 == D::Labelled {
        let codes: Vec<Value> = scene.tried(&case.incident).iter().map(|event| event["responseStatus"]["code"].clone()).collect();
        assert_eq!(codes, [409, 200], "written again once it was looked at again");
        let (now, later) = scene.now(&case).await;
        assert_eq!((&now["metadata"]["labels"]["example.org/note"], later), (&json!("seen"), 1), "theirs stays");
    }
}

async fn disturbed_while_watched(scene: &Scene, row: &Row) {
    let name = format!("{:?}-watched", row.0).to_lowercase();
    let case = scene.scale(&name, 3).await;
    // These must not be verified before they are disturbed.
    if matches!(row.0, D::Frozen | D::Thawed | D::NodeGone) {
        scene.network.ill_of.lock().unwrap().insert(name.clone());
    }
    scene.decide(&case).await;
    scene.until_phase(&case, P::Applied).await;
    let disturbed = disturb(scene, &case, row.0).await;
    if row.0 == D::NodeGone {
        scene.network.ill_of.lock().unwrap().remove(&name);
    }
    if row.0 == D::Thawed {
        scene.until_phase(&case, P::Reverting).await;
        let denied = |event: &Value| event["responseStatus"]["message"].as_str().is_some_and(|message| message.contains(FREEZE) && message.contains(&name));
        scene.until_audited(0, |event| denied(event) && event["impersonatedUser"].is_object()).await;
        thaw(&scene.world, &name).await;
    }
    ended(scene, &case, row, &disturbed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_in_mid_flight_ends_it_rightly_and_with_a_reason() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 8;
    let onlooker = Onlooker::start(&scene.world).await;
    // More fail here than an organisation would look at idly.
    scene.world.brake(50).await;
    // Two of the library would refuse a part of it before there is a plan: what fits no quota, and plans beside others that failed.
    // Nothing is loosened while seats vote, so at the very start, and not in the second of a vote: server times are whole seconds.
    for guardrail in ["quota-headroom", "one-writer"] {
        delete(&scene.world, &format!("/apis/assent.dev/v1alpha1/guardrailbindings/{guardrail}")).await;
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let _executor = scene.executor();
    let scene = &scene;
    // A step is held for half a minute at most, so few at once.
    for rows in BEFORE_THE_WRITE.chunks(3) {
        join_all(rows.iter().map(|row| disturbed_before_the_write(scene, &onlooker, row))).await;
    }

    // A policy that denies what is tried at first: there is no plan, and no intent of what could never be done.
    for (name, allowed, words) in
        [("frozen", NO_CHANGE, "the dry run was refused: "), ("banned", NOTHING, "before the gate was asked, the write was refused: ")]
    {
        let case = scene.scale(name, 3).await;
        freeze(&scene.world, name, allowed).await;
        scene.decide(&case).await;
        let refused = scene.record.until(&case.incident, "refused").await;
        let reason = refused.body["reason"].as_str().unwrap();
        eprintln!("{name} at first: {reason}");
        assert!(reason.contains(words) && reason.contains(FREEZE), "{reason}");
        assert!(!scene.planned(&case).await && scene.record.kinds(&case.incident) == ["refused"]);
        let (now, later) = scene.now(&case).await;
        assert_eq!((&now["spec"], later, scene.tried(&case.incident).len()), (&case.before["spec"], 0, 0));
    }

    // A budget that leaves no pod to spare: refused before anything is tried, with the number that would pass.
    let case = scene.scale("budgeted", 1).await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "two", "namespace": SHOP},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "budgeted"}}}});
    apply(&scene.world.admin, &budget).await;
    scene.world.until_budget("two", |status| status["currentHealthy"] == 2).await;
    scene.decide(&case).await;
    let refused = scene.record.until(&case.incident, "refused").await;
    let reason = refused.body["reason"].as_str().unwrap();
    eprintln!("budgeted: {reason}");
    assert!(reason.contains("disruption-budget") && reason.contains("below minAvailable of budget two; 2 or more would pass"), "{reason}");
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"], later, scene.tried(&case.incident).len()), (&case.before["spec"], 0, 0));

    // A quota cannot deny the write, which makes no pod. The pods never come, and that is the reason.
    let case = scene.scale("crowded", 3).await;
    let quota = quota(&scene.world, &json!({"pods": "1"})).await;
    scene.decide(&case).await;
    let reverted = scene.until_phase(&case, P::Reverted).await.status.unwrap().message.unwrap();
    eprintln!("crowded: {reverted}");
    assert!(reverted.contains("2 of 3 replicas") && reverted.contains("exceeded quota: few"), "{reverted}");
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"], later, scene.audited(&case.incident).len()), (&case.before["spec"], 2, 2));
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "reverted"]);
    delete(&scene.world, &quota).await;

    join_all(WATCHED.iter().map(|row| disturbed_while_watched(scene, row))).await;
}

/// Verified, as voted, with one write and one of each entry.
async fn verified_once(scene: &Scene, case: &Case) {
    let name = &case.proposal.target.name;
    scene.until_phase(case, P::Verified).await;
    let (now, later) = scene.now(case).await;
    assert!(as_left(&case.proposal.action, &now) && later == 1, "{name}: {now:#}");
    assert_eq!(scene.audited(&case.incident).len(), 1, "{name}: one write");
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "verified"], "{name}");
}

/// The gate as a process of its own, serving.
async fn gate(world: &World) -> Process {
    let gate = Component::gate(world).start();
    let listening = async {
        while tokio::net::TcpStream::connect(world.gate_address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), listening).await.unwrap_or_else(|_| panic!("the gate never listened"));
    gate
}

fn of_a_dead_gate(event: &Value) -> bool {
    event["responseStatus"]["message"].as_str().is_some_and(|message| message.contains("failed calling webhook \"executor.gate"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_goes_when_the_write_is_due_is_waited_for_while_the_plan_lives() {
    let mut scene = Scene::start().await;
    scene.world.kill_gate().await;
    let running = gate(&scene.world).await;
    let onlooker = Onlooker::start(&scene.world).await;

    // It comes back.
    let executor = scene.executor();
    let case = scene.scale("back", 3).await;
    let mut entry = onlooker.hold(&case, Moment::Entry);
    scene.decide(&case).await;
    entry.come().await;
    let before = scene.audit().iter().filter(|event| of_a_dead_gate(event)).count();
    running.kill().await;
    entry.pass();
    scene.until_audited(before, of_a_dead_gate).await;
    let running = gate(&scene.world).await;
    verified_once(&scene, &case).await;
    executor.kill().await;

    // It does not.
    scene.setting.apply_within_seconds = 10;
    let _executor = scene.executor();
    let case = scene.scale("gone", 3).await;
    let mut entry = onlooker.hold(&case, Moment::Entry);
    scene.decide(&case).await;
    entry.come().await;
    running.kill().await;
    entry.pass();
    let refused = scene.record.until(&case.incident, "refused").await;
    let reason = refused.body["reason"].as_str().unwrap();
    assert!(reason.contains("not applied within 10 s of the plan; at last: ") && reason.contains("failed calling webhook"), "{reason}");
    // The director has heard of it; the plan shows it once somebody can admit that.
    let _running = gate(&scene.world).await;
    scene.until_phase(&case, P::Refused).await;
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"], later, scene.audited(&case.incident).len()), (&case.before["spec"], 0, 0));
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "refused"]);
}

const API: &str = "kube-apiserver";

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_stop_in_mid_flight_neither_repeat_nor_undo_anything() {
    let mut scene = Scene::start().await;
    // Each outage is longer than a service has to become well: that nobody looked is no sign of illness.
    scene.setting.verify_within_seconds = 5;
    let outage = Duration::from_secs(8);
    let onlooker = Onlooker::start(&scene.world).await;
    let _executor = scene.executor();

    // No API server before there is a plan: the intent is recorded, and its answer on its way.
    let case = scene.scale("unplanned", 3).await;
    scene.record.mute("apply-intended");
    scene.decide(&case).await;
    scene.record.until(&case.incident, "apply-intended").await;
    scene.world.cluster.kill(API).unwrap();
    scene.record.unmute();
    scene.world.cluster.start_again(API).await.unwrap();
    verified_once(&scene, &case).await;

    // No API server while the effect is watched.
    let case = scene.scale("unwatched", 3).await;
    scene.decide(&case).await;
    scene.until_phase(&case, P::Applied).await;
    scene.world.cluster.kill(API).unwrap();
    tokio::time::sleep(outage).await;
    scene.world.cluster.start_again(API).await.unwrap();
    verified_once(&scene, &case).await;

    // A store that does not answer while the write is on its way.
    let case = scene.scale("unstored", 3).await;
    let mut write = onlooker.hold(&case, Moment::Write);
    scene.decide(&case).await;
    write.come().await;
    scene.world.cluster.pause("etcd").unwrap();
    write.pass();
    tokio::time::sleep(outage).await;
    scene.world.cluster.resume("etcd").unwrap();
    verified_once(&scene, &case).await;

    // And while the effect is watched.
    let case = scene.scale("unread", 3).await;
    scene.decide(&case).await;
    scene.until_phase(&case, P::Applied).await;
    scene.world.cluster.pause("etcd").unwrap();
    tokio::time::sleep(outage).await;
    scene.world.cluster.resume("etcd").unwrap();
    verified_once(&scene, &case).await;

    // What is ill when it can be looked at again is put back.
    let case = scene.scale("ill", 3).await;
    scene.network.ill.store(true, Ordering::Relaxed);
    scene.decide(&case).await;
    scene.until_phase(&case, P::Applied).await;
    scene.world.cluster.kill(API).unwrap();
    scene.world.cluster.start_again(API).await.unwrap();
    scene.until_phase(&case, P::Reverted).await;
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"], later, scene.audited(&case.incident).len()), (&case.before["spec"], 2, 2));
}
