//! Who allowed it: pause, Blueprint, guardrails, and that none of them was loosened in mid-flight.

use std::collections::BTreeSet;

use super::{Facts, raises};
use crate::approval::{self, Standing};
use crate::ballot::Proposal;
use crate::blueprint::{Approval, Operation, Tier};
use crate::breaker::{self, Kind, Settings};
use crate::canonical;
use crate::ids::{IncidentUid, UnixMillis};
use crate::plan::{KEEP_MS, Plan};
use crate::refusal::{Refusal, Rule};
use crate::target::{Target, is_system_namespace};

/// Whether the target may be acted on, nobody paused, its Blueprint allows it, nothing holds it up, and everybody whom it asks
/// agreed.
pub(super) fn may_apply(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    let asked = asks(facts, &plan.incident, plan.epoch, &plan.proposal)?;
    if asked.is_empty() { Ok(()) } else { agreed(facts, plan, &asked) }
}

/// Whether `plan` may enter the CircuitBreaker of its service now: it may be applied, and what entered before it is over.
pub fn may_enter(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    facts.check_clock()?;
    may_apply(facts, plan)?;
    undisturbed(facts, plan, Some(&facts.entered))
}

/// Whether another operation on the service is in the way.
pub(super) fn undisturbed(facts: &Facts, plan: &Plan, entered: Option<&[String]>) -> Result<(), Refusal> {
    let request = request(facts, &plan.incident, plan.epoch, &plan.proposal, false)?;
    breaker::undisturbed(&settings(facts)?, &facts.history, facts.now, &request, entered)
}

/// Whether `plan` is the last that entered: two that were stored at the same time cannot both be.
pub(super) fn has_entered(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    let name = plan.name().map_err(|error| Refusal::new(Rule::Payload, error.to_string(), "a plan with a canonical form"))?;
    if facts.entered.last() == Some(&name) {
        return Ok(());
    }
    let service = plan.proposal.target.service();
    let reason = match facts.entered.last() {
        Some(other) => format!("{other} entered the CircuitBreaker of {service} last"),
        None => format!("nothing entered the CircuitBreaker of {service}"),
    };
    Err(Refusal::new(Rule::Breaker, reason, "a write of the plan that entered last"))
}

/// The guardrails, asked last: they speak of what is otherwise proven, and a refusal that a proof would have given says more.
pub(super) fn guardrails(facts: &Facts) -> Result<(), Refusal> {
    facts.guardrail_denial.clone().map_or(Ok(()), Err)
}

/// Who must agree before this is done: nobody where the Blueprint allows it and nothing speaks against doing it once more.
///
/// # Errors
/// What forbids it, or holds it up whoever agreed.
pub fn asks(facts: &Facts, incident: &IncidentUid, epoch: u32, proposal: &Proposal) -> Result<BTreeSet<Approval>, Refusal> {
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
    let blueprint = facts.blueprint.as_ref().ok_or_else(|| no_blueprint(target))?;
    let said = blueprint.effective.classify(&Operation::of(&proposal.action, facts.target.as_ref()), facts.now);
    if said.tier == Tier::Forbidden {
        let instead: Vec<&str> = said.alternatives.iter().map(|alternative| alternative.name).collect();
        let rule = if said.alert { Rule::Forbidden } else { Rule::Blueprint };
        return Err(Refusal::new(
            rule,
            format!("Blueprint `{}` forbids {}: {}", blueprint.pin.name, said.operation, said.because()),
            format!("what the Blueprint allows; could be done instead: {}", instead.join(", ")),
        ));
    }
    let settings = settings(facts)?;
    let permits = |approved| breaker::permits(&settings, &facts.history, facts.now, &request(facts, incident, epoch, proposal, approved)?);
    let mut asked = if said.tier == Tier::Restricted { said.approvals } else { BTreeSet::new() };
    match permits(false) {
        Ok(()) => {}
        Err(held) if matches!(held.rule, Rule::Strikes | Rule::Autonomy) => asked.extend(blueprint.effective.approvals()),
        Err(held) => return Err(held),
    }
    permits(true).map(|()| asked)
}

