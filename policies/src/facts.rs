//! `Facts`: what a guardrail may know beside the request. Stock CEL sees no other object and no clock, so whoever judges (the
//! gate, the executor before it submits, a scan, a replay) reads what is live, puts it into one `Facts`, and binds that as
//! `params` of every guardrail whose `paramKind` is `assent.dev/v1alpha1` `Facts`. It is computed for one request and never
//! stored; bindings name it `current`.
//!
//! This module is the shape, its bounds, and [`Facts::assemble`], which makes it of the API server's objects. It reads
//! nothing, and it does not say what is right: that is what guardrails do.
//!
//! # Where each field comes from
//! | field | read from | trusted for it |
//! |---|---|---|
//! | `now` | the `Date` header of the API server's answers | API server |
//! | `incident`, `action`, `target` | the plan in the `Remediation` (its signed canonical text), or for a dry run the ballots' decision | the quorum of seats |
//! | `namespace` | `v1 Namespace` of the target | whoever may edit the namespace; guardrails let its labels only tighten |
//! | `workload` | the Deployment, StatefulSet or DaemonSet that the target is | API server; strategy and owner are its editors' words |
//! | `workload.revisions` | signed ballots: templates that a seat saw healthy, by digest; ReplicaSets supply content only, since anybody who may create one can forge "revision 7" | the seats |
//! | `pod` | the `v1 Pod` of the target that is evicted | API server and kubelet |
//! | `node`, `nodes` | `v1 Node`, all of them, when the target is one | API server and kubelets |
//! | `budgets` | `policy/v1 PodDisruptionBudget` whose selector matches the workload's pods | disruption controller |
//! | `autoscalers` | `autoscaling/v2 HorizontalPodAutoscaler` whose `scaleTargetRef` is the workload | its editors |
//! | `services` | `v1 Service` whose selector matches the workload's pod template | its editors |
//! | `quotas` | `v1 ResourceQuota` of the namespace, against one pod's requests | quota controller |
//! | `gitops` | Argo CD `Application`, Flux `Kustomization` and `HelmRelease` that track the target, and `metadata.managedFields` of the target | the GitOps controller's account |
//! | `remediations` | `Remediation` objects in `assent-system`: server-set creation time, the plan's own deadlines and, no sooner than its soak time, its status | the gate that admitted them |
//! | `freezes` | `FreezeWindow` objects | people |
//! | `blueprint` | the one `Blueprint` of the target | people |
//! | `approvals` | `ApprovalRequest` decisions made with a person's own credentials for this very change | that person |
//! | `exemptions` | `GuardrailExemption` objects, by [`exemptions`] | administrators |
//!
//! # Rules
//! - Whatever cannot be read makes no `Facts`, and without `Facts` a request is refused (`parameterNotFoundAction: Deny`). An
//!   API that is not installed (no Argo CD) is an empty list, not a failure.
//! - An absent optional field means "there is none" (no pod: the target is no pod). A guardrail that reads it without
//!   asking fails, and a guardrail that fails denies.
//! - A list longer than its bound is a failure and is never cut: what was cut off might be the one that matters. Only
//!   `revisions` keeps the newest, since fewer revisions permit less.
//! - Times are RFC 3339 in UTC with whole seconds, for `timestamp()`.
//! - Owed reverts are not judged by guardrails, so no field speaks of them.

mod assemble;
mod exemption;
mod history;
mod owners;
mod target;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use assemble::{Healthy, MAX_LABELS, MAX_LISTED, Sources, StoredPlan};
pub use exemption::{Exemption, ExemptionSource, exemptions};
pub use history::{Approval, Freeze, PlanFact};
pub use owners::{Autoscaler, BlueprintFact, Budget, GitOps, Quota, ServiceFact};
pub use target::{ActionFact, Container, NamespaceFact, NodeFact, Nodes, Owner, PodFact, Revision, Rollout, Strategy, TargetFact, WorkloadFact};

/// `apiVersion` of [`Facts`].
pub const API_VERSION: &str = "assent.dev/v1alpha1";
/// `kind` of [`Facts`].
pub const KIND: &str = "Facts";
/// The name that bindings use.
pub const NAME: &str = "current";

/// Most budgets, autoscalers, services, quotas, GitOps owners or exemptions of one target.
pub const MAX_OF_TARGET: usize = 64;
/// Most freeze windows that are not over.
pub const MAX_FREEZES: usize = 256;
/// Most remediations that are open or younger than an hour, in the whole cluster.
pub const MAX_REMEDIATIONS: usize = 256;
/// Most revisions; the newest are kept.
pub const MAX_REVISIONS: usize = 32;
/// Most changed paths that are named.
pub const MAX_CHANGES: usize = 64;
/// Most approvals of one change.
pub const MAX_APPROVALS: usize = 16;

