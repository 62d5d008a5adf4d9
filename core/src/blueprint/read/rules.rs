//! Limits, safety, verification, windows and freezes.

use super::{Layer, MAX_ITEMS, MAX_WORDS};
use crate::blueprint::condition::COMPARISONS;
use crate::blueprint::moments::{DAYS, Freeze, Window, minute, moment};
use crate::blueprint::problem::{Field, Problems};
use crate::blueprint::rules::{Bounds, Canary, Check, Comparison, ContainerBounds, Figure, Limits, Rollback, Safety, Verification};
use crate::blueprint::values::{bytes, duration, millicores, share};
use crate::canary::MAX_WATCH_MS;

pub(super) const LIMITS: &[&str] = &["minReplicas", "maxReplicas", "containers"];
pub(super) const CONTAINER: &[&str] = &["name", "cpu", "memory"];
pub(super) const BOUNDS: &[&str] = &["min", "max", "target"];
pub(super) const SAFETY: &[&str] = &["cooldown", "operationsPerHour", "breaker", "strikes", "canary"];
pub(super) const CANARY: &[&str] = &["enabled", "replicas", "watch"];
pub(super) const BREAKER: &[&str] = &["failures", "wait"];
pub(super) const VERIFICATION: &[&str] = &["enabled", "stabilization", "checks", "rollback"];
pub(super) const CHECK: &[&str] = &["name", "type", "query", "target", "critical", "rollbackTrigger"];
pub(super) const ROLLBACK: &[&str] = &["enabled", "automatic", "onCriticalFailure"];
pub(super) const WINDOW: &[&str] = &["days", "from", "until"];
pub(super) const FREEZE: &[&str] = &["from", "until", "reason"];

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Longest wait for a system to settle: the verdict must come within a plan's life.
const MAX_STABILIZATION_MS: u64 = 15 * 60 * 1000;

/// Indicators that a check may name without a query, and the unit of each.
const INDICATORS: [(&str, Unit); 9] = [
    ("latency_p50", Unit::Duration),
    ("latency_p90", Unit::Duration),
    ("latency_p95", Unit::Duration),
    ("latency_p99", Unit::Duration),
    ("error_rate", Unit::Share),
    ("availability", Unit::Share),
    ("cpu_utilization", Unit::Share),
    ("memory_utilization", Unit::Share),
    ("ready_replicas", Unit::Number),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Duration,
    Share,
    Number,
}

pub(super) fn limits(field: &Field<'_>, layer: Layer, problems: &mut Problems) -> Limits {
    problems.object(field, LIMITS);
    let (least, most) = (field.at("minReplicas"), field.at("maxReplicas"));
    let min_replicas = problems.integer(&least, 0..=u32::MAX);
    let max_replicas = problems.integer(&most, 0..=u32::MAX);
    if let (Some(min), Some(max)) = (min_replicas, max_replicas)
        && min > max
    {
        problems.tell(&least, format!("minReplicas {min} is more than maxReplicas {max}"), "limits that leave a number of replicas");
    }
    let mut containers: Vec<ContainerBounds> = Vec::new();
    for item in problems.items(&field.at("containers"), MAX_ITEMS) {
        problems.object(&item, CONTAINER);
        let name = problems.needed(&item.at("name"), 63, "the container's name, or `*` for every other");
        let cpu = bounds(&item.at("cpu"), |problems, field| problems.figure(field, millicores, "processors", "500m"), problems);
        let memory = bounds(&item.at("memory"), |problems, field| problems.figure(field, bytes, "bytes", "512Mi"), problems);
        let Some(name) = name else { continue };
        if containers.iter().any(|other| other.name == name) {
            problems.tell(&item.at("name"), "is named twice", "one entry for a container");
        } else {
            containers.push(ContainerBounds { name: name.to_owned(), cpu, memory });
        }
    }
    Limits { closed: layer == Layer::Service, min_replicas, max_replicas, containers }
}

fn bounds(field: &Field<'_>, read: impl Fn(&mut Problems, &Field<'_>) -> Option<u64>, problems: &mut Problems) -> Bounds {
    problems.object(field, BOUNDS);
    let (min, max, target) = (field.at("min"), field.at("max"), field.at("target"));
    let bounds = Bounds { min: read(problems, &min), max: read(problems, &max), target: read(problems, &target) };
    if bounds.max == Some(0) {
        problems.tell(&max, "leaves nothing", "more than 0");
    }
    if let (Some(least), Some(most)) = (bounds.min, bounds.max)
        && least > most
    {
        problems.tell(&min, "is more than `max`", "bounds that leave something between them");
    } else if let Some(aim) = bounds.target
        && (aim < bounds.min.unwrap_or(0) || aim > bounds.max.unwrap_or(u64::MAX))
    {
        problems.tell(&target, "is not between `min` and `max`", "an amount between them");
    }
    bounds
}

