//! What people set, with defaults for everything: a service with nothing but bounds is kept by these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::ids::{Millionths, UnixMillis};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const MEBIBYTE: u64 = 1 << 20;
/// Most replicas that may be set as a bound.
const MOST_REPLICAS: u32 = 100_000;

/// Two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bounds<T> {
    /// The least.
    pub min: T,
    /// The most.
    pub max: T,
}

/// A time from its first millisecond to the first one after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interval {
    /// First moment of it.
    pub from: UnixMillis,
    /// First moment after it.
    pub until: UnixMillis,
    /// Why, in people's words.
    pub reason: String,
}

/// How one service is to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Fewest and most replicas.
    pub replicas: Bounds<u32>,
    /// The utilisation that is aimed at.
    pub target: Millionths,
    /// Above it, more replicas.
    pub scale_up_above: Millionths,
    /// Below it, fewer.
    pub scale_down_below: Millionths,
    /// How much each signal counts in the utilisation.
    pub weights: Weights,
    /// What users are promised.
    pub objectives: Objectives,
    /// Over how long figures are judged.
    pub windows: Windows,
    /// How fast and how often things may change.
    pub pace: Pace,
    /// How containers are sized; without it, they are not.
    pub tuning: Option<Tuning>,
    /// Times in which nothing is changed.
    pub freezes: Vec<Interval>,
    /// The only times in which something is changed; without it, always.
    pub open: Option<Vec<Interval>>,
}

/// Weights of the signals, relative to each other. A signal of weight zero is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Weights {
    /// CPU used of what is requested.
    pub cpu: u32,
    /// Memory used of what is requested.
    pub memory: u32,
    /// The 95th percentile of latency, as a share of its objective; counts only where there is one.
    pub latency: u32,
    /// Whether replicas share the memory that is needed, as shards do. If not, more of them do not relieve it.
    pub memory_is_shared: bool,
}

/// Objectives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Objectives {
    /// The 95th percentile of latency stays below this.
    pub latency_p95_us: Option<u64>,
    /// The share of failed requests stays below this.
    pub errors: Option<Millionths>,
}

/// Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Windows {
    /// What was usual in it calls for more.
    pub up_ms: i64,
    /// What was reached in it forbids less.
    pub down_ms: i64,
    /// Fewest samples in the shorter window.
    pub least_samples: u32,
    /// Figures older than this say nothing.
    pub max_age_ms: i64,
}

/// Limits of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pace {
    /// From one change to the next.
    pub cooldown_ms: i64,
    /// From one reversal to the next, and from a step up to a step down.
    pub hysteresis_ms: i64,
    /// Most changes within an hour.
    pub operations_per_hour: u32,
    /// So many of them are for scaling up only.
    pub kept_for_up: u32,
    /// One step comes to at most this share of what there is ...
    pub largest_up: u32,
    /// ... or to so many more, whichever is more.
    pub replicas_up: u32,
    /// One step leaves at least this share of what there is ...
    pub least_left: Millionths,
    /// ... and takes at most so many, whichever leaves more.
    pub replicas_down: u32,
    /// How far ahead a rise is followed when a step up is sized: a replica's start and the next decision.
    pub lead_ms: i64,
}

/// How containers are sized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tuning {
    /// Bounds of every container that is not named.
    pub bounds: ContainerBounds,
    /// Bounds by a container's name.
    pub containers: BTreeMap<String, ContainerBounds>,
    /// The percentile of CPU over the history that should come to the target utilisation.
    pub cpu_percentile: Millionths,
    /// So much more memory than the highest that was used.
    pub memory_margin: Millionths,
    /// More when what was used passes this share of the request.
    pub raise_above: Millionths,
    /// Less when it stayed below this share of the request.
    pub lower_below: Millionths,
    /// A smaller change is none.
    pub least_change: Millionths,
    /// How long one period of history is.
    pub period_ms: i64,
    /// So many periods of history are needed.
    pub least_periods: u32,
    /// From one tuning to the next.
    pub every_ms: i64,
    /// From making something larger to making it smaller again.
    pub calm_ms: i64,
}

/// Bounds of one container's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerBounds {
    /// CPU.
    pub cpu_milli: Bounds<u64>,
    /// Memory.
    pub memory_bytes: Bounds<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: Bounds { min: 2, max: 10 },
            target: Millionths::new(700_000),
            scale_up_above: Millionths::new(800_000),
            scale_down_below: Millionths::new(400_000),
            weights: Weights::default(),
            objectives: Objectives::default(),
            windows: Windows::default(),
            pace: Pace::default(),
            tuning: None,
            freezes: Vec::new(),
            open: None,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { cpu: 3, memory: 1, latency: 1, memory_is_shared: false }
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self { up_ms: MINUTE_MS, down_ms: 5 * MINUTE_MS, least_samples: 3, max_age_ms: MINUTE_MS }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            cooldown_ms: MINUTE_MS,
            hysteresis_ms: 5 * MINUTE_MS,
            operations_per_hour: 10,
            kept_for_up: 4,
            largest_up: 2_000_000,
            replicas_up: 4,
            least_left: Millionths::new(500_000),
            replicas_down: u32::MAX,
            lead_ms: 3 * MINUTE_MS / 2,
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            bounds: ContainerBounds::default(),
            containers: BTreeMap::new(),
            cpu_percentile: Millionths::new(950_000),
            memory_margin: Millionths::new(150_000),
            raise_above: Millionths::new(900_000),
            lower_below: Millionths::new(500_000),
            least_change: Millionths::new(200_000),
            period_ms: HOUR_MS,
            least_periods: 24,
            every_ms: 6 * HOUR_MS,
            calm_ms: 24 * HOUR_MS,
        }
    }
}

