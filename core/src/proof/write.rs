//! One write of the executor: an apply of the voted change, or the one revert that is owed.

use serde_json::Value;

use super::scaled::untouched;
use super::{FIELD_MANAGER, Facts, WriteRequest, authority, difference, incident_of, quorum};
use crate::action::{Action, Inverse, Write};
use crate::ballot::{CastBallot, Proposal};
use crate::canary::{self, Canary, Stage};
use crate::canonical::Digest;
use crate::consensus::{Roster, Verdict, tally};
use crate::ids::{IncidentUid, UnixMillis};
use crate::plan::Plan;
use crate::refusal::{Refusal, Rule};
use crate::target::Target;
use crate::workload::plain_template;

/// Why a write was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is the voted change.
    Apply,
    /// It lets the rest follow the first pod.
    Release,
    /// It puts back what the voted change changed.
    Revert,
    /// It is a dry run of a change that the ballots decide for; no plan exists yet.
    DryRun,
}

/// Judges one write by the user `assent:executor`.
pub fn judge_write(facts: &Facts, request: &WriteRequest) -> Result<Admitted, Refusal> {
    let incident = incident_of(&request.incidents)?;
    facts.check_clock()?;
    if request.field_manager != FIELD_MANAGER {
        return Err(Refusal::new(Rule::Resource, format!("field manager `{:.64}`", request.field_manager), format!("field manager `{FIELD_MANAGER}`")));
    }
    let of_target = |proposal: &Proposal| writes_at(proposal, &request.namespace, &request.name);
    let mut refusal = None;
    for (plan, created_at) in facts.plans.iter().filter(|(plan, _)| plan.incident == incident && of_target(&plan.proposal)) {
        match judge_by_plan(facts, request, plan, *created_at) {
            Ok(admitted) => return Ok(admitted),
            Err(other) => refusal = refusal.or(Some(other)),
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None if request.dry_run => judge_dry_run(facts, request, &incident),
        None => Err(no_plan(request, &incident)),
    }
}

/// Whether that is the object that it writes with.
fn writes_at(proposal: &Proposal, namespace: &str, name: &str) -> bool {
    (proposal.target.namespace.as_str(), proposal.object_name()) == (namespace, name)
}

fn no_plan(request: &WriteRequest, incident: &IncidentUid) -> Refusal {
    let reason = format!("incident {incident} has no admitted plan for {}/{}", request.namespace, request.name);
    Refusal::new(Rule::NoPlan, reason, "a Remediation that a quorum of ballots decides for")
}

fn judge_by_plan(facts: &Facts, request: &WriteRequest, plan: &Plan, created_at: UnixMillis) -> Result<Admitted, Refusal> {
    check_resource(&plan.proposal.write()?, request)?;
    let target = facts.target.as_ref().ok_or_else(|| stale("the target does not exist"))?;
    let now_target = Target::of(target).map_err(|reason| stale(&reason))?;
    if now_target.uid != plan.proposal.target.uid {
        return Err(stale("the target is another object of the same name"));
    }
    // One spec change is one generation: at the planned one it is an apply, later it can only be what follows one.
    if now_target.generation == plan.proposal.target.generation {
        apply(facts, request, plan, created_at, target)?;
        return Ok(Admitted::Apply);
    }
    if let Some(canary) = plan.canary.as_ref().filter(|_| as_left(&plan.proposal.action, &request.new)) {
        release(facts, request, plan, canary, created_at, target)?;
        return Ok(Admitted::Release);
    }
    revert(facts, request, plan, created_at, target)?;
    Ok(Admitted::Revert)
}

fn apply(facts: &Facts, request: &WriteRequest, plan: &Plan, created_at: UnixMillis, target: &Value) -> Result<(), Refusal> {
    let age = facts.now.since(created_at);
    if age > i64::from(plan.expires_after_ms) {
        return Err(Refusal::new(
            Rule::Expired,
            format!("the plan is {} s old", age / 1000),
            format!("a write within {} s of the plan", plan.expires_after_ms / 1000),
        ));
    }
    authority::may_apply(facts, plan)?;
    authority::has_entered(facts, plan)?;
    authority::unchanged_since_planning(facts, plan)?;
    quorum::prove(facts, &plan.incident, plan.epoch, &plan.proposal, created_at)?;
    fresh(plan, target)?;
    voted_change(facts, request, &plan.proposal, plan.canary.as_ref())?;
    authority::guardrails(facts)
}

/// The second half of a change that was proven as a whole with its first: nothing but the rest's being let go, unless that is held up by
/// now. Guardrails were asked about the change, and would now find it half done.
fn release(facts: &Facts, request: &WriteRequest, plan: &Plan, canary: &Canary, created_at: UnixMillis, target: &Value) -> Result<(), Refusal> {
    let refuse = |reason: String, would_pass: &str| Err(Refusal::new(Rule::Canary, reason, would_pass));
    let age = facts.now.since(created_at);
    if age > plan.writes_within_ms() {
        return refuse(format!("the plan is {} s old", age / 1000), "letting go while the first pod may be looked at");
    }
    if canary.stage(target) != Stage::Held || !untouched(plan, created_at, target) {
        return refuse("the target is not as the first write left it".into(), "a target that nobody touched since, but for its number of replicas");
    }
    authority::asks(facts, &plan.incident, plan.epoch, &plan.proposal)?;
    authority::has_entered(facts, plan)?;
    quorum::was_decided(facts, plan, created_at)?;
    let expected = canary.release(&request.old).map_err(|reason| Refusal::new(Rule::Canary, reason, "a workload that is held back"))?;
    difference::permitted(&request.old, &expected, &request.new, &plan.roots())
}

fn revert(facts: &Facts, request: &WriteRequest, plan: &Plan, created_at: UnixMillis, target: &Value) -> Result<(), Refusal> {
    let refuse = |reason: String, would_pass: &str| Err(Refusal::new(Rule::Revert, reason, would_pass));
    if plan.inverse == Inverse::Empty {
        return refuse("the action keeps the desired state, so no revert is owed".into(), "a fresh vote");
    }
    let age = facts.now.since(created_at);
    if age > i64::from(plan.revert_within_ms) {
        return refuse(format!("the plan is {} s old", age / 1000), "a revert before its deadline");
    }
    // The proof holds as of the plan's creation: an owed revert outlives ballots, later votes, pause and Blueprint.
    quorum::was_decided(facts, plan, created_at)?;
    if !untouched(plan, created_at, target) {
        let generation = target.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        return refuse(
            format!("the target, at generation {generation}, is not as the action left it"),
            "a target that nobody touched since the apply, but for its number of replicas",
        );
    }
    let expected = plan.restored(&request.old).map_err(|reason| Refusal::new(Rule::Revert, reason, "the plan's inverse"))?;
    let expected = expected.ok_or_else(|| Refusal::new(Rule::Revert, "nothing to restore", "a fresh vote"))?;
    difference::permitted(&request.old, &expected, &request.new, &plan.roots())
}

/// Whether what the action changes is still what it wrote.
#[must_use]
pub fn as_left(action: &Action, target: &Value) -> bool {
    match action {
        Action::RollbackWorkload(rollback) => {
            target.pointer("/spec/template").and_then(|template| Digest::of(&plain_template(template)).ok()).as_ref() == Some(&rollback.template)
        }
        Action::RevertConfig(revert) => revert.holds(target),
        Action::ScaleWorkload(scale) => target.pointer("/spec/replicas").and_then(Value::as_u64) == Some(u64::from(scale.replicas)),
        Action::RestartWorkload(restart) => restart.marks(target),
        Action::AdjustResources(adjust) => adjust.holds(target),
        // Of the workload it changes nothing; whether the pod is gone, the pods tell.
        Action::EvictPod(_) => true,
    }
}

/// What such a write in this incident would be judged as: the proposal of the newest plan for it, or with
/// none what the ballots of the last epoch decide. That it is known admits nothing.
#[must_use]
pub fn concerned(facts: &Facts, request: &WriteRequest) -> Option<(String, Proposal)> {
    let of_target = |proposal: &Proposal| {
        writes_at(proposal, &request.namespace, &request.name) && proposal.write().is_ok_and(|write| check_resource(&write, request).is_ok())
    };
    let planned = facts.plans.iter().filter(|(plan, _)| of_target(&plan.proposal)).max_by_key(|(_, created_at)| *created_at);
    if let Some((plan, _)) = planned {
        return Some((plan.name().ok()?, plan.proposal.clone()));
    }
    match last_verdict(facts.roster().ok()?, facts.ballots.as_ref().ok()?).1 {
        Verdict::Act { proposal, .. } if of_target(&proposal) => Some((String::new(), *proposal)),
        _ => None,
    }
}

/// The last epoch, and what its ballots decide.
fn last_verdict(roster: &Roster, ballots: &[CastBallot]) -> (u32, Verdict) {
    let epoch = ballots.iter().map(|cast| cast.ballot.epoch).max().unwrap_or(0);
    let of_epoch: Vec<_> = ballots.iter().filter(|cast| cast.ballot.epoch == epoch).cloned().collect();
    (epoch, tally(roster, &of_epoch).verdict)
}

fn judge_dry_run(facts: &Facts, request: &WriteRequest, incident: &IncidentUid) -> Result<Admitted, Refusal> {
    let roster = facts.roster()?;
    let ballots = facts.ballots.as_ref().map_err(Clone::clone)?;
    // The executor's challenge asks for exactly this answer, so it does not depend on how a tally of nothing is worded.
    if ballots.is_empty() {
        return Err(no_plan(request, incident));
    }
    let (epoch, verdict) = last_verdict(roster, ballots);
    let proposal = match verdict {
        Verdict::Act { proposal, .. } => proposal,
        Verdict::Hold { rule, reason } => return Err(Refusal::new(rule, reason, "a dry run of what a quorum of ballots decides for")),
    };
    quorum::prove(facts, incident, epoch, &proposal, facts.now)?;
    check_resource(&proposal.write()?, request)?;
    if !writes_at(&proposal, &request.namespace, &request.name) {
        return Err(Refusal::new(Rule::NoPlan, format!("the ballots do not decide for {}/{}", request.namespace, request.name), proposal.target.to_string()));
    }
    // Whether people agreed is asked once they could: they are shown what would be admitted.
    authority::asks(facts, incident, epoch, &proposal)?;
    let target = facts.target.as_ref().ok_or_else(|| stale("the target does not exist"))?;
    same_target(&proposal.target, target)?;
    voted_change(facts, request, &proposal, super::canary(facts, &proposal).as_ref())?;
    authority::guardrails(facts)?;
    Ok(Admitted::DryRun)
}

/// The write is the voted change of the old object, by the action's own function.
fn voted_change(facts: &Facts, request: &WriteRequest, proposal: &Proposal, canary: Option<&Canary>) -> Result<(), Refusal> {
    let act = proposal.action.act();
    evictable(facts, proposal)?;
    let material = match &proposal.action {
        Action::EvictPod(_) => facts.pod.as_ref().map(|owned| &owned.pod),
        _ => request.new.pointer("/spec/template"),
    };
    let expected = act.expected(&request.old, material).and_then(|changed| canary::first(canary, changed));
    let expected = expected.map_err(|reason| Refusal::new(Rule::Difference, reason, act.describe()))?;
    for voted in proposal.action.configurations() {
        if !facts.configurations.iter().any(|(name, digest)| *name == voted.name && *digest == voted.digest) {
            return Err(Refusal::new(
                Rule::Stale,
                format!("ConfigMap `{}` does not hold what the seats saw", voted.name),
                format!("content {:.12}", voted.digest.as_str()),
            ));
        }
    }
    let mut new = request.new.clone();
    // The API server repeats there what it was asked for.
    if let Some(options) = new.get_mut("deleteOptions").and_then(Value::as_object_mut).filter(|_| request.dry_run) {
        options.remove("dryRun");
    }
    difference::permitted(&request.old, &expected, &new, &canary::roots(proposal, canary))
}

/// A pod that is to go still runs, and is one of the target's.
pub(super) fn evictable(facts: &Facts, proposal: &Proposal) -> Result<(), Refusal> {
    let judged = proposal.action.evicts().map_or(Ok(()), |evict| evict.judge(facts.pod.as_ref(), &proposal.target));
    judged.map_err(|reason| Refusal::new(Rule::Stale, reason, "a pod of the target that still runs"))
}

pub(super) fn check_resource(write: &Write, request: &WriteRequest) -> Result<(), Refusal> {
    let is = (request.group.as_str(), request.version.as_str(), request.resource.as_str(), request.subresource.as_str());
    if is != (write.group, write.version, write.resource, write.subresource) {
        let slash = if write.subresource.is_empty() { "" } else { "/" };
        return Err(Refusal::new(
            Rule::Resource,
            format!("the write goes to {}/{} {} {}", request.group, request.version, request.resource, request.subresource),
            format!("{}/{} {}{slash}{}", write.group, write.version, write.resource, write.subresource),
        ));
    }
    if request.operation != write.verb.operation() {
        return Err(Refusal::new(
            Rule::Resource,
            format!("{} is not the operation of the voted action", request.operation),
            format!("{} of the resource that it writes", write.verb.operation()),
        ));
    }
    Ok(())
}

/// The plan's target is as it was judged.
pub(super) fn fresh(plan: &Plan, target: &Value) -> Result<(), Refusal> {
    same_target(&plan.proposal.target, target)
}

fn same_target(voted: &Target, object: &Value) -> Result<(), Refusal> {
    let now = Target::of(object).map_err(|reason| stale(&reason))?;
    if now != *voted {
        return Err(stale(&format!("{voted} was judged at generation {} and is at {}", voted.generation, now.generation)));
    }
    Ok(())
}

pub(super) fn stale(reason: &str) -> Refusal {
    Refusal::new(Rule::Stale, reason, "the object with the uid, generation and spec that the seats judged")
}
