//! `Remediation`: one concrete plan of the executor, with what became of it in its status.

use assent_core::plan::Plan;
use assent_core::verification::Effect;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

use crate::names;

/// A plan. Its existence admits nothing: every write is judged against the ballots again.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Remediation",
    namespaced,
    shortname = "rem",
    category = "assent",
    status = "RemediationStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("a plan never changes"),
    printcolumn = r#"{"name":"Incident","type":"string","jsonPath":".spec.incident"}"#,
    printcolumn = r#"{"name":"Action","type":"string","jsonPath":".spec.action"}"#,
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.target"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Result","type":"string","jsonPath":".status.result"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RemediationSpec {
    /// Incident-UID.
    #[schemars(length(max = 36))]
    pub incident: String,
    /// 1 to 4.
    pub epoch: u32,
    /// The action in a line.
    #[schemars(length(max = 1000))]
    pub action: String,
    /// Kind, namespace and name of the target.
    #[schemars(length(max = 600))]
    pub target: String,
    /// Canonical text of `core::plan::Plan`.
    #[schemars(length(max = 1_048_576))]
    pub payload: String,
}

/// What became of the plan. Written by the executor; the gate believes none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationStatus {
    /// Where it stands.
    pub phase: Option<RemediationPhase>,
    /// In words.
    pub message: Option<String>,
    /// What the write did, compared with before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RemediationResult>,
    /// The generation that the conditions speak of.
    pub observed_generation: Option<i64>,
    /// `Canary`, `Applied`, `Verified`, `Reverted`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RemediationResult {
    /// The symptom is gone and stayed gone.
    Improved,
    /// It is as it was before.
    NoEffect,
    /// It is worse than before.
    Worse,
    /// Nobody can say.
    Unknown,
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RemediationPhase {
    /// Admitted; nothing was written yet.
    Planned,
    /// Written so that it begins with one pod, which is watched; the rest is held back.
    Canary,
    /// The write is done, its effect is watched.
    Applied,
    /// The symptom is gone and stayed gone.
    Verified,
    /// It did not help; the inverse is being carried out.
    Reverting,
    /// It did not help, and the target is as it was.
    Reverted,
    /// Nothing was written.
    Refused,
    /// A person must act.
    Failed,
}

// === impl RemediationResult ===

impl From<Effect> for RemediationResult {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Improved => Self::Improved,
            Effect::NoEffect => Self::NoEffect,
            Effect::Worse => Self::Worse,
            Effect::Unknown => Self::Unknown,
        }
    }
}

// === impl RemediationSpec ===

impl RemediationSpec {
    /// The typed fields that say what `plan` (whose canonical text is `payload`) says.
    #[must_use]
    pub fn of(plan: &Plan, payload: String) -> Self {
        Self {
            incident: plan.incident.to_string(),
            epoch: plan.epoch,
            action: plan.proposal.action.act().describe(),
            target: plan.proposal.target.to_string(),
            payload,
        }
    }
}

// === impl Remediation ===

impl Remediation {
    /// The object for `plan`.
    pub fn of(plan: &Plan) -> Result<Self, assent_core::canonical::Error> {
        let payload = assent_core::canonical::text(plan)?;
        let mut object = Self::new(&plan.name()?, RemediationSpec::of(plan, payload));
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        object.metadata.labels = Some([(names::INCIDENT.to_owned(), plan.incident.to_string())].into());
        Ok(object)
    }
}
