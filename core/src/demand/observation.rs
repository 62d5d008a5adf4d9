//! What was seen of one service, as whoever looks writes it down. Figures are sums over the replicas that were ready.

use serde::{Deserialize, Serialize};

use crate::ids::{Millionths, UnixMillis};

/// Most samples of one observation; with more, the newest count.
pub const MAX_SAMPLES: usize = 1_024;

/// One service as it is and as it was lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// How many replicas are asked for.
    pub replicas: u32,
    /// How many are ready.
    pub ready: u32,
    /// Whether old and new pods mix.
    pub rolling_out: bool,
    /// Containers of a pod, without Assent's own sidecar.
    pub containers: Vec<Container>,
    /// Figures, oldest first.
    pub samples: Vec<Sample>,
    /// Autoscalers that set the replicas.
    pub autoscalers: Vec<Autoscaler>,
    /// Whether something else sets requests and limits (a VerticalPodAutoscaler).
    pub resources_are_owned: bool,
}

/// Figures of one moment. What was not measured is missing; where it was measured that nobody asked, latency and errors are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// When.
    pub at: UnixMillis,
    /// Replicas that the sums are over.
    pub ready: u32,
    /// CPU used by all of them together.
    pub cpu_milli: Option<u64>,
    /// Memory used by all of them together: the working set.
    pub memory_bytes: Option<u64>,
    /// The 95th percentile of latency.
    pub latency_p95_us: Option<u64>,
    /// The share of failed requests.
    pub errors: Option<Millionths>,
}

/// One container of the pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// CPU in milli-cores.
    pub cpu: Allocation,
    /// Memory in bytes.
    pub memory: Allocation,
    /// Whether its CPU request is not said, and so what its limit is: it is not changed then.
    pub cpu_is_implied: bool,
    /// The same of memory.
    pub memory_is_implied: bool,
    /// What it used, period by period, oldest first.
    pub history: Vec<Period>,
    /// How often it was killed for want of memory since it has this much.
    pub out_of_memory: u32,
}

/// What is requested of one resource, and the most that may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocation {
    /// The request; nothing requested is zero.
    pub request: u64,
    /// The limit.
    pub limit: Option<u64>,
    /// Whether the container restarts when it changes (`resizePolicy`), or the cluster cannot resize in place.
    pub restarts: bool,
}

/// What one container used in a period, over all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Period {
    /// First moment of it.
    pub from: UnixMillis,
    /// The 95th percentile of CPU that one container used.
    pub cpu_p95_milli: u64,
    /// The most memory that one container used.
    pub memory_peak_bytes: u64,
}

/// A HorizontalPodAutoscaler of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// `spec.minReplicas`.
    pub min: u32,
    /// `spec.maxReplicas`.
    pub max: u32,
    /// Whether it can read its metrics, and so acts.
    pub active: bool,
    /// Whether it goes by CPU as a share of the request: who changes the request changes what it sees.
    pub by_cpu_request: bool,
    /// The same for memory.
    pub by_memory_request: bool,
}

// === impl Observation ===

impl Observation {
    /// What one replica requests: CPU in milli-cores and memory in bytes.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        let sum = |of: fn(&Container) -> u64| self.containers.iter().map(of).fold(0, u64::saturating_add);
        (sum(|container| container.cpu.request), sum(|container| container.memory.request))
    }

    /// The most CPU that one replica can use, if every container has a limit.
    #[must_use]
    pub fn cpu_limit(&self) -> Option<u64> {
        self.containers.iter().map(|container| container.cpu.limit).try_fold(0_u64, |sum, limit| Some(sum.saturating_add(limit?)))
    }

    /// The newest samples, at most [`MAX_SAMPLES`].
    pub(super) fn newest(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter().skip(self.samples.len().saturating_sub(MAX_SAMPLES))
    }
}
