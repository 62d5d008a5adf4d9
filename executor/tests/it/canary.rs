//! One pod first, by real controllers: nothing but one pod of the new template until that is well, and all of it put back if it is not.

use std::sync::atomic::Ordering;

use assent_api::names::{PAUSE, SYSTEM_NAMESPACE};
use assent_api::resources::RemediationPhase;
use assent_core::workload::Kind;
use assent_tests::onlooker::{Moment, Onlooker};
use assent_tests::scene::{Case, Scene};
use assent_tests::seats;
use assent_tests::world::{SHOP, apply, complete, kind_of, send};
use serde_json::{Value, json};

const REPLICAS: u32 = 4;

async fn patch(scene: &Scene, path: &str, change: &Value) {
    let patch = http::Request::patch(path).header("content-type", "application/merge-patch+json").body(change.to_string().into_bytes()).unwrap();
    send(&scene.world.admin, patch).await.unwrap();
}

/// `name` with four replicas at its second revision; the seats are for going back to the first.
async fn wide(scene: &Scene, kind: Kind, name: &str) -> Case {
    let world = &scene.world;
    let first = world.workload(kind, name, "registry.invalid/x:1").await;
    let good = first.pointer("/spec/template").unwrap().clone();
    world.workload(kind, name, "registry.invalid/x:2").await;
    patch(scene, &format!("/apis/apps/v1/namespaces/{SHOP}/{}/{name}", kind.resource()), &json!({"spec": {"replicas": REPLICAS}})).await;
    world.until(kind, name, complete).await;
    world.blueprint_of(kind, name).await;
    patch(scene, &format!("/apis/assent.dev/v1alpha1/namespaces/{SHOP}/blueprints/{name}"), &json!({"spec": {"safety": {"canary": {"watch": "5s"}}}})).await;
    scene.voted_of(kind, name, |workload| seats::rollback(workload, &good)).await
}

/// How many pods there are of the first and of the second revision.
async fn pods(scene: &Scene, name: &str) -> (usize, usize) {
    let all = scene.world.pods_of(name).await;
    let runs = |image: &str| all.iter().filter(|pod| pod.pointer("/spec/containers/0/image") == Some(&json!(image))).count();
    (runs("registry.invalid/x:1"), runs("registry.invalid/x:2"))
}

async fn until_first(scene: &Scene, case: &Case) {
    let (kind, name) = (kind_of(&case.proposal), &case.proposal.target.name);
    scene.world.until(kind, name, |workload| workload["status"]["updatedReplicas"] == 1 && complete_but_newest(workload)).await;
}

/// As many are ready as should be.
fn complete_but_newest(workload: &Value) -> bool {
    workload["status"]["readyReplicas"].as_u64() >= Some(u64::from(REPLICAS))
}

