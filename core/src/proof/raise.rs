//! A limit that people agreed to go beyond is raised where it stands: the one field of the one Blueprint, to the number that they
//! agreed to, while the workload has that number. Nothing else of a Blueprint is ever written by Assent.

use serde_json::{Value, json};

use super::authority::standing;
use super::write::{as_left, check_resource, stale};
use super::{FIELD_MANAGER, Facts, WriteRequest, difference, incident_of, quorum};
use crate::action::{Action, Verb, Write};
use crate::approval::Standing;
use crate::ballot::Proposal;
use crate::blueprint::{Effective, Operation, Tier};
use crate::ids::{IncidentUid, UnixMillis};
use crate::plan::Plan;
use crate::refusal::{Refusal, Rule};

/// What it is written with.
pub const RAISE: Write = Write { verb: Verb::Update, group: "assent.dev", version: "v1alpha1", resource: "blueprints", subresource: "", kind: "Blueprint" };

const ROOTS: [&str; 1] = ["/spec/limits/maxReplicas"];

/// The number that the service's own `maxReplicas` is raised to, and from which, if `proposal` goes beyond it.
#[must_use]
pub fn raises(effective: &Effective, proposal: &Proposal) -> Option<(u32, u32)> {
    let Action::ScaleWorkload(scale) = &proposal.action else { return None };
    let most = effective.service.rules.limits.max_replicas?;
    (scale.replicas > most).then_some((most, scale.replicas))
}

/// The Blueprint with the limit raised.
///
/// # Errors
/// If it names no limit.
pub fn raised(blueprint: &Value, to: u32) -> Result<Value, String> {
    let mut new = blueprint.clone();
    let slot = new.pointer_mut("/spec/limits/maxReplicas").ok_or("the Blueprint has no `/spec/limits/maxReplicas`")?;
    *slot = json!(to);
    Ok(new)
}

/// The newest plan of `incident` that was made under the Blueprint of this UID for a target in its namespace, with its creation time.
#[must_use]
pub fn planned_under<'a>(plans: &'a [(Plan, UnixMillis)], incident: &IncidentUid, namespace: &str, uid: &str) -> Option<&'a (Plan, UnixMillis)> {
    let of_this = |plan: &Plan| plan.incident == *incident && plan.blueprint.uid == uid && plan.proposal.target.namespace == namespace;
    plans.iter().filter(|(plan, _)| of_this(plan)).max_by_key(|(_, created_at)| *created_at)
}

/// Judges one write to a Blueprint by the user `assent:executor`.
///
/// # Errors
/// What speaks against it.
pub fn judge_raise(facts: &Facts, request: &WriteRequest) -> Result<(), Refusal> {
    let incident = incident_of(&request.incidents)?;
    facts.check_clock()?;
    check_resource(&RAISE, request)?;
    if request.operation != "UPDATE" || request.field_manager != FIELD_MANAGER {
        let reason = format!("{} by field manager `{:.64}`", request.operation, request.field_manager);
        return Err(Refusal::new(Rule::Resource, reason, format!("an update by field manager `{FIELD_MANAGER}`")));
    }
    if let Some(reason) = &facts.paused {
        return Err(Refusal::new(Rule::Paused, format!("a pause is in force: {reason}"), "the same request after a person has deleted the Pause"));
    }
    let uid = request.old.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let (plan, created_at) = planned_under(&facts.plans, &incident, &request.namespace, uid).ok_or_else(|| {
        let reason = format!("incident {incident} has no admitted plan under Blueprint {}/{}", request.namespace, request.name);
        Refusal::new(Rule::NoPlan, reason, "a plan that people agreed to")
    })?;
    owed(facts, request, plan, *created_at)
}

fn owed(facts: &Facts, request: &WriteRequest, plan: &Plan, created_at: UnixMillis) -> Result<(), Refusal> {
    let blueprint = facts.blueprint.as_ref().filter(|blueprint| blueprint.pin == plan.blueprint);
    let blueprint = blueprint.ok_or_else(|| Refusal::new(Rule::Authority, "the Blueprint changed after the plan was made", "raising it by hand"))?;
    let refuse = |reason: String| Err(Refusal::new(Rule::Difference, reason, "`limits.maxReplicas` raised to the number that people agreed to"));
    let Some((_, to)) = raises(&blueprint.effective, &plan.proposal) else { return refuse("the plan does not go beyond a limit of the Blueprint".into()) };
    if blueprint.effective.service.gitops.is_some() {
        return refuse("git owns the Blueprint, and would take it back".into());
    }
    let age = facts.now.since(created_at);
    if age > i64::from(plan.revert_within_ms) {
        return Err(Refusal::new(Rule::Expired, format!("the plan is {} s old", age / 1000), "a write before the revert's deadline"));
    }
    let target = facts.target.as_ref().ok_or_else(|| stale("the target does not exist"))?;
    let same = target.pointer("/metadata/uid").and_then(Value::as_str) == Some(plan.proposal.target.uid.as_str());
    if !same || !as_left(&plan.proposal.action, target) {
        return Err(stale("the target is not as the action left it"));
    }
    quorum::was_decided(facts, plan, created_at)?;
    agreed(facts, plan, target, &blueprint.effective, created_at)?;
    let expected = raised(&request.old, to).map_err(|reason| Refusal::new(Rule::Difference, reason, "a Blueprint with limits"))?;
    difference::permitted(&request.old, &expected, &request.new, &ROOTS)
}

/// Whether everybody whom the Blueprint asks beyond its limits had agreed when the plan was stored.
fn agreed(facts: &Facts, plan: &Plan, target: &Value, effective: &Effective, created_at: UnixMillis) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal::new(Rule::Approval, reason, "people's word on going beyond the limit"));
    let said = effective.classify(&Operation::of(&plan.proposal.action, Some(target)), facts.now);
    if said.tier != Tier::Restricted {
        return refuse(format!("{} is {} now", said.operation, said.tier.as_str()));
    }
    // Their word had to hold when the plan was admitted; whether they may still give it is asked now.
    let then = Facts { now: created_at, ..facts.clone() };
    match standing(&then, &plan.incident, &plan.proposal, &said.approvals)? {
        Some(Standing::Granted(_)) => Ok(()),
        _ => refuse(format!("nobody agreed to {}", plan.proposal.action.act().describe())),
    }
}
