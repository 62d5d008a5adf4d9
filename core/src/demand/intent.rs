//! What people want of a service, as settings: from its Blueprint and what stands above it.

use super::observation::{Allocation, Container};
use super::settings::{Bounds, ContainerBounds, Interval, Objectives, Pace, Settings, Tuning, Weights, Windows};
use crate::blueprint::{self, BEYOND_LIMITS, Effective, Operation, ReplicaChange, Tier, Why};
use crate::ids::{Millionths, UnixMillis};
use crate::incident::Mode;

/// Steps that are kept for scaling up, of an hour's.
const KEPT_FOR_UP: u32 = 4;
/// Between two figures that count as without a gap.
const MAX_AGE_MS: i64 = 60_000;
/// Kubelets measure every ten to fifteen seconds: in less there are too few figures.
const LEAST_UP_MS: i64 = 40_000;
/// A window of history is so many periods where each is from a minute to an hour, and never more than the second.
const PERIODS: i64 = 24;
const MOST_PERIODS: i64 = 7 * 24;
const LEAST_PERIOD_MS: i64 = 60_000;
const LONGEST_PERIOD_MS: i64 = 60 * 60_000;
/// Where people name no least: no container is made smaller than this.
const LEAST_MILLI: u64 = 10;
const LEAST_BYTES: u64 = 16 << 20;
const MEBIBYTE: u64 = 1 << 20;

/// The settings by which replicas follow the load, or `None` where nobody wants that: no `scaling`, no most, or never allowed.
/// Latency is not weighed here; who sees requests says what it makes of them by a vote of its own.
#[must_use]
pub fn settings(effective: &Effective, now: UnixMillis) -> Option<Settings> {
    let scaling = effective.service.scaling.as_ref()?;
    let (min, max) = effective.replicas()?;
    let said = effective.classify(&Operation::named("ScaleWorkload"), now);
    if said.tier == Tier::Forbidden && effective.mode() != Mode::Observe && frozen(effective, now).is_empty() {
        return None;
    }
    let safeguards = effective.safeguards();
    let down_ms = signed(scaling.down_for_ms).max(LEAST_UP_MS);
    let up_ms = signed(scaling.up_for_ms.max(scaling.window_ms / 2)).clamp(LEAST_UP_MS, down_ms);
    let cooldown_ms = signed(safeguards.cooldown_ms);
    Some(Settings {
        replicas: Bounds { min: min.max(1), max },
        target: scaling.target,
        scale_up_above: scaling.up,
        scale_down_below: scaling.down,
        weights: Weights { cpu: scaling.weights.cpu, memory: scaling.weights.memory, latency: 0, memory_is_shared: false },
        objectives: Objectives::default(),
        windows: Windows { up_ms, down_ms, max_age_ms: MAX_AGE_MS.min(up_ms), ..Windows::default() },
        pace: Pace {
            cooldown_ms,
            hysteresis_ms: down_ms.max(cooldown_ms),
            operations_per_hour: safeguards.operations_per_hour,
            kept_for_up: KEPT_FOR_UP.min(safeguards.operations_per_hour.saturating_sub(1)),
            // `maxStep` is the most at a time, whatever there is.
            largest_up: 1_000_000,
            replicas_up: scaling.step,
            replicas_down: scaling.step,
            ..Pace::default()
        },
        // By what runs: `sizing` says it.
        tuning: None,
        freezes: frozen(effective, now),
        // Outside its windows an operation asks people, and nobody is asked for routine.
        open: effective.is_outside_windows(now).then(Vec::new),
    })
}

/// How containers are sized, or `None` where nobody wants that: it is on no list, or never allowed. Of a container that no most
/// is named for, that resource stays as it is.
#[must_use]
pub fn sizing(effective: &Effective, containers: &[Container], now: UnixMillis) -> Option<Tuning> {
    let said = effective.classify(&Operation::named("AdjustResources"), now);
    let barred = |why: Why, tier: Tier| why == Why::Unlisted || (tier == Tier::Forbidden && matches!(why, Why::Never | Why::Listed | Why::Reach));
    if said.reasons.iter().any(|reason| barred(reason.why, reason.tier)) {
        return None;
    }
    let bounds = |container: &Container| {
        let (cpu, memory) = effective.container(&container.name);
        ContainerBounds { cpu_milli: between(&cpu, LEAST_MILLI, &container.cpu, 1), memory_bytes: between(&memory, LEAST_BYTES, &container.memory, MEBIBYTE) }
    };
    let wanted = &effective.service.tuning;
    let window_ms = signed(wanted.window_ms);
    let period_ms = (window_ms / PERIODS).clamp(LEAST_PERIOD_MS, LONGEST_PERIOD_MS).max(window_ms / MOST_PERIODS);
    Some(Tuning {
        containers: containers.iter().map(|container| (container.name.clone(), bounds(container))).collect(),
        cpu_percentile: Millionths::try_from(wanted.percentile.saturating_mul(10_000)).unwrap_or(Tuning::default().cpu_percentile),
        memory_margin: wanted.headroom,
        raise_above: wanted.raise_above,
        lower_below: wanted.lower_below,
        least_change: wanted.min_change,
        period_ms,
        least_periods: u32::try_from(window_ms / period_ms).unwrap_or(u32::MAX).max(1),
        // A change needs a while to be judged, and what was too small is not made smaller before the whole window is seen again.
        every_ms: window_ms / 4,
        calm_ms: window_ms,
        ..Tuning::default()
    })
}

