//! Is a workload ill by its processor, memory or containers: a level and a ratio against its own past, pod by pod.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{PodState, Use, View};
use crate::action::Evict;
use crate::ids::UnixMillis;
use crate::seats::Indicator;
use crate::seats::baseline::Baseline;
use crate::target::Service;

/// Use of the limit from which on it is reached, in hundredths.
const AT_LIMIT: i64 = 85;
/// Share of throttled periods from which on the limit bites, in millionths.
const THROTTLED: i64 = 250_000;
/// Growth against the usual from which on use is more than usual, in hundredths.
const GREW: i64 = 130;
/// Use against the usual below which it has vanished, in hundredths.
const VANISHED: i64 = 15;
/// Usual use below which nothing can vanish, in thousandths of a processor.
const STEADY_MILLI: i64 = 8;
/// Samples of one pod from which on the least of them means something.
const FLOOR_SAMPLES: usize = 8;
/// Use of the memory limit from which on it is nearly out, in hundredths.
const MEMORY_FULL: u64 = 95;
/// Part of a node's processors, in hundredths, that others feel.
const NEIGHBOUR: u64 = 40;
/// A failure of a container is recent for this long before the onset, and ever after.
const RECENT_FAILURE_MS: i64 = 120_000;

/// What is wrong with a workload by its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Fault {
    /// Containers keep failing.
    CrashLoop,
    /// Killed for memory, or nearly.
    Memory,
    /// Use is at a limit that was higher before.
    LimitCut,
    /// Use is at the limit, and more than usual.
    Saturated,
    /// Use is at the limit, as it may have always been.
    AtLimit,
    /// Steady use is gone while the process runs.
    Vanished,
    /// That of one pod of several is gone, and others do what it did: it is stuck, or its callers have moved.
    Idle,
}

/// A workload's figures.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Judged {
    pub(super) usual: Option<Baseline>,
    pub(super) usual_throttled: Option<Baseline>,
    /// The newest use of each pod.
    pub(super) pods: Vec<Use>,
    pub(super) restarts: u32,
    pub(super) fault: Option<Fault>,
    /// The only pod of several that is ill, or does nothing any more, where it keeps nothing that would go with it.
    pub(super) alone: Option<Evict>,
    /// Whether kubelets saw containers end lately as well.
    pub(super) ended: bool,
    /// Whether some pod has run for long enough to be judged by its use.
    pub(super) warm: bool,
    pub(super) from: UnixMillis,
    pub(super) to: UnixMillis,
}

// === impl Fault ===

impl Fault {
    /// Whether it is that something does nothing any more.
    pub(super) fn is_still(self) -> bool {
        matches!(self, Self::Vanished | Self::Idle)
    }
}

// === impl View ===

impl View {
    /// How `service` is by samples that end after `since`, compared with before; the error says what is missing.
    pub(super) fn judge(&self, service: &Service, since: UnixMillis, now: UnixMillis) -> Result<Judged, String> {
        let (uids, pods): (Vec<&str>, Vec<(&PodState, Use)>) = self
            .pods_of(service)
            .filter(|(_, state)| state.facts.running)
            .filter_map(|(uid, state)| state.newest.map(|used| (uid.as_str(), (state, used))))
            .filter(|(_, (_, used))| now.since(used.to) <= self.settings.stale_ms && used.to > since)
            .unzip();
        let failing = self.failing(service, since);
        if pods.is_empty() && failing.is_none() {
            return Err(format!("no kubelet figures of {service} since the onset"));
        }
        let usual = self.usual(service, since, |used| used.milli, 2);
        let usual_throttled = self.usual(service, since, |used| used.throttled, 20_000);
        // What had no limit had a very high one.
        let usual_limit = self.usual(service, since, |used| limit(used).unwrap_or(i64::MAX), 1).map(|usual| usual.median);
        let was = Was { usual, throttled: usual_throttled, limit: usual_limit };
        let silent = self.silent(&pods, since);
        // Of one of several its own past tells more than that of all.
        let of_pod = |(state, used): &(&PodState, Use), silent: Option<Fault>| match fault(state, used, &was, since) {
            None | Some(Fault::Vanished) if silent.is_some() => silent,
            fault => fault,
        };
        let ill: Vec<(Fault, &str, &PodState, Option<Fault>)> =
            uids.iter().zip(&pods).zip(&silent).filter_map(|((uid, pod), silent)| Some((of_pod(pod, *silent)?, *uid, pod.0, *silent))).collect();
        let fault = ill.iter().map(|(fault, ..)| *fault).chain(failing).min();
        let alone = match ill[..] {
            [(Fault::Vanished | Fault::Idle, uid, state, Some(_))] if failing.is_none() && !state.facts.local_data => {
                Some(Evict { pod: state.facts.name.clone(), uid: uid.to_owned() })
            }
            _ => None,
        };
        Ok(Judged {
            usual,
            usual_throttled,
            restarts: self.pods_of(service).map(|(_, state)| state.facts.restarts).fold(0, u32::saturating_add),
            fault,
            alone,
            ended: self.pods_of(service).any(|(_, state)| state.began_again.is_some_and(|at| at >= since.plus(-RECENT_FAILURE_MS))),
            warm: pods.iter().any(|(state, used)| state.is_warm(used)),
            from: pods.iter().map(|(_, used)| used.from).min().unwrap_or(since),
            to: pods.iter().map(|(_, used)| used.to).max().unwrap_or(now),
            pods: pods.into_iter().map(|(_, used)| used).take(64).collect(),
        })
    }

