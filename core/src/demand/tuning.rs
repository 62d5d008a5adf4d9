//! How large each replica: requests by what was used over a long time, limits in their old proportion to them. CPU is sized so that
//! its percentile comes to the target utilisation, else sizing and counting would work against each other; and only where
//! another number of replicas cannot help, at either bound. Memory is sized by its peak.

use serde::{Deserialize, Serialize};

use super::arithmetic::{percentile, scale, scale_up};
use super::observation::{Allocation, Container, Period};
use super::settings::{Bounds, Tuning};
use super::{Ask, Decision, rationale};
use crate::ids::Millionths;

const ONE: u64 = 1_000_000;
const MEBIBYTE: u64 = 1 << 20;
/// Most periods of history that count.
const MAX_PERIODS: usize = 8 * 24;
/// A history that ended more periods ago says nothing of today.
const MAX_AGE: i64 = 3;
/// After a kill for want of memory: so much more, in millionths and in bytes, whichever is more.
const AFTER_KILL: (u64, u64) = (200_000, 100 << 20);

/// What one container should request, and the most it should use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// The container's name.
    pub container: String,
    /// CPU request.
    pub cpu_request_milli: u64,
    /// CPU limit.
    pub cpu_limit_milli: Option<u64>,
    /// Memory request.
    pub memory_request_bytes: u64,
    /// Memory limit.
    pub memory_limit_bytes: Option<u64>,
    /// Whether some of it is more than before.
    pub larger: bool,
}

/// How requests and limits are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// Pods stay, through their `resize` sub-resource.
    InPlace,
    /// New pods, by the template.
    Rollout,
}

/// One resource of one container, from here to there.
#[derive(Clone, Copy, Debug)]
struct Sizing {
    before: Allocation,
    request: u64,
    limit: Option<u64>,
}

/// More memory for what was killed for want of it: that does not wait for history.
pub(super) fn urgent(ask: &Ask<'_>) -> Option<Decision> {
    let tuning = ask.settings.tuning.as_ref()?;
    if ask.observation.containers.iter().all(|container| container.out_of_memory == 0) || !is_ours(ask) || ask.observation.rolling_out {
        return None;
    }
    ask.state.rested(&ask.settings.pace, 0, ask.now).ok()?;
    let changes = ask.observation.containers.iter().filter(|container| container.out_of_memory > 0 && !container.memory_is_implied).filter_map(|container| {
        let Allocation { request, limit, .. } = container.memory;
        let had = limit.unwrap_or(request).max(request);
        let want = had.saturating_add(scale(had, AFTER_KILL.0, ONE).max(AFTER_KILL.1));
        let bounds = tuning.bounds_of(&container.name).memory_bytes;
        let memory = Sizing::to(container.memory, scale_up(request, want, had), &bounds, want, MEBIBYTE)?;
        (memory.request > request).then(|| (container, Sizing::kept(container.cpu), memory))
    });
    tune(ask, changes.collect(), "killed for want of memory")
}

/// Better sizes, where there is a history that shows them.
pub(super) fn decide(ask: &Ask<'_>) -> Option<Decision> {
    let Ask { settings, state, observation, now, .. } = ask;
    let tuning = settings.tuning.as_ref()?;
    if !is_ours(ask) || observation.rolling_out || observation.ready < observation.replicas {
        return None;
    }
    state.rested(&settings.pace, settings.pace.kept_for_up, *now).ok()?;
    let last = |larger_only: bool| state.tunings.iter().filter(|tuned| tuned.larger || !larger_only).map(|tuned| tuned.at).max();
    if last(false).is_some_and(|at| now.since(at) < tuning.every_ms) {
        return None;
    }
    let calm = last(true).is_none_or(|at| now.since(at) >= tuning.calm_ms);
    let changes = observation.containers.iter().filter_map(|container| {
        let periods = history(ask, tuning, container)?;
        let kept = |before: Allocation, sizing: Option<Sizing>| sizing.filter(|s| calm || s.request >= before.request).unwrap_or(Sizing::kept(before));
        let cpu = kept(container.cpu, cpu(ask, tuning, container, &periods));
        let memory = kept(container.memory, memory(ask, tuning, container, &periods));
        (cpu.changes() || memory.changes()).then_some((container, cpu, memory))
    });
    tune(ask, one_way(changes.collect()), "its use over the history")
}

