//! `Decision`: the tally of one epoch, with the ballots it counted and a Reason Card in words.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// A tally. Anybody can recompute it from the ballots; the gate does so at every write.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Decision",
    namespaced,
    shortname = "dec",
    category = "assent",
    validation = Rule::new("self.spec == oldSelf.spec").message("a decision never changes"),
    printcolumn = r#"{"name":"Incident","type":"string","jsonPath":".spec.incident"}"#,
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".spec.epoch"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".spec.verdict"}"#,
    printcolumn = r#"{"name":"Cause","type":"string","jsonPath":".spec.cause"}"#,
    printcolumn = r#"{"name":"Action","type":"string","jsonPath":".spec.action"}"#,
    printcolumn = r#"{"name":"Confidence","type":"string","jsonPath":".spec.confidence"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DecisionSpec {
    /// Incident-UID.
    #[schemars(length(max = 36))]
    pub incident: String,
    /// 1 to 4.
    pub epoch: u32,
    /// `Act` or `Hold`.
    #[schemars(length(max = 8))]
    pub verdict: String,
    /// First cause in a line.
    #[schemars(length(max = 600))]
    pub cause: String,
    /// Chosen action in a line, or the rule that held it back.
    #[schemars(length(max = 600))]
    pub action: String,
    /// Probability of the first cause, for people.
    #[schemars(length(max = 16))]
    pub confidence: String,
    /// Names of the ballots that were counted, sorted.
    #[schemars(length(max = 64))]
    pub ballots: Vec<String>,
    /// Reason Card: what was seen, chosen, rejected and why, in lines for people.
    #[schemars(length(max = 64), inner(length(max = 600)))]
    pub reasons: Vec<String>,
    /// Canonical text of `core::consensus::Outcome`.
    #[schemars(length(max = 262_144))]
    pub payload: String,
}

/// The object name of an epoch's decision.
#[must_use]
pub fn name(incident: &str, epoch: u32) -> String {
    format!("{incident}-{epoch}")
}

// === impl Decision ===

impl Decision {
    /// The object for this tally.
    #[must_use]
    pub fn of(spec: DecisionSpec) -> Self {
        let mut object = Self::new(&name(&spec.incident, spec.epoch), spec);
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        object.metadata.labels = Some([(names::INCIDENT.to_owned(), object.spec.incident.clone())].into());
        object
    }
}
