//! What asks people waits for their word, also across a kill, and is done or not as they say.

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{ApprovalPhase, ApprovalRequest, Blueprint, CircuitBreaker, RemediationPhase, Verdict, breaker_name};
use assent_tests::people::Person;
use assent_tests::world::{SHOP, apply};
use assent_tests::{scene::Scene, seats};
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::{Value, json};

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

/// A Blueprint of `name` that asks one of `oncall` beyond three replicas.
async fn asking_beyond(scene: &Scene, name: &str, more: Value) {
    let mut spec = json!({
        "target": {"kind": "Deployment", "name": name}, "mode": "autonomous", "limits": {"minReplicas": 1, "maxReplicas": 3},
        "operations": {"allowed": ["ScaleWorkload"], "restricted": [{"operation": "scale_beyond_limits", "approvers": ["group:oncall"]}]},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    apply(&scene.world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": name, "namespace": SHOP}, "spec": spec}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_people_agreed_to_go_beyond_is_raised_once_it_held() {
    let mut scene = Scene::start().await;
    scene.world.let_approve("oncall").await;
    scene.setting.soak_seconds = 6;
    let _executor = scene.executor();
    let blueprints: Api<Blueprint> = Api::namespaced(scene.world.admin.clone(), SHOP);
    for (name, more, most, words) in [
        ("own", json!({}), 4, "`limits.maxReplicas` of Blueprint `own` is 4 now, and was 3"),
        (
            "git",
            json!({"gitops": {"owner": "Flux", "namespace": "flux-system", "name": "shop", "path": "shop/git.yaml"}}),
            3,
            "set `spec.limits.maxReplicas: 4` in shop/git.yaml",
        ),
    ] {
        scene.world.deployment(name, "registry.invalid/x:1").await;
        asking_beyond(&scene, name, more).await;
        let case = scene.voted(name, |workload| seats::scale(workload, 4)).await;
        scene.decide(&case).await;
        let request = scene.until_request(&case, ApprovalPhase::Pending).await;
        assert_eq!(request.spec.reasons.concat().contains("is raised from 3 to 4"), name == "own", "{:?}", request.spec.reasons);
        says(&scene, ALICE, &request, Verdict::Approve).await;

        // While it is watched, a hostile executor tries to take more than was agreed to.
        scene.until_phase(&case, RemediationPhase::Applied).await;
        let path = format!("/apis/assent.dev/v1alpha1/namespaces/{SHOP}/blueprints/{name}?fieldManager=assent-executor");
        let before = serde_json::to_value(blueprints.get(name).await.unwrap()).unwrap();
        for (pointer, value) in [("/spec/limits/maxReplicas", json!(9)), ("/spec/limits/minReplicas", json!(0)), ("/spec/operations/restricted", json!([]))] {
            let mut more = before.clone();
            *more.pointer_mut(pointer).unwrap() = value;
            let incident = case.incident.to_string();
            let refused = scene.world.write(&[&incident], "PUT", &path, &more).await.unwrap_err();
            assert!(refused.contains("assent[difference]") || refused.contains("only `spec.limits.maxReplicas` may change"), "{pointer}: {refused}");
        }
        let mut raised = before.clone();
        raised["spec"]["limits"]["maxReplicas"] = json!(4);
        let stranger = seats::incident().to_string();
        let refused = scene.world.write(&[&stranger], "PUT", &path, &raised).await.unwrap_err();
        assert!(refused.contains("assent[no-plan]"), "{refused}");

        let plan = scene.until_phase(&case, RemediationPhase::Verified).await;
        let message = plan.status.unwrap().message.unwrap();
        assert!(message.contains(words), "{message}");
        let after = blueprints.get(name).await.unwrap();
        assert_eq!(after.spec.limits.max_replicas, Some(most));
        let mut wanted = before["spec"].clone();
        wanted["limits"]["maxReplicas"] = json!(most);
        assert_eq!(serde_json::to_value(&after.spec).unwrap(), wanted, "nothing else changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_agreed_to_waits_while_others_are_at_work_and_is_done_then() {
    let mut scene = Scene::start().await;
    scene.world.let_approve("oncall").await;
    // Longer than it is waited for room before it is asked all the same.
    scene.setting.verify_within_seconds = 170;
    let _executor = scene.executor();
    let others = ["one", "two", "three"];
    scene.network.ill_of.lock().unwrap().extend(others.map(str::to_owned));
    let mut open = Vec::new();
    let waiting = scene.asking("orders", 3, 1).await;
    for name in others {
        let case = scene.scale(name, 3).await;
        scene.decide(&case).await;
        scene.until_phase(&case, RemediationPhase::Applied).await;
        open.push(case);
    }
    scene.decide(&waiting).await;
    // Nobody is asked about what could not be done now; it waits, and says so.
    let postponed = scene.record.until(&waiting.incident, "postponed").await;
    let reason = postponed.body["reason"].as_str().unwrap();
    assert!(reason.contains("guardrail `one-writer`: 3 plans are open") && reason.contains(&open[0].plan), "{reason}");
    assert!(!scene.planned(&waiting).await);
    // One ends, and people are asked; by the time that they agree there is no room again.
    scene.network.ill_of.lock().unwrap().remove("one");
    let request = scene.until_request(&waiting, ApprovalPhase::Pending).await;
    let another = scene.scale("four", 3).await;
    scene.network.ill_of.lock().unwrap().insert("four".into());
    scene.decide(&another).await;
    scene.until_phase(&another, RemediationPhase::Applied).await;
    says(&scene, ALICE, &request, Verdict::Approve).await;
    let says_so =
        |request: &ApprovalRequest| request.status.as_ref().and_then(|status| status.message.as_deref()).is_some_and(|text| text.contains("not yet: "));
    scene.until_request_is(&waiting, says_so).await;
    assert!(!scene.planned(&waiting).await);
    scene.network.ill_of.lock().unwrap().clear();
    scene.until_phase(&waiting, RemediationPhase::Verified).await;
    scene.until_request(&waiting, ApprovalPhase::Used).await;
    assert_eq!(scene.record.kinds(&waiting.incident), ["postponed", "apply-intended", "applied", "verified"]);
}
