//! A review as guardrails see it. Other versions of a resource are not converted here: a guardrail that names one refuses.

use std::time::{Duration, Instant};

use assent_core::refusal::Rule;
use assent_policies::spec::Operation;
use assent_policies::{Kind, Namespace, Outcome, Request as Asked, Resource, Set, User};
use serde_json::Value;

use crate::review::{self, Request};

/// How long guardrails may take. The gate answers within four seconds and reads before it judges.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a guardrail could ask for the Namespace of the request.
pub(super) fn needs_namespace(guardrails: &Set, request: &Request) -> bool {
    guardrails.needs(&asked(request, Namespace::NotGiven)).namespace
}

/// What the guardrails say. `namespace`: what was read of it, if it was read.
pub(super) fn evaluate(guardrails: &Set, request: &Request, namespace: Option<Option<&Value>>) -> Outcome {
    let namespace = match namespace {
        None => Namespace::NotGiven,
        Some(None) => Namespace::Missing,
        Some(Some(found)) => Namespace::Known(found),
    };
    let started = Instant::now();
    let late = || started.elapsed() > PATIENCE;
    guardrails.evaluate(&Asked { deadline: &late, ..asked(request, namespace) })
}

fn asked<'a>(request: &'a Request, namespace_object: Namespace<'a>) -> Asked<'a> {
    let kind = |kind: &'a review::Kind| Kind { group: &kind.group, version: &kind.version, kind: &kind.kind };
    let resource = |resource: &'a review::Resource| Resource { group: &resource.group, version: &resource.version, resource: &resource.resource };
    Asked {
        kind: kind(&request.kind),
        resource: resource(&request.resource),
        subresource: &request.sub_resource,
        requested: request.request_kind.as_ref().map(kind).zip(request.request_resource.as_ref().map(resource)),
        // The API server knows four; a fifth would be a rule of none, so it counts as the one that most rules name.
        operation: Operation::named(&request.operation).unwrap_or(Operation::Update),
        name: &request.name,
        namespace: &request.namespace,
        user: User { username: &request.user_info.username, uid: &request.user_info.uid, groups: &request.user_info.groups, extra: &request.user_info.extra },
        dry_run: request.dry_run,
        options: &request.options,
        object: &request.object,
        old_object: &request.old_object,
        namespace_object,
        ..Asked::default()
    }
}

/// Warnings for whoever writes guardrails: what has no effect, and what no guardrail of the set sees.
pub(super) fn unbound(name: &str) -> String {
    format!("assent[{}]: no GuardrailBinding names guardrail `{name}`, so it has no effect", Rule::Guardrail.code())
}
