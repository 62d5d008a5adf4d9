//! What a Blueprint would have decided about load that was: the engine is asked at each moment of it, as if each of its decisions
//! had been carried out there and then. The load is what all pods used together, whatever their number was.

use std::collections::{BTreeMap, VecDeque};

use assent_core::blueprint::{Effective, Operation, ReplicaChange, ResourceChange, Tier};
use assent_core::demand::{self, Allocation, Container, Decision, Histories, Observation, Reason, Resources, Sample, Settings, State};
use assent_core::ids::UnixMillis;
use serde::Serialize;

/// Samples over the longer window; more would say the same.
const SAMPLES: i64 = 200;

/// What was used at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) at: UnixMillis,
    /// Pods that there were.
    pub(super) pods: u32,
    /// Of every container: its name, what all pods' used together, and the most memory that one of them held.
    pub(super) containers: Vec<(String, u64, u64)>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decided {
    pub(super) at: UnixMillis,
    pub(super) what: String,
    pub(super) tier: Tier,
    pub(super) why: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) decisions: Vec<Decided>,
    /// How many moments were looked at.
    pub(super) looks: u32,
    /// At how many of them nothing was to be done, by the reason.
    pub(super) held: BTreeMap<&'static str, u32>,
    /// Fewest and most replicas.
    pub(super) fewest: u32,
    pub(super) most: u32,
    /// Replicas times seconds: as it would have been, and as it was.
    pub(super) replica_seconds: u64,
    pub(super) real_replica_seconds: u64,
}

/// The service as it would be.
struct Service<'a> {
    effective: &'a Effective,
    replicas: u32,
    containers: Vec<Container>,
    histories: Histories,
    samples: VecDeque<Sample>,
    state: State,
    /// So many replicas were asked for last, and people were not asked again.
    asked: Option<u32>,
}

/// What `effective` would have decided, beginning with the pods that there were. `containers` are a pod's, as they are allocated.
pub(super) fn replay(effective: &Effective, containers: Vec<Container>, loads: &[Load]) -> Outcome {
    let replicas = loads.first().map_or(0, |load| load.pods);
    let mut outcome = Outcome { fewest: replicas, most: replicas, ..Outcome::default() };
    let mut service =
        Service { effective, replicas, containers, histories: Histories::default(), samples: VecDeque::new(), state: State::default(), asked: None };
    let mut before: Option<&Load> = None;
    for load in loads {
        let seconds = before.map_or(0, |before| u64::try_from(load.at.since(before.at) / 1_000).unwrap_or(0));
        outcome.replica_seconds += u64::from(service.replicas) * seconds;
        outcome.real_replica_seconds += u64::from(before.map_or(0, |before| before.pods)) * seconds;
        outcome.looks += 1;
        match service.look(load) {
            Ok(decided) => outcome.decisions.push(decided),
            Err(reason) => *outcome.held.entry(reason).or_default() += 1,
        }
        outcome.fewest = outcome.fewest.min(service.replicas);
        outcome.most = outcome.most.max(service.replicas);
        before = Some(load);
    }
    outcome
}

// === impl Service ===

