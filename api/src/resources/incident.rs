//! `Incident`: where one incident stands, for people and for `kubectl wait`. The director's ledger is the record; this is
//! its public face, and nothing is decided from it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// One incident. Its name is the Incident-UID.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Incident",
    namespaced,
    shortname = "inc",
    category = "assent",
    status = "IncidentStatus",
    printcolumn = r#"{"name":"Service","type":"string","jsonPath":".spec.service"}"#,
    printcolumn = r#"{"name":"Symptom","type":"string","jsonPath":".spec.symptom"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Cause","type":"string","jsonPath":".status.cause"}"#,
    printcolumn = r#"{"name":"Action","type":"string","jsonPath":".status.action"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSpec {
    /// Who raised it: `seat`, `alertmanager`, `goAlert`.
    #[schemars(length(max = 32))]
    pub source: String,
    /// `namespace/name` of the service that alerted.
    #[schemars(length(max = 320))]
    pub service: String,
    /// Class of the symptom.
    #[schemars(length(max = 32))]
    pub symptom: String,
    /// The first alert in a line; untrusted text.
    #[schemars(length(max = 300))]
    pub summary: String,
}

/// Where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentStatus {
    /// See `core::incident::Phase`.
    pub phase: Option<String>,
    /// The current epoch.
    pub epoch: Option<u32>,
    /// First cause of the newest decision.
    pub cause: Option<String>,
    /// Action of the newest decision.
    pub action: Option<String>,
    /// Name of the newest decision.
    pub decision: Option<String>,
    /// Name of the remediation.
    pub remediation: Option<String>,
    /// Why it ended as it did.
    pub outcome: Option<String>,
    /// Competing hypotheses when it was escalated, most probable first.
    #[serde(default)]
    pub hypotheses: Vec<String>,
    /// The generation that the conditions speak of.
    pub observed_generation: Option<i64>,
    /// `Closed`: true when nothing will follow; its reason is the final phase.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
