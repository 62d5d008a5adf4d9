//! SC-010: every safety mechanism activates. Plans are stored as an executor would store them, with how they ended; what the gate
//! then says of one more is what counts. At the end a running executor is asked too.

use std::time::Duration;

use assent_api::names::{PAUSE, SYSTEM_NAMESPACE};
use assent_api::resources::{CircuitBreaker, Pause, RemediationPhase as Phase, RemediationResult as Outcome, Verdict, breaker_name};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::ground::{ALICE, Ground, rule_in};
use super::report::Section;
use crate::scene::{Case, restart_of};
use crate::seats;
use crate::world::{apply, send};

/// Longest that a case may take to its end.
const PATIENCE: Duration = Duration::from_secs(75);

/// SC-010.
pub(super) async fn mechanisms(ground: &Ground) -> Vec<Section> {
    ground.no_executor().await;
    let mut section = Section::new(
        "SC-010 safety mechanisms",
        "Each is brought about by stored plans and their ends; the gate's word on one more plan, and at the end an executor's.",
    );
    circuit(ground, &mut section).await;
    limits(ground, &mut section).await;
    strikes(ground, &mut section).await;
    demotion(ground, &mut section).await;
    standstill(ground, &mut section).await;
    let limited = ground.again("m-rate", 3).await;
    let broken = ground.scene.voted("m-circuit", restart_of).await;
    ground.executor(|_| ()).await;
    for (case, expected) in [(limited, "refused by rate"), (broken, "refused by breaker")] {
        ground.scene.decide(&case).await;
        let end = ground.end(&case, PATIENCE).await.told();
        section.case(&format!("a running executor on {}", case.proposal.target.name), expected, &end, end == expected);
    }
    section.counted("SC-010 safety mechanisms that activated", 11);
    vec![section]
}

/// Three failures of three actions, since the same one would wait for its own reasons.
async fn fails(ground: &Ground, name: &str, wait: &str) -> Case {
    let first = ground.scene.world.deployment(name, "registry.invalid/x:1").await;
    let good = first.pointer("/spec/template").unwrap().clone();
    ground.scene.world.until_deployment(name, |d| d["status"]["observedGeneration"] == d["metadata"]["generation"] && !d["status"]["replicas"].is_null()).await;
    ground.scene.world.deployment(name, "registry.invalid/x:2").await;
    ground.blueprint(name, &json!({"safety": {"cooldown": "1s", "breaker": {"failures": 3, "wait": wait}}})).await;
    let rollback = ground.scene.voted(name, |workload| seats::rollback(workload, &good)).await;
    let restart = ground.scene.voted(name, restart_of).await;
    let scale = ground.again(name, 3).await;
    for (case, phase) in [(&rollback, Phase::Reverted), (&restart, Phase::Reverted), (&scale, Phase::Reverted)] {
        ground.ended(case, phase, Some(Outcome::Worse)).await.unwrap();
    }
    scale
}

async fn circuit(ground: &Ground, section: &mut Section) {
    let last = fails(ground, "m-circuit", "10m").await;
    let seen = ground.word(&ground.anew(&last).await).await;
    section.case("the circuit opens after 3 failures", "breaker", &seen, seen == "breaker");

    let last = fails(ground, "m-half", "5s").await;
    let probe = ground.anew(&last).await;
    let mut seen = vec![ground.word(&probe).await];
    let opened = std::time::Instant::now();
    while seen.last().is_some_and(|word| word == "breaker") && opened.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(500)).await;
        seen.push(ground.word(&probe).await);
    }
    // The same action has a strike, so a person says that it may be tried.
    approve(ground, &probe).await;
    let world = &ground.scene.world;
    let stored = world.submit(&ground.plan(&probe).await).await;
    let second = ground.word(&ground.scene.voted("m-half", |workload| seats::scale(workload, 4)).await).await;
    let admitted = stored.is_ok();
    let told = format!("{}, then the probe is {}, another one: {second}", seen[0], if admitted { "admitted" } else { "refused" });
    section.case(
        "half-open after its wait, for one probe",
        "breaker, then the probe is admitted and another one is not",
        told,
        seen[0] == "breaker" && admitted && second != "admitted",
    );
    if let Ok(stored) = stored {
        ground.ends(&stored.name_any(), Phase::Verified, Some(Outcome::Improved)).await.unwrap();
    }
    let after = ground.rested(&ground.again("m-half", 4).await).await;
    section.case("a probe that helped closes it", "admitted", &after, after == "admitted");
}

async fn limits(ground: &Ground, section: &mut Section) {
    let usual = json!({"safety": {}});
    let case = ground.scale("m-cooldown", 3, &usual).await;
    ground.ended(&case, Phase::Verified, None).await.unwrap();
    let words = ground.judged(&ground.anew(&case).await).await;
    let seen = format!("{}{}", rule_in(&words), if words.contains("60 s") { ", 60 s" } else { "" });
    section.case("cooldown, as it is by default", "cooldown, 60 s", &seen, seen == "cooldown, 60 s");

    let case = ground.scale("m-rate", 3, &json!({})).await;
    let mut tenth = String::new();
    for number in 1..=10 {
        let case = ground.anew(&case).await;
        if number == 10 {
            tenth = ground.rested(&case).await;
        }
        ground.ended(&case, Phase::Verified, None).await.unwrap();
    }
    let eleventh = ground.rested(&ground.anew(&case).await).await;
    section.case(
        "ten operations an hour, as it is by default",
        "the tenth admitted, the eleventh rate",
        format!("the tenth {tenth}, the eleventh {eleventh}"),
        tenth == "admitted" && eleventh == "rate",
    );

    let case = ground.scale("m-one", 3, &json!({})).await;
    let plan = ground.plan(&case).await;
    ground.scene.world.submit(&plan).await.unwrap();
    let seen = ground.word(&ground.anew(&case).await).await;
    section.case("one operation at a time", "conflict", &seen, seen == "conflict");
    ground.ends(&plan.name().unwrap(), Phase::Refused, None).await.unwrap();
}

