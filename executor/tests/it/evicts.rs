//! One pod of several goes: the very one that was voted for, of the very workload, through every budget, and only if nobody else
//! took it before.

use assent_api::resources::RemediationPhase;
use assent_core::workload::Kind;
use assent_tests::onlooker::{Moment, Onlooker};
use assent_tests::scene::{Case, Scene};
use assent_tests::seats;
use assent_tests::world::{SHOP, apply, get, send};
use serde_json::{Value, json};

/// `name` with two pods, of which the seats want the first gone.
async fn ill(scene: &Scene, name: &str) -> Case {
    scene.of(Kind::Deployment, "EvictPod", name).await
}

async fn uids(scene: &Scene, name: &str) -> Vec<Value> {
    scene.world.pods_of(name).await.into_iter().map(|mut pod| pod["metadata"]["uid"].take()).collect()
}

fn path(case: &Case) -> String {
    format!("/api/v1/namespaces/{SHOP}/pods/{}", case.proposal.object_name())
}

async fn delete_pod(scene: &Scene, case: &Case) {
    send(&scene.world.admin, http::Request::delete(path(case)).body(Vec::new()).unwrap()).await.unwrap();
}

/// From now on it takes its time to go, for ever.
async fn hold_pod(scene: &Scene, case: &Case) {
    let body = json!({"metadata": {"finalizers": ["example.org/held"]}}).to_string().into_bytes();
    let patch = http::Request::patch(path(case)).header("content-type", "application/merge-patch+json").body(body).unwrap();
    send(&scene.world.admin, patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_voted_pod_of_the_target_goes() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    let case = ill(&scene, "orders").await;
    let before = uids(&scene, "orders").await;
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Verified).await;

    let evict = case.proposal.action.evicts().unwrap();
    let after = uids(&scene, "orders").await;
    let stayed: Vec<&Value> = before.iter().filter(|uid| after.contains(uid)).collect();
    assert!(after.len() == 2 && stayed.len() == 1 && *stayed[0] != evict.uid, "{before:?} became {after:?}");
    assert_eq!(scene.now(&case).await.1, 0, "the workload itself did not change");
    let audited = scene.audited(&case.incident);
    assert_eq!(audited.len(), 1, "{audited:#?}");
    assert_eq!((&audited[0]["verb"], &audited[0]["objectRef"]["subresource"]), (&json!("create"), &json!("eviction")));
    assert_eq!(audited[0]["auditID"], format!("{}.2", case.incident));
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "verified"]);
    assert_eq!(scene.record.of(&case.incident)[0].body["writes"], format!("pods/eviction {SHOP}/{}", evict.pod));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workloads_pod_an_only_pod_and_one_that_a_budget_keeps_stay() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    // The seats agree on a pod of somebody else.
    scene.world.deployment("strangers", "registry.invalid/x:1").await;
    let pod = scene.world.pods_of("strangers").await.swap_remove(0);
    scene.world.deployment("misled", "registry.invalid/x:1").await;
    scene.world.blueprint("misled").await;
    let misled = scene.voted("misled", |workload| seats::evict(workload, &pod)).await;
    scene.world.deployment("single", "registry.invalid/x:1").await;
    scale(&scene, "single", 1).await;
    let only = scene.world.pods_of("single").await.swap_remove(0);
    scene.world.blueprint("single").await;
    let single = scene.voted("single", |workload| seats::evict(workload, &only)).await;
    let kept = ill(&scene, "kept").await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "both", "namespace": SHOP},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "kept"}}}});
    apply(&scene.world.admin, &budget).await;
    scene.world.until_budget("both", |status| status["currentHealthy"] == 2).await;

    for (case, words) in [(&misled, "is none of"), (&single, "the only pod"), (&kept, "budget both allows no disruption now")] {
        let name = &case.proposal.target.name;
        let before = uids(&scene, name).await;
        scene.decide(case).await;
        let refused = scene.record.until(&case.incident, "refused").await;
        let reason = refused.body["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{name}: {reason}");
        assert_eq!((uids(&scene, name).await, scene.tried(&case.incident).len()), (before, 0), "{name}: nothing was tried");
    }
    assert_eq!(uids(&scene, "strangers").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_took_first_was_not_evicted() {
    let scene = Scene::start().await;
    let onlooker = Onlooker::start(&scene.world).await;
    let _executor = scene.executor();
    // Before the request, or while the gate judges it; gone at once, or still going.
    for (name, moment, lasts) in
        [("gone", Moment::Entry, false), ("going", Moment::Entry, true), ("gone-late", Moment::Write, false), ("going-late", Moment::Write, true)]
    {
        let case = ill(&scene, name).await;
        let mut step = onlooker.hold(&case, moment);
        scene.decide(&case).await;
        step.come().await;
        if lasts {
            hold_pod(&scene, &case).await;
        }
        delete_pod(&scene, &case).await;
        // Whoever else is asked refuses the request itself.
        if moment == Moment::Write {
            drop(step)
        } else {
            step.pass()
        }
        let plan = scene.until_phase(&case, RemediationPhase::Refused).await;
        let message = plan.status.unwrap().message.unwrap();
        assert!(message.contains("its pod is gone, and nobody here asked it to go"), "{name}: {message}");
        assert_eq!(scene.audited(&case.incident).len(), 0, "{name}");
        assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "refused"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_takes_its_time_holds_nothing_up() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    let case = ill(&scene, "orders").await;
    hold_pod(&scene, &case).await;
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Verified).await;
    let pods = scene.world.pods_of("orders").await;
    let going = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string()).count();
    assert_eq!((pods.len(), going), (3, 1), "two serve, and one is going still");
}

async fn scale(scene: &Scene, name: &str, replicas: u32) {
    let path = format!("/apis/apps/v1/namespaces/{SHOP}/deployments/{name}");
    let body = json!({"spec": {"replicas": replicas}}).to_string().into_bytes();
    let patch = http::Request::patch(&path).header("content-type", "application/merge-patch+json").body(body).unwrap();
    send(&scene.world.admin, patch).await.unwrap();
    scene.world.until_deployment(name, |d| d["status"]["observedGeneration"] == d["metadata"]["generation"] && d["status"]["replicas"] == replicas).await;
    assert_eq!(get(&scene.world.admin, &path).await.unwrap()["spec"]["replicas"], replicas);
}
