//! What asks people waits for their word, also across a kill, and is done or not as they say.

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{ApprovalPhase, ApprovalRequest, CircuitBreaker, RemediationPhase, Verdict, breaker_name};
use assent_tests::people::Person;
use kube::ResourceExt as _;
use kube::api::Api;

use assent_tests::scene::Scene;

const ALICE: Person<'_> = Person { user: "alice", groups: &["oncall"] };
const BOB: Person<'_> = Person { user: "bob", groups: &["oncall"] };

async fn says(scene: &Scene, person: Person<'_>, request: &ApprovalRequest, verdict: Verdict) {
    scene.world.says(person, &scene.world.word(person, request, verdict)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_asked_waited_for_across_a_kill_and_heard() {
    let scene = Scene::start().await;
    scene.world.let_approve("oncall").await;
    let executor = scene.executor();
    let case = scene.asking("orders", 3, 2).await;
    scene.decide(&case).await;
    let request = scene.until_request(&case, ApprovalPhase::Pending).await;
    assert_eq!(request.spec.action, "scale to 3 replicas");
    assert!(!request.spec.reasons.concat().is_empty() && request.status.as_ref().unwrap().message.as_ref().unwrap().contains("0 so far"), "{request:?}");
    assert!(scene.record.kinds(&case.incident).is_empty(), "nothing is intended before people agreed");
    says(&scene, ALICE, &request, Verdict::Approve).await;
    // One of two is not enough, whoever waits for the other.
    executor.kill().await;
    assert!(!scene.planned(&case).await);
    let _executor = scene.executor();
    says(&scene, BOB, &request, Verdict::Approve).await;
    scene.until_phase(&case, RemediationPhase::Verified).await;
    scene.until_request(&case, ApprovalPhase::Used).await;
    let intended = scene.record.until(&case.incident, "apply-intended").await;
    assert_eq!(intended.body["approvedBy"], serde_json::json!(["alice", "bob"]));
    let (now, later) = scene.now(&case).await;
    assert_eq!((&now["spec"]["replicas"], later), (&serde_json::json!(3), 1));
    // The plan entered the service's breaker, which shows it.
    let breakers: Api<CircuitBreaker> = Api::namespaced(scene.world.admin.clone(), SYSTEM_NAMESPACE);
    let status = breakers.get(&breaker_name(&case.proposal.target.service())).await.unwrap().status.unwrap();
    assert_eq!((status.entered.as_slice(), status.state.as_deref()), ([case.plan.clone()].as_slice(), Some("Closed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_ends_it_and_the_director_hears_who_said_so() {
    let scene = Scene::start().await;
    scene.world.let_approve("oncall").await;
    let _executor = scene.executor();
    let case = scene.asking("orders", 3, 1).await;
    scene.decide(&case).await;
    let request = scene.until_request(&case, ApprovalPhase::Pending).await;
    says(&scene, ALICE, &request, Verdict::Deny).await;
    let entry = scene.record.until(&case.incident, "refused").await;
    assert!(entry.body["reason"].as_str().unwrap().contains("denied by alice"), "{:?}", entry.body);
    let ended = scene.until_request(&case, ApprovalPhase::Denied).await;
    assert_eq!(ended.name_any(), request.name_any());
    assert!(!scene.planned(&case).await);
}
