//! From samples to the figures that decide: each signal as it usually was lately, and as high as it came over the longer window.

use serde::{Deserialize, Serialize};

use super::arithmetic::{median, reached, scale, slope};
use super::observation::{Observation, Sample};
use super::settings::Settings;
use super::{Reason, Windows};
use crate::ids::UnixMillis;

const ONE: u64 = 1_000_000;
/// A replica that uses this share of its limit may want any amount more.
const SATURATED: u64 = 950_000;

/// One figure over the two windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signal {
    /// The middle of the shorter window.
    pub now: u64,
    /// What was reached in the longer window, and now.
    pub peak: u64,
}

/// Everything that a decision is made of. Shares are millionths and may be more than one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Figures {
    /// Replicas that are asked for.
    pub replicas: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Samples in the shorter window.
    pub samples: u32,
    /// How old the newest is.
    pub age_ms: i64,
    /// CPU used of what is requested.
    pub cpu: Signal,
    /// Memory used of what is requested, where it is weighed.
    pub memory: Option<Signal>,
    /// Latency as a share of its objective, where there is one.
    pub latency: Option<Signal>,
    /// The share of failed requests, where there is an objective.
    pub errors: Option<Signal>,
    /// The weighted utilisation.
    pub weighted: Signal,
    /// CPU that all replicas used together, in milli-cores.
    pub cpu_milli: Signal,
    /// How much that will have grown by the time a new replica is ready, at the present rate.
    pub rise_milli: u64,
    /// Memory that all replicas used together, in bytes.
    pub memory_bytes: Signal,
    /// CPU that one replica requests.
    pub cpu_request_milli: u64,
    /// Memory that one replica requests.
    pub memory_request_bytes: u64,
    /// Whether replicas use all the CPU that they may, so that what they want is unknown.
    pub saturated: bool,
    /// Whether the longer window has figures all through.
    pub complete: bool,
}

/// One signal while it is read.
struct Reading {
    signal: Signal,
    complete: bool,
}

// === impl Figures ===

impl Figures {
    /// The figures, or why there are none that may decide anything.
    pub(super) fn of(settings: &Settings, observation: &Observation, now: UnixMillis) -> Result<Self, Reason> {
        let Settings { weights, windows, objectives, .. } = settings;
        if observation.replicas == 0 {
            return Err(Reason::ScaledToZero);
        }
        if observation.ready == 0 {
            return Err(Reason::NothingReady);
        }
        let (cpu_request_milli, memory_request_bytes) = observation.requests();
        if cpu_request_milli == 0 {
            return Err(missing("a CPU request"));
        }
        // What is dated after now is of no time that can be judged.
        let mut samples: Vec<&Sample> = observation.newest().filter(|s| s.at <= now && now.since(s.at) <= windows.down_ms && s.ready > 0).collect();
        samples.sort_by_key(|sample| sample.at);
        let newest = observation.newest().map(|sample| sample.at).filter(|at| *at <= now).max().ok_or_else(|| missing("any figure"))?;
        let age_ms = now.since(newest);
        if age_ms > windows.max_age_ms {
            return Err(Reason::Stale { age_ms });
        }
        let of_request = |used: Option<u64>, request: u64, ready: u32| Some(scale(used?, ONE, request.saturating_mul(u64::from(ready))));
        let read = |what: &str, value: &dyn Fn(&Sample) -> Option<u64>| read(&samples, windows, now, what, value);
        let cpu = read("CPU", &|sample| of_request(sample.cpu_milli, cpu_request_milli, sample.ready))?;
        let cpu_milli = read("CPU", &|sample| sample.cpu_milli)?;
        let weigh_memory = weights.memory > 0 && memory_request_bytes > 0;
        let memory = weigh_memory.then(|| read("memory", &|sample| of_request(sample.memory_bytes, memory_request_bytes, sample.ready))).transpose()?;
        let memory_bytes = weigh_memory.then(|| read("memory", &|sample| sample.memory_bytes)).transpose()?;
        let objective = objectives.latency_p95_us.filter(|_| weights.latency > 0);
        let latency = objective.map(|objective| read("latency", &|sample| Some(scale(sample.latency_p95_us?, ONE, objective)))).transpose()?;
        let errors = objectives.errors.map(|_| read("errors", &|sample| Some(u64::from(sample.errors?.get())))).transpose()?;

        let weighed = [(weights.cpu, Some(&cpu)), (weights.memory, memory.as_ref()), (weights.latency, latency.as_ref())];
        let readings = [Some(&cpu), memory.as_ref(), latency.as_ref(), errors.as_ref()];
        let recent = samples.iter().filter(|sample| now.since(sample.at) <= windows.up_ms.saturating_mul(2));
        let line: Vec<(i64, u64)> = recent.filter_map(|sample| Some((sample.at.0, sample.cpu_milli?))).collect();
        let rise = scale(u64::try_from(slope(&line)).unwrap_or(0), u64::try_from(settings.pace.lead_ms).unwrap_or(0), ONE);
        let per_replica = scale(cpu.signal.now, cpu_request_milli, ONE);
        Ok(Self {
            replicas: observation.replicas,
            ready: observation.ready,
            samples: super::arithmetic::count(samples.iter().filter(|sample| now.since(sample.at) <= windows.up_ms).count() as u64),
            age_ms,
            weighted: weighted(&weighed),
            // A rise goes on for a while only: it adds a half at most.
            rise_milli: rise.min(cpu_milli.signal.now / 2),
            saturated: observation.cpu_limit().is_some_and(|limit| per_replica >= scale(limit, SATURATED, ONE)),
            complete: readings.into_iter().flatten().all(|reading| reading.complete),
            cpu: cpu.signal,
            memory: memory.as_ref().map(|reading| reading.signal),
            latency: latency.as_ref().map(|reading| reading.signal),
            errors: errors.as_ref().map(|reading| reading.signal),
            cpu_milli: cpu_milli.signal,
            memory_bytes: memory_bytes.map(|reading| reading.signal).unwrap_or_default(),
            cpu_request_milli,
            memory_request_bytes,
        })
    }
}