async fn restored(scene: &Scene, case: &Case, writes: usize) {
    let (now, later) = scene.now(case).await;
    assert_eq!(now["spec"], case.before["spec"], "word for word");
    assert_eq!((later, scene.audited(&case.incident).len()), (i64::try_from(writes).unwrap(), writes));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_follows_a_first_pod_that_is_well() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    for (kind, name, others) in [(Kind::Deployment, "orders", 3), (Kind::StatefulSet, "web", 3)] {
        let case = wide(&scene, kind, name).await;
        // Ready, and not well by its sidecar: it is looked at for as long as that.
        scene.network.ill_of.lock().unwrap().insert(name.into());
        scene.decide(&case).await;
        scene.until_phase(&case, RemediationPhase::Canary).await;
        until_first(&scene, &case).await;
        assert_eq!(pods(&scene, name).await, (1, others), "{kind}");
        let (held, later) = scene.now(&case).await;
        assert_eq!(later, 1);
        assert!(held["spec"]["minReadySeconds"] == 80 || held.pointer("/spec/updateStrategy/rollingUpdate/partition") == Some(&json!(3)), "{held:#}");
        assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "canary"]);

        scene.network.ill_of.lock().unwrap().clear();
        scene.until_phase(&case, RemediationPhase::Verified).await;
        assert_eq!(pods(&scene, name).await, (4, 0), "{kind}");
        let (now, later) = scene.now(&case).await;
        assert_eq!(later, 2);
        let mut wanted = case.before["spec"].clone();
        wanted["template"] = now["spec"]["template"].clone();
        assert_eq!(now["spec"], wanted, "{kind}: rolled out as its owner has it");
        assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "canary", "applied", "verified"]);
        let audited: Vec<Value> = scene.audited(&case.incident).iter().map(|event| event["auditID"].clone()).collect();
        assert_eq!(audited, [json!(format!("{}.2", case.incident)), json!(format!("{}.5", case.incident))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_pod_that_is_not_well_is_put_back_alone() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    let (orders, web) = (wide(&scene, Kind::Deployment, "orders").await, wide(&scene, Kind::StatefulSet, "web").await);
    scene.network.ill.store(true, Ordering::Relaxed);
    for case in [&orders, &web] {
        scene.decide(case).await;
    }
    for case in [&orders, &web] {
        let plan = scene.until_phase(case, RemediationPhase::Reverted).await;
        let message = plan.status.unwrap().message.unwrap();
        assert!(message.contains("the first pod was not well for 5 s: errors 40 of 100"), "{message}");
        restored(&scene, case, 2).await;
        assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "canary", "reverted"]);
        let name = &case.proposal.target.name;
        scene.world.until(kind_of(&case.proposal), name, complete).await;
        assert_eq!(pods(&scene, name).await, (0, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_go_on_is_put_back_and_what_others_changed_is_left() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    // Both wait with one pod that is ready and has no word from its sidecar yet.
    let (paused, edited) = (wide(&scene, Kind::Deployment, "paused").await, wide(&scene, Kind::Deployment, "edited").await);
    for case in [&paused, &edited] {
        scene.network.ill_of.lock().unwrap().insert(case.proposal.target.name.clone());
        scene.decide(case).await;
    }
    for case in [&paused, &edited] {
        scene.until_phase(case, RemediationPhase::Canary).await;
        until_first(&scene, case).await;
    }
    let path = format!("/apis/apps/v1/namespaces/{SHOP}/deployments/edited");
    patch(&scene, &path, &json!({"spec": {"minReadySeconds": 7}})).await;
    let plan = scene.until_phase(&edited, RemediationPhase::Failed).await;
    assert!(plan.status.unwrap().message.unwrap().contains("somebody changed the target while its first pod was watched"));
    let (now, later) = scene.now(&edited).await;
    assert_eq!((&now["spec"]["minReadySeconds"], later), (&json!(7), 2), "theirs stands");

    let pause =
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Pause", "metadata": {"name": PAUSE, "namespace": SYSTEM_NAMESPACE}, "spec": {"reason": "test"}});
    apply(&scene.world.admin, &pause).await;
    scene.network.ill_of.lock().unwrap().clear();
    let plan = scene.until_phase(&paused, RemediationPhase::Reverted).await;
    let message = plan.status.unwrap().message.unwrap();
    assert!(message.contains("the first pod is well, and the rest may not follow") && message.contains("a pause is in force: test"), "{message}");
    restored(&scene, &paused, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_the_first_pod_loses_nothing_and_repeats_nothing() {
    let scene = Scene::start().await;
    let onlooker = Onlooker::start(&scene.world).await;
    let mut executor = scene.executor();
    // Written and not noted; let go on its way; let go and not noted.
    for (name, moments) in [("written", vec![Moment::Note]), ("going", vec![Moment::Write]), ("gone", vec![Moment::Write, Moment::Note])] {
        let case = wide(&scene, Kind::Deployment, name).await;
        let mut step = (name == "written").then(|| onlooker.hold(&case, Moment::Note));
        scene.decide(&case).await;
        for moment in moments.iter().filter(|_| name != "written") {
            // The first pod is being looked at; what comes next is what lets the rest go.
            scene.until_phase(&case, RemediationPhase::Canary).await;
            let mut next = onlooker.hold(&case, *moment);
            if let Some(write) = step.take() {
                write.pass();
            }
            next.come().await;
            step = Some(next);
        }
        if name == "written" {
            step.as_mut().unwrap().come().await;
        }
        executor.kill().await;
        drop(step);
        executor = scene.executor();
        scene.until_phase(&case, RemediationPhase::Verified).await;
        let (_, later) = scene.now(&case).await;
        assert_eq!((later, scene.audited(&case.incident).len()), (2, 2), "{name}: each half once");
        let kinds = scene.record.kinds(&case.incident);
        assert_eq!(kinds.iter().filter(|kind| *kind == "applied").count(), 1, "{name}: {kinds:?}");
        assert_eq!(kinds.last().map(String::as_str), Some("verified"), "{name}");
    }
}