    /// Of several pods: whether each fell silent by its own past. What they usually do together says little of one, since connections stay
    /// with the pod that they were made to; and what others do now in its place, nobody misses.
    fn silent(&self, pods: &[(&PodState, Use)], since: UnixMillis) -> Vec<Option<Fault>> {
        let changed = |(state, used): &(&PodState, Use)| self.own(state, since).map(|own| (own, used.milli.saturating_sub(own.usual.median)));
        // A pod without a past took over all that it does.
        let gain = |pod: &(&PodState, Use)| changed(pod).map_or(pod.1.milli, |(_, change)| change.max(0));
        let gained = pods.iter().map(gain).fold(0, i64::saturating_add);
        let silent = |pod: &(&PodState, Use)| {
            let (state, used) = pod;
            let (_, change) = changed(pod).filter(|(own, _)| state.is_warm(used) && own.is_gone(used, since))?;
            Some(if gained.saturating_mul(2) < change.saturating_neg() { Fault::Vanished } else { Fault::Idle })
        };
        pods.iter().map(|pod| if pods.len() > 1 { silent(pod) } else { None }).collect()
    }

    /// What this one pod used before `since`.
    fn own(&self, state: &PodState, since: UnixMillis) -> Option<Own> {
        let mut before: Vec<i64> = state.own.iter().filter(|(to, _)| *to <= since && !self.masks.cover(*to)).map(|(_, milli)| *milli).collect();
        let usual = Baseline::learn(before.clone(), 2, self.settings.learn)?;
        before.sort_unstable();
        let least = before.get(before.len().saturating_sub(1) / 10).copied().unwrap_or(0);
        Some(Own { usual, least })
    }

    /// Whether its use is on the way to less than half while the sample still has some of the time before: the next one tells how far it
    /// fell.
    pub(super) fn falls(&self, state: &PodState, used: &Use, since: UnixMillis) -> bool {
        let half = |own: Own| own.usual.median >= STEADY_MILLI && used.milli.saturating_mul(2) < own.usual.median && !own.is_gone(used, since);
        used.from < since.plus(self.settings.grid_ms) && self.own(state, since).is_some_and(half)
    }

    fn usual(&self, service: &Service, since: UnixMillis, of: fn(&Use) -> i64, floor: i64) -> Option<Baseline> {
        let past = self.past.get(service)?;
        let values = past.iter().filter(|used| used.to <= since && !self.masks.cover(used.to)).map(of).collect();
        Baseline::learn(values, floor, self.settings.learn)
    }

    pub(super) fn failing(&self, service: &Service, since: UnixMillis) -> Option<Fault> {
        let recent = since.plus(-RECENT_FAILURE_MS);
        let mut found = None;
        for (_, state) in self.pods_of(service) {
            let facts = &state.facts;
            if facts.failed_at.is_some_and(|at| at >= recent) || facts.crash_loop {
                let fault = if !facts.killed.is_empty() { Fault::Memory } else { Fault::CrashLoop };
                found = found.min(Some(fault)).or(Some(fault));
            }
        }
        found
    }

    /// Whether none of the known workloads is ill, compared with before the open mask.
    pub(super) fn all_well(&self, now: UnixMillis) -> bool {
        let since = self.masks.is_open().unwrap_or(now);
        // Of what was taken away nothing is ill.
        let runs = |service: &&Service| self.pods_of(service).any(|(_, state)| state.facts.running);
        self.past.keys().filter(runs).all(|service| self.judge(service, since, now).is_ok_and(|judged| judged.fault.is_none_or(|fault| fault == Fault::Idle)))
    }

