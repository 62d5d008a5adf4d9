//! What a Blueprint and a ClusterBlueprint have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Fewest replicas that ScaleWorkload may come to.
    pub min_replicas: Option<u32>,
    /// Most replicas that ScaleWorkload may come to; without it, it may not scale up.
    pub max_replicas: Option<u32>,
    /// Bounds of each container's requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub containers: Vec<ContainerBoundsSpec>,
}

/// Bounds of one container's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerBoundsSpec {
    /// Its name; `*` is every one that is not named.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Processors, for example `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<BoundsSpec>,
    /// Memory, for example `512Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<BoundsSpec>,
}

/// From, to, and what to aim for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundsSpec {
    /// Least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub min: Option<String>,
    /// Most; without it nothing is inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub max: Option<String>,
    /// What to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub target: Option<String>,
}

/// Operations by tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.allowed) || !has(self.forbidden) || !self.allowed.exists(name, name in self.forbidden)",
    "message": "an operation is allowed and forbidden"
}]))]
pub struct OperationsSpec {
    /// Done without asking, inside the limits. In a ClusterBlueprint: all that a service may allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Names")]
    pub allowed: Option<Vec<String>>,
    /// Done after people approved it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub restricted: Vec<RestrictionSpec>,
    /// Never done; any name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Names")]
    pub forbidden: Vec<String>,
    /// Whom to ask where nobody else is named: groups, or `user:NAME`, as the API server authenticates them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub approvers: Vec<String>,
    /// How many different people must agree; 1 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub count: Option<u32>,
}

/// An operation that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestrictionSpec {
    /// Any name.
    #[schemars(length(min = 1, max = 63))]
    pub operation: String,
    /// When it asks, for example `target_replicas > max_replicas`; always where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub condition: Option<String>,
    /// Whom: groups or `user:NAME`, as the API server authenticates them, and with `chat` also `slack:TEAM/USER`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub approvers: Vec<String>,
    /// How many different people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub count: Option<u32>,
    /// Whether an answer in chat counts, of those named as `slack:TEAM/USER`. Never for two people, nor for what cannot be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<bool>,
}

/// Limits in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SafetySpec {
    /// Between two operations; 60s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub cooldown: Option<String>,
    /// In any hour; 10 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub operations_per_hour: Option<u32>,
    /// Stops after failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerSpec>,
    /// Operations without effect before a person must look; 3 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub strikes: Option<u32>,
    /// One pod first, where a change gives pods another template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySpec>,
}

/// One pod first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanarySpec {
    /// Whether at all; on where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// With so many replicas or more; 3 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub replicas: Option<u32>,
    /// It must be well for so long before the rest follows; 10s where nothing is said, and a minute at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub watch: Option<String>,
}

/// Stops after failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakerSpec {
    /// Failures in a row that open it; 3 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub failures: Option<u32>,
    /// How long it stays open before one trial; 5m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub wait: Option<String>,
}

/// What is looked at after an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSpec {
    /// Whether it is at all; on where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long to wait before the first look; 60s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub stabilization: Option<String>,
    /// What must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub checks: Vec<CheckSpec>,
    /// What follows when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackSpec>,
}

/// One condition of success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckSpec {
    /// An indicator (`latency_p95`, `error_rate`, `availability`, `cpu_utilization`, …), or any name for a query.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// `threshold` for an indicator, `promql` for a query.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CheckName")]
    pub kind: Option<String>,
    /// PromQL that gives one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub query: Option<String>,
    /// A comparison and a figure, for example `< 200ms`.
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    /// Whether the operation failed when this fails; so where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<bool>,
    /// Whether a failure undoes the operation; as `critical` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_trigger: Option<bool>,
}

/// Undoing; each is on where nothing is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackSpec {
    /// Whether it is done at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether without a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<bool>,
    /// Whether one critical check that fails suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_critical_failure: Option<bool>,
}

/// A part of some days of the week, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.from < self.until", "message": "a window ends after it begins"}]))]
pub struct WindowSpec {
    /// `Mon` to `Sun`; every day where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<DayName>", length(max = 7))]
    pub days: Vec<String>,
    /// `HH:MM`.
    #[schemars(length(min = 5, max = 5))]
    pub from: String,
    /// `HH:MM`; `24:00` is the end of the day.
    #[schemars(length(min = 5, max = 5))]
    pub until: String,
}

/// A time in which nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.from < self.until", "message": "a freeze ends after it begins"}]))]
pub struct FreezeSpec {
    /// First second of it, RFC 3339.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub from: String,
    /// First second after it, RFC 3339.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub until: String,
    /// Why.
    #[schemars(length(min = 1, max = 300))]
    pub reason: String,
}

/// Names of operations as the schema bounds them.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Names(#[schemars(length(max = 32), inner(length(min = 1, max = 63)))] Vec<String>);

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum CheckName {
    Threshold,
    Promql,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum DayName {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}
