//! Facts about what the plan is aimed at: action, target, namespace, workload, pod, node.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is being done, from the voted action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionFact {
    /// Name in the catalogue, for example `ScaleWorkload`.
    pub name: String,
    /// `low`, `medium` or `high`.
    pub risk: String,
    /// Whether its inverse restores what was (an action that keeps the desired state counts as undoable).
    pub reversible: bool,
    /// JSON pointers of the fields of the target that the write changes, at most 64, for example `/spec/replicas`; none where a pod of it
    /// is evicted.
    #[schemars(length(max = 64))]
    pub changes: Vec<String>,
    /// The revision whose template the write puts back whole: the digest of the new template is that of one that a seat saw
    /// healthy. Absent for every other change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<i64>,
}

/// The object that the plan is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetFact {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Empty for a node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it has a `deletionTimestamp`.
    pub deleting: bool,
}

/// The namespace of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceFact {
    /// Its name.
    pub name: String,
    /// Its labels. Tenants may set them: a guardrail may be stricter for a label, never milder.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a `deletionTimestamp`.
    pub deleting: bool,
}

/// A workload as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadFact {
    /// For example `apps/v1`.
    pub api_version: String,
    /// `Deployment`, `StatefulSet` or `DaemonSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Pods it should have (`spec.replicas`; for a DaemonSet the desired number that is scheduled).
    pub replicas: u32,
    /// Pods that are available (`status.availableReplicas`).
    pub available: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// Where its newest rollout stands.
    pub rollout: Rollout,
    /// How it replaces pods.
    pub strategy: Strategy,
    /// The controller that owns it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// `spec.template.spec.priorityClassName`, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// Whether its pods mount persistent volume claims.
    pub has_claims: bool,
    /// Whether scaling down deletes claims (`persistentVolumeClaimRetentionPolicy.whenScaled: Delete`).
    pub scaling_deletes_claims: bool,
    /// Templates that a seat saw healthy, newest first, at most 32.
    #[schemars(length(max = 32))]
    pub revisions: Vec<Revision>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rollout {
    /// The controller has seen the newest template and is done with it; pods may be ill all the same.
    Settled,
    /// Pods are being replaced.
    Progressing,
    /// It passed its progress deadline.
    Stalled,
}

/// How a workload replaces pods; percentages are resolved against `replicas`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// `RollingUpdate`, `Recreate` or `OnDelete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Pods that may be missing while it replaces (rounded down, as the controller does).
    pub max_unavailable: u32,
    /// Pods that may be there in excess (rounded up).
    pub max_surge: u32,
    /// A StatefulSet's `rollingUpdate.partition`: pods of a lower ordinal are not replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// For example `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A pod template that a seat saw healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// Its number, for people.
    pub revision: i64,
    /// When it was last seen healthy.
    pub healthy_at: String,
    /// Containers and init containers, by name.
    #[schemars(length(max = 64))]
    pub containers: Vec<Container>,
    /// Secrets that the template refers to, by name, sorted.
    #[schemars(length(max = 64))]
    pub secrets: Vec<String>,
}

/// One container of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image as the template names it.
    pub image: String,
}

/// A pod that is evicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodFact {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// The controller that makes a new one, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Names of `emptyDir` volumes that are not in memory: their content is lost with the pod.
    #[schemars(length(max = 64))]
    pub local_volumes: Vec<String>,
}

/// A node that is the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// `spec.unschedulable`.
    pub cordoned: bool,
    /// Whether it carries a control-plane label or taint, or runs a static pod of the control plane.
    pub control_plane: bool,
}

/// All nodes, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nodes {
    /// All that are not control plane.
    pub workers: u32,
    /// Workers that are ready and schedulable.
    pub usable: u32,
    /// Workers that are cordoned.
    pub cordoned: u32,
}