    /// Workloads that took a large part of a node of `victims` after `since` and before did not, more than they asked for.
    pub(super) fn neighbours(&self, victims: &BTreeSet<Service>, since: UnixMillis, now: UnixMillis) -> Vec<(Service, Judged)> {
        let running = || self.pods.values().filter(|state| state.facts.running);
        let is_victim = |state: &PodState| state.facts.workload.as_ref().is_some_and(|workload| victims.contains(workload));
        let nodes: BTreeSet<&str> = running().filter(|state| is_victim(state)).map(|state| state.facts.node.as_str()).collect();
        let taken = |state: &PodState| {
            let used = state.newest.filter(|used| now.since(used.to) <= self.settings.stale_ms && used.to > since)?;
            let offered = nodes.get(state.facts.node.as_str()).and_then(|node| self.nodes.get(*node))?;
            let (milli, asked) = (u64::try_from(used.milli).ok()?, state.facts.request_milli);
            (milli.saturating_mul(100) >= offered.saturating_mul(NEIGHBOUR) && milli > asked).then_some(())
        };
        let loud = running().filter(|state| !is_victim(state) && taken(state).is_some()).filter_map(|state| state.facts.workload.clone());
        let judged = loud.collect::<BTreeSet<Service>>().into_iter().filter_map(|service| Some((service.clone(), self.judge(&service, since, now).ok()?)));
        // What was never seen before has grown.
        judged.filter(|(_, judged)| judged.usual.is_none_or(|usual| judged.pods.iter().any(|used| used.milli >= usual.median.saturating_mul(2)))).collect()
    }

    /// Why no node takes so many more pods of the service, if so.
    pub(super) fn no_room(&self, service: &Service, more: u32) -> Option<String> {
        let request = self.pods_of(service).map(|(_, state)| state.facts.request_milli).max().unwrap_or(0);
        let full = more > 0 && !self.nodes.is_empty() && self.room(request) < u64::from(more);
        full.then(|| format!("no node has room for {more} more pods that ask for {request} m each"))
    }

    /// Why no node takes one pod of the service that asks for so much more than its pods do, if so: a rollout begins with one.
    pub(super) fn no_room_for_larger(&self, service: &Service, more_milli: u64) -> Option<String> {
        let request = self.pods_of(service).map(|(_, state)| state.facts.request_milli).max().unwrap_or(0).saturating_add(more_milli);
        let full = more_milli > 0 && !self.nodes.is_empty() && self.room(request) < 1;
        full.then(|| format!("no node has room for a pod that asks for {request} m"))
    }

