//! From a decision to an admitted plan. Everything the plan holds is written down before anything is written to the target:
//! the inverse, the ballots, the authority, and the ledger with the intent in it. The executor chooses nothing; the action,
//! its target and its parameters are the decision's, and whatever cannot be shown to hold is a refusal.

use assent_api::names;
use assent_api::parse_plan;
use assent_api::resources::{Incident, Remediation};
use assent_core::action::Write;
use assent_core::approval::Standing;
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_core::incident::Mode;
use assent_core::ledger::{Position, Proof};
use assent_core::plan::{self, BlueprintPin, LedgerPin, Plan};
use assent_core::proof::{self, Facts};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Target;
use assent_live::{Authority, Change, Live, change, object_of, unavailable};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::asking;
use crate::gate;
use crate::guardrails;
use crate::record::{Entry, Ledger};
use crate::writes::{Answer, Step, Writer, code, denied, verbatim};

/// What a refusal says, whoever passes it on, where guardrail `one-writer` objects: others are at work.
const OTHERS_AT_WORK: &str = "guardrail `one-writer`: ";
/// Largest patch that goes on record, in bytes.
const MAX_PATCH: usize = 16 * 1024;

/// What a decision says to do.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) incident: IncidentUid,
    pub(crate) epoch: u32,
    pub(crate) proposal: Proposal,
}

/// How long things may take; goes into every plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) soak_ms: u32,
    pub(crate) apply_within_ms: u32,
    pub(crate) verify_within_ms: u32,
    pub(crate) revert_within_ms: u32,
    /// How long people have to agree.
    pub(crate) approve_within_seconds: u32,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum NoPlan {
    /// Not ours to carry out: another mode, or an incident that is over.
    Left(String),
    /// It may not be done.
    Refused(Refusal),
    /// A rule refuses it after guardrails were asked: what they said and what would have been written, as fields of the ledger's entry.
    Judged(Refusal, Value),
    /// Nobody judged it: to be tried again.
    Later(Refusal),
    /// Others are at work, and that ends: to be tried again for as long as the votes and people's word hold.
    Full(Refusal),
    /// People have to agree first; the name of the request.
    Asked(String),
}

impl From<Refusal> for NoPlan {
    fn from(refusal: Refusal) -> Self {
        match refusal.rule {
            // The ledger's head moves while we plan, and the director may be restarting; another operation ends, figures settle.
            Rule::Unavailable | Rule::Ledger | Rule::Conflict | Rule::Cooldown => Self::Later(refusal),
            Rule::Guardrail if refusal.reason.contains(OTHERS_AT_WORK) => Self::Full(refusal),
            _ => Self::Refused(refusal),
        }
    }
}

impl NoPlan {
    /// In words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Left(reason) | Self::Asked(reason) => reason.clone(),
            Self::Refused(refusal) | Self::Judged(refusal, _) | Self::Later(refusal) | Self::Full(refusal) => refusal.reason.clone(),
        }
    }

    fn judged(refusal: Refusal, guardrails: &Value, plan: &Plan, change: &Change) -> Self {
        match Self::from(refusal) {
            Self::Refused(refusal) => Self::Judged(refusal, json!({"guardrails": guardrails, "patch": for_people(plan, change)})),
            other => other,
        }
    }
}

/// Makes plans, one at a time: each extends the ledger head of the one before.
pub(crate) struct Planner {
    pub(crate) live: Live,
    pub(crate) ledger: Ledger,
    pub(crate) times: Times,
}

// === impl Planner ===

impl Planner {
    /// The admitted plan for `decided`, whether it was stored now or before. Asked again it comes to the same plan. Who went first though
    /// they came later, `overtaken_by`, goes on record.
    pub(crate) async fn plan(&self, decided: &Decided, overtaken_by: &[String]) -> Result<Remediation, NoPlan> {
        let Decided { incident, epoch, proposal } = decided;
        let target = &proposal.target;
        assent_live::plain_names(target)?;
        let name = plan::name(&self.live.cluster().await?, incident, *epoch, proposal).map_err(|error| verbatim(Rule::Payload, &error.to_string()))?;
        if let Some(stored) = self.stored(&name).await? {
            return Ok(stored);
        }
        match self.make(decided, &name, overtaken_by).await {
            // Another executor may have stored the plan, and even carried it out, while we judged it.
            Err(no @ (NoPlan::Refused(_) | NoPlan::Judged(..))) => self.stored(&name).await?.ok_or(no),
            made => made,
        }
    }