/// A duration between two others.
pub(super) fn time(field: &Field<'_>, least: u64, most: u64, problems: &mut Problems) -> Option<u64> {
    let value = problems.figure(field, duration, "a duration", "60s")?;
    if value < least || value > most {
        problems.tell(field, format!("must be from {} to {} s", least / 1000, most / 1000), "a duration between them");
        return None;
    }
    Some(value)
}

pub(super) fn safety(field: &Field<'_>, problems: &mut Problems) -> Safety {
    problems.object(field, SAFETY);
    let breaker = field.at("breaker");
    problems.object(&breaker, BREAKER);
    Safety {
        cooldown_ms: time(&field.at("cooldown"), 1_000, DAY_MS, problems),
        operations_per_hour: problems.integer(&field.at("operationsPerHour"), 1..=1_000),
        breaker_failures: problems.integer(&breaker.at("failures"), 1..=20),
        breaker_wait_ms: time(&breaker.at("wait"), 1_000, 7 * DAY_MS, problems),
        strikes: problems.integer(&field.at("strikes"), 1..=20),
        canary: canary(&field.at("canary"), problems),
    }
}

fn canary(field: &Field<'_>, problems: &mut Problems) -> Canary {
    problems.object(field, CANARY);
    let canary = Canary {
        enabled: problems.flag(&field.at("enabled")),
        replicas: problems.integer(&field.at("replicas"), 2..=u32::MAX),
        watch_ms: time(&field.at("watch"), 5_000, MAX_WATCH_MS.into(), problems),
    };
    if canary.enabled == Some(false) && (canary.replicas.is_some() || canary.watch_ms.is_some()) {
        problems.tell(&field.at("enabled"), "is off, and what it does is set", "leave it on, or say nothing else");
    }
    canary
}

pub(super) fn verification(field: &Field<'_>, problems: &mut Problems) -> Verification {
    problems.object(field, VERIFICATION);
    let enabled = problems.flag(&field.at("enabled"));
    let stabilization_ms = time(&field.at("stabilization"), 1_000, MAX_STABILIZATION_MS, problems);
    let mut checks: Vec<Check> = Vec::new();
    for item in problems.items(&field.at("checks"), MAX_ITEMS) {
        let Some(check) = check(&item, problems) else { continue };
        if checks.iter().any(|other| other.name == check.name) {
            problems.tell(&item.at("name"), "is named twice", "one entry for a check, or another name");
        } else {
            checks.push(check);
        }
    }
    let back = field.at("rollback");
    problems.object(&back, ROLLBACK);
    let rollback = Rollback {
        enabled: problems.flag(&back.at("enabled")),
        automatic: problems.flag(&back.at("automatic")),
        on_critical_failure: problems.flag(&back.at("onCriticalFailure")),
    };
    if rollback.enabled == Some(false) && (rollback.automatic == Some(true) || rollback.on_critical_failure == Some(true)) {
        problems.tell(&back.at("enabled"), "is off, and what it does is on", "leave it on, or turn both off");
    }
    Verification { enabled, stabilization_ms, checks, rollback }
}