/// More comes first: what makes one thing larger and another smaller could be judged as neither.
fn one_way(changes: Vec<(&Container, Sizing, Sizing)>) -> Vec<(&Container, Sizing, Sizing)> {
    if !changes.iter().any(|(_, cpu, memory)| cpu.grows() || memory.grows()) {
        return changes;
    }
    let kept = |sizing: Sizing| if sizing.grows() { sizing } else { Sizing::kept(sizing.before) };
    changes
        .into_iter()
        .map(|(container, cpu, memory)| (container, kept(cpu), kept(memory)))
        .filter(|(_, cpu, memory)| cpu.changes() || memory.changes())
        .collect()
}

/// Whether nobody else sets requests and limits.
fn is_ours(ask: &Ask<'_>) -> bool {
    !ask.observation.resources_are_owned && !ask.observation.containers.is_empty()
}

/// What counts of a container's history, if it reaches to today.
fn history(ask: &Ask<'_>, tuning: &Tuning, container: &Container) -> Option<Vec<Period>> {
    let mut periods: Vec<Period> = container.history.iter().filter(|period| period.from <= ask.now).copied().collect();
    periods.sort_by_key(|period| period.from);
    let surplus = periods.len().saturating_sub(MAX_PERIODS);
    periods.drain(..surplus);
    periods.last().filter(|period| ask.now.since(period.from) <= tuning.period_ms.saturating_mul(MAX_AGE))?;
    Some(periods)
}

fn cpu(ask: &Ask<'_>, tuning: &Tuning, container: &Container, periods: &[Period]) -> Option<Sizing> {
    let Ask { settings, observation, .. } = ask;
    let watched = observation.autoscalers.iter().any(|autoscaler| autoscaler.active && autoscaler.by_cpu_request);
    let request = container.cpu.request;
    if watched || container.cpu_is_implied || request == 0 || (periods.len() as u64) < u64::from(tuning.least_periods) {
        return None;
    }
    let used = percentile(periods.iter().map(|period| period.cpu_p95_milli), tuning.cpu_percentile.get())?;
    let bounds = tuning.bounds_of(&container.name).cpu_milli;
    let want = Sizing::to(container.cpu, scale_up(used, ONE, u64::from(settings.target.get())), &bounds, 0, 1)?;
    // Where fewer or more replicas would do, they do.
    let scaled = observation.autoscalers.iter().any(|autoscaler| autoscaler.active);
    let helps = if want.request < request { observation.replicas <= settings.replicas.min } else { observation.replicas >= settings.replicas.max };
    // Between the two shares it is as large as it should be.
    let due = if want.request < request { used < share(request, tuning.lower_below) } else { used > share(request, tuning.raise_above) };
    (due && want.differs(tuning) && (helps || scaled)).then_some(want)
}

fn memory(ask: &Ask<'_>, tuning: &Tuning, container: &Container, periods: &[Period]) -> Option<Sizing> {
    let watched = ask.observation.autoscalers.iter().any(|autoscaler| autoscaler.active && autoscaler.by_memory_request);
    let request = container.memory.request;
    if watched || container.memory_is_implied || request == 0 {
        return None;
    }
    let peak = periods.iter().map(|period| period.memory_peak_bytes).max()?;
    let want = peak.saturating_add(scale(peak, u64::from(tuning.memory_margin.get()), ONE));
    let full = peak > share(request, tuning.raise_above);
    // A smaller change would be none.
    let wanted = if full { want.max(request.saturating_add(share(request, tuning.least_change))) } else { want };
    let sizing = Sizing::to(container.memory, wanted, &tuning.bounds_of(&container.name).memory_bytes, want, MEBIBYTE)?;
    let short = full && sizing.request > request;
    let long_known = (periods.len() as u64) >= u64::from(tuning.least_periods);
    // Less only where what was used would still fit.
    let ample = long_known && peak < share(request, tuning.lower_below) && sizing.request < request && sizing.request >= want && sizing.differs(tuning);
    (short || ample).then_some(sizing)
}

fn share(of: u64, share: Millionths) -> u64 {
    scale(of, u64::from(share.get()), ONE)
}

fn tune(ask: &Ask<'_>, changes: Vec<(&Container, Sizing, Sizing)>, why: &str) -> Option<Decision> {
    if changes.is_empty() {
        return None;
    }
    let rolls = changes.iter().any(|(_, cpu, memory)| {
        let shrinks = memory.request < memory.before.request || memory.limit < memory.before.limit;
        cpu.restarts() || memory.restarts() || shrinks || cpu.meets_limit() || memory.meets_limit()
    });
    let way = if rolls { Way::Rollout } else { Way::InPlace };
    let containers: Vec<Resources> = changes
        .iter()
        .map(|(container, cpu, memory)| Resources {
            container: container.name.clone(),
            cpu_request_milli: cpu.request,
            cpu_limit_milli: cpu.limit,
            memory_request_bytes: memory.request,
            memory_limit_bytes: memory.limit,
            larger: cpu.request > cpu.before.request || memory.request > memory.before.request,
        })
        .collect();
    let before: Vec<&Container> = changes.iter().map(|(container, ..)| *container).collect();
    let rationale = rationale::tune(ask, &before, &containers, way, why);
    Some(Decision::Tune { containers, way, rationale })
}

