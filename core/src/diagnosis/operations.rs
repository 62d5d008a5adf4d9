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

/// How often one service calls another for each call that comes in to it, as a multiple of the usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Who calls.
    pub caller: String,
    /// Who is called.
    pub callee: String,
    /// The multiple.
    pub ratio: f64,
}

/// The shape of all services' work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// What is done more or less often than usual.
    pub changes: Vec<Change>,
    /// All calls, from where the changes are clearest.
    pub calls: Vec<Call>,
}

/// Whose work has another shape than usual, operation by operation. Nothing without traces on both sides. The incident begins
/// somewhere among what is looked at: each beginning is tried, and the clearest answer counts.
#[must_use]
pub fn shape(recording: &Recording) -> Option<Shape> {
    let (before, during) = sides(recording)?;
    let usual = Tally::of(&before);
    let mut clearest: BTreeMap<(&str, &str, &str), Change> = BTreeMap::new();
    let (mut most, mut calls) = (0.0_f64, Vec::new());
    for start in starts(&during) {
        let since: Vec<&Operation> = during.iter().copied().filter(|operation| operation.time >= start).collect();
        let now = Tally::of(&since);
        for (name, change) in changes(&usual, &now) {
            if change.surprise.abs() > most {
                most = change.surprise.abs();
                calls = ratios(&usual, &now);
            }
            let kept = clearest.entry(name).or_insert_with(|| change.clone());
            if change.surprise.abs() > kept.surprise.abs() {
                *kept = change;
            }
        }
    }
    Some(Shape { changes: clearest.into_values().collect(), calls })
}

fn changes<'a>(usual: &Tally<'a>, now: &Tally<'a>) -> Vec<((&'a str, &'a str, &'a str), Change)> {
    let names: BTreeSet<&(&str, &str, &str)> = usual.counts.keys().chain(now.counts.keys()).collect();
    let change = |name: &(&'a str, &'a str, &'a str)| {
        let (service, operation, peer) = *name;
        let (usual_calls, calls) = (*usual.inflow.get(service)?, *now.inflow.get(service)?);
        // Fewer or more calls than users' requests explain: other requests come in, so other work is no change of its own.
        if usual_calls < LEAST_TAUGHT || usual.roots > 0.0 && now.roots > 0.0 && !alike(calls / now.roots, usual_calls / usual.roots) {
            return None;
        }
        let expected = usual.counts.get(name).copied().unwrap_or(0.0) / usual_calls * calls;
        let seen = now.counts.get(name).copied().unwrap_or(0.0);
        let surprise = surprise(expected, seen, usual_calls, calls)?;
        Some((*name, Change { service: service.into(), operation: operation.into(), peer: peer.into(), expected, seen, surprise }))
    };
    names.into_iter().filter_map(change).collect()
}

fn alike(one: f64, other: f64) -> bool {
    one >= other * 0.6 && other >= one * 0.6
}

fn ratios(usual: &Tally<'_>, now: &Tally<'_>) -> Vec<Call> {
    let sums = |tally: &Tally<'_>| {
        let mut sums: BTreeMap<(String, String), f64> = BTreeMap::new();
        for ((service, _, peer), count) in tally.counts.iter().filter(|((_, _, peer), _)| !peer.is_empty()) {
            let calls = tally.inflow.get(service).copied().unwrap_or(0.0).max(1.0);
            *sums.entry(((*service).to_owned(), (*peer).to_owned())).or_default() += count / calls;
        }
        sums
    };
    let now = sums(now);
    let call = |((caller, callee), usual): ((String, String), f64)| {
        let ratio = now.get(&(caller.clone(), callee.clone())).copied().unwrap_or(0.0) / usual.max(f64::MIN_POSITIVE);
        Call { caller, callee, ratio }
    };
    sums(usual).into_iter().map(call).collect()
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

/// Counts of some operations.
#[derive(Debug, Default)]
struct Tally<'a> {
    /// Users' requests: spans under nobody's.
    roots: f64,
    /// Calls that came into each service: its spans under another service's, or under nobody's.
    inflow: BTreeMap<&'a str, f64>,
    /// How often each service did what by itself, or called whom: service, operation, peer.
    counts: BTreeMap<(&'a str, &'a str, &'a str), f64>,
}

// === impl Tally ===

impl<'a> Tally<'a> {
    fn of(operations: &[&'a Operation]) -> Self {
        let mut tally = Self::default();
        for operation in operations {
            let service = operation.service.as_str();
            if operation.caller.is_empty() {
                tally.roots += operation.count;
            }
            if operation.caller == operation.service {
                *tally.counts.entry((service, &operation.operation, &operation.peer)).or_default() += operation.count;
            } else {
                *tally.inflow.entry(service).or_default() += operation.count;
            }
        }
        tally
    }
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
