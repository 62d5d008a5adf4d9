//! `OperationProposal`: somebody's word that something should be done to a service. It is classified, put on record and
//! answered, with what could be done instead; that it exists lets nobody do anything.

use assent_core::blueprint::{Classification, Operation, ReplicaChange, Tier};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One proposed operation, of any name. Created once, by whoever proposes it; never changed, never carried out.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "OperationProposal",
    shortname = "prop",
    namespaced,
    category = "assent",
    status = "OperationProposalStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("what was proposed stays proposed"),
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".spec.operation"}"#,
    printcolumn = r#"{"name":"Service","type":"string","jsonPath":".spec.service"}"#,
    printcolumn = r#"{"name":"User","type":"string","jsonPath":".spec.user"}"#,
    printcolumn = r#"{"name":"Tier","type":"string","jsonPath":".status.tier"}"#,
    printcolumn = r#"{"name":"Instead","type":"string","jsonPath":".status.alternatives[*].name"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct OperationProposalSpec {
    /// What should be done, by any name: one that nobody knows is answered too.
    #[schemars(length(min = 1, max = 64))]
    pub operation: String,
    /// Kind of the workload in this namespace.
    #[serde(default = "deployment")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub service: String,
    /// Replicas that a scale would come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Why, for the record.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: String,
    /// The author, as the API server authenticates them (`kubectl auth whoami`).
    #[schemars(length(min = 1, max = 253))]
    pub user: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationProposalStatus {
    /// `allowed`, `restricted` or `forbidden`, by the Blueprint and what stands above it.
    pub tier: String,
    /// The strictest reasons in a line.
    #[serde(default)]
    pub message: String,
    /// Everything that speaks against doing it freely.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Who would have to agree.
    #[serde(default)]
    pub approvals: Vec<String>,
    /// What can be done instead.
    #[serde(default)]
    pub alternatives: Vec<AlternativeSpec>,
    /// Whether it is an action that Assent can carry out, by a vote on an incident.
    pub executable: bool,
    /// Whether whoever watches over security is told.
    pub alert: bool,
    /// Incident-UID under which it is in the ledger.
    pub incident: String,
}

/// Something that can be done instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlternativeSpec {
    /// A short name.
    pub name: String,
    /// The operation that does it.
    pub operation: String,
    /// What it is, for people.
    pub how: String,
}

fn deployment() -> String {
    "Deployment".to_owned()
}

// === impl OperationProposalSpec ===

impl OperationProposalSpec {
    /// What is proposed, as it is classified.
    #[must_use]
    pub fn wanted(&self) -> Operation {
        Operation { replicas: self.replicas.map(|to| ReplicaChange { from: None, to }), ..Operation::named(&self.operation) }
    }
}

// === impl OperationProposalStatus ===

impl OperationProposalStatus {
    /// The answer that `said` makes, on record under `incident`.
    #[must_use]
    pub fn of(said: &Classification, incident: &str) -> Self {
        let asked = said.approvals.iter().filter(|_| said.tier == Tier::Restricted);
        let alternatives = said.alternatives.iter().map(|one| AlternativeSpec { name: one.name.into(), operation: one.operation.into(), how: one.how.into() });
        Self {
            tier: said.tier.as_str().to_owned(),
            message: said.because(),
            reasons: said.reasons.iter().rev().map(|reason| format!("{}: {}", reason.layer, reason.text)).collect(),
            approvals: asked.map(ToString::to_string).collect(),
            alternatives: alternatives.collect(),
            executable: said.executable,
            alert: said.alert,
            incident: incident.to_owned(),
        }
    }

    /// The answer in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.tier.clone();
        if !self.message.is_empty() {
            line.push_str(&format!(": {}", self.message));
        }
        if !self.approvals.is_empty() {
            line.push_str(&format!("; needs {}", self.approvals.join(", and ")));
        }
        if !self.alternatives.is_empty() {
            let names: Vec<&str> = self.alternatives.iter().map(|one| one.name.as_str()).collect();
            line.push_str(&format!("; could be done instead: {}", names.join(", ")));
        }
        line
    }
}