fn missing(what: &str) -> Reason {
    Reason::Missing { what: what.to_owned() }
}

/// One signal over both windows. It must have been measured often enough, and to the end.
fn read(samples: &[&Sample], windows: &Windows, now: UnixMillis, what: &str, value: &dyn Fn(&Sample) -> Option<u64>) -> Result<Reading, Reason> {
    let all: Vec<(UnixMillis, u64)> = samples.iter().filter_map(|sample| Some((sample.at, value(sample)?))).collect();
    let recent: Vec<u64> = all.iter().filter(|(at, _)| now.since(*at) <= windows.up_ms).map(|(_, value)| *value).collect();
    let newest = all.last().map(|(at, _)| *at).ok_or_else(|| missing(what))?;
    if now.since(newest) > windows.max_age_ms {
        return Err(Reason::Stale { age_ms: now.since(newest) });
    }
    if (recent.len() as u64) < u64::from(windows.least_samples) {
        return Err(missing(what));
    }
    let middle = median(recent).ok_or_else(|| missing(what))?;
    let begin = now.plus(windows.down_ms.saturating_neg());
    let times = [begin].into_iter().chain(all.iter().map(|(at, _)| *at)).chain([now]);
    let later = all.iter().map(|(at, _)| *at).chain([now]);
    let complete = times.zip(later).all(|(from, to)| to.since(from) <= windows.max_age_ms);
    let peak = reached(all.iter().map(|(_, value)| *value)).unwrap_or(middle).max(middle);
    Ok(Reading { signal: Signal { now: middle, peak }, complete })
}

/// The mean of what there is, by weight.
fn weighted(signals: &[(u32, Option<&Reading>)]) -> Signal {
    let present = || signals.iter().filter_map(|(weight, reading)| Some((u128::from(*weight), &reading.as_ref()?.signal)));
    let total: u128 = present().map(|(weight, _)| weight).sum();
    let mean = |of: fn(&Signal) -> u64| {
        let sum: u128 = present().map(|(weight, signal)| weight.saturating_mul(u128::from(of(signal)))).fold(0, u128::saturating_add);
        u64::try_from(sum.checked_div(total).unwrap_or(0)).unwrap_or(u64::MAX)
    };
    Signal { now: mean(|signal| signal.now), peak: mean(|signal| signal.peak) }
}
