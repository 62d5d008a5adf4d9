//! What breaks beside a target undoes the write, if more than one side says so for long enough; whatever less is said does not.

use assent_api::resources::{RemediationPhase, RemediationResult};
use assent_core::target::Service;
use assent_core::verification::{Neighbour, Side};
use assent_tests::scene::Scene;
use serde_json::json;

fn neighbour(name: &str, own: Side, callers: Side) -> Neighbour {
    let summary = format!("in 20 s 400 requests, 400 answered, 240 errors, 0 unanswered, mean 8000 us of {name}");
    Neighbour { service: Service { namespace: "shop".into(), name: name.into() }, calls: true, own, callers, summary }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_beside_it_undoes_the_write_and_is_named() {
    let mut scene = Scene::start().await;
    // Longer than the minute that a change has to settle.
    scene.setting.verify_within_seconds = 170;
    let _executor = scene.executor();
    let case = scene.scale("orders", 3).await;
    // The target itself is well all along.
    scene.network.near.lock().unwrap().insert("orders".into(), vec![neighbour("storefront", Side::Broken, Side::Broken)]);
    scene.decide(&case).await;
    let plan = scene.until_phase(&case, RemediationPhase::Reverted).await;
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"], later), (&case.before["spec"], 2));
    let status = plan.status.unwrap();
    let message = status.message.unwrap();
    assert_eq!(status.result, Some(RemediationResult::Worse), "{message}");
    let recorded = scene.record.until(&case.incident, "reverted").await;
    for told in [message.as_str(), recorded.body["reason"].as_str().unwrap()] {
        assert!(told.contains("something broke beside it: shop/storefront, which calls it, was well before the write"), "{told}");
        assert!(told.contains("240 errors"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_workload_alone_says_or_was_so_before_undoes_nothing() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 20;
    let _executor = scene.executor();
    for (name, own, callers) in [
        ("alone", Side::Broken, Side::Unknown),
        ("contradicted", Side::Broken, Side::Well),
        ("slandered", Side::Well, Side::Broken),
        ("ill", Side::Broken, Side::WasIll),
    ] {
        let case = scene.scale(name, 3).await;
        scene.network.near.lock().unwrap().insert(name.into(), vec![neighbour("storefront", own, callers)]);
        scene.decide(&case).await;
        let plan = scene.until_phase(&case, RemediationPhase::Verified).await;
        let status = plan.status.unwrap();
        assert_eq!(status.result, Some(RemediationResult::Improved), "{name}");
        // People hear of it all the same.
        assert!(status.message.unwrap().contains("beside it and not proven: shop/storefront is ill since, by its "), "{name}");
        assert_eq!(scene.now(&case).await.0["spec"]["replicas"], json!(3), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looms_beside_it_is_waited_for_until_it_passes() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 170;
    let _executor = scene.executor();
    let case = scene.scale("orders", 3).await;
    scene.network.near.lock().unwrap().insert("orders".into(), vec![neighbour("storefront", Side::Turning, Side::Turning)]);
    scene.decide(&case).await;
    scene.record.until(&case.incident, "applied").await;
    // Well for much longer than the soak time, and not verified while it may be proven yet.
    let verified = scene.until_phase(&case, RemediationPhase::Verified);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(12), verified).await.is_err());
    scene.network.near.lock().unwrap().clear();
    scene.until_phase(&case, RemediationPhase::Verified).await;
}