    /// How many more pods of `request_milli` the nodes have room for.
    fn room(&self, request_milli: u64) -> u64 {
        let free = self.nodes.iter().map(|(node, allocatable)| {
            let asked: u64 = self.pods.values().filter(|state| state.facts.node == *node).map(|state| state.facts.request_milli).fold(0, u64::saturating_add);
            allocatable.saturating_sub(asked)
        });
        free.map(|free| free.checked_div(request_milli).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
    }

    /// What the running pods of `service` use since then of what they ask for, processor and memory, in millionths; nothing where one of
    /// them was not measured since, or asks for none.
    fn shares(&self, service: &Service, since: UnixMillis) -> (Option<u64>, Option<u64>) {
        let running = || self.pods_of(service).map(|(_, state)| state).filter(|state| state.facts.running);
        let measured = |state: &PodState| state.newest.filter(|used| used.from >= since);
        let share = |of: fn(&PodState, &Use) -> Option<(u64, u64)>| {
            let mut all = running().map(|state| of(state, &measured(state)?));
            let (used, asked) = all.try_fold((0_u64, 0_u64), |(used, asked), pod| {
                let (one, of) = pod?;
                Some((used.saturating_add(one), asked.saturating_add(of)))
            })?;
            u64::try_from(u128::from(used).saturating_mul(1_000_000).checked_div(u128::from(asked))?).ok()
        };
        let cpu = share(|state, used| Some((u64::try_from(used.milli).ok()?, state.facts.own_request_milli?)));
        (cpu, share(|state, used| Some((used.memory_bytes, state.facts.own_request_bytes?))))
    }

    /// The word on `service` for whoever verifies an action.
    pub(super) fn indicate(&self, service: &Service, since: UnixMillis, now: UnixMillis) -> Indicator {
        match self.judge(service, since, now) {
            Err(reason) => Indicator { summary: reason, ..Indicator::default() },
            Ok(judged) => {
                // Failures from before the action are what it was for.
                let failing = self.pods_of(service).any(|(_, state)| state.facts.crash_loop || state.facts.failed_at.is_some_and(|at| at > since));
                let ill = match judged.fault {
                    Some(Fault::CrashLoop | Fault::Memory) => failing,
                    // At the limit as ever is nothing that an action has worsened, and a pod that nobody asks is not ill.
                    None | Some(Fault::AtLimit | Fault::Idle) => false,
                    Some(_) => true,
                };
                let fresh = judged.pods.iter().any(|used| used.from >= since);
                let (cpu_share, memory_share) = self.shares(service, since);
                Indicator { live: fresh, healthy: fresh && !ill, summary: judged.summary(), cpu_share, memory_share, ..Indicator::default() }
            }
        }
    }
}

/// One pod's past.
#[derive(Clone, Copy)]
struct Own {
    usual: Baseline,
    /// What it used nine tenths of the time at least.
    least: i64,
}

/// A workload's past.
struct Was {
    usual: Option<Baseline>,
    throttled: Option<Baseline>,
    limit: Option<i64>,
}

// === impl Own ===

impl Own {
    /// Whether what it always did is gone. Where its callers come and go, its use is not steady; but what it does for nobody stays.
    fn is_gone(&self, used: &Use, since: UnixMillis) -> bool {
        let floor = usize::try_from(self.usual.samples).unwrap_or(usize::MAX) >= FLOOR_SAMPLES && self.least >= STEADY_MILLI;
        let below = floor && used.milli.saturating_mul(100) <= self.least.saturating_mul(VANISHED) && mostly_after(used, since);
        below || vanished(&self.usual, used, since)
    }
}

fn limit(used: &Use) -> Option<i64> {
    used.limit_milli.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

fn fault(state: &PodState, used: &Use, was: &Was, since: UnixMillis) -> Option<Fault> {
    let facts = &state.facts;
    if facts.memory_limit.is_some_and(|limit| limit > 0 && used.memory_bytes / 100 >= limit / 100 * MEMORY_FULL / 100) {
        return Some(Fault::Memory);
    }
    // A start takes what it can get, and says nothing of what comes after.
    if !state.is_warm(used) {
        return None;
    }
    let reaches = |milli: i64, part: i64| limit(used).is_some_and(|limit| milli.saturating_mul(100) >= limit.saturating_mul(part));
    let level = reaches(used.milli, AT_LIMIT) || used.throttled >= THROTTLED;
    let cut = was.limit.is_some_and(|was| limit(used).is_some_and(|limit| limit / 9 < was / 10));
    // What it usually uses no longer fits, and it uses what it gets.
    if cut && (level || reaches(used.milli, AT_LIMIT / 2) && was.usual.is_some_and(|usual| reaches(usual.median, AT_LIMIT))) {
        return Some(Fault::LimitCut);
    }
    if level {
        let grew = was.usual.is_some_and(|usual| used.milli.saturating_mul(100) >= usual.median.saturating_mul(GREW));
        let throttled_more = was.throttled.is_some_and(|usual| used.throttled >= THROTTLED && usual.above(used.throttled) >= 3);
        return Some(if grew || throttled_more { Fault::Saturated } else { Fault::AtLimit });
    }
    was.usual.is_some_and(|usual| vanished(&usual, used, since)).then_some(Fault::Vanished)
}

/// Whether what was steady is gone. Most of the sample must lie after the onset, or the time before hides what is missing.
fn vanished(usual: &Baseline, used: &Use, since: UnixMillis) -> bool {
    let steady = usual.median >= STEADY_MILLI && usual.scale <= usual.median / 2;
    steady && used.milli.saturating_mul(100) <= usual.median.saturating_mul(VANISHED) && mostly_after(used, since)
}

fn mostly_after(used: &Use, since: UnixMillis) -> bool {
    used.to.since(since) >= used.to.since(used.from).saturating_mul(9) / 10
}

// === impl Judged ===

impl Judged {
    /// Whether some sample lies nearly all after `since`.
    pub(super) fn speaks_of_after(&self, since: UnixMillis) -> bool {
        self.pods.iter().any(|used| mostly_after(used, since))
    }

    pub(super) fn summary(&self) -> String {
        let use_milli: i64 = self.pods.iter().map(|used| used.milli).sum();
        let limits: u64 = self.pods.iter().filter_map(|used| used.limit_milli).fold(0, u64::saturating_add);
        let throttled = self.pods.iter().map(|used| used.throttled).max().unwrap_or(0);
        let usual = self.usual.map_or_else(|| "not learned yet".to_owned(), |usual| format!("{} m each", usual.median));
        let alone = self.alone.as_ref().map_or_else(String::new, |alone| format!(", {} alone does nothing", alone.pod));
        format!("{} pods use {use_milli} m of {limits} m, usual {usual}, throttled {throttled} ppm, {} restarts{alone}", self.pods.len(), self.restarts)
    }
}
