//! What a service must reach, when to give it more or less, and who else writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the service must reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectivesSpec {
    /// By percentile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub latency: Vec<LatencySpec>,
    /// At most this share of requests fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ShareSpec>,
    /// At least this share of requests is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<ShareSpec>,
    /// How full it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<SaturationSpec>,
}

/// At most so long for a percentile of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencySpec {
    /// 50, 75, 90, 95 (default) or 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub percentile: Option<u32>,
    /// For example `200ms`.
    #[schemars(length(max = 32))]
    pub target: String,
    /// Over so long; 5m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub window: Option<String>,
}

/// A share over a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShareSpec {
    /// For example `1%`.
    #[schemars(length(max = 32))]
    pub target: String,
    /// Over so long; 5m for errors and 30d for availability where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub window: Option<String>,
}

/// How full of what it has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SaturationSpec {
    /// Of its processors, for example `80%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub cpu: Option<String>,
    /// Of its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub memory: Option<String>,
    /// Over so long; 5m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub window: Option<String>,
}

/// When to have more or fewer replicas. Between the thresholds nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingSpec {
    /// What to come to; 70% where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub target_utilization: Option<String>,
    /// More above this; 80% where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub scale_up_threshold: Option<String>,
    /// Fewer below this; 40% where nothing is said. At least 10 points below the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub scale_down_threshold: Option<String>,
    /// Figures of so long are looked at; 2m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub window: Option<String>,
    /// How long a threshold must stay passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<HysteresisSpec>,
    /// Most replicas at a time; 2 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_step: Option<u32>,
    /// What counts how much; parts of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsSpec>,
}

/// How long a threshold must stay passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HysteresisSpec {
    /// Before more; 1m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub up: Option<String>,
    /// Before fewer; 5m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub down: Option<String>,
}

/// Parts of a hundred; one that is left out is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightsSpec {
    /// Of the processors' use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub cpu: Option<u32>,
    /// Of the memory's use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub memory: Option<u32>,
    /// Of the latency against its objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub latency: Option<u32>,
}

/// When to give containers more or less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuningSpec {
    /// The percentile of use that requests are fitted to: 50, 75, 90, 95 (default) or 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub percentile: Option<u32>,
    /// Above that; 15% where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub headroom: Option<String>,
    /// More when use passes this share of the request; 90% where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub raise_above: Option<String>,
    /// Less when use stays below this share of the request; 50% where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lower_below: Option<String>,
    /// Smaller changes are not worth it; 10% where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub min_change: Option<String>,
    /// Figures of so long are looked at; 1d where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub window: Option<String>,
}

/// Who else writes the workload, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitOpsSpec {
    /// `ArgoCD` or `Flux`.
    #[schemars(with = "OwnerName")]
    pub owner: String,
    /// `Application`, `Kustomization` (default for Flux) or `HelmRelease`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
    /// Namespace of that object.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of that object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where the manifests come from, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub repository: Option<String>,
    /// The file of this Blueprint there: a limit that is raised by approval comes as a patch of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub path: Option<String>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum OwnerName {
    #[serde(rename = "ArgoCD")]
    ArgoCd,
    Flux,
}