async fn strikes(ground: &Ground, section: &mut Section) {
    let case = ground.scale("m-strikes", 3, &json!({})).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let attempt = ground.anew(&case).await;
        if !seen.is_empty() {
            approve(ground, &attempt).await;
        }
        ground.ended(&attempt, Phase::Reverted, Some(Outcome::NoEffect)).await.unwrap();
        seen.push(ground.rested(&ground.anew(&case).await).await);
    }
    let another = ground.rested(&ground.scene.voted("m-strikes", restart_of).await).await;
    lift(ground, &case).await;
    let lifted = ground.rested(&ground.anew(&case).await).await;
    let told = format!("after each it {}; another action is {another}; lifted, it is {lifted}", seen.join(", "));
    let holds = seen.iter().all(|word| word == "approval") && another == "admitted" && lifted == "admitted";
    section.case("three strikes", "after each it asks (approval); another action is admitted; lifted, it is admitted", told, holds);
}

async fn demotion(ground: &Ground, section: &mut Section) {
    let case = ground.scale("m-demoted", 3, &json!({})).await;
    for ended in [Outcome::Improved, Outcome::Improved, Outcome::Improved, Outcome::NoEffect, Outcome::NoEffect] {
        let attempt = ground.anew(&case).await;
        if ground.rested(&attempt).await == "approval" {
            approve(ground, &attempt).await;
        }
        let phase = if ended == Outcome::Improved { Phase::Verified } else { Phase::Reverted };
        ground.ended(&attempt, phase, Some(ended)).await.unwrap();
    }
    // Its strikes are lifted: what is left is how often it was wrong.
    lift(ground, &case).await;
    let seen = ground.rested(&ground.anew(&case).await).await;
    section.case("demotion by measured precision (3 of 5 helped)", "it asks (approval)", &seen, seen == "approval");
}

async fn standstill(ground: &Ground, section: &mut Section) {
    let admin = &ground.scene.world.admin;
    // Written, so that its revert is owed whatever is held up.
    let case = ground.scale("m-owed", 3, &json!({})).await;
    let plan = ground.plan(&case).await;
    ground.scene.world.submit(&plan).await.unwrap();
    ground.scene.world.apply_proposal(&case.incident, &case.proposal, None, false).await.unwrap();
    let other = ground.scale("m-other", 3, &json!({})).await;

    ground.brake(5).await;
    let braked = ground.word(&other).await;
    ground.brake(10_000).await;
    section.case("the brake of all services after 5 failures", "brake", &braked, braked == "brake");

    let metadata = json!({"name": PAUSE, "namespace": SYSTEM_NAMESPACE});
    apply(admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Pause", "metadata": metadata, "spec": {"reason": "drill"}})).await;
    let paused = ground.word(&other).await;
    section.case("pause", "paused", &paused, paused == "paused");
    let owed = ground.scene.world.revert(&plan).await;
    let told = owed.as_ref().err().map_or("admitted", String::as_str).to_owned();
    section.case("an owed revert, in the pause", "admitted", told, owed.is_ok());
    Api::<Pause>::namespaced(admin.clone(), SYSTEM_NAMESPACE).delete(PAUSE, &DeleteParams::default()).await.unwrap();

    let spec = json!({"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "namespaces": ["shop"], "owner": "jane", "reason": "the sale"});
    apply(admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "FreezeWindow", "metadata": {"name": "sale"}, "spec": spec})).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let words = ground.judged(&ground.anew(&other).await).await;
    let frozen = ["guardrail", "frozen"].contains(&rule_in(&words).as_str()) && words.contains("the sale");
    section.case(
        "a freeze window",
        "guardrail freeze-window",
        format!("{}: {:.200}", rule_in(&words), words.split_once("assent[").map_or("", |(_, rest)| rest)),
        frozen,
    );
    // It stays while a vote that it speaks of is live, so it ends instead.
    let over = json!({"from": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z", "namespaces": ["shop"], "owner": "jane", "reason": "over"});
    apply(admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "FreezeWindow", "metadata": {"name": "sale"}, "spec": over})).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

/// A person agrees to the case's change.
async fn approve(ground: &Ground, case: &Case) {
    let world = &ground.scene.world;
    let request = world.ask(&world.request(&case.incident, &case.proposal, &["group:oncall"], 1, 600)).await.unwrap();
    ground.says(ALICE, &request, Verdict::Approve).await.unwrap();
}

/// A person looked into what failed of the case's service.
async fn lift(ground: &Ground, case: &Case) {
    let admin = &ground.scene.world.admin;
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string().into_bytes();
    let review = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews").header("content-type", "application/json").body(body).unwrap();
    let me = send(admin, review).await.unwrap()["status"]["userInfo"]["username"].clone();
    let service = case.proposal.target.service();
    let api: Api<CircuitBreaker> = Api::namespaced(admin.clone(), SYSTEM_NAMESPACE);
    let name = breaker_name(&service);
    if api.get_opt(&name).await.unwrap().is_none() {
        api.create(&kube::api::PostParams::default(), &CircuitBreaker::for_service(&service)).await.unwrap();
    }
    let patch = json!({"spec": {"lifted": {"by": me, "at": jiff::Timestamp::now().to_string(), "reason": "looked"}}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    // The gate goes by the API server's clock, which shows whole seconds: in this one the lift is still to come.
    tokio::time::sleep(Duration::from_millis(1100)).await;
}
