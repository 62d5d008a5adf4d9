//! `ApprovalRequest`: people are asked about one change. Written by the executor, answered by [`super::Approval`] objects.

use assent_core::approval;
use assent_core::ballot::Proposal;
use assent_core::blueprint;
use assent_core::canonical;
use assent_core::ids::IncidentUid;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use crate::names;

/// One change that people must agree to. It admits nothing by itself: the answers are counted again at each write.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "ApprovalRequest",
    namespaced,
    shortname = "apr",
    category = "assent",
    status = "ApprovalRequestStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("a request never changes"),
    printcolumn = r#"{"name":"Action","type":"string","jsonPath":".spec.action"}"#,
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.target"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message"}"#,
    printcolumn = r#"{"name":"Until","type":"date","jsonPath":".status.until"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Incident","type":"string","jsonPath":".spec.incident","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequestSpec {
    /// Incident-UID.
    #[schemars(length(max = 36))]
    pub incident: String,
    /// The epoch whose ballots decided for it.
    pub epoch: u32,
    /// Namespace of the target: whose people are asked.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Digest of what is approved: action, parameters, target and its specification.
    #[schemars(length(max = 64))]
    pub change: String,
    /// The action in a line.
    #[schemars(length(max = 1000))]
    pub action: String,
    /// Kind, namespace and name of the target.
    #[schemars(length(max = 600))]
    pub target: String,
    /// Why it asks, what the seats found, and who disagreed, in lines.
    #[schemars(length(max = 64), inner(length(max = 600)))]
    pub reasons: Vec<String>,
    /// Whom it asked when it was written; each of these must be given. What the Blueprint says later counts.
    #[schemars(length(max = 32))]
    pub approvals: Vec<ApprovalRule>,
    /// How long people have, from the creation.
    pub expires_after_seconds: u32,
    /// Canonical text of the proposal.
    #[schemars(length(max = 262_144))]
    pub payload: String,
}

/// Who must agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRule {
    /// `user:NAME`, `group:NAME` or `slack:TEAM/USER`.
    #[schemars(length(max = 64), inner(length(max = 260)))]
    pub approvers: Vec<String>,
    /// How many different people.
    pub count: u32,
}

/// How it stands. Written by the executor; the gate believes none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequestStatus {
    /// Where it stands.
    pub phase: Option<ApprovalPhase>,
    /// In words.
    pub message: Option<String>,
    /// Until when people may answer, RFC 3339.
    pub until: Option<String>,
    /// How often people were reminded.
    pub reminders: Option<u32>,
    /// The generation that the conditions speak of.
    pub observed_generation: Option<i64>,
    /// `Approved`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalPhase {
    /// People have not answered.
    Pending,
    /// They agreed, and the seats are asked again since their votes are too old.
    Approved,
    /// A plan was made on it.
    Used,
    /// Somebody refused.
    Denied,
    /// Nobody agreed in time.
    Expired,
    /// It came to nothing for another reason.
    Dropped,
}

// === impl ApprovalPhase ===

impl ApprovalPhase {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Used | Self::Denied | Self::Expired | Self::Dropped)
    }
}

// === impl ApprovalRequestSpec ===

impl ApprovalRequestSpec {
    /// What people are asked about `proposal`; the reasons are added by whoever asks.
    ///
    /// # Errors
    /// If it has no canonical form.
    pub fn of(incident: &IncidentUid, epoch: u32, proposal: &Proposal, expires_after_seconds: u32) -> Result<Self, canonical::Error> {
        Ok(Self {
            incident: incident.to_string(),
            epoch,
            namespace: proposal.target.namespace.clone(),
            change: approval::change(proposal)?.to_string(),
            action: proposal.action.act().describe(),
            target: proposal.target.to_string(),
            reasons: Vec::new(),
            approvals: Vec::new(),
            expires_after_seconds,
            payload: canonical::text(proposal)?,
        })
    }
}

// === impl ApprovalRule ===

impl From<&blueprint::Approval> for ApprovalRule {
    fn from(approval: &blueprint::Approval) -> Self {
        Self { approvers: approval.approvers.iter().map(ToString::to_string).collect(), count: approval.count }
    }
}

impl From<&ApprovalRule> for blueprint::Approval {
    /// Whether chat counts is the Blueprint's word and not told here.
    fn from(rule: &ApprovalRule) -> Self {
        Self { approvers: rule.approvers.iter().filter_map(|text| blueprint::Approver::parse(text)).collect(), count: rule.count, chat: false }
    }
}

// === impl ApprovalRequest ===

impl ApprovalRequest {
    /// The object with its one name.
    ///
    /// # Errors
    /// If its change is no digest, or its incident no UID.
    pub fn named(cluster: &str, spec: ApprovalRequestSpec) -> Result<Self, String> {
        let incident = IncidentUid::try_from(spec.incident.clone())?;
        let change = canonical::Digest::try_from(spec.change.clone())?;
        let name = approval::request_name(cluster, &incident, &change).map_err(|error| error.to_string())?;
        let mut object = Self::new(&name, spec);
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        object.metadata.labels = Some([(names::INCIDENT.to_owned(), incident.to_string())].into());
        Ok(object)
    }
}
