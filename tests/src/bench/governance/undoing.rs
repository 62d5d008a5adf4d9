//! What did not help is undone in time, each service ends by its own Blueprint, and what people change of it holds at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assent_api::resources::RemediationPhase;
use futures::future::join_all;
use serde_json::json;

use super::ground::Ground;
use super::report::{Criterion, Section};
use crate::bench::rows::Figures;
use crate::scene::{Case, restart_of};

/// Longest that a case may take to its end.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often undoing is timed.
const UNDONE: usize = 6;
/// How often a change of intent is timed.
const EDITS: usize = 5;

/// SC-006.
pub(super) async fn undoing(ground: &Ground) -> Vec<Section> {
    ground.executor(|setting| setting.verify_within_seconds = 6).await;
    let mut section = Section::new(
        "SC-006 rollback effectiveness",
        "Scaling that does not make the service well: the time from the failed check, as the Remediation shows it, to the target as it was.",
    );
    let mut cases = Vec::new();
    for number in 0..UNDONE {
        let name = format!("undone-{number}");
        ground.scene.network.ill_of.lock().unwrap().insert(name.clone());
        cases.push(ground.scale(&name, 3, &json!({})).await);
    }
    let timed = async |case: &Case| {
        let moment = async |phase| {
            ground.scene.until_phase(case, phase).await;
            Instant::now()
        };
        let (failed, undone, ()) = tokio::join!(moment(RemediationPhase::Reverting), moment(RemediationPhase::Reverted), ground.scene.decide(case));
        undone.duration_since(failed).as_secs_f64()
    };
    let mut times = Vec::new();
    // Guardrail `one-writer` lets no more plans be open.
    for few in cases.chunks(3) {
        times.extend(join_all(few.iter().map(timed)).await);
    }
    for (case, seconds) in cases.iter().zip(&times) {
        let (now, later) = ground.scene.now(case).await;
        section.case(
            &case.proposal.target.name,
            "as it was, after 2 changes",
            format!("{seconds:.2} s; {later} changes"),
            now["spec"] == case.before["spec"] && later == 2,
        );
    }
    section.rows.push(Criterion::worst("SC-006 seconds from the failed check to undone", "s", 60.0, &Figures(times)));
    section.counted("SC-006 undone exactly", UNDONE);
    vec![section]
}

