//! Which change made it, if one did: where and when it was deployed, and whether its diff makes this kind of fault.

use std::collections::{BTreeMap, BTreeSet};

use super::classes::Class;
use super::diff::{self, Effect, Reading};
use super::places::Place;
use super::spans::Calls;
use super::weighing::Weight;
use super::{Commit, Incident};

/// Samples are a minute apart, and so may be the true onset and the first sample that shows it.
const SLACK: i64 = 120;
/// The least fit at which a change is blamed.
const BLAMED: f64 = 0.45;
/// A switch breaks things at once.
const AT_ONCE: i64 = 300;

/// Deployed commits by name, with what they do.
pub(super) type Readings<'a> = BTreeMap<&'a str, (&'a Commit, Reading)>;

/// What made it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cause<'a> {
    Commit { commit: &'a Commit, fit: f64, reading: Reading },
    Flag(&'a str),
    Nothing,
}

/// Reads what was deployed; what was only written broke nothing.
pub(super) fn readings(incident: &Incident) -> Readings<'_> {
    let deployed: BTreeSet<&str> = incident.deploys.iter().map(|deploy| deploy.commit.as_str()).collect();
    incident.commits.iter().filter(|commit| deployed.contains(commit.sha.as_str())).map(|commit| (commit.sha.as_str(), (commit, diff::read(commit)))).collect()
}

/// The kind of fault together with what made it: the pair for which most speaks.
pub(super) fn explain<'a>(
    incident: &'a Incident,
    place: &Place<'_>,
    weights: &[Weight],
    calls: &Calls<'_>,
    readings: &Readings<'a>,
) -> Option<(Weight, Cause<'a>)> {
    let mut best: Option<(f64, &Weight, Cause<'a>)> = None;
    for weight in weights.iter().filter(|weight| weight.all > 0.0) {
        let fitting = fitting(incident, place, weight, calls, readings);
        let fit = fitting.as_ref().map_or(0.0, |(_, fit, _)| *fit);
        // A fault from outside needs no change; one of code without any fitting change is less likely.
        let score = weight.all * if weight.class.ambient { 1.0_f64.max(0.75 + 0.5 * fit) } else { 0.75 + 0.5 * fit };
        if best.as_ref().is_none_or(|(most, _, _)| score > *most) {
            let blamed = if weight.class.ambient { 0.6 } else { BLAMED };
            let cause = match fitting {
                Some((commit, fit, reading)) if fit >= blamed => Cause::Commit { commit, fit, reading },
                _ => Cause::Nothing,
            };
            best = Some((score, weight, cause));
        }
    }
    let (_, weight, mut cause) = best?;
    if cause == Cause::Nothing && !weight.class.ambient {
        cause = flag(incident, place, weight, calls).unwrap_or(Cause::Nothing);
    }
    Some((weight.clone(), cause))
}

/// The deployed commit that fits best; of equals the one that was deployed later before the onset.
fn fitting<'a>(incident: &'a Incident, place: &Place<'_>, weight: &Weight, calls: &Calls<'_>, readings: &Readings<'a>) -> Option<(&'a Commit, f64, Reading)> {
    let onset = onset(incident, place, weight)?;
    let mut best: Option<(f64, i64, &'a Commit, &Reading)> = None;
    for deploy in &incident.deploys {
        let Some((commit, reading)) = readings.get(deploy.commit.as_str()) else { continue };
        let fit = relevance(weight.class, reading) * near(place.service, &deploy.service, calls) * timely(onset, deploy.at, weight);
        let after_alert = incident.alert.at.is_some_and(|alert| deploy.at > alert);
        if fit > 0.0
            && !after_alert
            && best.as_ref().is_none_or(|(most, at, known, _)| (fit, deploy.at, commit.sha.as_str()) > (*most, *at, known.sha.as_str()))
        {
            best = Some((fit, deploy.at, commit, reading));
        }
    }
    best.map(|(fit, _, commit, reading)| (commit, fit, reading.clone()))
}

/// A switch at the place or beside it that was thrown just before.
fn flag<'a>(incident: &'a Incident, place: &Place<'_>, weight: &Weight, calls: &Calls<'_>) -> Option<Cause<'a>> {
    let onset = onset(incident, place, weight)?;
    let mut thrown: Vec<_> = incident
        .flags
        .iter()
        .filter(|flag| (-SLACK..=AT_ONCE).contains(&onset.saturating_sub(flag.at)) && near(place.service, &flag.service, calls) > 0.7)
        .collect();
    thrown.sort_by(|a, b| (b.at, &a.name).cmp(&(a.at, &b.name)));
    thrown.first().map(|flag| Cause::Flag(&flag.name))
}

/// When it began: the first figure of this kind of fault or of the place, else the alert.
fn onset(incident: &Incident, place: &Place<'_>, weight: &Weight) -> Option<i64> {
    let first = match (weight.onset, place.onset) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    first.or(incident.alert.at)
}

/// Whether the diff makes this kind of fault.
fn relevance(class: &Class, reading: &Reading) -> f64 {
    if reading.inert {
        return 0.0;
    }
    let fits = class.changes.iter().filter(|(effect, _)| reading.effects.contains(effect)).map(|(_, percent)| f64::from(*percent) / 100.0);
    let generic = if reading.effects.contains(&Effect::BehaviourChanged) { 0.15 } else { 0.0 };
    fits.fold(generic, f64::max)
}

/// Code fails where it runs, and now and then where it calls or is called.
fn near(place: &str, deployed: &str, calls: &Calls<'_>) -> f64 {
    if place == deployed {
        1.0
    } else if calls.edges.contains(&(place, deployed)) || calls.edges.contains(&(deployed, place)) {
        0.75
    } else {
        0.5
    }
}

/// Most faults show soon after their deployment; those that creep take their time. What was deployed after the first sign but
/// before the leap may still have made it, if the first sign was something else.
fn timely(onset: i64, deployed: i64, weight: &Weight) -> f64 {
    let gap = onset.saturating_sub(deployed);
    if gap < -SLACK {
        if weight.leapt.is_some_and(|leapt| leapt.saturating_sub(deployed) >= -SLACK) { 0.6 } else { 0.2 }
    } else if gap <= 1_800 {
        1.0
    } else if weight.crept {
        0.95
    } else if gap <= 7_200 {
        0.75
    } else {
        0.5
    }
}
