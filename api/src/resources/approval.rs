//! `Approval`: one person's word on an [`super::ApprovalRequest`], created with that person's own credentials.

use assent_core::approval::{self, Word};
use assent_core::canonical;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// One person's word. Created once, by that person; never changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Approval",
    namespaced,
    category = "assent",
    validation = Rule::new("self.spec == oldSelf.spec").message("a person's word never changes"),
    printcolumn = r#"{"name":"Request","type":"string","jsonPath":".spec.request"}"#,
    printcolumn = r#"{"name":"User","type":"string","jsonPath":".spec.user"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".spec.verdict"}"#,
    printcolumn = r#"{"name":"Comment","type":"string","jsonPath":".spec.comment"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSpec {
    /// Name of the request.
    #[schemars(length(max = 63))]
    pub request: String,
    /// Digest of the change that was looked at, from the request.
    #[schemars(length(max = 64))]
    pub change: String,
    /// `Approve`, `Deny` or `Comment`.
    pub verdict: Verdict,
    /// The author, as the API server authenticates them (`kubectl auth whoami`), or `slack:TEAM/USER`.
    #[schemars(length(max = 253))]
    pub user: String,
    /// Groups that they act for, of those that the API server authenticates them in.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub groups: Vec<String>,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub comment: String,
    /// Where the author pressed a button of Slack: what Slack signed of it. Only the director writes such a word, and only the
    /// gate can tell whether it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Pressed>,
}

/// A callback of Slack as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pressed {
    /// `X-Slack-Request-Timestamp`: seconds.
    #[schemars(length(max = 20))]
    pub timestamp: String,
    /// `X-Slack-Signature`: `v0=` and HMAC-SHA256 in hexadecimal, over `v0:TIMESTAMP:BODY`.
    #[schemars(length(max = 128))]
    pub signature: String,
    /// The body, byte by byte.
    #[schemars(length(max = 32_768))]
    pub body: String,
}

/// What somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// It may be done.
    Approve,
    /// It may not.
    Deny,
    /// For the others to read.
    Comment,
}

// === impl Verdict ===

impl From<Verdict> for Word {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Approve => Self::Approve,
            Verdict::Deny => Self::Deny,
            Verdict::Comment => Self::Comment,
        }
    }
}

// === impl Approval ===

impl Approval {
    /// The object with its one name.
    ///
    /// # Errors
    /// If it has no canonical form.
    pub fn named(spec: ApprovalSpec) -> Result<Self, canonical::Error> {
        let mut object = Self::new(&approval::answer_name(&spec.request, &spec.user, spec.verdict.into(), &spec.comment)?, spec);
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        Ok(object)
    }
}
