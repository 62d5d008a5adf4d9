//! A service's Blueprint below the rules of the whole cluster. Nothing is merged away: the layers stay, each judges for itself,
//! and of figures the strictest counts. So what is effective is never looser than any layer.

use std::collections::BTreeSet;

use super::classify::{Operation, SERVICE, Why};
use super::moments::Freeze;
use super::problem::Problem;
use super::rules::{Approval, Bounds, Check, Rules, Tier};
use super::service::{Blueprint, ClusterBlueprint};
use crate::canary;
use crate::ids::UnixMillis;
use crate::incident::Mode;

/// What holds for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its own Blueprint.
    pub service: Blueprint,
    /// What stands above it.
    pub cluster: Vec<ClusterBlueprint>,
}

/// How often, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safeguards {
    /// Between two operations.
    pub cooldown_ms: u64,
    /// In any hour.
    pub operations_per_hour: u32,
    /// Stops after failures.
    pub breaker: Breaker,
    /// Operations without effect before a person must look.
    pub strikes: u32,
}

/// Stops after failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// In a row.
    pub failures: u32,
    /// Before one trial.
    pub wait_ms: u64,
}

/// What follows an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undoing {
    /// Whether it is looked at.
    pub verify: bool,
    /// How long to wait before the first look.
    pub stabilization_ms: u64,
    /// Whether it is undone when it did not help.
    pub enabled: bool,
    /// Whether without a person.
    pub automatic: bool,
    /// Whether one critical check that fails suffices.
    pub on_critical_failure: bool,
}

const COOLDOWN_MS: u64 = 60_000;
const OPERATIONS_PER_HOUR: u32 = 10;
const BREAKER: Breaker = Breaker { failures: 3, wait_ms: 5 * 60_000 };
const STRIKES: u32 = 3;
const CANARY: canary::Settings = canary::Settings { replicas: 3, watch_ms: 10_000 };
const STABILIZATION_MS: u64 = 60_000;

/// `service` below those of `cluster` that concern it.
#[must_use]
pub fn effective(cluster: &[ClusterBlueprint], service: &Blueprint) -> Effective {
    let mut cluster = cluster.to_vec();
    cluster.sort_by(|one, other| one.name.cmp(&other.name));
    Effective { service: service.clone(), cluster }
}

// === impl Effective ===

impl Effective {
    fn layers(&self) -> impl Iterator<Item = &Rules> {
        std::iter::once(&self.service.rules).chain(self.cluster.iter().map(|layer| &layer.rules))
    }