// === impl Sizing ===

impl Sizing {
    fn kept(before: Allocation) -> Self {
        Self { before, request: before.request, limit: before.limit }
    }

    /// As near to `want` as the bounds and one step (twice or half) allow, in whole `unit`s; nothing where the two do not meet. The
    /// limit keeps its proportion, and is no less than `least_limit`. More of the one is never less of the other, and a limit that
    /// is beyond the bounds already is let be.
    fn to(before: Allocation, want: u64, bounds: &Bounds<u64>, least_limit: u64, unit: u64) -> Option<Self> {
        let Allocation { request, limit, .. } = before;
        let (least, most) = (bounds.min.max(request.div_ceil(2)), bounds.max.min(request.saturating_mul(2)));
        if request == 0 || least > most {
            return None;
        }
        let grows = want > request;
        let round = |amount: u64| if grows { amount - amount % unit } else { amount.div_ceil(unit).saturating_mul(unit) };
        let to = round(want.max(least).min(most));
        let to = if grows { to.max(request) } else { to.min(request) };
        let limit = limit.map(|limit| {
            // What is guaranteed stays guaranteed.
            if limit == request {
                return to;
            }
            let proportional = scale_up(limit, to, request).max(least_limit);
            if grows {
                round(proportional.min(bounds.max).min(limit.saturating_mul(2))).max(limit).max(to)
            } else {
                let less = round(proportional.max(limit.div_ceil(2)).max(to)).min(limit);
                if less > bounds.max { limit } else { less }
            }
        });
        Some(Self { before, request: to, limit })
    }

    fn grows(&self) -> bool {
        self.request > self.before.request || self.limit > self.before.limit
    }

    fn changes(&self) -> bool {
        (self.request, self.limit) != (self.before.request, self.before.limit)
    }

    /// Whether the request differs enough to be worth a change.
    fn differs(&self, tuning: &Tuning) -> bool {
        let least = scale_up(self.before.request, u64::from(tuning.least_change.get()), ONE).max(1);
        self.request.abs_diff(self.before.request) >= least
    }

    fn restarts(&self) -> bool {
        self.changes() && self.before.restarts
    }

    /// Whether request and limit meet that did not: the pod's class would change, which is not possible in place.
    fn meets_limit(&self) -> bool {
        self.limit.is_some_and(|limit| limit == self.request) && self.before.limit != Some(self.before.request)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

        #[test]
        fn any_size_is_one_step_inside_the_bounds_and_one_way(
            request in 1_u64..400, more in 0_u64..600, want in 0_u64..2_000, least in 1_u64..300, wide in 0_u64..900, floor in 0_u64..600, unit in 1_u64..9,
        ) {
            let bounds = Bounds { min: least.div_ceil(unit) * unit, max: (least.div_ceil(unit) * unit + wide) / unit * unit };
            let before = Allocation { request, limit: Some(request + more), restarts: true };
            let met = bounds.min <= 2 * request && bounds.max >= request.div_ceil(2);
            let Some(sizing) = Sizing::to(before, want, &bounds, floor, unit) else {
                prop_assert!(!met, "{before:?}");
                return Ok(());
            };
            let (from, limit) = (request + more, sizing.limit.unwrap());
            let step = |from: u64, to: u64| to <= 2 * from && from <= 2 * to;
            if sizing.request != request {
                prop_assert!((bounds.min..=bounds.max).contains(&sizing.request) && step(request, sizing.request) && sizing.request % unit == 0, "{sizing:?}");
            }
            prop_assert!(limit >= sizing.request && step(from, limit), "{sizing:?}");
            // What is guaranteed stays guaranteed.
            prop_assert!(more > 0 || limit == sizing.request, "{sizing:?}");
            if want > request {
                prop_assert!(sizing.request >= request && limit >= from, "{sizing:?}");
            } else {
                prop_assert!(sizing.request <= request && limit <= from && (limit == from || more == 0 || limit >= floor), "{sizing:?}");
            }
            prop_assert!(limit == from || limit <= bounds.max, "{sizing:?}");
        }
    }
}