/// Why it is asked, and what follows if it holds, in lines for the people who are.
#[must_use]
pub fn why_asked(facts: &Facts, incident: &IncidentUid, epoch: u32, proposal: &Proposal) -> Vec<String> {
    let Some(blueprint) = &facts.blueprint else { return Vec::new() };
    let said = blueprint.effective.classify(&Operation::of(&proposal.action, facts.target.as_ref()), facts.now);
    let held = settings(facts).and_then(|settings| breaker::permits(&settings, &facts.history, facts.now, &request(facts, incident, epoch, proposal, false)?));
    let held = held.err().map(|held| held.reason);
    let because = Some(said.because()).filter(|because| !because.is_empty());
    let raised = raises(&blueprint.effective, proposal)
        .filter(|_| blueprint.effective.service.gitops.is_none())
        .map(|(from, to)| format!("if it holds, `limits.maxReplicas` of Blueprint `{}` is raised from {from} to {to}", blueprint.pin.name));
    because.into_iter().chain(held).chain(raised).collect()
}

/// Whether everybody agreed to this change in this incident, and nothing was done on that word before.
fn agreed(facts: &Facts, plan: &Plan, rules: &BTreeSet<Approval>) -> Result<(), Refusal> {
    let refuse = |reason: String| {
        let asked: Vec<String> = rules.iter().map(ToString::to_string).collect();
        Err(Refusal::new(Rule::Approval, reason, asked.join(", and ")))
    };
    let change = approval::change(&plan.proposal).map_err(unreadable)?;
    let what = format!("{} on {}", plan.proposal.action.act().describe(), plan.proposal.target);
    for (other, _) in &facts.plans {
        let same = approval::change(&other.proposal).map_err(unreadable)? == change;
        if same && (other.epoch, &other.incident) != (plan.epoch, &plan.incident) {
            return refuse(format!("people's word on this change was used by the plan of epoch {}", other.epoch));
        }
    }
    match standing(facts, &plan.incident, &plan.proposal, rules)? {
        None => refuse(format!("{what} asks people, and nobody was asked")),
        Some(Standing::Granted(_)) => Ok(()),
        Some(Standing::Pending(missing)) => refuse(format!("{what} waits for {}", missing.join(", and "))),
        Some(Standing::Denied(who)) => refuse(format!("{what} was denied by {who}")),
        Some(Standing::Expired) => refuse(format!("nobody agreed to {what} in time")),
    }
}

/// How people's word on this change in this incident stands; `None` where nobody was asked.
///
/// # Errors
/// If the change has no canonical form.
pub fn standing(facts: &Facts, incident: &IncidentUid, proposal: &Proposal, rules: &BTreeSet<Approval>) -> Result<Option<Standing>, Refusal> {
    let change = approval::change(proposal).map_err(unreadable)?;
    let name = approval::request_name(&facts.cluster, incident, &change).map_err(unreadable)?;
    let asked = facts.approvals.iter().find(|(asked, _)| asked.name == name && asked.change == change);
    // What cannot be put back is not agreed to in passing.
    let undoable = crate::blueprint::known(proposal.action.name()).is_some_and(|known| known.reversible);
    Ok(asked.map(|(asked, answers)| approval::standing(asked, answers, rules, undoable, facts.now)))
}

fn unreadable(error: canonical::Error) -> Refusal {
    Refusal::new(Rule::Payload, error.to_string(), "a change with a canonical form")
}

fn no_blueprint(target: &Target) -> Refusal {
    Refusal::new(
        Rule::Blueprint,
        format!("no Blueprint speaks of {target}"),
        "a Blueprint in the target's namespace in mode `autonomous` that names the action",
    )
}

fn settings(facts: &Facts) -> Result<Settings, Refusal> {
    let blueprint = facts.blueprint.as_ref().ok_or_else(|| Refusal::new(Rule::Blueprint, "no Blueprint speaks of it", "a Blueprint of the target"))?;
    Ok(facts.breaker.within(&blueprint.effective.safeguards()))
}

fn request(facts: &Facts, incident: &IncidentUid, epoch: u32, proposal: &Proposal, approved: bool) -> Result<breaker::Request, Refusal> {
    let plan = crate::plan::name(&facts.cluster, incident, epoch, proposal);
    let plan = plan.map_err(|error| Refusal::new(Rule::Payload, error.to_string(), "a plan with a canonical form"))?;
    Ok(breaker::Request { plan, service: proposal.target.service(), action: proposal.action.name().to_owned(), kind: Kind::Apply, approved })
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
