//! What did not help is put back, whatever stands against new actions by then; what somebody else changed is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use assent_api::names::{PAUSE, SYSTEM_NAMESPACE};
use assent_api::resources::{Blueprint, RemediationPhase};
use assent_tests::world::{SHOP, apply, send};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use assent_tests::scene::{Case, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_does_not_help_is_put_back_even_in_a_pause() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 6;
    let _executor = scene.executor();
    let case = scene.rollback("orders").await;
    scene.network.ill.store(true, Ordering::Relaxed);
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Applied).await;
    let pause =
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Pause", "metadata": {"name": PAUSE, "namespace": SYSTEM_NAMESPACE}, "spec": {"reason": "test"}});
    apply(&scene.world.admin, &pause).await;

    scene.until_phase(&case, RemediationPhase::Reverting).await;
    let failed = std::time::Instant::now();
    let plan = scene.until_phase(&case, RemediationPhase::Reverted).await;
    assert!(failed.elapsed() < Duration::from_secs(60));
    let (now, later) = scene.now(&case).await;
    assert_eq!(later, 2);
    assert_eq!(now["spec"], case.before["spec"]);
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "reverted"]);
    let conditions = plan.status.unwrap().conditions;
    let conditions: Vec<(&str, &str)> = conditions.iter().map(|c| (c.kind.as_str(), c.status.as_str())).collect();
    assert_eq!(conditions, [("Applied", "True"), ("Verified", "False"), ("Reverted", "True")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_that_only_one_principal_confirms_is_no_health() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 6;
    let _executor = scene.executor();
    let case = scene.scale("web", 3).await;
    // The new replica never becomes ready, and the compute seat has no data: only sidecars say that all is well.
    scene.world.kubelet.store(false, Ordering::Relaxed);
    scene.compute.silent.store(true, Ordering::Relaxed);
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Reverted).await;
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"]["replicas"], later), (&json!(2), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotfix_is_never_written_over() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 8;
    let _executor = scene.executor();
    let case = scene.rollback("orders").await;
    scene.network.ill.store(true, Ordering::Relaxed);
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Applied).await;
    scene.world.deployment("orders", "registry.invalid/x:hotfix").await;
    let plan = scene.until_phase(&case, RemediationPhase::Failed).await;
    assert!(plan.status.unwrap().message.unwrap().contains("somebody changed the target"));
    let (now, later) = scene.now(&case).await;
    assert_eq!(later, 2);
    assert_eq!(now.pointer("/spec/template/spec/containers/0/image"), Some(&json!("registry.invalid/x:hotfix")));
    assert_eq!(scene.record.kinds(&case.incident).last().map(String::as_str), Some("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_stands_is_verified_though_somebody_scales() {
    let mut scene = Scene::start().await;
    scene.setting.soak_seconds = 4;
    let _executor = scene.executor();
    let case = scene.rollback("orders").await;
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Applied).await;
    scale_by_hand(&scene, "orders", 3).await;
    scene.until_phase(&case, RemediationPhase::Verified).await;
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"]["replicas"], later), (&json!(3), 2));
}

async fn scale_by_hand(scene: &Scene, name: &str, replicas: u32) {
    let path = format!("/apis/apps/v1/namespaces/{SHOP}/deployments/{name}/scale");
    let body = json!({"spec": {"replicas": replicas}}).to_string().into_bytes();
    let patch = http::Request::patch(path).header("content-type", "application/merge-patch+json").body(body).unwrap();
    send(&scene.world.admin, patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_help_is_put_back_though_somebody_scales_and_their_number_stays() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 8;
    let _executor = scene.executor();
    let (back, resized) = tokio::join!(scene.rollback("orders"), scene.adjust("web", 128));
    scene.network.ill.store(true, Ordering::Relaxed);
    // Server times are whole seconds, and whoever wrote in the same second may have been the last.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for (case, replicas) in [(&back, 3), (&resized, 1)] {
        scene.decide(case).await;
        scene.until_phase(case, RemediationPhase::Applied).await;
        scale_by_hand(&scene, &case.proposal.target.name, replicas).await;
    }
    for (case, replicas) in [(&back, 3), (&resized, 1)] {
        scene.until_phase(case, RemediationPhase::Reverted).await;
        let (now, later) = scene.now(case).await;
        let mut before = case.before["spec"].clone();
        before["replicas"] = json!(replicas);
        assert_eq!((&now["spec"], later), (&before, 3), "the template as it was, the number as somebody wants it");
        assert_eq!(scene.audited(&case.incident).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_blueprint_leaves_to_people_ends_as_it_is() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 6;
    let _executor = scene.executor();
    let case = scene.scale("web", 3).await;
    scene.network.ill.store(true, Ordering::Relaxed);
    let blueprints: Api<Blueprint> = Api::namespaced(scene.world.admin.clone(), SHOP);
    let manual = Patch::Merge(json!({"spec": {"verification": {"rollback": {"automatic": false}}}}));
    blueprints.patch("web", &PatchParams::default(), &manual).await.unwrap();
    // Votes hold for the Blueprint that was there before them.
    let case = Case { incident: assent_tests::seats::incident(), ..case };
    scene.world.quorum(&case.incident, &case.proposal).await;
    let case = scene.renamed(case);
    scene.decide(&case).await;
    let plan = scene.until_phase(&case, RemediationPhase::Failed).await;
    assert!(plan.status.unwrap().message.unwrap().contains("leaves undoing it to people"));
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"]["replicas"], later), (&json!(3), 1));
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "failed"]);
}
