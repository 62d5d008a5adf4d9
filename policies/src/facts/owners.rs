//! Facts about who else has a say in the target: budgets, autoscalers, services, quotas, GitOps, its Blueprint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A PodDisruptionBudget over the workload's pods, from its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// `spec.minAvailable` when it is a number; absent when it is a percentage or the budget sets `maxUnavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<u32>,
    /// Pods that must be healthy now.
    pub desired_healthy: u32,
    /// Pods that are healthy now.
    pub current_healthy: u32,
    /// Pods that may be disrupted now.
    pub disruptions_allowed: u32,
}

/// A HorizontalPodAutoscaler of the workload, whoever made it (KEDA makes one too).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// `spec.minReplicas`, 1 if unset.
    pub min_replicas: u32,
    /// `spec.maxReplicas`.
    pub max_replicas: u32,
    /// Whether its condition `ScalingActive` is true or not yet known; it is false while it cannot read its metrics.
    pub active: bool,
}

/// A Service whose selector matches the workload's pod template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceFact {
    /// Its name.
    pub name: String,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
}

/// A ResourceQuota of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Its name.
    pub name: String,
    /// The resource of it that runs out first, for example `requests.cpu`.
    pub resource: String,
    /// How many more pods of the workload's template it has room for.
    pub pods_left: u32,
}

/// A GitOps object that tracks the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitOps {
    /// `Argo CD` or `Flux`.
    pub tool: String,
    /// `Application`, `Kustomization` or `HelmRelease`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it puts back what differs from git: Argo CD with `automated.selfHeal`, Flux unless suspended, told to leave the
    /// object (`kustomize.toolkit.fluxcd.io/reconcile: disabled`, `…/ssa: Ignore`) or, for a HelmRelease, without drift
    /// correction. One that the target names and that is not in this cluster counts as correcting.
    pub corrects: bool,
    /// Those of `action.changes` whose fields its manager owns; all of them if it tracks the target for certain and
    /// `managedFields` do not know its manager.
    #[schemars(length(max = 64))]
    pub contested: Vec<String>,
    /// Those of `contested` that it is told to leave to others: Argo CD `ignoreDifferences` with the sync option
    /// `RespectIgnoreDifferences=true`, Flux `ignore` rules of a Kustomization or of a HelmRelease's drift detection.
    #[schemars(length(max = 64))]
    pub yields: Vec<String>,
}

/// The target's Blueprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueprintFact {
    /// Its name, in the target's namespace.
    pub name: String,
    /// `observe`, `approve` or `autonomous`.
    pub mode: String,
    /// `low`, `standard`, `high` or `critical`; `standard` where the Blueprint says nothing.
    pub criticality: String,
}