    async fn make(&self, decided: &Decided, name: &str, overtaken_by: &[String]) -> Result<Remediation, NoPlan> {
        let Decided { incident, epoch, proposal } = decided;
        let target = &proposal.target;
        self.concerns_us(incident, target).await?;
        let workload = self.live.workload(target).await?.ok_or_else(|| stale("the target does not exist"))?;
        let mut authority = self.live.authority(incident, Some(target), Some(workload.clone())).await?;
        authority.facts.pod = self.live.evicted(proposal).await?;
        let roster = authority.facts.roster.clone().map_err(|reason| verbatim(Rule::NoRoster, &reason))?;
        if Target::of(&workload).map_err(|reason| stale(&reason))? != *target {
            return Err(stale(&format!("{target} is not as the seats judged it")).into());
        }
        gate::check(&self.live, &roster, target, &workload).await?;
        let mut plan = self.draft(decided, &authority.facts, &workload)?;
        let change = change(&self.live, proposal, plan.canary.as_ref(), &workload, authority.facts.pod.as_ref()).await?;
        let said = guardrails::said(&self.live, &authority, &plan, &change, &workload).await?;
        authority.facts.guardrail_denial = said.refusal;
        let Authority { facts, .. } = authority;
        // Once before the intent is recorded, so that the record holds no intent that could never be admitted …
        proof::judge_but_approval(&facts, &plan).map_err(|refusal| NoPlan::judged(refusal, &said.record, &plan, &change))?;
        if let Err(refusal) = proof::judge_plan(&facts, &plan) {
            return Err(self.ask(decided, &facts, &plan, &change, refusal).await);
        }
        self.dry_run(&plan, &change).await?;
        let mut body = json!({
            "plan": name, "action": proposal.action.act().describe(), "target": target.to_string(), "epoch": epoch,
            "writes": writes(proposal)?, "targetUid": target.uid, "targetGeneration": target.generation, "guardrails": said.record, "blueprint": plan.blueprint,
        });
        if plan.canary.is_some() {
            body["canary"] = true.into();
        }
        let agreed = asking::agreed(&facts, decided);
        if !agreed.is_empty() {
            body["approvedBy"] = agreed.into();
        }
        if !overtaken_by.is_empty() {
            body["overtakenBy"] = overtaken_by.into();
        }
        let since = plan.ledger.head.sequence;
        let (head, proof) = self.ledger.append(&Entry { incident, kind: "apply-intended", plan: name, body }, since).await?;
        plan.ledger = LedgerPin { head, proof, ..plan.ledger };
        // … and once with it.
        proof::judge_plan(&facts, &plan)?;
        self.store(&plan).await
    }

    /// People are asked once everything else is proven; unless they were, and their answer is the refusal.
    async fn ask(&self, decided: &Decided, facts: &Facts, plan: &Plan, change: &Change, refusal: Refusal) -> NoPlan {
        let Decided { incident, epoch, proposal } = decided;
        let asking = async {
            let rules = proof::asks(facts, incident, *epoch, proposal)?;
            match proof::standing(facts, incident, proposal, &rules)? {
                Some(Standing::Pending(_)) => asking::name(&facts.cluster, incident, proposal),
                Some(_) => Err(refusal),
                None => {
                    self.dry_run(plan, change).await?;
                    asking::ask(&self.live, decided, facts, &rules, self.times.approve_within_seconds).await
                }
            }
        };
        asking.await.map_or_else(NoPlan::from, NoPlan::Asked)
    }