    /// How far Assent may go.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.layers().map(|rules| rules.mode).min().unwrap_or(Mode::Observe)
    }

    /// Fewest and most replicas; the most may be less than the fewest, and then none are inside. `None` where no most is named.
    #[must_use]
    pub fn replicas(&self) -> Option<(u32, u32)> {
        self.service.rules.limits.max_replicas?;
        let own = self.service.rules.limits.min_replicas.unwrap_or(1);
        let least = self.cluster.iter().filter_map(|layer| layer.rules.limits.min_replicas).fold(own, u32::max);
        Some((least, self.layers().filter_map(|rules| rules.limits.max_replicas).min()?))
    }

    /// Bounds of processor and memory of a container. What to aim for is the service's word, moved inside.
    #[must_use]
    pub fn container(&self, name: &str) -> (Bounds, Bounds) {
        let of = |part: fn(&super::ContainerBounds) -> Bounds| {
            let all: Vec<Bounds> = self.layers().filter_map(|rules| rules.limits.of_container(name)).map(part).collect();
            let (min, max) = (all.iter().filter_map(|bounds| bounds.min).max(), all.iter().filter_map(|bounds| bounds.max).min());
            let own = self.service.rules.limits.of_container(name).map(part).unwrap_or_default();
            let inside = |aim: u64| aim.max(min.unwrap_or(0)).min(max.unwrap_or(u64::MAX));
            // Where the service names no most, nothing is inside, whatever stands above it.
            Bounds { min, max: own.max.and(max), target: own.target.map(inside) }
        };
        (of(|bounds| bounds.cpu), of(|bounds| bounds.memory))
    }

    /// How often, and when to stop: where the service says nothing, the usual, and never looser than what stands above.
    #[must_use]
    pub fn safeguards(&self) -> Safeguards {
        let own = &self.service.rules.safety;
        let above = || self.cluster.iter().map(|layer| &layer.rules.safety);
        let longest = |own: Option<u64>, usual: u64, part: fn(&super::Safety) -> Option<u64>| above().filter_map(part).fold(own.unwrap_or(usual), u64::max);
        let fewest = |own: Option<u32>, usual: u32, part: fn(&super::Safety) -> Option<u32>| above().filter_map(part).fold(own.unwrap_or(usual), u32::min);
        Safeguards {
            cooldown_ms: longest(own.cooldown_ms, COOLDOWN_MS, |safety| safety.cooldown_ms),
            operations_per_hour: fewest(own.operations_per_hour, OPERATIONS_PER_HOUR, |safety| safety.operations_per_hour),
            breaker: Breaker {
                failures: fewest(own.breaker_failures, BREAKER.failures, |safety| safety.breaker_failures),
                wait_ms: longest(own.breaker_wait_ms, BREAKER.wait_ms, |safety| safety.breaker_wait_ms),
            },
            strikes: fewest(own.strikes, STRIKES, |safety| safety.strikes),
        }
    }

    /// From when on a change of a pod template begins with one pod: the usual, unless the service turned it off and nothing above it
    /// turned it on. The fewest replicas and the longest look count. Where git owns the service, its controller would let the rest go at once.
    #[must_use]
    pub fn canary(&self) -> Option<canary::Settings> {
        let own = &self.service.rules.safety.canary;
        let above = || self.cluster.iter().map(|layer| &layer.rules.safety.canary);
        if self.service.gitops.is_some() {
            return None;
        }
        if !own.enabled.unwrap_or(true) && above().all(|canary| canary.enabled != Some(true)) {
            return None;
        }
        let millis = |watch_ms: u64| u32::try_from(watch_ms).unwrap_or(u32::MAX);
        Some(canary::Settings {
            replicas: above().filter_map(|canary| canary.replicas).fold(own.replicas.unwrap_or(CANARY.replicas), u32::min),
            watch_ms: above().filter_map(|canary| canary.watch_ms).map(millis).fold(own.watch_ms.map_or(CANARY.watch_ms, millis), u32::max),
        })
    }

    /// What follows an operation: on, unless the service turned it off and nothing above it turned it on.
    #[must_use]
    pub fn undoing(&self) -> Undoing {
        let on = |part: fn(&super::Verification) -> Option<bool>| {
            let own = part(&self.service.rules.verification).unwrap_or(true);
            own || self.cluster.iter().any(|layer| part(&layer.rules.verification) == Some(true))
        };
        let own = self.service.rules.verification.stabilization_ms.unwrap_or(STABILIZATION_MS);
        Undoing {
            verify: on(|verification| verification.enabled),
            stabilization_ms: self.cluster.iter().filter_map(|layer| layer.rules.verification.stabilization_ms).fold(own, u64::max),
            enabled: on(|verification| verification.rollback.enabled),
            automatic: on(|verification| verification.rollback.automatic),
            on_critical_failure: on(|verification| verification.rollback.on_critical_failure),
        }
    }

    /// Freezes of every layer.
    pub fn freezes(&self) -> impl Iterator<Item = &Freeze> {
        self.layers().flat_map(|rules| &rules.freezes)
    }

    /// Whether some layer lets things be done in certain times only, and this is none of them.
    #[must_use]
    pub fn is_outside_windows(&self, now: UnixMillis) -> bool {
        self.layers().any(|rules| !rules.windows.is_empty() && !rules.windows.iter().any(|window| window.is_open(now)))
    }

    /// Whom to ask where no rule of the Blueprint does, of every layer that names somebody.
    #[must_use]
    pub fn approvals(&self) -> BTreeSet<Approval> {
        let named = |approval: &&Approval| !approval.approvers.is_empty();
        let asked: BTreeSet<Approval> = self.layers().map(|rules| &rules.operations.approval).filter(named).cloned().collect();
        if asked.is_empty() { [self.service.rules.operations.approval.clone()].into() } else { asked }
    }

    /// What must hold after an operation, of every layer.
    #[must_use]
    pub fn checks(&self) -> Vec<&Check> {
        self.layers().flat_map(|rules| &rules.verification.checks).collect()
    }

    /// What the service allows and what stands above it takes back: right, and less than its author may think.
    #[must_use]
    pub fn overruled(&self) -> Vec<Problem> {
        let mut notes = Vec::new();
        for name in &self.service.rules.operations.allowed {
            // Windows and freezes come and go; lists stay.
            let said = self.classify(&Operation::named(name), UnixMillis(0));
            let lists = said.reasons.iter().filter(|reason| reason.layer != SERVICE && matches!(reason.why, Why::Listed | Why::Unlisted));
            notes.extend(lists.map(|reason| Problem {
                path: "spec.operations.allowed".into(),
                value: name.clone(),
                rule: format!("{}: {}", reason.layer, reason.text),
                hint: if reason.tier == Tier::Forbidden { "it is never done".into() } else { "people are asked first".into() },
            }));
        }
        let own = self.service.rules.limits.max_replicas;
        if let (Some(own), Some((_, most))) = (own, self.replicas())
            && most < own
        {
            notes.push(Problem {
                path: "spec.limits.maxReplicas".into(),
                value: own.to_string(),
                rule: format!("a ClusterBlueprint limits it to {most}"),
                hint: "nobody's approval goes beyond that".into(),
            });
        }
        notes
    }
}
