//! What is said of one service, and of all services of a cluster.

use std::collections::BTreeSet;

use serde::Serialize;

use super::rules::Rules;
use crate::ids::Millionths;

/// Least distance between the thresholds for more and for less, in millionths: closer ones swing.
pub const MIN_GAP: u32 = 100_000;

/// Intent and authority for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blueprint {
    /// The author's own version, if there is one.
    pub version: Option<String>,
    /// The workloads that it speaks of, in its own namespace.
    pub targets: Vec<Workload>,
    /// What Assent may do.
    pub rules: Rules,
    /// What the service must reach.
    pub objectives: Objectives,
    /// When to have more or fewer replicas; without it, replicas do not follow the load.
    pub scaling: Option<Scaling>,
    /// When to give containers more or less.
    pub tuning: Tuning,
    /// Who comes first where two want the same.
    pub priority: Priority,
    /// How bad its loss is.
    pub criticality: Criticality,
    /// Who else writes the workload.
    pub gitops: Option<GitOps>,
}

/// Rules above every Blueprint of some namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterBlueprint {
    /// Its name.
    pub name: String,
    /// Namespaces by name; none named is every one.
    pub namespaces: BTreeSet<String>,
    /// The rules.
    pub rules: Rules,
}

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// For example `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What the service must reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objectives {
    /// By percentile.
    pub latency: Vec<Latency>,
    /// At most this share of requests fails.
    pub error_rate: Option<ShareObjective>,
    /// At least this share of requests is answered.
    pub availability: Option<ShareObjective>,
    /// How full it may be.
    pub saturation: Option<Saturation>,
}

/// At most so long for a percentile of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// For example 95.
    pub percentile: u32,
    /// At most.
    pub target_ms: u64,
    /// Over so long.
    pub window_ms: u64,
}

/// A share over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareObjective {
    /// The share.
    pub target: Millionths,
    /// Over so long.
    pub window_ms: u64,
}

/// How full of what it has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saturation {
    /// Of its processors.
    pub cpu: Option<Millionths>,
    /// Of its memory.
    pub memory: Option<Millionths>,
    /// Over so long.
    pub window_ms: u64,
}

/// When to have more or fewer replicas. Between the thresholds nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// What to come to.
    pub target: Millionths,
    /// More above this.
    pub up: Millionths,
    /// Fewer below this.
    pub down: Millionths,
    /// Figures of so long are looked at.
    pub window_ms: u64,
    /// Above for so long.
    pub up_for_ms: u64,
    /// Below for so long.
    pub down_for_ms: u64,
    /// Most replicas at a time.
    pub step: u32,
    /// What counts how much.
    pub weights: Weights,
}

/// Parts of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Of the processors' use.
    pub cpu: u32,
    /// Of the memory's use.
    pub memory: u32,
    /// Of the latency against its objective.
    pub latency: u32,
}

/// When to give containers more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// The percentile of use that requests are fitted to.
    pub percentile: u32,
    /// Above that.
    pub headroom: Millionths,
    /// More when use passes this share of the request.
    pub raise_above: Millionths,
    /// Less when use stays below this share of the request.
    pub lower_below: Millionths,
    /// Smaller changes are not worth it.
    pub min_change: Millionths,
    /// Figures of so long are looked at.
    pub window_ms: u64,
}

/// Who comes first where two want the same; a later one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    /// Yields.
    Low,
    /// As most.
    #[default]
    Medium,
    /// Comes first.
    High,
}

/// How bad a service's loss is; a later one is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Criticality {
    /// Hardly noticed.
    Low,
    /// As most.
    #[default]
    Standard,
    /// Many notice.
    High,
    /// People must agree to every action.
    Critical,
}

/// Who else writes the workload, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitOps {
    /// `ArgoCD` or `Flux`.
    pub owner: String,
    /// For example `Application`.
    pub kind: String,
    /// Namespace of that object.
    pub namespace: String,
    /// Name of that object.
    pub name: String,
    /// Where the manifests come from.
    pub repository: Option<String>,
    /// The file of this Blueprint there, for ready patches.
    pub path: Option<String>,
}

// === impl Scaling ===

impl Default for Scaling {
    fn default() -> Self {
        Self {
            target: Millionths::new(700_000),
            up: Millionths::new(800_000),
            down: Millionths::new(400_000),
            window_ms: 120_000,
            up_for_ms: 60_000,
            down_for_ms: 300_000,
            step: 2,
            weights: Weights { cpu: 50, memory: 30, latency: 20 },
        }
    }
}

// === impl Tuning ===

impl Default for Tuning {
    fn default() -> Self {
        Self {
            percentile: 95,
            headroom: Millionths::new(150_000),
            raise_above: Millionths::new(900_000),
            lower_below: Millionths::new(500_000),
            min_change: Millionths::new(100_000),
            window_ms: 24 * 60 * 60 * 1000,
        }
    }
}

// === impl Priority ===

impl Priority {
    /// The word in objects.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

// === impl Criticality ===

impl Criticality {
    /// The word in objects and guardrails.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Standard => "standard",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

// === impl Blueprint ===

impl Blueprint {
    /// Whether it speaks of this workload of its own namespace.
    #[must_use]
    pub fn speaks_of(&self, kind: &str, name: &str) -> bool {
        self.targets.iter().any(|target| target.kind == kind && target.name == name)
    }
}

// === impl ClusterBlueprint ===

impl ClusterBlueprint {
    /// Whether it stands above the Blueprints of this namespace.
    #[must_use]
    pub fn concerns(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}
