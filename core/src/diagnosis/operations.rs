//! The shape of requests: what a service does for each call that comes in, by the operations of its traces, and what of that has
//! vanished, appeared or slowed. Counts are compared per incoming call, so that load does not matter.

use std::collections::{BTreeMap, BTreeSet};

use super::recording::{Alert, Operation, Recording, Seconds};

/// Least expected count that can be missed.
const LEAST_EXPECTED: f64 = 6.0;
/// Standard deviations from which on a count is no chance.
const SURE: f64 = 4.0;
/// Fewest incoming calls that teach.
const LEAST_TAUGHT: f64 = 10.0;

/// What changed in a service's work.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Whose.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// Who it calls, if it is a call.
    pub peer: String,
    /// How often it would have been done.
    pub expected: f64,
    /// How often it was.
    pub seen: f64,
    /// How far from chance, in standard deviations; negative where it vanished.
    pub surprise: f64,
}

/// The way between two services, as clients' spans show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Who calls.
    pub caller: String,
    /// Who is called.
    pub callee: String,
    /// Usual mean time on the way, milliseconds.
    pub usual_ms: f64,
    /// The same in the incident.
    pub now_ms: f64,
}

/// Whose work has another shape than usual, operation by operation. Nothing without traces on both sides.
#[must_use]
pub fn changes(recording: &Recording) -> Option<Vec<Change>> {
    let (before, during) = sides(recording)?;
    let inflow_before = inflow(&before);
    let (starts, mut found) = (starts(&during), BTreeMap::<(&str, &str, &str), Change>::new());
    // The incident begins somewhere among what is looked at: each beginning is tried, the clearest answer counts.
    for start in starts {
        let since: Vec<&Operation> = during.iter().copied().filter(|operation| operation.time >= start).collect();
        let inflow_now = inflow(&since);
        let (counts_before, counts_now) = (counts(&before), counts(&since));
        let names: BTreeSet<&(&str, &str, &str)> = counts_before.keys().chain(counts_now.keys()).collect();
        for name in names {
            let (service, operation, peer) = *name;
            let (Some(usual_calls), Some(calls)) = (inflow_before.get(service), inflow_now.get(service)) else { continue };
            if *usual_calls < LEAST_TAUGHT {
                continue;
            }
            let expected = counts_before.get(name).copied().unwrap_or(0.0) / usual_calls * calls;
            let seen = counts_now.get(name).copied().unwrap_or(0.0);
            let Some(surprise) = surprise(expected, seen, *usual_calls, *calls) else { continue };
            let change = Change { service: service.into(), operation: operation.into(), peer: peer.into(), expected, seen, surprise };
            let kept = found.entry(*name).or_insert_with(|| change.clone());
            if change.surprise.abs() > kept.surprise.abs() {
                *kept = change;
            }
        }
    }
    Some(found.into_values().collect())
}

/// How many standard deviations `seen` is from `expected`, where that is more than chance and more than a shift.
fn surprise(expected: f64, seen: f64, usual_calls: f64, calls: f64) -> Option<f64> {
    // What was learned from few calls is itself uncertain.
    let spread = (expected.max(1.0) * (1.0 + calls / usual_calls)).sqrt();
    let surprise = (seen - expected) / spread;
    let vanished = expected >= LEAST_EXPECTED && seen <= expected * 0.6 && surprise <= -SURE.min(expected / spread);
    let appeared = seen >= LEAST_EXPECTED && seen >= expected * 3.0 && surprise >= SURE;
    (vanished && surprise <= -2.0 || appeared).then_some(surprise)
}

/// The time on the way between each two services, usual and now.
#[must_use]
pub fn ways(recording: &Recording) -> Vec<Way> {
    let Some((before, during)) = sides(recording) else { return Vec::new() };
    let usual = on_the_way(&before);
    let mut slowest: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for start in starts(&during) {
        let since: Vec<&Operation> = during.iter().copied().filter(|operation| operation.time >= start).collect();
        for (way, (count, total)) in on_the_way(&since) {
            if count >= 5.0 {
                let mean = total / count;
                let kept = slowest.entry(way).or_insert(mean);
                *kept = kept.max(mean);
            }
        }
    }
    let way = |((caller, callee), now_ms): ((&str, &str), f64)| {
        let (count, total) = usual.get(&(caller, callee))?;
        (*count >= 5.0).then(|| Way { caller: caller.into(), callee: callee.into(), usual_ms: total / count, now_ms })
    };
    slowest.into_iter().filter_map(way).collect()
}

/// Operations that teach, and those that may be of the incident.
fn sides(recording: &Recording) -> Option<(Vec<&Operation>, Vec<&Operation>)> {
    let alert = &recording.alert;
    let before: Vec<&Operation> = recording.operations.iter().filter(|operation| alert.teaches(operation.time)).collect();
    let roots =
        |operations: &[&Operation]| operations.iter().filter(|operation| operation.caller != operation.service).map(|operation| operation.count).sum::<f64>();
    let before = if roots(&before) >= 10.0 * LEAST_TAUGHT { before } else { recording.reference_operations.iter().collect() };
    let during: Vec<&Operation> = recording.operations.iter().filter(|operation| recent(alert, operation.time)).collect();
    (!before.is_empty() && !during.is_empty()).then_some((before, during))
}

fn recent(alert: &Alert, time: Seconds) -> bool {
    alert.during(time)
}

/// Beginnings to try: each while, as long as enough lies behind it.
fn starts(during: &[&Operation]) -> Vec<Seconds> {
    let mut times: Vec<Seconds> = during.iter().map(|operation| operation.time).collect();
    times.sort_unstable();
    times.dedup();
    times.truncate(32);
    times
}

/// Calls that came into each service: its spans under another service's, or under nobody's.
fn inflow<'a>(operations: &[&'a Operation]) -> BTreeMap<&'a str, f64> {
    let mut inflow = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.caller != operation.service) {
        *inflow.entry(operation.service.as_str()).or_insert(0.0) += operation.count;
    }
    inflow
}

/// How often each service did what by itself or called whom.
fn counts<'a>(operations: &[&'a Operation]) -> BTreeMap<(&'a str, &'a str, &'a str), f64> {
    let mut counts = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.caller == operation.service) {
        *counts.entry((operation.service.as_str(), operation.operation.as_str(), operation.peer.as_str())).or_insert(0.0) += operation.count;
    }
    counts
}

fn on_the_way<'a>(operations: &[&'a Operation]) -> BTreeMap<(&'a str, &'a str), (f64, f64)> {
    let mut ways: BTreeMap<(&str, &str), (f64, f64)> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| !operation.peer.is_empty()) {
        let (count, total) = ways.entry((operation.service.as_str(), operation.peer.as_str())).or_default();
        *count += operation.count;
        *total += operation.count * operation.self_ms;
    }
    ways
}
