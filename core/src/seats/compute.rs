//! The compute seat: processor, memory and container states, pod by pod, as kubelets report them.
//!
//! Use at its limit is saturation; steady use that vanishes while the process still runs is a stalled process; containers
//! that keep dying are the application's. It sees no request and no rollout, and leaves every cause outside its figures to
//! others.

mod demand;
mod judge;
pub mod recorded;
mod vote;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::baseline::Masks;
use super::{Asked, Entry, Finding, Indicator, Position, Put, Seat, Settings};
use crate::ballot::Opinion;
use crate::ids::{Domain, UnixMillis};
use crate::target::Service;

pub use demand::Intent;

/// Its line in the table of seats.
pub const ENTRY: Entry = Entry { name: "compute", domain: Domain::Compute, rules: "compute/1" };

/// Pods that are told apart.
const MAX_PODS: usize = 4096;
const MAX_SERVICES: usize = 256;
const MAX_NODES: usize = 1024;
/// Uses of one pod that are remembered: minutes, so that some of them are from before an onset that is found late.
const MAX_OWN: usize = 32;
/// A new process is not judged before it has run for this long.
const WARM_UP_MS: i64 = 8_000;

/// Cumulative figures of one pod (its own containers, without the sidecar), as a kubelet told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// UID of the pod.
    pub pod: String,
    /// When the kubelet measured.
    pub at: UnixMillis,
    /// Processor time since its start, nanoseconds.
    pub cpu_ns: u64,
    /// Working set in bytes.
    pub memory_bytes: u64,
    /// The same of each of its containers.
    pub containers: Vec<ContainerSample>,
}

/// Cumulative figures of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSample {
    /// Its name.
    pub name: String,
    /// Processor time since its start, nanoseconds.
    pub cpu_ns: u64,
    /// Working set in bytes, if it was told.
    pub memory_bytes: Option<u64>,
}

/// Throttling of one pod since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Scheduling periods with something to run.
    pub periods: u64,
    /// Of those, cut short by the limit.
    pub throttled: u64,
}

/// A pod as the API server shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The workload that it belongs to, if that is known.
    pub workload: Option<Service>,
    /// The node that it runs on.
    pub node: String,
    /// Whether its phase is `Running`, and nobody asked it to go.
    pub running: bool,
    /// Whether something on its node goes with it.
    pub local_data: bool,
    /// When its youngest container began.
    pub started_at: Option<UnixMillis>,
    /// Processor it asks for, thousandths.
    pub request_milli: u64,
    /// Of that, what the application's own containers ask for; `None` where one of them asks for none.
    pub own_request_milli: Option<u64>,
    /// Memory that they ask for, bytes; `None` where one of them asks for none.
    pub own_request_bytes: Option<u64>,
    /// Processor it may use, thousandths; `None` without a limit.
    pub limit_milli: Option<u64>,
    /// Memory it may use, bytes.
    pub memory_limit: Option<u64>,
    /// Restarts of its containers.
    pub restarts: u32,
    /// When a container last ended with a failure.
    pub failed_at: Option<UnixMillis>,
    /// Whether a container waits to be restarted after failures.
    pub crash_loop: bool,
    /// Containers that were last killed for their memory.
    pub killed: BTreeSet<String>,
}

/// What a pod used between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Use {
    from: UnixMillis,
    to: UnixMillis,
    milli: i64,
    /// Millionths of the periods.
    throttled: i64,
    memory_bytes: u64,
    /// What it might use then, thousandths.
    limit_milli: Option<u64>,
}

#[derive(Debug, Default)]
struct PodState {
    facts: Pod,
    last: Option<Sample>,
    throttling: Throttling,
    /// As of the last sample, so that shares are over the same time as the use.
    throttling_at_last: Throttling,
    newest: Option<Use>,
    /// Its newest uses: when each ended, and thousandths. What its workload usually does says nothing of one pod.
    own: VecDeque<(UnixMillis, i64)>,
    /// When its kubelet last counted from nothing again: a container had ended.
    began_again: Option<UnixMillis>,
}

/// Everything that the compute seat holds.
#[derive(Debug, Default)]
pub struct View {
    settings: Settings,
    pods: BTreeMap<String, PodState>,
    past: BTreeMap<Service, VecDeque<Use>>,
    /// Allocatable processor by node, thousandths.
    nodes: BTreeMap<String, u64>,
    masks: Masks,
    demand: demand::Demand,
    /// Services whose Blueprint lists EvictPod as allowed.
    evicting: BTreeSet<Service>,
}

// === impl PodState ===

impl PodState {
    /// Whether this use is that of a process that has been running for a while.
    fn is_warm(&self, used: &Use) -> bool {
        self.facts.started_at.is_none_or(|started| used.from.since(started) >= WARM_UP_MS)
    }

    fn remember(&mut self, used: &Use) {
        if self.own.len() >= MAX_OWN {
            self.own.pop_front();
        }
        self.own.push_back((used.to, used.milli));
    }
}

// === impl View ===

