//! Writes outside our kinds by the executor's user, and anything that its own account tries to write.

use assent_api::names;
use assent_core::action::Owned;
use assent_core::proof::{self, Admitted, WriteRequest};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::{Target, is_system_namespace};
use assent_live::{Change, Live, Subject};
use serde_json::Value;

use super::{Gate, Passed};
use crate::review::Request;

/// Judges one write.
pub(super) async fn judge(gate: &Gate, request: &Request) -> Result<Passed, Refusal> {
    let live = &gate.live;
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
    let (target, pod) = target(live, request).await?;
    let wanted = Target::of(&target).ok();
    let mut authority = live.authority(&incident, wanted.as_ref(), Some(target.clone())).await?;
    authority.facts.pod = pod;
    if let Some(wanted) = &wanted {
        authority.facts.configurations = live.configurations(&authority.facts, wanted).await?;
    }
    let change = Change { old: request.old_object.clone(), new: request.object.clone() };
    let concerned = proof::concerned(&authority.facts, &write);
    let subject = match &concerned {
        Some((plan, proposal)) => Ok(Subject::new(&incident, proposal, &change, &target, plan)),
        None => Err("neither a plan nor the ballots of the incident speak of this write"),
    };
    let said = live.said(&authority, &request.asked(), subject.as_ref().map_err(|reason| *reason)).await;
    gate.metrics.judged(&said.outcome, said.took);
    authority.facts.guardrail_denial = said.outcome.refusal();
    let facts = authority.facts;
    let why = match proof::judge_write(&facts, &write)? {
        Admitted::Apply => "apply",
        Admitted::Release => "release",
        Admitted::Revert => "revert",
        Admitted::DryRun => "dry-run",
    };
    Ok(Passed::with(why, said.outcome))
}

/// The workload that is written. For the object itself that is the old object, which the API server holds fixed while it
/// asks us; a Scale shows only a part, so the workload is read, and must be of the same version as the Scale. For a pod that
/// is to go it is the one whose pod it is; that the pod is the one that was meant, the API server sees to by its UID.
async fn target(live: &Live, request: &Request) -> Result<(Value, Option<Owned>), Refusal> {
    if request.sub_resource.is_empty() {
        // What the API server shows has no apiVersion and kind only for its built-in types' old form; it always has them here.
        return Ok((request.old_object.clone(), None));
    }
    if request.resource.group.is_empty() && request.resource.resource == "pods" {
        let owned = live.pod(&request.namespace, &request.name).await?.ok_or_else(|| missing(request))?;
        let workload = live.workload_of(&request.namespace, &owned).await?;
        let reason = format!("no workload that is modelled controls pod `{}/{}`", request.namespace, request.name);
        let workload = workload.ok_or_else(|| Refusal::new(Rule::ForbiddenTarget, reason, "a pod of a Deployment, StatefulSet or DaemonSet"))?;
        return Ok((workload, Some(owned)));
    }
    let crate::review::Resource { group, version, resource } = &request.resource;
    let path = format!("/apis/{group}/{version}/namespaces/{}/{resource}/{}", request.namespace, request.name);
    let workload = live.object(&path).await?.ok_or_else(|| missing(request))?;
    let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
    if version(&workload) != version(&request.old_object) {
        return Err(Refusal::new(Rule::Stale, "the workload changed while the gate looked at it", "the same write again"));
    }
    Ok((workload, None))
}

fn missing(request: &Request) -> Refusal {
    let reason = format!("{} `{}/{}` does not exist", request.resource.resource, request.namespace, request.name);
    Refusal::new(Rule::Stale, reason, "a target that exists")
}

/// It as the proof sees it.
pub(super) fn write_request(request: &Request) -> WriteRequest {
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