fn check(item: &Field<'_>, problems: &mut Problems) -> Option<Check> {
    problems.object(item, CHECK);
    let name = problems.needed(&item.at("name"), 63, "for example `latency_p95`");
    let promql = problems.choice(&item.at("type"), &[("threshold", false), ("promql", true)]).unwrap_or(item.at("query").is_there());
    let query = problems.text(&item.at("query"), 4096);
    let indicator = name.and_then(|name| INDICATORS.iter().find(|(known, _)| *known == name));
    match (promql, query.is_some()) {
        (true, false) => problems.tell(&item.at("query"), "must be given for type `promql`", "an expression that gives one number"),
        (false, true) => problems.tell(&item.at("query"), "is read for type `promql` only", "`type: promql`"),
        (false, false) if name.is_some() && indicator.is_none() => {
            let names: Vec<&str> = INDICATORS.iter().map(|(name, _)| *name).collect();
            problems.tell(&item.at("name"), "is no indicator that is known here", format!("one of {}, or a query", names.join(", ")));
        }
        _ => {}
    }
    let critical = problems.flag(&item.at("critical")).unwrap_or(true);
    let rollback_trigger = problems.flag(&item.at("rollbackTrigger")).unwrap_or(critical);
    let target = problems.needed(&item.at("target"), 63, "for example `< 200ms`")?;
    let Some((comparison, figure, unit)) = compared(target) else {
        problems.tell(&item.at("target"), "must be a comparison and a figure", "for example `< 200ms` or `< 1%`");
        return None;
    };
    if let Some((_, wanted)) = indicator.filter(|_| !promql)
        && *wanted != unit
    {
        let example = match wanted {
            Unit::Duration => "< 200ms",
            Unit::Share => "< 1%",
            Unit::Number => ">= 2",
        };
        problems.tell(&item.at("target"), "has another unit than the indicator", format!("for example `{example}`"));
    }
    Some(Check { name: name?.to_owned(), query: query.map(str::to_owned), comparison, figure, critical, rollback_trigger })
}

fn compared(text: &str) -> Option<(Comparison, Figure, Unit)> {
    let text = text.trim();
    let (sign, comparison) = COMPARISONS.iter().find(|(sign, _)| text.starts_with(sign))?;
    let figure = text.strip_prefix(sign)?.trim();
    if let Some(share) = share(figure) {
        return Some((*comparison, Figure::Share(share.get()), Unit::Share));
    }
    if let Some(millis) = duration(figure) {
        return Some((*comparison, Figure::Duration(millis), Unit::Duration));
    }
    // A plain number has the grammar of processors: thousandths.
    let number = millicores(figure).filter(|_| !figure.ends_with('m'))?;
    Some((*comparison, Figure::Number(number.checked_mul(1_000)?), Unit::Number))
}

pub(super) fn windows(field: &Field<'_>, problems: &mut Problems) -> Vec<Window> {
    let mut windows = Vec::new();
    for item in problems.items(field, MAX_ITEMS) {
        problems.object(&item, WINDOW);
        let mut days: Vec<u8> = Vec::new();
        let choices: Vec<(&str, u8)> = DAYS.iter().zip(0..).map(|(name, day)| (*name, day)).collect();
        for day in problems.items(&item.at("days"), 7) {
            days.extend(problems.choice(&day, &choices).filter(|day| !days.contains(day)));
        }
        if !item.at("days").is_there() {
            days = (0..7).collect();
        }
        let clock = |name: &str, problems: &mut Problems| {
            let at = item.at(name);
            if !at.is_there() {
                problems.tell(&at, "must be given", "a time of day in UTC, for example `09:00`");
            }
            problems.figure(&at, minute, "a time of day in UTC", "09:00")
        };
        let (from, until) = (clock("from", problems), clock("until", problems));
        let (Some(from), Some(until)) = (from, until) else { continue };
        if from >= until {
            problems.tell(&item.at("until"), "is not after `from`", "two windows for a time over midnight: until `24:00`, and from `00:00`");
        } else if !days.is_empty() {
            windows.push(Window { days, from, until });
        } else {
            problems.tell(&item.at("days"), "names no day", "for example `[Mon, Tue]`, or nothing for every day");
        }
    }
    windows
}

pub(super) fn freezes(field: &Field<'_>, problems: &mut Problems) -> Vec<Freeze> {
    let mut freezes = Vec::new();
    for item in problems.items(field, MAX_ITEMS) {
        problems.object(&item, FREEZE);
        let at = |name: &str, problems: &mut Problems| {
            let field = item.at(name);
            if !field.is_there() {
                problems.tell(&field, "must be given", "for example `2026-12-24T00:00:00Z`");
            }
            problems.figure(&field, moment, "an RFC 3339 time in whole seconds", "2026-12-24T00:00:00Z")
        };
        let (from, until) = (at("from", problems), at("until", problems));
        let reason = problems.needed(&item.at("reason"), MAX_WORDS, "why, for whoever waits");
        let (Some(from), Some(until), Some(reason)) = (from, until, reason) else { continue };
        if from >= until {
            problems.tell(&item.at("until"), "is not after `from`", "a time that ends after it begins");
        } else {
            freezes.push(Freeze { from, until, reason: reason.to_owned() });
        }
    }
    freezes
}
