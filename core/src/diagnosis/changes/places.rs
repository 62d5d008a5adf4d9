//! Where it broke first: figures and traces only. What a callee explains is no suspect; neither is a callee that was given up on.

use std::collections::{BTreeMap, BTreeSet};

use super::Incident;
use super::shifts::Shift;
use super::spans::Calls;
use super::weighing::either;
use super::words::{begins, words};

/// A service and how much speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place<'a> {
    pub(super) service: &'a str,
    /// 0 to 1.
    pub(super) strength: f64,
    /// When the first of its figures moved.
    pub(super) onset: Option<i64>,
    pub(super) grounds: Vec<String>,
}

/// What users feel: slow, wrong or no answers.
const SYMPTOMS: &[&str] =
    &["latency", "duration", "p 99", "p 95", "p 50", "error", "fail", "5 xx", "availab", "timeout", "panic", "reject", "oom", "restart", "wait", "success"];
/// How many come, and who hung up: what callers do to a service, not what it does.
const OF_CALLERS: &[&str] = &["request", "rps", "qps", "throughput", "traffic", "cancel"];

/// Every service that was seen, most suspicious first; of equals the first by name.
pub(super) fn rank<'a>(incident: &'a Incident, shifts: &[Shift<'a>], calls: &Calls<'a>) -> Vec<Place<'a>> {
    let alerting = incident.alert.service.as_deref();
    let mut seen: BTreeSet<&str> = shifts.iter().map(|shift| shift.service).chain(alerting).collect();
    seen.extend(incident.series.iter().map(|series| series.service.as_str()));
    seen.extend(incident.spans.iter().map(|span| span.service.as_str()));
    let traced: BTreeSet<&str> = incident.spans.iter().map(|span| span.service.as_str()).collect();
    let deployed: BTreeSet<&str> = incident.deploys.iter().map(|deploy| deploy.service.as_str()).collect();
    let trouble: BTreeMap<&str, f64> = seen.iter().map(|service| (*service, suffering(service, shifts))).collect();
    let first = shifts.iter().filter(|shift| !of_callers(shift)).map(|shift| shift.onset).min();
    let mut places: Vec<Place<'_>> = seen
        .into_iter()
        .map(|service| {
            let mut grounds = Vec::new();
            let own = trouble.get(service).copied().unwrap_or_default();
            let mut strength = own * 0.4;
            let onset = shifts.iter().filter(|shift| shift.service == service && !of_callers(shift)).map(|shift| shift.onset).min();
            if own > 0.0 {
                grounds.push(format!("its own figures moved, {own:.2} of 1"));
            }
            if alerting == Some(service) {
                strength = either(strength, 0.4);
                grounds.push("the alert is about it".to_owned());
            }
            if let Some(origin) = calls.origins.get(service) {
                strength = either(strength, origin * 0.35);
                grounds.push(format!("{origin:.2} of the failed requests failed here first"));
            }
            if calls.abandoning.contains(service) || calls.repeating.contains(service) {
                strength = either(strength, 0.3);
                grounds.push("its requests give up early or ask again and again".to_owned());
            }
            if let (Some(onset), Some(first)) = (onset, first)
                && onset.saturating_sub(first) <= 120
            {
                strength = either(strength, 0.1);
            }
            if let Some(callee) = explained(service, calls, &trouble, own) {
                strength *= 0.5;
                grounds.push(format!("its callee `{callee}` explains it"));
            }
            if !traced.contains(service) && !deployed.contains(service) && alerting != Some(service) {
                // A part of the platform: what runs on it is what fails first.
                strength *= 0.5;
            }
            Place { service, strength, onset, grounds }
        })
        .collect();
    places.sort_by(|a, b| b.strength.total_cmp(&a.strength).then(a.service.cmp(b.service)));
    places
}

fn of_callers(shift: &Shift<'_>) -> bool {
    let name = words(shift.metric);
    OF_CALLERS.iter().any(|pattern| begins(&name, pattern)) && !SYMPTOMS.iter().any(|pattern| begins(&name, pattern))
}

/// How far a service's figures are off; symptoms more than other figures.
fn suffering(service: &str, shifts: &[Shift<'_>]) -> f64 {
    let parts = shifts.iter().filter(|shift| shift.service == service && !of_callers(shift)).map(|shift| {
        let name = words(shift.metric);
        let symptom = SYMPTOMS.iter().any(|pattern| begins(&name, pattern));
        shift.strength * if symptom { 1.0 } else { 0.7 }
    });
    parts.fold(0.0, f64::max)
}

/// A callee that failed first and suffers about as much, unless this service itself misuses it.
fn explained<'a>(service: &str, calls: &Calls<'a>, trouble: &BTreeMap<&str, f64>, own: f64) -> Option<&'a str> {
    if calls.abandoning.contains(service) || calls.repeating.contains(service) {
        return None;
    }
    let mine = calls.origins.get(service).copied().unwrap_or_default();
    calls.edges.iter().filter(|(caller, callee)| *caller == service && *callee != service && !calls.abandoned.contains(callee)).map(|(_, callee)| *callee).find(
        |callee| {
            let theirs = calls.origins.get(callee).copied().unwrap_or_default();
            let suffers = trouble.get(callee).copied().unwrap_or_default();
            (theirs > mine && (suffers > own * 0.5 || theirs > 0.5)) || (calls.origins.is_empty() && suffers > 0.4 && suffers > own * 0.7)
        },
    )
}
