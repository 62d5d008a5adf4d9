//! What was decided is written, once and as voted, and verified.

use assent_api::resources::RemediationPhase;
use assent_core::action::Inverse;
use serde_json::json;

use assent_tests::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_rollback_is_applied_once_and_verified() {
    let scene = Scene::start().await;
    let executor = scene.executor();
    let case = scene.rollback("orders").await;
    let idle = executor.resident();
    assert!(idle < 40 * 1024, "{idle} KiB resident");
    scene.decide(&case).await;
    let plan = scene.until_phase(&case, RemediationPhase::Verified).await;

    let (now, later) = scene.now(&case).await;
    assert_eq!(later, 1, "one change of the spec");
    assert_eq!(now.pointer("/spec/template/spec/containers/0/image"), Some(&json!("registry.invalid/x:1")));
    let status = plan.status.unwrap();
    let conditions: Vec<(&str, &str)> = status.conditions.iter().map(|c| (c.kind.as_str(), c.status.as_str())).collect();
    assert_eq!(conditions, [("Applied", "True"), ("Verified", "True")]);
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "verified"]);
    assert!(scene.record.of(&case.incident)[0].body["guardrails"]["write"].is_object(), "what guardrails said is on record");

    let audited = scene.audited(&case.incident);
    assert_eq!(audited.len(), 1, "{audited:#?}");
    assert_eq!(audited[0]["user"]["username"], "system:serviceaccount:assent-system:assent-executor");
    assert_eq!(audited[0]["impersonatedUser"]["username"], "assent:executor");
    assert_eq!(audited[0]["auditID"], format!("{}.2", case.incident));
    let managers = now["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["manager"] == "assent-executor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_of_two_executors_stand_on_one_ledger() {
    let scene = Scene::start().await;
    let scale = scene.scale("web", 3).await;
    let restart = scene.restart("api").await;
    // Both decisions are there before anybody looks, and two executors look.
    scene.decide(&scale).await;
    scene.decide(&restart).await;
    let (_one, _other) = (scene.executor(), scene.executor());
    let scaled = scene.until_phase(&scale, RemediationPhase::Verified).await;
    let restarted = scene.until_phase(&restart, RemediationPhase::Verified).await;

    let (now, later) = scene.now(&scale).await;
    assert_eq!((&now["spec"]["replicas"], later), (&json!(3), 1), "applied once");
    let (now, later) = scene.now(&restart).await;
    assert_eq!(later, 1, "restarted once");
    assert_eq!(now.pointer("/spec/template/metadata/annotations/assent.dev~1restarted-for"), Some(&json!("incident.1")));

    let (scaled, restarted) = (assent_api::parse_plan(&scaled).unwrap(), assent_api::parse_plan(&restarted).unwrap());
    assert_eq!(scaled.inverse, Inverse::Replicas { replicas: 2 });
    assert_eq!(restarted.inverse, Inverse::Empty);
    // Each executor may have planned the other one first; then neither plan knows of the other, and both know the ledger.
    assert_ne!(scaled.ledger.head, restarted.ledger.head);
    assert!([&scaled, &restarted].iter().all(|plan| scene.record.had(&plan.ledger.head)));
    // Whatever is planned after them goes on from the newest.
    let newest = if scaled.ledger.head.sequence < restarted.ledger.head.sequence { restarted } else { scaled };
    let later = scene.scale("later", 3).await;
    scene.decide(&later).await;
    let later = assent_api::parse_plan(&scene.until_phase(&later, RemediationPhase::Verified).await).unwrap();
    assert!(newest.ledger.head.extends_to(&later.ledger.head, &later.ledger.proof));
    for case in [&scale, &restart] {
        assert_eq!(scene.audited(&case.incident).len(), 1, "one write each");
        assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "verified"], "each is recorded once");
    }
}
