//! Writes outside our kinds by the executor's user, and anything that its own account tries to write.

use assent_api::names;
use assent_core::proof::{self, Admitted, WriteRequest};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::{Target, is_system_namespace};
use serde_json::Value;

use super::Passed;
use super::live::Live;
use crate::review::Request;

/// Judges one write.
pub(super) async fn judge(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    if request.user_info.username != names::EXECUTOR_USER {
        return Err(Refusal::new(
            Rule::Account,
            format!("`{}` may not write {}", request.user_info.username, request.resource.resource),
            format!("a write as user `{}` with a proof", names::EXECUTOR_USER),
        ));
    }
    let write = write_request(request);
    let incident = proof::incident_of(&write.incidents)?;
    if is_system_namespace(&request.namespace) || request.namespace.is_empty() {
        return Err(Refusal::new(
            Rule::ForbiddenTarget,
            format!("namespace `{}` is never a target", request.namespace),
            "a workload outside `assent-system` and `kube-*`",
        ));
    }
    let target = target(live, request).await?;
    let wanted = Target::of(&target).ok();
    let (facts, said) = live.facts(&incident, wanted.as_ref(), request, Some(target)).await?;
    let why = match proof::judge_write(&facts, &write)? {
        Admitted::Apply => "apply",
        Admitted::Revert => "revert",
        Admitted::DryRun => "dry-run",
    };
    Ok(Passed::with(why, said))
}

/// The workload that is written. For the object itself that is the old object, which the API server holds fixed while it
/// asks us; a Scale shows only a part, so the workload is read, and must be of the same version as the Scale.
async fn target(live: &Live, request: &Request) -> Result<Value, Refusal> {
    if request.sub_resource.is_empty() {
        // What the API server shows has no apiVersion and kind only for its built-in types' old form; it always has them here.
        return Ok(request.old_object.clone());
    }
    let workload = live.workload(&request.resource, &request.namespace, &request.name).await?;
    let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
    if version(&workload) != version(&request.old_object) {
        return Err(Refusal::new(Rule::Stale, "the workload changed while the gate looked at it", "the same write again"));
    }
    Ok(workload)
}

fn write_request(request: &Request) -> WriteRequest {
    WriteRequest {
        incidents: request.user_info.extra.get(names::INCIDENT).cloned().unwrap_or_default(),
        group: request.resource.group.clone(),
        version: request.resource.version.clone(),
        resource: request.resource.resource.clone(),
        subresource: request.sub_resource.clone(),
        operation: request.operation.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
        dry_run: request.dry_run,
        field_manager: request.options.get("fieldManager").and_then(Value::as_str).unwrap_or_default().to_owned(),
        old: request.old_object.clone(),
        new: request.object.clone(),
    }
}
