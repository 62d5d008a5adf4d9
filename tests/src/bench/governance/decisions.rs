//! Decisions: ten situations and what must come of each, what is done alone inside the limits, and how fast what is forbidden is
//! answered.

use std::time::{Duration, Instant};

use assent_core::consensus::{Outcome, Verdict};
use futures::future::join_all;
use kube::api::PostParams;
use serde_json::json;

use super::ground::{End, Ground, rule_in};
use super::report::{Criterion, Section};
use crate::bench::rows::Figures;
use crate::scene::Case;
use crate::seats;

/// Longest that a case may take to its end.
const PATIENCE: Duration = Duration::from_secs(75);
/// Services that are scaled without anybody being asked.
const ALONE: usize = 12;
/// How often what is forbidden is asked for.
const FORBIDDEN: usize = 20;

/// SC-002.
pub(super) async fn accuracy(ground: &Ground) -> Vec<Section> {
    ground.executor(|_| ()).await;
    let mut section = Section::new("SC-002 decision accuracy", "Ten situations, each decided by all four seats and given to a running executor and gate.");
    let scene = &ground.scene;
    let forbids = json!({"operations": {"allowed": ["RestartWorkload"], "forbidden": ["ScaleWorkload"], "approvers": ["group:oncall"]}});
    let unlisted = json!({"operations": {"allowed": ["RestartWorkload"], "approvers": ["group:oncall"]}});
    let frozen = json!({"freezes": [{"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "reason": "the sale"}]});
    let mut cases = Vec::new();
    for (name, replicas, spec, situation, what, rule) in [
        ("within", 3, json!({}), "inside the limits, allowed", "verified", ""),
        ("beyond", 4, json!({"limits": {"maxReplicas": 3}}), "beyond the limits", "asked", ""),
        ("forbidden", 3, forbids, "forbidden", "refused", "forbidden"),
        ("unlisted", 3, unlisted, "on no list", "asked", ""),
        ("frozen", 3, frozen, "in a freeze", "refused", "blueprint"),
        ("guarded", 3, json!({}), "denied by a guardrail", "refused", "guardrail"),
    ] {
        let case = ground.scale(name, replicas, &spec).await;
        scene.decide(&case).await;
        cases.push((case, situation, what, rule));
    }
    let observed = ground.scale("observed", 3, &json!({"mode": "observe"})).await;
    scene.decide(&observed).await;
    let one = ground.scale("both", 3, &json!({})).await;
    let other = ground.again("both", 4).await;
    scene.decide(&one).await;
    scene.decide(&other).await;
    let ends = join_all(cases.iter().map(|(case, ..)| ground.end(case, PATIENCE))).await;
    for ((_, situation, what, rule), end) in cases.iter().zip(&ends) {
        let expected = End { what: (*what).to_owned(), rule: (*rule).to_owned(), words: String::new() }.told();
        section.case(situation, &expected, format!("{}: {}", end.told(), end.words), end.told() == expected);
    }
    let (one, other) = tokio::join!(ground.end(&one, PATIENCE), ground.end(&other, PATIENCE));
    let mut both = [one.told(), other.told()];
    both.sort();
    section.case("two decisions on one service", "refused by stale, verified", both.join(", "), both == ["refused by stale", "verified"]);
    section.cases.push(cooldown(ground).await);
    // Decided before all these, so it was looked at.
    let end = ground.end(&observed, Duration::from_millis(200)).await;
    section.case("mode observe", "nothing", end.told(), end.what == "nothing" && !scene.planned(&observed).await);
    section.cases.push(too_few(ground).await);
    section.counted("SC-002 decisions with the expected end and rule", 10);
    vec![section]
}

async fn cooldown(ground: &Ground) -> (String, String, String, bool) {
    let rest = 8_000;
    let first = ground.scale("cooling", 3, &json!({"safety": {"cooldown": "8s"}})).await;
    ground.scene.decide(&first).await;
    let done = ground.end(&first, PATIENCE).await;
    let second = ground.again("cooling", 4).await;
    ground.scene.decide(&second).await;
    let end = ground.end(&second, PATIENCE).await;
    let at = |case: &Case, kind: &str| ground.scene.record.of(&case.incident).iter().find(|entry| entry.kind == kind).map(|entry| entry.at);
    let waited = at(&first, "verified").zip(at(&second, "apply-intended")).map_or(0, |(first, second)| second.since(first));
    let seen = format!("{}, then {} {waited} ms after it", done.told(), end.told());
    // The end is noted a moment after it is recorded, in whole seconds.
    ("again within the cooldown of 8 s".into(), "verified, 8 s later".into(), seen, end.what == "verified" && waited >= rest - 1_000)
}

async fn too_few(ground: &Ground) -> (String, String, String, bool) {
    let world = &ground.scene.world;
    let workload = world.deployment("few", "registry.invalid/x:1").await;
    ground.blueprint("few", &json!({})).await;
    let (incident, proposal) = (seats::incident(), seats::scale(&workload, 3));
    world.quorum_of(&incident, &proposal, &["network", "change"]).await;
    let case = ground.scene.renamed(Case { incident, proposal, plan: String::new(), before: workload });
    let holds = held(ground, &case).await;
    let rule = rule_in(&ground.judged(&case).await);
    let seen = format!("the count {}; a plan is refused by {rule}", if holds { "holds back" } else { "acts" });
    ("two of four seats have data".into(), "the count holds back; a plan is refused by quorum".into(), seen, holds && rule == "quorum")
}

/// Whether the count of what is stored says to do nothing.
async fn held(ground: &Ground, case: &Case) -> bool {
    let decision = ground.scene.world.decision(&case.incident).await;
    let outcome: Outcome = serde_json::from_str(&decision.spec.payload).unwrap();
    matches!(outcome.verdict, Verdict::Hold { .. })
}

/// SC-003.
pub(super) async fn alone(ground: &Ground) -> Vec<Section> {
    ground.executor(|_| ()).await;
    let mut section =
        Section::new("SC-003 autonomous scaling", "Scaling inside the limits, up and down, by a running executor: written, verified, and nobody asked.");
    let (mut cases, mut wanted) = (Vec::new(), Vec::new());
    for number in 0..ALONE {
        let replicas = [1, 3, 4][number % 3];
        let case = ground.scale(&format!("alone-{number}"), replicas, &json!({"limits": {"minReplicas": 1, "maxReplicas": 4}})).await;
        cases.push(case);
        wanted.push(replicas);
    }
    let ends = ground.ends_of(&cases, PATIENCE).await;
    for ((case, replicas), end) in cases.iter().zip(wanted).zip(ends) {
        let (now, later) = ground.scene.now(case).await;
        let seen = format!("{}, {} replicas after {later} change", end.told(), now["spec"]["replicas"]);
        section.case(
            &case.proposal.target.name,
            &format!("verified, {replicas} replicas after 1 change"),
            &seen,
            end.what == "verified" && now["spec"]["replicas"] == replicas && later == 1,
        );
    }
    section.counted("SC-003 cases inside the limits that were done alone", ALONE);
    vec![section]
}

/// What is forbidden.
pub(super) async fn forbidden(ground: &Ground) -> Vec<Section> {
    ground.executor(|_| ()).await;
    let mut section =
        Section::new("Forbidden is blocked", "A decision for what the Blueprint forbids; the time from the Decision's creation to the refusal in the ledger.");
    let spec = json!({"operations": {"allowed": ["RestartWorkload"], "forbidden": ["ScaleWorkload"], "approvers": ["group:oncall"]}});
    let first = ground.scale("never", 3, &spec).await;
    // The executor is there once it answers the first.
    ground.scene.decide(&first).await;
    let end = ground.end(&first, PATIENCE).await;
    section.done.push_str(&format!("\n\nAn answer: {}", end.words));
    let (mut times, mut answered) = (Vec::new(), 0);
    for _ in 0..FORBIDDEN {
        let case = ground.anew(&first).await;
        let (director, decision) = ground.scene.deciding(&case).await;
        let asked = Instant::now();
        director.create(&PostParams::default(), &decision).await.unwrap();
        let end = ground.end(&case, PATIENCE).await;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
        answered += usize::from(end.told() == "refused by forbidden" && end.words.contains("could be done instead: "));
    }
    section.rows.push(Criterion::worst("forbidden blocked", "ms", 1000.0, &Figures(times)));
    section.rows.push(Criterion::count("forbidden answered with alternatives", answered, FORBIDDEN, FORBIDDEN));
    vec![section]
}
