//! The wire form of admission reviews, `admission.k8s.io/v1`, with the fields that are used. Objects stay JSON: they are
//! compared and digested, never interpreted by a schema of ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The only version of reviews that is read and answered.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of a review.
pub(super) const KIND: &str = "AdmissionReview";

/// What the API server posts and what it gets back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// `admission.k8s.io/v1`.
    pub api_version: String,
    /// `AdmissionReview`.
    pub kind: String,
    /// Present in what the API server posts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// Present in what it gets back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// One request under review.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Echoed in the response.
    pub uid: String,
    /// Kind of the objects.
    #[serde(default)]
    pub kind: Kind,
    /// Which resource.
    pub resource: Resource,
    /// Kind that the client asked for, where it is another.
    #[serde(default)]
    pub request_kind: Option<Kind>,
    /// Resource that the client asked for, where it is another.
    #[serde(default)]
    pub request_resource: Option<Resource>,
    /// Sub-resource, if any.
    #[serde(default)]
    pub sub_resource: String,
    /// Name; empty where the server is to make one.
    #[serde(default)]
    pub name: String,
    /// Namespace; empty for cluster-scoped objects.
    #[serde(default)]
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub operation: String,
    /// Who asks, as the API server knows them.
    pub user_info: UserInfo,
    /// The object after; null for a deletion.
    #[serde(default)]
    pub object: Value,
    /// The object before; null for a creation.
    #[serde(default)]
    pub old_object: Value,
    /// Whether nothing will be stored.
    #[serde(default)]
    pub dry_run: bool,
    /// The operation's options.
    #[serde(default)]
    pub options: Value,
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// Group, version and plural.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource.
    pub resource: String,
}

/// The requesting user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserInfo {
    /// For example `system:serviceaccount:assent-system:assent-director`.
    #[serde(default)]
    pub username: String,
    /// UID, if it has one.
    #[serde(default)]
    pub uid: String,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Extra values by key.
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The verdict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The request's uid.
    pub uid: String,
    /// Whether it may go on.
    pub allowed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Written to the API server's audit log below the webhook's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<String, String>,
    /// Shown to the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// `JSONPatch`, with `patch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<String>,
    /// Base64 of a JSON patch, with `patch_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

/// The part of a Status that clients show.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// Machine-readable reason.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What a client may do by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// The part of a Status's details that clients act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Seconds after which the same request may be sent again.
    pub retry_after_seconds: u32,
}

// === impl Review ===

impl Review {
    /// The answer to send back.
    #[must_use]
    pub fn answer(response: Response) -> Self {
        Self { api_version: API_VERSION.into(), kind: KIND.into(), request: None, response: Some(response) }
    }
}