    /// The stored plan of this name, if it is one.
    async fn stored(&self, name: &str) -> Result<Option<Remediation>, NoPlan> {
        let api: Api<Remediation> = Api::namespaced(self.live.client().clone(), names::SYSTEM_NAMESPACE);
        let stored = api.get_opt(name).await.map_err(|error| unavailable(format!("cannot read remediation `{name}`: {error}")))?;
        if let Some(stored) = &stored {
            parse_plan(stored)?;
        }
        Ok(stored)
    }

    async fn concerns_us(&self, incident: &IncidentUid, target: &Target) -> Result<(), NoPlan> {
        let api: Api<Incident> = Api::namespaced(self.live.client().clone(), names::SYSTEM_NAMESPACE);
        let stored = api.get_opt(incident.as_str()).await.map_err(|error| unavailable(format!("cannot read incident `{incident}`: {error}")))?;
        let phase = stored.and_then(|incident| incident.status).and_then(|status| status.phase).unwrap_or_default();
        if matches!(phase.as_str(), "Resolved" | "RolledBack" | "Escalated" | "Watching") {
            return Err(NoPlan::Left(format!("the incident is {phase}")));
        }
        match self.live.blueprint(target).await? {
            Some(blueprint) if blueprint.effective.mode() == Mode::Observe => {
                Err(NoPlan::Left(format!("Blueprint `{}` is in mode {:?}", blueprint.pin.name, Mode::Observe)))
            }
            // Without one Assent only observes.
            None => Err(NoPlan::Left(format!("no Blueprint speaks of {target}"))),
            Some(_) => Ok(()),
        }
    }

    fn draft(&self, decided: &Decided, facts: &Facts, workload: &Value) -> Result<Plan, Refusal> {
        let Decided { incident, epoch, proposal } = decided;
        let act = proposal.action.act();
        act.preconditions(workload).map_err(|reason| verbatim(Rule::ForbiddenTarget, &reason))?;
        let roster = facts.roster.as_ref().map_err(|reason| verbatim(Rule::NoRoster, reason))?;
        let Position { era, head } = facts.next_position()?;
        Ok(Plan {
            cluster: facts.cluster.clone(),
            incident: incident.clone(),
            epoch: *epoch,
            proposal: proposal.clone(),
            inverse: act.inverse(workload).map_err(|reason| verbatim(Rule::Revert, &reason))?,
            canary: proof::canary(facts, proposal),
            ballots: proof::prove(facts, incident, *epoch, proposal, facts.now)?,
            roster: roster.digest().map_err(|error| verbatim(Rule::NoRoster, &error.to_string()))?,
            guardrails: facts.guardrails.clone(),
            blueprint: facts.blueprint.as_ref().map_or_else(no_blueprint, |blueprint| blueprint.pin.clone()),
            ledger: LedgerPin { era, head, proof: Proof::default() },
            soak_ms: self.times.soak_ms,
            expires_after_ms: self.times.apply_within_ms,
            revert_within_ms: self.times.revert_within_ms,
        })
    }

    /// The gate and every other admission plugin see the very write before the plan is stored; what comes back must differ
    /// from the target by the voted change alone.
    async fn dry_run(&self, plan: &Plan, change: &Change) -> Result<(), Refusal> {
        let write = plan.proposal.write()?;
        let writer = Writer { client: self.live.client(), incident: &plan.incident };
        match writer.send(&write, &plan.proposal, &change.new, Step::DryRun).await {
            // What is created is answered with no more than that it was.
            Answer::Done(_) if change.old.is_null() => Ok(()),
            Answer::Done(stored) => proof::permitted(&change.old, &change.new, &stored, &plan.roots()),
            // What changed is read again: if it is the target itself, the next judgement says so.
            Answer::Changed(message) | Answer::Transient(message) | Answer::Unheard(message) => {
                Err(unavailable(format!("no verdict on the dry run: {message:.300}")))
            }
            Answer::Refused(message) => Err(denied("the dry run", &message)),
        }
    }