/// The bounds in whole `unit`s, inwards; where nothing is inside, or no most is named, there is what there is now.
fn between(bounds: &blueprint::Bounds, least: u64, now: &Allocation, unit: u64) -> Bounds<u64> {
    let max = bounds.max.map(|max| max - max % unit).filter(|max| *max > 0);
    let min = bounds.min.unwrap_or_else(|| least.min(max.unwrap_or(least))).max(1).div_ceil(unit).saturating_mul(unit);
    match max {
        Some(max) if min <= max => Bounds { min, max },
        _ => Bounds { min: now.request.max(1), max: now.request.max(1) },
    }
}

/// Whether people said whom to ask for more replicas than the limits allow; where they did not, nobody is asked because of the load.
#[must_use]
pub fn may_ask_for(effective: &Effective, from: u32, to: u32, now: UnixMillis) -> bool {
    let listed = effective.service.rules.operations.restricted.iter().any(|restriction| restriction.operation == BEYOND_LIMITS);
    let operation = Operation { replicas: Some(ReplicaChange { from: Some(from), to }), ..Operation::named("ScaleWorkload") };
    listed && effective.classify(&operation, now).tier == Tier::Restricted
}

fn frozen(effective: &Effective, now: UnixMillis) -> Vec<Interval> {
    let holding = effective.freezes().filter(|freeze| freeze.holds(now));
    holding.map(|freeze| Interval { from: freeze.from, until: freeze.until, reason: freeze.reason.clone() }).collect()
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::blueprint::{effective, read};
    use crate::ids::Millionths;

    fn of(spec: &Value) -> Effective {
        let reading = read(spec);
        assert_eq!(reading.problems, vec![]);
        effective(&[], &reading.value)
    }

    fn spec(more: Value) -> Value {
        let mut spec = json!({
            "target": {"kind": "Deployment", "name": "orders"},
            "mode": "autonomous",
            "limits": {"minReplicas": 2, "maxReplicas": 5},
            "operations": {"allowed": ["ScaleWorkload"]},
            "scaling": {},
        });
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        spec
    }

    #[test]
    fn every_figure_of_a_blueprint_has_its_place() {
        let scaling = json!({
            "targetUtilization": "60%", "scaleUpThreshold": "75%", "scaleDownThreshold": "30%", "window": "20s",
            "hysteresis": {"up": "30s", "down": "2m"}, "maxStep": 3, "weights": {"cpu": 80, "memory": 20},
        });
        let all = settings(&of(&spec(json!({"scaling": scaling, "safety": {"cooldown": "90s", "operationsPerHour": 6}}))), UnixMillis(0)).unwrap();
        assert_eq!((all.replicas, all.target), (Bounds { min: 2, max: 5 }, Millionths::new(600_000)));
        assert_eq!((all.scale_up_above, all.scale_down_below), (Millionths::new(750_000), Millionths::new(300_000)));
        assert_eq!((all.windows.up_ms, all.windows.down_ms, all.windows.max_age_ms), (40_000, 120_000, 40_000));
        assert_eq!((all.weights.cpu, all.weights.memory, all.weights.latency), (80, 20, 0));
        assert_eq!((all.pace.cooldown_ms, all.pace.hysteresis_ms, all.pace.operations_per_hour), (90_000, 120_000, 6));
        assert_eq!((all.pace.replicas_up, all.pace.replicas_down), (3, 3));
        assert_eq!(all.problem(), None);
        let defaults = settings(&of(&spec(json!({}))), UnixMillis(0)).unwrap();
        assert_eq!(defaults.problem(), None);
    }

    #[test]
    fn whoever_does_not_say_so_is_not_scaled() {
        let mut none = spec(json!({}));
        none.as_object_mut().unwrap().remove("scaling");
        assert_eq!(settings(&of(&none), UnixMillis(0)), None);
        assert_eq!(settings(&of(&spec(json!({"limits": {"minReplicas": 2}}))), UnixMillis(0)), None);
        let forbidden = json!({"operations": {"allowed": ["RestartWorkload"], "forbidden": ["ScaleWorkload"]}});
        assert_eq!(settings(&of(&spec(forbidden)), UnixMillis(0)), None);
        // Who only looks wants to see what would be done.
        assert!(settings(&of(&spec(json!({"mode": "observe"}))), UnixMillis(0)).is_some());
    }

    #[test]
    fn freezes_and_windows_hold() {
        let freeze = json!({"freezes": [{"from": "1970-01-01T00:00:00Z", "until": "1970-01-01T01:00:00Z", "reason": "sale"}]});
        let frozen = settings(&of(&spec(freeze)), UnixMillis(60_000)).unwrap();
        assert_eq!(frozen.freezes.len(), 1);
        let window = json!({"windows": [{"days": ["Mon"], "from": "07:00", "until": "19:00"}]});
        // The first of January 1970 was a Thursday.
        assert_eq!(settings(&of(&spec(window.clone())), UnixMillis(60_000)).unwrap().open, Some(vec![]));
        assert_eq!(settings(&of(&spec(window)), UnixMillis((4 * 24 + 8) * 3_600_000)).unwrap().open, None);
    }

    #[test]
    fn beyond_the_limits_people_are_asked_only_where_they_are_named() {
        let named = json!({"operations": {"allowed": ["ScaleWorkload"], "restricted": [
            {"operation": "scale_beyond_limits", "condition": "target_replicas > max_replicas", "approvers": ["devops-team"]}]}});
        assert!(may_ask_for(&of(&spec(named)), 5, 6, UnixMillis(0)));
        assert!(!may_ask_for(&of(&spec(json!({}))), 5, 6, UnixMillis(0)));
    }
}
