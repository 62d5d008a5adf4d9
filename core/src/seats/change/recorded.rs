//! The change seat over a recording: whose work has another shape. A service that no longer does what it did for each call is suspect;
//! where several do, and all call the same one, that one turned them away.

use std::collections::{BTreeMap, BTreeSet};

use crate::ballot::{EvidenceClass, Principal};
use crate::diagnosis::operations::{self, Call, Change, Shape};
use crate::diagnosis::rollouts::{self, Rollouts};
use crate::diagnosis::{Recording, Suspicion, graded};
use crate::ids::{Domain, Millionths};

/// Who it suspects. Nothing: no figures of its classes that can be judged.
#[must_use]
pub fn suspect(recording: &Recording) -> Option<Vec<Suspicion>> {
    match (reshaped(recording), recording.rollouts.as_ref().map(rolled_out)) {
        (None, None) => None,
        (reshaped, rolled_out) => Some(reshaped.into_iter().chain(rolled_out).flatten().collect()),
    }
}

/// Rollouts whose new pods do worse than the old ones.
fn rolled_out(recorded: &Rollouts) -> Vec<Suspicion> {
    let probability = |strength: f64| {
        // From a half on a rollout is worth undoing.
        if strength >= 0.5 { graded(strength, (0.5, 1.0), (760, 980)) } else { graded(strength, (0.0, 0.5), (20, 600)) }
    };
    let suspicion = |rollout: rollouts::Suspicion| Suspicion {
        service: rollout.service,
        domain: rollout.domain,
        fault: rollout.fault,
        probability: probability(rollout.strength),
        source: (EvidenceClass::Change, Principal::ApiServer),
        grounds: rollout.grounds,
    };
    rollouts::judge(recorded).into_iter().filter(|rollout| rollout.strength > 0.0).map(suspicion).collect()
}

/// Who no longer does what it did.
fn reshaped(recording: &Recording) -> Option<Vec<Suspicion>> {
    let Shape { changes, calls } = operations::shape(recording)?;
    let mut by_service: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in &changes {
        by_service.entry(&change.service).or_default().push(change);
    }
    let edges = recording.edges();
    let changed: BTreeSet<&str> = by_service.keys().copied().collect();
    let mut suspicions = Vec::new();
    for (service, changes) in &by_service {
        // Whoever calls a changed service changes with it.
        let calls_changed = edges.iter().any(|(caller, callee)| caller == service && changed.contains(callee));
        let vanished = changes.iter().map(|change| -change.surprise).fold(0.0, f64::max);
        let appeared = changes.iter().map(|change| change.surprise).fold(0.0, f64::max);
        // What comes back after an earlier trouble appears too, so only what is missing says much.
        let (most, low, high) = match (calls_changed, vanished > 0.0) {
            (true, _) => (vanished.max(appeared), 250, 400),
            (false, true) => (vanished, 600, 960),
            (false, false) => (appeared, 300, 500),
        };
        suspicions.push(suspicion(service, graded(most, (2.0, 10.0), (low, high)), changes));
    }
    if changed.len() > 1
        && let Some(turned) = common(&calls, &changed)
    {
        let all: Vec<&Change> = by_service.values().flatten().copied().collect();
        suspicions.push(suspicion(turned, Millionths::new(850_000), &all));
    }
    Some(suspicions)
}

/// The one service that all changed ones call, and call less often than any other, though they still do: a call that fails ends what
/// would have called it again.
fn common<'a>(calls: &'a [Call], changed: &BTreeSet<&str>) -> Option<&'a str> {
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for call in calls.iter().filter(|call| changed.contains(call.caller.as_str()) && !changed.contains(call.callee.as_str())) {
        ratios.entry(&call.callee).or_default().push(call.ratio);
    }
    let shared = ratios.into_iter().filter(|(_, ratios)| ratios.len() == changed.len() && ratios.iter().all(|ratio| (0.05..0.7).contains(ratio)));
    let most = |ratios: &[f64]| ratios.iter().copied().fold(0.0, f64::max);
    shared.min_by(|(_, a), (_, b)| most(a).total_cmp(&most(b))).map(|(callee, _)| callee)
}

fn suspicion(service: &str, probability: Millionths, changes: &[&Change]) -> Suspicion {
    let mut clearest: Vec<&&Change> = changes.iter().collect();
    clearest.sort_by(|a, b| b.surprise.abs().total_cmp(&a.surprise.abs()).then_with(|| a.operation.cmp(&b.operation)));
    let ground = |change: &&Change| format!("an operation of {} was done {:.0} times, expected {:.0}", change.service, change.seen, change.expected);
    Suspicion {
        service: service.to_owned(),
        domain: Domain::Application,
        fault: "changed-shape".into(),
        probability,
        source: (EvidenceClass::Requests, Principal::Traces),
        grounds: clearest.into_iter().take(4).map(ground).collect(),
    }
}