    async fn store(&self, plan: &Plan) -> Result<Remediation, NoPlan> {
        let api: Api<Remediation> = Api::namespaced(self.live.client().clone(), names::SYSTEM_NAMESPACE);
        let object = Remediation::of(plan).map_err(|error| verbatim(Rule::Payload, &error.to_string()))?;
        let params = PostParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PostParams::default() };
        let refused = match api.create(&params, &object).await {
            Ok(stored) => return Ok(stored),
            Err(kube::Error::Api(status)) => status,
            Err(error) => return Err(unavailable(format!("cannot store the plan: {error}")).into()),
        };
        if refused.reason == "AlreadyExists" {
            let name = object.metadata.name.unwrap_or_default();
            return self.stored(&name).await?.ok_or_else(|| unavailable("the plan exists and cannot be read").into());
        }
        match crate::writes::classify(&refused) {
            // Another plan was admitted since we read the head.
            _ if refused.message.contains(&code(Rule::Ledger)) => Err(NoPlan::Later(verbatim(Rule::Ledger, &refused.message))),
            Answer::Transient(message) | Answer::Unheard(message) => Err(NoPlan::Later(unavailable(message))),
            _ => Err(denied("the plan", &refused.message).into()),
        }
    }
}

/// What the inverse makes of `workload`; `None` when there is nothing to restore.
pub(crate) fn inverse(plan: &Plan, workload: &Value) -> Result<Option<Value>, Refusal> {
    let old = object_of(&plan.proposal, workload);
    plan.restored(&old).map_err(|reason| verbatim(Rule::Revert, &reason))
}

/// The change as people can make it themselves, in git or by `kubectl patch --type=json`; nothing where it is too large for the record.
fn for_people(plan: &Plan, change: &Change) -> Value {
    // What is no change of an object has no patch.
    if change.old.is_null() {
        return Value::Null;
    }
    // That it begins with one pod is how we make it, not what it is.
    let Ok(whole) = plan.canary.as_ref().map_or(Ok(change.new.clone()), |canary| canary.release(&change.new)) else { return Value::Null };
    let operations = Value::from(proof::patch(&change.old, &whole));
    if operations.to_string().len() > MAX_PATCH {
        return Value::Null;
    }
    let target = &plan.proposal.target;
    let (group, version) = target.api_version.split_once('/').unwrap_or(("", &target.api_version));
    json!({
        "target": {"group": group, "version": version, "kind": target.kind, "namespace": target.namespace, "name": target.name},
        "operations": operations,
    })
}

/// What it writes with, as the API server's audit log names it: `RESOURCE NAMESPACE/NAME`.
fn writes(proposal: &Proposal) -> Result<String, Refusal> {
    let Write { resource, subresource, .. } = proposal.write()?;
    let slash = if subresource.is_empty() { "" } else { "/" };
    Ok(format!("{resource}{slash}{subresource} {}/{}", proposal.target.namespace, proposal.object_name()))
}

fn no_blueprint() -> BlueprintPin {
    BlueprintPin { name: String::new(), uid: String::new(), generation: 0 }
}

fn stale(reason: &str) -> Refusal {
    Refusal::new(Rule::Stale, reason, "the object with the uid, generation and spec that the seats judged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_others_are_at_work_ends_and_what_another_guardrail_says_does_not() {
        let by_us = Refusal::new(Rule::Guardrail, "guardrail `one-writer`: 3 plans are open in this cluster (a, b, c); with 2 or fewer it would pass", "");
        let by_gate = denied("the plan", &format!("admission webhook \"x\" denied the request: {by_us}"));
        for refusal in [by_us, by_gate] {
            assert!(matches!(NoPlan::from(refusal), NoPlan::Full(_)));
        }
        for reason in ["guardrail `quota-headroom`: no room", "guardrail `one-writer` could not be evaluated: no such field"] {
            assert!(matches!(NoPlan::from(Refusal::new(Rule::Guardrail, reason, "")), NoPlan::Refused(_)), "{reason}");
        }
        assert!(matches!(NoPlan::from(Refusal::new(Rule::Denied, OTHERS_AT_WORK, "")), NoPlan::Refused(_)), "not our guardrail's");
    }
}
