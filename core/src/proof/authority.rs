//! Who allowed it: pause, Blueprint, guardrails, and that none of them was loosened in mid-flight.

use serde_json::Value;

use super::Facts;
use crate::action::Action;
use crate::ballot::Proposal;
use crate::blueprint::{Operation, Tier};
use crate::ids::UnixMillis;
use crate::plan::{BlueprintFacts, KEEP_MS, Plan};
use crate::refusal::{Refusal, Rule};
use crate::target::is_system_namespace;

/// Whether the target may be acted on, nobody paused, and its Blueprint allows it.
pub(super) fn may_apply(facts: &Facts, proposal: &Proposal) -> Result<(), Refusal> {
    let target = &proposal.target;
    if is_system_namespace(&target.namespace) {
        return Err(Refusal::new(
            Rule::ForbiddenTarget,
            format!("namespace `{}` is never a target", target.namespace),
            "a workload outside `assent-system` and `kube-*`",
        ));
    }
    if let Some(reason) = &facts.paused {
        return Err(Refusal::new(Rule::Paused, format!("a pause is in force: {reason}"), "the same request after a person has deleted the Pause"));
    }
    let blueprint = facts.blueprint.as_ref().ok_or_else(|| {
        Refusal::new(
            Rule::Blueprint,
            format!("no Blueprint speaks of {target}"),
            "a Blueprint in the target's namespace in mode `autonomous` that names the action",
        )
    })?;
    allows(blueprint, &proposal.action, facts.target.as_ref(), facts.now)
}

/// The guardrails, asked last: they speak of what is otherwise proven, and a refusal that a proof would have given says more.
pub(super) fn guardrails(facts: &Facts) -> Result<(), Refusal> {
    facts.guardrail_denial.clone().map_or(Ok(()), Err)
}

/// Whether `blueprint` allows `action` on `workload` without asking anybody at `now`.
pub fn allows(blueprint: &BlueprintFacts, action: &Action, workload: Option<&Value>, now: UnixMillis) -> Result<(), Refusal> {
    let said = blueprint.effective.classify(&Operation::of(action, workload), now);
    let name = &blueprint.pin.name;
    match said.tier {
        Tier::Allowed => Ok(()),
        Tier::Restricted => {
            let asked: Vec<String> = said.approvals.iter().map(ToString::to_string).collect();
            Err(Refusal::new(Rule::Blueprint, format!("Blueprint `{name}` restricts {}: {}", said.operation, said.because()), asked.join(", and ")))
        }
        Tier::Forbidden => {
            let instead: Vec<&str> = said.alternatives.iter().map(|alternative| alternative.name).collect();
            Err(Refusal::new(
                Rule::Blueprint,
                format!("Blueprint `{name}` forbids {}: {}", said.operation, said.because()),
                format!("what the Blueprint allows; could be done instead: {}", instead.join(", ")),
            ))
        }
    }
}

/// The plan was made under the roster, guardrails and Blueprint in force, and the Blueprint is older than the first vote:
/// a loosened one holds for later incidents only.
pub(super) fn unchanged_since_planning(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    let refuse = |what: &str| Err(Refusal::new(Rule::Authority, format!("{what} changed after the plan was made"), "a fresh vote under what is in force now"));
    let roster = facts.roster()?.digest().map_err(|error| Refusal::new(Rule::NoRoster, error.to_string(), "a roster with a digest"))?;
    if plan.roster != roster {
        return refuse("the roster");
    }
    if plan.guardrails != facts.guardrails {
        return refuse("the set of guardrails");
    }
    if facts.blueprint.as_ref().map(|blueprint| &blueprint.pin) != Some(&plan.blueprint) {
        return refuse("the Blueprint");
    }
    Ok(())
}

/// Neither the Blueprint nor a guardrail may have been changed after the seats began to vote: what was loosened since holds
/// for later incidents only. What was deleted since is not seen here; while a vote is live, the gate lets nobody delete.
pub(super) fn precedes(facts: &Facts, first_vote: UnixMillis) -> Result<(), Refusal> {
    let refuse = |what: String| {
        Err(Refusal::new(Rule::Authority, format!("{what} was changed after the vote began"), "the next vote: a change holds for later ones only"))
    };
    // Both times are the API server's and whole seconds: the same second is not before.
    match (&facts.blueprint, facts.rules_changed_at) {
        (Some(blueprint), _) if blueprint.changed_at > first_vote => refuse(format!("Blueprint `{}`", blueprint.pin.name)),
        (_, Some(changed_at)) if changed_at > first_vote => refuse("a guardrail, a binding or a freeze window".into()),
        _ => Ok(()),
    }
}

/// Whether a plan (and with it its ballots) may be deleted now. `newest` is whether no other plan has a later ledger head:
/// that one stays, since the next plan must extend it.
pub fn permits_deletion(plan: &Plan, created_at: UnixMillis, newest: bool, now: UnixMillis) -> Result<(), Refusal> {
    let until = created_at.plus(i64::from(plan.revert_within_ms)).plus(KEEP_MS);
    if newest {
        return Err(Refusal::new(
            Rule::Immutable,
            "the newest plan carries the ledger head that the next one must extend",
            "deleting it once a later plan exists",
        ));
    }
    if now <= until {
        return Err(Refusal::new(
            Rule::Immutable,
            "plans and ballots are kept for 24 h after the revert's deadline",
            format!("deleting it {} s from now", until.since(now) / 1000),
        ));
    }
    Ok(())
}
