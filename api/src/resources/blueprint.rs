//! `Blueprint`: intent and authority for one service. It lives beside its target and governs its own namespace only.
//!
//! These types are the schema and the stored form. What they mean is read by `core::blueprint`, from the same JSON that people
//! write, so that the gate, the executor and the plugin find the same things wrong.

mod objectives;
mod rules;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use assent_core::incident::Mode;

use super::Condition;

pub use objectives::{GitOpsSpec, HysteresisSpec, LatencySpec, ObjectivesSpec, SaturationSpec, ScalingSpec, ShareSpec, TuningSpec, WeightsSpec};
pub use rules::{
    BoundsSpec, BreakerSpec, CanarySpec, CheckSpec, ContainerBoundsSpec, FreezeSpec, Limits, OperationsSpec, RestrictionSpec, RollbackSpec, SafetySpec,
    VerificationSpec, WindowSpec,
};

/// What Assent may do to one service, and what the service must reach. Without a Blueprint it only observes.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Blueprint",
    namespaced,
    shortname = "bp",
    category = "assent",
    status = "BlueprintStatus",
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.target.name"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Min","type":"integer","jsonPath":".spec.limits.minReplicas"}"#,
    printcolumn = r#"{"name":"Max","type":"integer","jsonPath":".spec.limits.maxReplicas"}"#,
    printcolumn = r#"{"name":"Criticality","type":"string","jsonPath":".spec.criticality"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version","priority":1}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintSpec {
    /// The author's own version of it, for example `1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub version: Option<String>,
    /// The workload it speaks of, in the Blueprint's own namespace.
    pub target: TargetReference,
    /// Further workloads of the same service. They are named one by one: a label would let whoever may edit a workload put it
    /// under this authority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub targets: Vec<TargetReference>,
    /// `observe`, `approve` or `autonomous`.
    #[serde(default = "observe")]
    #[schemars(with = "ModeName")]
    pub mode: Mode,
    /// Actions that may be taken, each with its limits. Without `operations`, an action that is not named is forbidden; with
    /// it, these are allowed beside `operations.allowed`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub actions: Vec<ActionLimits>,
    /// Who comes first where two services want the same: `low`, `medium` (default), `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PriorityName")]
    pub priority: Option<String>,
    /// How bad its loss is: `low`, `standard` (default), `high`, `critical`. Guardrails may ask people for what is critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CriticalityName")]
    pub criticality: Option<String>,
    /// Bounds that hold for every action.
    #[serde(default)]
    pub limits: Limits,
    /// What the service must reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<ObjectivesSpec>,
    /// When to have more or fewer replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingSpec>,
    /// When to give containers more or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<TuningSpec>,
    /// Operations by tier. One that is on no list is restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<OperationsSpec>,
    /// How often, and when to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<SafetySpec>,
    /// What shows that an operation helped, and what follows when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationSpec>,
    /// When it may act by itself, in UTC; outside of them it asks. None is always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<WindowSpec>,
    /// When nothing is changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub freezes: Vec<FreezeSpec>,
    /// Who else writes the workload, and from where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitops: Option<GitOpsSpec>,
}

/// Names a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// `Deployment`, `StatefulSet` or `DaemonSet`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// One allowed action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionLimits {
    /// For example `RollbackWorkload`.
    #[schemars(length(max = 63))]
    pub name: String,
}

/// What Assent found of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintStatus {
    /// The generation that the conditions speak of.
    pub observed_generation: Option<i64>,
    /// `Ready`: the target exists and the fields make sense together.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// The modes as the schema spells them.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum ModeName {
    Observe,
    Approve,
    Autonomous,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum PriorityName {
    Low,
    Medium,
    High,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum CriticalityName {
    Low,
    Standard,
    High,
    Critical,
}

// === impl BlueprintSpec ===

impl BlueprintSpec {
    /// Whether it speaks of this workload of its own namespace.
    #[must_use]
    pub fn speaks_of(&self, kind: &str, name: &str) -> bool {
        std::iter::once(&self.target).chain(&self.targets).any(|target| target.kind == kind && target.name == name)
    }
}

fn observe() -> Mode {
    Mode::Observe
}

#[cfg(test)]
mod tests;
