//! What the guardrails say of a plan and of its write, asked before the gate is: the same function, about the same requests.

use std::collections::BTreeMap;

use assent_api::names::{self, accounts};
use assent_api::resources::Remediation;
use assent_core::action::Verb;
use assent_core::plan::Plan;
use assent_core::refusal::{Refusal, Rule};
use assent_live::{Authority, Change, Live, Subject};
use assent_policies::spec::Operation;
use assent_policies::{Kind, Request, Resource, User};
use serde_json::{Value, json};

use crate::explaining;
use crate::writes::verbatim;

/// What the API server says of every user that it knows.
const AUTHENTICATED: &str = "system:authenticated";

/// A request that is not made yet.
struct Future {
    kind: (String, String, String),
    resource: (String, String, String),
    subresource: String,
    operation: Operation,
    namespace: String,
    name: String,
    username: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    options: Value,
    object: Value,
    old_object: Value,
}

/// What was said of the plan's write and of the plan.
pub(crate) struct Said {
    /// The first refusal.
    pub(crate) refusal: Option<Refusal>,
    /// All of it, for the ledger.
    pub(crate) record: Value,
}

/// What the guardrails say of the plan's write, and of the plan.
pub(crate) async fn said(live: &Live, authority: &Authority, plan: &Plan, change: &Change, workload: &Value) -> Result<Said, Refusal> {
    let [write, stored] = [write(plan, change)?, stored(plan)?];
    let subject = Subject::new(&plan.incident, &plan.proposal, change, workload, &stored.name);
    let write = live.said(authority, &write.request(), Ok(&subject)).await;
    let plan = live.said(authority, &stored.request(), Ok(&subject)).await;
    let record = explaining::record(&[("write", &write.outcome), ("plan", &plan.outcome)], write.facts.as_ref().or(plan.facts.as_ref()));
    Ok(Said { refusal: write.outcome.refusal().or_else(|| plan.outcome.refusal()), record })
}

fn write(plan: &Plan, change: &Change) -> Result<Future, Refusal> {
    let write = plan.proposal.write()?;
    let (operation, options) = match write.verb {
        Verb::Create => (Operation::Create, "CreateOptions"),
        Verb::Update => (Operation::Update, "UpdateOptions"),
    };
    Ok(Future {
        kind: kind_of(&change.new),
        resource: (write.group.into(), write.version.into(), write.resource.into()),
        subresource: write.subresource.into(),
        operation,
        namespace: plan.proposal.target.namespace.clone(),
        name: plan.proposal.object_name().to_owned(),
        username: names::EXECUTOR_USER.into(),
        groups: vec![AUTHENTICATED.into()],
        extra: BTreeMap::from([(names::INCIDENT.to_owned(), vec![plan.incident.to_string()])]),
        options: json!({"kind": options, "apiVersion": "meta.k8s.io/v1", "fieldManager": names::FIELD_MANAGER}),
        object: change.new.clone(),
        old_object: change.old.clone(),
    })
}

fn stored(plan: &Plan) -> Result<Future, Refusal> {
    let object = Remediation::of(plan).map_err(|error| verbatim(Rule::Payload, &error.to_string()))?;
    let object = serde_json::to_value(&object).map_err(|error| verbatim(Rule::Payload, &error.to_string()))?;
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", names::SYSTEM_NAMESPACE), AUTHENTICATED.to_owned()];
    Ok(Future {
        kind: kind_of(&object),
        resource: (names::GROUP.into(), names::VERSION.into(), "remediations".into()),
        subresource: String::new(),
        operation: Operation::Create,
        namespace: names::SYSTEM_NAMESPACE.into(),
        name: object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        username: names::account_user(accounts::EXECUTOR),
        groups: groups.into(),
        extra: BTreeMap::new(),
        options: json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": names::FIELD_MANAGER}),
        object,
        old_object: Value::Null,
    })
}

/// Group, version and kind that an object says it is of.
fn kind_of(object: &Value) -> (String, String, String) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    (group.to_owned(), version.to_owned(), text("kind").to_owned())
}

// === impl Future ===

impl Future {
    fn request(&self) -> Request<'_> {
        Request {
            kind: Kind { group: &self.kind.0, version: &self.kind.1, kind: &self.kind.2 },
            resource: Resource { group: &self.resource.0, version: &self.resource.1, resource: &self.resource.2 },
            subresource: &self.subresource,
            operation: self.operation,
            name: &self.name,
            namespace: &self.namespace,
            user: User { username: &self.username, uid: "", groups: &self.groups, extra: &self.extra },
            options: &self.options,
            object: &self.object,
            old_object: &self.old_object,
            ..Request::default()
        }
    }
}
