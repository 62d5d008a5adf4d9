//! Facts about what was done, what people said, and when nothing may be done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another plan, open or younger than an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanFact {
    /// Name of the Remediation.
    pub name: String,
    /// Incident-UID.
    pub incident: String,
    /// Name of the action.
    pub action: String,
    /// Kind of what it is aimed at; for a pod, of the workload that controls it.
    pub kind: String,
    /// Namespace of that.
    pub namespace: String,
    /// Name of that.
    pub target: String,
    /// Server-set creation time.
    pub created_at: String,
    /// Whether it may still be written or reverted, by its own two deadlines; over sooner when its status says so, but not before its
    /// soak time has passed.
    pub open: bool,
}

/// A time in which nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// Name of the FreezeWindow.
    pub name: String,
    /// Why, in people's words.
    #[schemars(length(max = 300))]
    pub reason: String,
    /// First second of it.
    pub from: String,
    /// First second after it.
    pub until: String,
}

/// A person's approval of this very change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The person, as the API server authenticated them.
    pub by: String,
    /// Server-set time.
    pub at: String,
}