impl Service<'_> {
    /// The decision, or why there is none.
    fn look(&mut self, load: &Load) -> Result<Decided, &'static str> {
        let Some(settings) = demand::settings(self.effective, load.at) else { return Err("notFollowed") };
        let settings = Settings { tuning: demand::sizing(self.effective, &self.containers, load.at), ..settings };
        self.take(load, &settings);
        let observation = Observation {
            replicas: self.replicas,
            ready: self.replicas,
            containers: self.containers.iter().map(|c| Container { history: self.histories.of(&c.name), ..c.clone() }).collect(),
            samples: self.samples.iter().copied().collect(),
            ..Observation::default()
        };
        let decision = demand::decide(&settings, &self.state, &observation, load.at);
        self.state.note(&decision, load.at);
        let why = decision.rationale().to_owned();
        let decided = |what: String, operation: Operation| {
            let tier = self.effective.classify(&operation, load.at).tier;
            Decided { at: load.at, what, tier, why: why.clone() }
        };
        let scale = |to: u32| Operation { replicas: Some(ReplicaChange { from: Some(self.replicas), to }), ..Operation::named("ScaleWorkload") };
        match decision {
            Decision::Scale { from, to, .. } => {
                let decided = decided(format!("{from} → {to} replicas"), scale(to));
                (self.replicas, self.asked) = (to, None);
                Ok(decided)
            }
            Decision::Tune { containers, .. } => {
                let resources = containers.iter().filter_map(|to| self.change(to)).collect();
                let decided = decided("other sizes".into(), Operation { resources, ..Operation::named("AdjustResources") });
                self.size(&containers);
                Ok(decided)
            }
            Decision::Hold { reason: Reason::AtMaximum { wanted }, .. } if self.asked != Some(wanted) && self.may_ask(wanted, load.at) => {
                let decided = decided(format!("ask for {wanted} replicas"), scale(wanted));
                self.asked = Some(wanted);
                Ok(decided)
            }
            Decision::Hold { reason, .. } => Err(reason.name()),
            // No autoscaler is told of.
            Decision::AdjustAutoscaler { .. } => Err("leftToAutoscaler"),
        }
    }

    fn may_ask(&self, wanted: u32, at: UnixMillis) -> bool {
        demand::may_ask_for(self.effective, self.replicas, wanted, at)
    }

    fn take(&mut self, load: &Load, settings: &Settings) {
        if let Some(tuning) = &settings.tuning {
            for (name, cpu_milli, memory_bytes) in &load.containers {
                let each = cpu_milli.checked_div(u64::from(self.replicas));
                self.histories.take(name, load.at, each, Some(*memory_bytes), tuning.period_ms);
            }
        }
        let cpu_milli = load.containers.iter().map(|(_, cpu, _)| *cpu).fold(0, u64::saturating_add);
        let each = load.containers.iter().map(|(_, _, memory)| *memory).fold(0, u64::saturating_add);
        let memory_bytes = Some(each.saturating_mul(u64::from(self.replicas)));
        let ready = self.replicas;
        // As many as the seat keeps.
        let newest = self.samples.back().map_or(i64::MIN, |sample| sample.at.0);
        if load.at.0.saturating_sub(newest) < settings.windows.down_ms / SAMPLES {
            return;
        }
        self.samples.push_back(Sample { at: load.at, ready, cpu_milli: Some(cpu_milli), memory_bytes, latency_p95_us: None, errors: None });
        while self.samples.front().is_some_and(|first| load.at.since(first.at) > settings.windows.down_ms) {
            self.samples.pop_front();
        }
    }

    /// What of it is another amount.
    fn change(&self, to: &Resources) -> Option<ResourceChange> {
        let now = self.containers.iter().find(|container| container.name == to.container)?;
        let other = |now: u64, then: u64| (now != then).then_some(then);
        Some(ResourceChange {
            container: to.container.clone(),
            cpu: other(now.cpu.request, to.cpu_request_milli),
            memory: other(now.memory.request, to.memory_request_bytes),
            cpu_limit: to.cpu_limit_milli.filter(|_| now.cpu.limit != to.cpu_limit_milli),
            memory_limit: to.memory_limit_bytes.filter(|_| now.memory.limit != to.memory_limit_bytes),
        })
    }

    fn size(&mut self, to: &[Resources]) {
        for to in to {
            let Some(container) = self.containers.iter_mut().find(|container| container.name == to.container) else { continue };
            container.cpu = Allocation { request: to.cpu_request_milli, limit: to.cpu_limit_milli, ..container.cpu };
            container.memory = Allocation { request: to.memory_request_bytes, limit: to.memory_limit_bytes, ..container.memory };
        }
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use assent_core::blueprint::{effective, read};
    use serde_json::json;

    use super::*;

    const STEP_MS: i64 = 15_000;
    const MEBIBYTE: u64 = 1 << 20;

    fn of(operations: &serde_json::Value) -> Effective {
        let spec = json!({
            "target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous",
            "limits": {"minReplicas": 2, "maxReplicas": 4, "containers": [{"name": "app", "memory": {"min": "16Mi", "max": "1Gi"}}]},
            "scaling": {"weights": {"cpu": 100}}, "tuning": {"window": "1h"}, "operations": operations,
        });
        effective(&[], &read(&spec).value)
    }

    fn containers() -> Vec<Container> {
        let cpu = Allocation { request: 100, limit: None, restarts: true };
        let memory = Allocation { request: 64 * MEBIBYTE, limit: None, restarts: true };
        vec![Container { name: "app".into(), cpu, memory, ..Container::default() }]
    }

    /// So many minutes of each use of all pods together.
    fn loads(uses: &[(i64, u64)], mebibytes: u64) -> Vec<Load> {
        let mut loads = Vec::new();
        for (minutes, milli) in uses {
            for _ in 0..minutes * 60_000 / STEP_MS {
                let at = UnixMillis(STEP_MS * i64::try_from(loads.len()).unwrap());
                loads.push(Load { at, pods: 3, containers: vec![("app".into(), *milli, mebibytes * MEBIBYTE)] });
            }
        }
        loads
    }

    #[test]
    fn a_day_with_a_busy_hour_is_followed_up_and_down() {
        let allowed = of(&json!({"allowed": ["ScaleWorkload"]}));
        let outcome = replay(&allowed, containers(), &loads(&[(60, 150), (60, 330), (60, 150)], 40));
        let what: Vec<&str> = outcome.decisions.iter().map(|decided| decided.what.as_str()).collect();
        assert_eq!(what.first(), Some(&"3 → 4 replicas"), "{what:?}");
        assert!(what[1..].iter().all(|what| what.ends_with("→ 3 replicas") || what.ends_with("→ 2 replicas")), "{what:?}");
        assert!((2..=4).contains(&outcome.fewest) && outcome.most == 4, "{outcome:?}");
        assert_eq!(outcome.looks, 720);
        assert_eq!(outcome.held.values().sum::<u32>() + u32::try_from(outcome.decisions.len()).unwrap(), 720, "{outcome:?}");
        assert_eq!(outcome.real_replica_seconds, 3 * 719 * 15);
        assert!(outcome.decisions.iter().all(|decided| decided.tier == Tier::Allowed));
    }

    #[test]
    fn beyond_the_limits_it_would_ask_once_and_without_a_word_on_load_do_nothing() {
        let asks = of(&json!({"allowed": ["ScaleWorkload"], "restricted": [
            {"operation": "scale_beyond_limits", "condition": "target_replicas > max_replicas", "approvers": ["devops-team"]}]}));
        let outcome = replay(&asks, containers(), &loads(&[(60, 900)], 40));
        let asked: Vec<&Decided> = outcome.decisions.iter().filter(|decided| decided.what.starts_with("ask for")).collect();
        assert!(matches!(asked.as_slice(), [one] if one.tier == Tier::Restricted), "{:?}", outcome.decisions);
        assert_eq!(outcome.most, 4);
        let forbidden = replay(&of(&json!({"forbidden": ["ScaleWorkload"]})), containers(), &loads(&[(10, 900)], 40));
        assert_eq!((forbidden.decisions.len(), forbidden.held.get("notFollowed")), (0, Some(&40)));
    }

    #[test]
    fn containers_are_sized_and_nothing_is_said_of_nothing() {
        let sized = of(&json!({"allowed": ["ScaleWorkload", "AdjustResources"]}));
        let outcome = replay(&sized, containers(), &loads(&[(30, 150)], 62));
        let [decided] = outcome.decisions.as_slice() else { panic!("{:?}", outcome.decisions) };
        assert!(decided.what == "other sizes" && decided.why.contains("memory 64 MiB → 71 MiB"), "{decided:?}");
        assert_eq!(replay(&sized, containers(), &[]), Outcome::default());
    }
}
