//! SIGKILL between any two steps: whoever starts next comes to the same end, and nothing is done twice.

use std::sync::atomic::Ordering;

use assent_api::resources::RemediationPhase;
use assent_tests::processes::Process;
use serde_json::json;

use assent_tests::scene::{Case, Scene};

async fn verified_once(scene: &Scene, case: &Case) {
    scene.until_phase(case, RemediationPhase::Verified).await;
    let (now, later) = scene.now(case).await;
    assert_eq!((&now["spec"]["replicas"], later), (&json!(3), 1));
    assert_eq!(scene.audited(&case.incident).len(), 1, "one write");
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "verified"]);
}

/// Kills the executor when the ledger has recorded `kind` and its answer is still on the way.
async fn killed_before_the_answer(scene: &Scene, executor: Process, name: &str, kind: &str) -> Process {
    let case = scene.scale(name, 3).await;
    scene.record.mute(kind);
    scene.decide(&case).await;
    scene.record.until(&case.incident, kind).await;
    executor.kill().await;
    scene.record.unmute();
    let executor = scene.executor();
    verified_once(scene, &case).await;
    executor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_any_two_steps_loses_nothing_and_repeats_nothing() {
    let scene = Scene::start().await;
    let executor = scene.executor();
    // Intent recorded, no plan; write noted, not recorded; outcome recorded, not noted.
    let executor = killed_before_the_answer(&scene, executor, "intended", "apply-intended").await;
    let executor = killed_before_the_answer(&scene, executor, "applied", "applied").await;
    let executor = killed_before_the_answer(&scene, executor, "verified", "verified").await;

    // As soon as there is a plan.
    let case = scene.scale("planned", 3).await;
    scene.decide(&case).await;
    scene.until_plan(&case, |_| true).await;
    executor.kill().await;
    let executor = scene.executor();
    verified_once(&scene, &case).await;

    // As soon as the target is written.
    let case = scene.scale("written", 3).await;
    scene.decide(&case).await;
    scene.world.until_deployment("written", |d| d["spec"]["replicas"] == 3).await;
    executor.kill().await;
    let executor = scene.executor();
    verified_once(&scene, &case).await;

    // While its effect is watched.
    let case = scene.scale("watched", 3).await;
    scene.decide(&case).await;
    scene.until_phase(&case, RemediationPhase::Applied).await;
    executor.kill().await;
    let _executor = scene.executor();
    verified_once(&scene, &case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_a_revert_ends_in_one_revert() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 4;
    scene.network.ill.store(true, Ordering::Relaxed);
    let mut executor = scene.executor();
    for (name, moment) in [("reverting", RemediationPhase::Reverting), ("restored", RemediationPhase::Reverted)] {
        let case = scene.scale(name, 3).await;
        scene.decide(&case).await;
        if moment == RemediationPhase::Reverting {
            scene.until_phase(&case, moment).await;
        } else {
            // As soon as the target is as it was.
            let first = case.proposal.target.generation;
            scene.world.until_deployment(name, |d| d["metadata"]["generation"] == first + 2).await;
        }
        executor.kill().await;
        executor = scene.executor();
        scene.until_phase(&case, RemediationPhase::Reverted).await;
        let (now, later) = scene.now(&case).await;
        assert_eq!((&now["spec"], later), (&case.before["spec"], 2));
        assert_eq!(scene.audited(&case.incident).len(), 2, "one write and one revert");
        assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "reverted"]);
    }
}