/// Everything that guardrails may know about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Only `name`: [`NAME`].
    pub metadata: Metadata,
    /// The API server's clock.
    pub now: String,
    /// Incident-UID that the request names.
    pub incident: String,
    /// What is being done.
    pub action: ActionFact,
    /// The object that the plan is aimed at.
    pub target: TargetFact,
    /// Namespace of the target; absent for a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceFact>,
    /// The workload that the target is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadFact>,
    /// The pod of the target that is evicted, if that is what is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodFact>,
    /// The node, when the target is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeFact>,
    /// All nodes, counted; when the target is a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    /// Disruption budgets over the workload's pods.
    #[schemars(length(max = 64))]
    pub budgets: Vec<Budget>,
    /// Autoscalers of the workload.
    #[schemars(length(max = 64))]
    pub autoscalers: Vec<Autoscaler>,
    /// Services over the workload's pods.
    #[schemars(length(max = 64))]
    pub services: Vec<ServiceFact>,
    /// Quotas of the namespace.
    #[schemars(length(max = 64))]
    pub quotas: Vec<Quota>,
    /// GitOps objects that track the target.
    #[schemars(length(max = 64))]
    pub gitops: Vec<GitOps>,
    /// Other plans, of any incident and target, that are open or younger than an hour. The plan under judgement is left out.
    #[schemars(length(max = 256))]
    pub remediations: Vec<PlanFact>,
    /// Freeze windows that speak of the target's namespace and are not over; they may lie ahead.
    #[schemars(length(max = 256))]
    pub freezes: Vec<Freeze>,
    /// The Blueprint of the target; absent when there is none, or two that contradict each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<BlueprintFact>,
    /// People who approved this very change.
    #[schemars(length(max = 16))]
    pub approvals: Vec<Approval>,
    /// Exemptions of this target: at most one for each guardrail, the strictest.
    #[schemars(length(max = 64))]
    pub exemptions: Vec<Exemption>,
}

/// Metadata of something that is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// [`NAME`].
    pub name: String,
}

/// Why facts cannot be bound. Whoever judges refuses then.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// More than can be judged.
    #[error("{count} {field} are more than the {most} that facts hold")]
    Bound {
        /// The list.
        field: &'static str,
        /// Its length.
        count: usize,
        /// Its bound.
        most: usize,
    },
    /// Something that matters is not what it should be.
    #[error("{object}: `{field}` cannot be read: {reason}")]
    Unreadable {
        /// Kind, namespace and name.
        object: String,
        /// JSON pointer.
        field: String,
        /// In words.
        reason: String,
    },
    /// Milliseconds since 1970 that are no moment.
    #[error("{0} ms since 1970 is no time")]
    Time(i64),
    /// Neither an object before the write nor one after it.
    #[error("there is no write: the object before it and the one after it are both absent")]
    NoWrite,
    /// Not representable.
    #[error("facts cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

// === impl Facts ===

impl Facts {
    /// Facts about a target of which nothing else is known: no workload, budget, owner, plan, freeze or exemption.
    #[must_use]
    pub fn new(now: String, incident: String, action: ActionFact, target: TargetFact) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata { name: NAME.to_owned() },
            now,
            incident,
            action,
            target,
            namespace: None,
            workload: None,
            pod: None,
            node: None,
            nodes: None,
            budgets: Vec::new(),
            autoscalers: Vec::new(),
            services: Vec::new(),
            quotas: Vec::new(),
            gitops: Vec::new(),
            remediations: Vec::new(),
            freezes: Vec::new(),
            blueprint: None,
            approvals: Vec::new(),
            exemptions: Vec::new(),
        }
    }

    /// The value of `params`.
    ///
    /// # Errors
    /// If a list is longer than its bound.
    pub fn params(&self) -> Result<Value, FactsError> {
        self.bounded()?;
        serde_json::to_value(self).map_err(FactsError::Json)
    }

    /// Whether every list is within its bound.
    fn bounded(&self) -> Result<(), FactsError> {
        let revisions = self.workload.as_ref().map_or(0, |workload| workload.revisions.len());
        let lengths = [
            ("changed paths", self.action.changes.len(), MAX_CHANGES),
            ("revisions", revisions, MAX_REVISIONS),
            ("budgets", self.budgets.len(), MAX_OF_TARGET),
            ("autoscalers", self.autoscalers.len(), MAX_OF_TARGET),
            ("services", self.services.len(), MAX_OF_TARGET),
            ("quotas", self.quotas.len(), MAX_OF_TARGET),
            ("GitOps owners", self.gitops.len(), MAX_OF_TARGET),
            ("remediations", self.remediations.len(), MAX_REMEDIATIONS),
            ("freeze windows", self.freezes.len(), MAX_FREEZES),
            ("approvals", self.approvals.len(), MAX_APPROVALS),
            ("exemptions", self.exemptions.len(), MAX_OF_TARGET),
        ];
        match lengths.into_iter().find(|(_, count, most)| count > most) {
            Some((field, count, most)) => Err(FactsError::Bound { field, count, most }),
            None => Ok(()),
        }
    }

    /// JSON schema (2020-12) of [`Facts`], for the checker and for editors.
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod cases;