impl Default for ContainerBounds {
    fn default() -> Self {
        Self { cpu_milli: Bounds { min: 100, max: 1_000 }, memory_bytes: Bounds { min: 128 * MEBIBYTE, max: 2_048 * MEBIBYTE } }
    }
}

// === impl Settings ===

impl Settings {
    /// Whether something may be changed by them at all now: they make sense, and this is no frozen time.
    pub(super) fn check(&self, now: UnixMillis) -> Result<(), Reason> {
        if let Some(problem) = self.problem() {
            return Err(Reason::Settings { problem });
        }
        if let Some(frozen) = self.freezes.iter().filter(|freeze| freeze.holds(now)).max_by_key(|freeze| freeze.until) {
            return Err(Reason::Frozen { until: frozen.until, because: frozen.reason.clone() });
        }
        match &self.open {
            Some(open) if !open.iter().any(|window| window.holds(now)) => {
                Err(Reason::OutsideWindow { next: open.iter().map(|window| window.from).filter(|from| *from > now).min() })
            }
            _ => Ok(()),
        }
    }

    /// What contradicts itself in them.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { replicas, windows, pace, weights, .. } = self;
        let (down, target, up) = (self.scale_down_below.get(), self.target.get(), self.scale_up_above.get());
        let rules = [
            (replicas.min >= 1, "`replicas.min` is 0: taking a service away is not scaling"),
            (replicas.min <= replicas.max, "`replicas.min` is more than `replicas.max`"),
            (replicas.max <= MOST_REPLICAS, "`replicas.max` is more than 100000"),
            (0 < down && down < target && target < up, "`scaleDownBelow` < `target` < `scaleUpAbove` does not hold"),
            (weights.cpu > 0, "`weights.cpu` is 0: replicas are counted by CPU"),
            (windows.up_ms > 0 && windows.up_ms <= windows.down_ms, "`windows.upMs` is not from 1 to `windows.downMs`"),
            (windows.down_ms <= 24 * HOUR_MS, "`windows.downMs` is more than a day"),
            (windows.least_samples > 0, "`windows.leastSamples` is 0: without samples nothing is decided"),
            (0 < windows.max_age_ms && windows.max_age_ms <= windows.up_ms, "`windows.maxAgeMs` is not from 1 to `windows.upMs`"),
            (0 <= pace.cooldown_ms && pace.cooldown_ms <= pace.hysteresis_ms, "`pace.cooldownMs` is more than `pace.hysteresisMs`"),
            (pace.hysteresis_ms <= 24 * HOUR_MS, "`pace.hysteresisMs` is more than a day"),
            (pace.kept_for_up < pace.operations_per_hour, "`pace.keptForUp` leaves no operation for anything else"),
            (pace.largest_up > 1_000_000 || pace.replicas_up > 0, "no step up is allowed by `pace`"),
            (pace.least_left.get() < 1_000_000 && pace.replicas_down > 0, "no step down is allowed by `pace`"),
            (0 <= pace.lead_ms && pace.lead_ms <= HOUR_MS, "`pace.leadMs` is more than an hour"),
            (self.objectives.latency_p95_us != Some(0), "`objectives.latencyP95Us` is 0"),
        ];
        let wrong = rules.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned());
        wrong.or_else(|| self.tuning.as_ref().and_then(Tuning::problem))
    }

    /// The utilisation that a step down comes to: as far below the target as the level that calls for more is above it.
    pub(super) fn after_down(&self) -> u64 {
        let (target, up) = (u64::from(self.target.get()), u64::from(self.scale_up_above.get()));
        target.saturating_sub(up.saturating_sub(target)).max(u64::from(self.scale_down_below.get()))
    }
}

// === impl Tuning ===

impl Tuning {
    /// Bounds of this container.
    pub(super) fn bounds_of(&self, container: &str) -> ContainerBounds {
        self.containers.get(container).copied().unwrap_or(self.bounds)
    }

    fn problem(&self) -> Option<String> {
        for (name, bounds) in self.containers.iter().map(|(name, bounds)| (name.as_str(), bounds)).chain([("*", &self.bounds)]) {
            for (what, bounds) in [("cpuMilli", bounds.cpu_milli), ("memoryBytes", bounds.memory_bytes)] {
                if bounds.min == 0 || bounds.min > bounds.max {
                    return Some(format!("`tuning` of container `{name:.63}`: `{what}` is not from 1 up"));
                }
            }
        }
        if self.lower_below >= self.raise_above {
            return Some("`tuning` lowers at what it raises".to_owned());
        }
        let paces = self.every_ms >= 0 && self.calm_ms >= self.every_ms && self.period_ms > 0;
        (self.least_periods == 0 || !paces).then(|| "`tuning` needs a history, and `calmMs` not below `everyMs`".to_owned())
    }
}

// === impl Interval ===

impl Interval {
    /// Whether `now` lies in it.
    #[must_use]
    pub fn holds(&self, now: UnixMillis) -> bool {
        self.from <= now && now < self.until
    }
}

// === impl Bounds ===

impl<T: Ord + Copy> Bounds<T> {
    /// `value`, or the end that is nearer to it.
    #[must_use]
    pub fn hold(&self, value: T) -> T {
        value.min(self.max).max(self.min)
    }
}
