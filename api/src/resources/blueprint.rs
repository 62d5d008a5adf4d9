//! `Blueprint`: intent and authority for one service. It lives beside its target and governs its own namespace only.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use assent_core::incident::Mode;

use super::Condition;

/// What Assent may do to one workload. Without a Blueprint it only observes.
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
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintSpec {
    /// The workload it speaks of, in the Blueprint's own namespace.
    pub target: TargetReference,
    /// `observe`, `approve` or `autonomous`.
    #[serde(default = "observe")]
    #[schemars(with = "ModeName")]
    pub mode: Mode,
    /// Actions that may be taken, each with its limits. An action that is not named is forbidden.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub actions: Vec<ActionLimits>,
    /// Bounds that hold for every action.
    #[serde(default)]
    pub limits: Limits,
}

/// Names a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// For now `Deployment`.
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

/// Bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Fewest replicas that ScaleWorkload may come to.
    pub min_replicas: Option<u32>,
    /// Most replicas that ScaleWorkload may come to; without it, it may not scale up.
    pub max_replicas: Option<u32>,
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
enum ModeName {
    Observe,
    Approve,
    Autonomous,
}

fn observe() -> Mode {
    Mode::Observe
}
