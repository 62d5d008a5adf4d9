//! Admission reviews: their wire form, how a body becomes one, and who asks. They are read once, strictly and within bounds;
//! what cannot be read exactly as the API server wrote it is an error.

mod body;
mod wire;

use assent_policies::spec::Operation;
use assent_policies::{self as policies, User};

pub use body::{BodyError, MAX_BYTES, MAX_DEPTH, MAX_MEMORY, Sender, read, sender};
pub use wire::{Details, Kind, Request, Resource, Response, Review, Status, UserInfo};

// === impl Request ===

impl Request {
    /// It as guardrails see it. Other versions of a resource are not converted: a guardrail that names one refuses.
    #[must_use]
    pub fn asked(&self) -> policies::Request<'_> {
        policies::Request {
            kind: self.kind.asked(),
            resource: self.resource.asked(),
            subresource: &self.sub_resource,
            requested: self.request_kind.as_ref().map(Kind::asked).zip(self.request_resource.as_ref().map(Resource::asked)),
            // The API server knows four; a fifth would be a rule of none, so it counts as the one that most rules name.
            operation: Operation::named(&self.operation).unwrap_or(Operation::Update),
            name: &self.name,
            namespace: &self.namespace,
            user: User { username: &self.user_info.username, uid: &self.user_info.uid, groups: &self.user_info.groups, extra: &self.user_info.extra },
            dry_run: self.dry_run,
            options: &self.options,
            object: &self.object,
            old_object: &self.old_object,
            ..policies::Request::default()
        }
    }

    /// Whether any service account or node asks, as opposed to a person.
    #[must_use]
    pub fn is_by_machine(&self) -> bool {
        let name = self.user_info.username.as_str();
        name.starts_with("system:serviceaccount:") || name.starts_with("system:node:") || name == assent_api::names::EXECUTOR_USER
    }

    /// Whether an account of Assent's own namespace asks.
    #[must_use]
    pub fn is_by_assent(&self) -> bool {
        let own = format!("system:serviceaccount:{}:", assent_api::names::SYSTEM_NAMESPACE);
        self.user_info.username.starts_with(&own) || self.user_info.username == assent_api::names::EXECUTOR_USER
    }

    /// Whether this account of ours asks.
    #[must_use]
    pub fn is_by(&self, account: &str) -> bool {
        self.user_info.username == assent_api::names::account_user(account)
    }
}

impl Kind {
    fn asked(&self) -> policies::Kind<'_> {
        policies::Kind { group: &self.group, version: &self.version, kind: &self.kind }
    }
}

impl Resource {
    fn asked(&self) -> policies::Resource<'_> {
        policies::Resource { group: &self.group, version: &self.version, resource: &self.resource }
    }
}