impl View {
    /// An empty view.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// A pod is as `facts` say.
    pub fn pod(&mut self, uid: &str, facts: Pod) {
        if self.pods.len() < MAX_PODS || self.pods.contains_key(uid) {
            self.pods.entry(uid.to_owned()).or_default().facts = facts;
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// Whether the Blueprint of `service` lists EvictPod as allowed; where it does not, an ill pod is a matter of restarting.
    pub fn evicts(&mut self, service: &Service, allowed: bool) {
        if !allowed {
            self.evicting.remove(service);
        } else if self.evicting.len() < MAX_SERVICES {
            self.evicting.insert(service.clone());
        }
    }

    /// Services whose Blueprint does.
    pub fn evicting(&self) -> impl Iterator<Item = &Service> {
        self.evicting.iter()
    }

    /// A node offers so many thousandths of processors.
    pub fn node(&mut self, name: &str, allocatable_milli: u64) {
        if self.nodes.len() < MAX_NODES || self.nodes.contains_key(name) {
            self.nodes.insert(name.to_owned(), allocatable_milli);
        }
    }

    /// A node is gone.
    pub fn node_gone(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Cumulative throttling of a pod; it counts with the next sample of its use.
    pub fn throttling(&mut self, pod: &str, throttling: Throttling) {
        if let Some(state) = self.pods.get_mut(pod) {
            state.throttling = throttling;
        }
    }

    /// Takes in one sample. Samples of unknown pods, repeated ones and ones from the future are left out.
    pub fn sample(&mut self, sample: Sample, now: UnixMillis) {
        let history = self.settings.history;
        let Some(state) = self.pods.get_mut(&sample.pod) else { return };
        if sample.at > now.plus(self.settings.grid_ms) {
            return;
        }
        let Some(last) = state.last.as_ref() else {
            state.throttling_at_last = state.throttling;
            state.last = Some(sample);
            return;
        };
        let elapsed = sample.at.since(last.at);
        if elapsed < 500 {
            return;
        }
        // Counters that went back belong to a new container: nothing can be said of the time between.
        if sample.cpu_ns < last.cpu_ns {
            state.began_again = Some(sample.at);
        } else {
            let nanos = i64::try_from(sample.cpu_ns.saturating_sub(last.cpu_ns)).unwrap_or(i64::MAX);
            let periods = state.throttling.periods.saturating_sub(state.throttling_at_last.periods);
            let throttled = state.throttling.throttled.saturating_sub(state.throttling_at_last.throttled);
            let used = Use {
                from: last.at,
                to: sample.at,
                milli: nanos / elapsed.saturating_mul(1_000),
                throttled: i64::try_from(throttled.saturating_mul(1_000_000).checked_div(periods).unwrap_or(0)).unwrap_or(0),
                memory_bytes: sample.memory_bytes,
                limit_milli: state.facts.limit_milli,
            };
            state.newest = Some(used);
            let warm = state.is_warm(&used);
            if let Some(workload) = &state.facts.workload {
                self.demand.sized(workload, last, &sample, warm);
            }
            if let Some(workload) = state.facts.workload.as_ref().filter(|_| warm)
                && (self.past.len() < MAX_SERVICES || self.past.contains_key(workload))
            {
                let past = self.past.entry(workload.clone()).or_default();
                if past.len() >= history {
                    past.pop_front();
                }
                past.push_back(used);
            }
            if warm {
                state.remember(&used);
            }
        }
        state.throttling_at_last = state.throttling;
        state.last = Some(sample);
    }

    fn pods_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = (&'a String, &'a PodState)> {
        self.pods.iter().filter(move |(_, state)| state.facts.workload.as_ref() == Some(service))
    }
}

impl Seat for View {
    fn entry(&self) -> Entry {
        ENTRY
    }

    fn informed(&self, asked: &Asked<'_>) -> bool {
        // Minutes of figures are there before it is reported.
        if asked.context.symptom.is_routine() {
            return true;
        }
        let since = asked.context.since;
        let mut seen = false;
        for workload in &asked.context.workloads {
            let service = workload.target.service();
            let failing = self.failing(&service, since).is_some();
            for (_, state) in self.pods_of(&service).filter(|(_, state)| state.facts.running) {
                seen = true;
                // A use that reaches far back before the onset mixes the two, and the start of a process, or a fall, hides what it will
                // use: a second look waits for more.
                let early = |used: &Use| asked.epoch > 1 && !failing && (!state.is_warm(used) || self.falls(state, used, since));
                if state.newest.is_none_or(|used| used.from < since.plus(-1_000) || early(&used)) {
                    return false;
                }
            }
        }
        seen
    }

    fn cause(&self, asked: &Asked<'_>) -> Opinion {
        if asked.context.symptom.is_routine() { self.demand_vote(asked) } else { self.vote(asked) }
    }

    fn stance(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        self.position(asked, put)
    }

    fn blind(&self, asked: &Asked<'_>) -> Option<String> {
        let live = self.pods.values().any(|state| state.last.as_ref().is_some_and(|last| asked.now.since(last.at) <= self.settings.stale_ms));
        (!live).then(|| format!("no kubelet has told of any pod for {} s", self.settings.stale_ms / 1000))
    }

    fn findings(&self, _now: UnixMillis) -> Vec<Finding> {
        self.demanded()
    }

    fn indicator(&self, service: &Service, since: UnixMillis, now: UnixMillis) -> Option<Indicator> {
        Some(self.indicate(service, since, now))
    }

    fn incident_began(&mut self, since: UnixMillis) {
        self.masks.open(since.plus(-1_000));
    }

    fn tick(&mut self, now: UnixMillis) {
        self.masks.tick(now);
        self.follow_demand(now);
        let life = self.settings.grid_ms.saturating_mul(i64::try_from(self.settings.history).unwrap_or(i64::MAX));
        self.past.retain(|_, past| past.back().is_some_and(|used| now.since(used.to) <= life));
        if self.masks.is_open().is_some() {
            let well = self.all_well(now);
            self.masks.settle(well, now);
        }
    }
}

#[cfg(test)]
mod cases;