/// SC-007.
pub(super) async fn services(ground: &Ground) -> Vec<Section> {
    ground.executor(|setting| setting.verify_within_seconds = 20).await;
    let title = "SC-007 multi-service independence";
    let mut section =
        Section::new(title, "Ten services with ten different Blueprints, decided at the same time, after the circuit of one of them was opened by a failure.");
    let operations = |allowed: &[&str], forbidden: &[&str]| json!({"operations": {"allowed": allowed, "forbidden": forbidden, "approvers": ["group:oncall"]}});
    let opened = json!({"safety": {"cooldown": "1s", "breaker": {"failures": 1, "wait": "10m"}, "strikes": 5}});
    for ill in ["s-opened", "s-undone"] {
        ground.scene.network.ill_of.lock().unwrap().insert(ill.into());
    }
    let breaks = ground.scale("s-opened", 3, &opened).await;
    ground.scene.decide(&breaks).await;
    let broke = ground.end(&breaks, PATIENCE).await;
    let table = [
        ("s-alone", 3, json!({}), "verified"),
        ("s-fewer", 1, json!({"limits": {"minReplicas": 1, "maxReplicas": 2}}), "verified"),
        ("s-beyond", 4, json!({"limits": {"maxReplicas": 3}}), "asked"),
        ("s-forbids", 3, operations(&["RestartWorkload"], &["ScaleWorkload"]), "refused by forbidden"),
        ("s-observes", 3, json!({"mode": "observe"}), "nothing"),
        ("s-asks", 3, json!({"mode": "approve"}), "asked"),
        ("s-frozen", 3, json!({"freezes": [{"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "reason": "sale"}]}), "refused by blueprint"),
        ("s-unlisted", 3, operations(&["RestartWorkload"], &[]), "asked"),
        ("s-undone", 3, json!({"safety": {"cooldown": "2s"}}), "reverted"),
    ];
    let mut cases = Vec::new();
    for (name, replicas, spec, expected) in table {
        cases.push((ground.scale(name, replicas, &spec).await, expected));
    }
    // Another action would be held up by the circuit alone; the same one by its strike too, which people could lift.
    let restart = ground.scene.voted("s-opened", restart_of).await;
    cases.push((restart, "refused by breaker"));
    for (case, _) in &cases {
        ground.scene.decide(case).await;
    }
    let patience = |expected: &str| if expected == "nothing" { Duration::from_secs(20) } else { PATIENCE };
    let ends = join_all(cases.iter().map(|(case, expected)| ground.end(case, patience(expected)))).await;
    for ((case, expected), end) in cases.iter().zip(ends) {
        section.case(&case.proposal.target.name, expected, format!("{}: {}", end.told(), end.words), end.told() == *expected);
    }
    section.done.push_str(&format!(" That failure ended: {}.", broke.told()));
    section.counted("SC-007 services that ended by their own Blueprint", 10);
    vec![section]
}

/// SC-008.
pub(super) async fn intent(ground: &Ground) -> Vec<Section> {
    ground.executor(|_| ()).await;
    let mut section = Section::new(
        "SC-008 blueprint change response",
        "A Blueprint is edited to forbid what it allowed, and back: the time from the edit to the gate's refusal of a plan that was voted for before, to the executor's refusal after a fresh vote, and to the intent of the next one that is allowed again.",
    );
    let (mut gate, mut executor, mut widened) = (Vec::new(), Vec::new(), Vec::new());
    ground.scale("edited", 3, &json!({})).await;
    let allowed = json!({"operations": {"allowed": ["RestartWorkload", "ScaleWorkload"], "forbidden": null}});
    let forbidden = json!({"operations": {"allowed": ["RestartWorkload"], "forbidden": ["ScaleWorkload"]}});
    for run in 0..EDITS {
        let now = ground.scene.world.read_deployment("edited").await["spec"]["replicas"].as_u64().unwrap_or(2);
        let case = ground.again("edited", if now == 3 { 2 } else { 3 }).await;
        let before = ground.rested(&case).await;
        let edited = Instant::now();
        ground.edit("edited", &forbidden).await;
        let asked = async {
            // Votes that were cast before are refused for that alone; by which rule first, the facts decide.
            while ground.judged(&case).await.is_empty() {
                assert!(edited.elapsed() < PATIENCE, "the gate never went by it");
            }
            edited.elapsed().as_secs_f64()
        };
        let decided = async {
            let fresh = ground.anew(&case).await;
            ground.scene.decide(&fresh).await;
            (ground.end(&fresh, PATIENCE).await, edited.elapsed().as_secs_f64())
        };
        let (at_gate, (end, at_executor)) = tokio::join!(asked, decided);
        gate.push(at_gate);
        executor.push(at_executor);
        let edited = Instant::now();
        ground.edit("edited", &allowed).await;
        let again = ground.anew(&case).await;
        ground.scene.decide(&again).await;
        ground.scene.record.until(&again.incident, "apply-intended").await;
        widened.push(edited.elapsed().as_secs_f64());
        let done = ground.end(&again, PATIENCE).await;
        let seen = format!("{}, then {}", end.told(), done.told());
        section.case(
            &format!("run {}", run + 1),
            "refused by forbidden, then verified",
            &seen,
            before == "admitted" && seen == "refused by forbidden, then verified",
        );
    }
    for (what, times) in [("by the gate", gate), ("by the executor, with a fresh vote", executor), ("again allowed, with a fresh vote", widened)] {
        section.rows.push(Criterion::worst(&format!("SC-008 change of intent in force {what}"), "s", 60.0, &Figures(times)));
    }
    section.counted("SC-008 decisions by the edited Blueprint", EDITS);
    vec![section]
}

/// Nobody is ill any more.
pub(super) fn well(ground: &Ground) {
    ground.scene.network.ill_of.lock().unwrap().clear();
    ground.scene.network.ill.store(false, Ordering::Relaxed);
}
