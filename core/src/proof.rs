//! Whether one concrete request is proven: by ballots counted again, by authority read live, and by the difference it makes.
//!
//! The gate calls this inside the API server's path, the executor before it submits, the plugin when it verifies. It is a
//! pure function of what was read: asked any number of times it says the same and changes nothing.

mod authority;
mod difference;
mod patch;
mod quorum;
mod raise;
mod scaled;
mod write;

use serde_json::Value;

use crate::action::Owned;
use crate::approval::{Answer, Asked};
use crate::ballot::{CastBallot, Proposal};
use crate::breaker::{History, Settings};
use crate::canary::Canary;
use crate::canonical::Digest;
use crate::consensus::Roster;
use crate::ids::{IncidentUid, UnixMillis};
use crate::ledger::Position;
use crate::plan::{BlueprintFacts, LedgerPin, MAX_EXPIRY_MS, MAX_REVERT_MS, Plan};
use crate::refusal::{Refusal, Rule};

pub use authority::{asks, may_enter, permits_deletion, standing, why_asked};
pub use difference::{describe_difference, permitted, without_server_fields};
pub use patch::patch;
pub use quorum::prove;
pub use raise::{RAISE, judge_raise, planned_under, raised, raises};
pub use scaled::{as_judged, untouched};
pub use write::{Admitted, as_left, concerned, judge_write};

/// Field manager of the executor's writes: no other is admitted, and its own entry in `managedFields` does not count.
pub const FIELD_MANAGER: &str = "assent-executor";
/// Largest difference between the gate's clock and the API server's.
pub const MAX_SKEW_MS: i64 = 5_000;

/// What was read to decide, all of it live.
#[derive(Clone, Debug)]
pub struct Facts {
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// Now, as the API server says.
    pub now: UnixMillis,
    /// Now, as the gate's own clock says.
    pub own_clock: UnixMillis,
    /// The roster, or why there is none.
    pub roster: Result<Roster, String>,
    /// All ballots of the incident, or the first refusal among them: one that does not verify stops everything, since
    /// leaving it out might leave out a veto.
    pub ballots: Result<Vec<CastBallot>, Refusal>,
    /// Plans of the incident with their server-set creation times.
    pub plans: Vec<(Plan, UnixMillis)>,
    /// Where the ledger stood for the newest of all plans; the start when there is none.
    pub ledger: Position,
    /// Whether a Pause exists, and why.
    pub paused: Option<String>,
    /// The Blueprint of the target.
    pub blueprint: Option<BlueprintFacts>,
    /// Digest of the set of guardrails in force.
    pub guardrails: Digest,
    /// When anybody last wrote a guardrail, a binding of one or a freeze window that still exists.
    pub rules_changed_at: Option<UnixMillis>,
    /// What the guardrails say of this request.
    pub guardrail_denial: Option<Refusal>,
    /// The target as it is now.
    pub target: Option<Value>,
    /// The pod of the target that is evicted.
    pub pod: Option<Owned>,
    /// ConfigMaps that the actions in question rest on ([`crate::action::Action::configurations`]), as they are now: name and digest. A copy
    /// that could be changed counts for none.
    pub configurations: Vec<(String, Digest)>,
    /// What people were asked in this incident, with their answers.
    pub approvals: Vec<(Asked, Vec<Answer>)>,
    /// What was done to all services, as the stored plans say, and what people lifted.
    pub history: History,
    /// Settings of the breaker that the Blueprint does not name.
    pub breaker: Settings,
    /// Plans that entered the CircuitBreaker of the target's service, oldest first.
    pub entered: Vec<String>,
}

/// One write, as the API server shows it to admission.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// Values of the incident extra.
    pub incidents: Vec<String>,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource.
    pub resource: String,
    /// Sub-resource or empty.
    pub subresource: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub operation: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// `options.fieldManager`.
    pub field_manager: String,
    /// The object before.
    pub old: Value,
    /// The object after.
    pub new: Value,
}

// === impl Facts ===

impl Facts {
    pub(crate) fn roster(&self) -> Result<&Roster, Refusal> {
        self.roster.as_ref().map_err(|reason| Refusal::new(Rule::NoRoster, reason.clone(), "a Roster `default` written by a person"))
    }

    /// What the ledger of the next plan must extend.
    pub fn next_position(&self) -> Result<Position, Refusal> {
        Ok(self.ledger.next(self.roster()?.ledger.as_ref()))
    }

    /// The two clocks must agree, for expiry to mean anything.
    pub(crate) fn check_clock(&self) -> Result<(), Refusal> {
        let skew = self.now.since(self.own_clock).abs();
        if skew > MAX_SKEW_MS {
            return Err(Refusal::new(Rule::Clock, format!("the gate's clock is {skew} ms off the API server's"), format!("at most {MAX_SKEW_MS} ms")));
        }
        Ok(())
    }
}

/// Judges a new plan at its creation: everything that a write will be judged by, plus its own bounds and the ledger.
pub fn judge_plan(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    judge_but_approval(facts, plan)?;
    authority::may_apply(facts, plan)
}

/// As [`judge_plan`], but for people's agreement: what they are asked about would be admitted if they agreed.
pub fn judge_but_approval(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    facts.check_clock()?;
    if plan.cluster != facts.cluster {
        return Err(Refusal::new(Rule::Cluster, format!("the plan is for cluster `{}`", plan.cluster), format!("cluster `{}`", facts.cluster)));
    }
    for (what, value, most) in [("expiry", plan.expires_after_ms, MAX_EXPIRY_MS), ("revert", plan.revert_within_ms, MAX_REVERT_MS)] {
        if value == 0 || value > most {
            return Err(Refusal::new(Rule::Expired, format!("its {what} is {value} ms"), format!("1 to {most} ms")));
        }
    }
    if plan.writes_within_ms() >= i64::from(plan.revert_within_ms) && plan.canary.is_some() {
        return Err(Refusal::new(Rule::Expired, "its revert may be over before the rest followed the first pod", "a longer life of the right to revert"));
    }
    authority::asks(facts, &plan.incident, plan.epoch, &plan.proposal)?;
    authority::undisturbed(facts, plan, None)?;
    authority::unchanged_since_planning(facts, plan)?;
    let counted = prove(facts, &plan.incident, plan.epoch, &plan.proposal, facts.now)?;
    if counted != plan.ballots {
        return Err(Refusal::new(Rule::Tally, "the plan does not name the ballots that count", "the digests of all ballots of the epoch, sorted"));
    }
    let target = facts.target.as_ref().ok_or_else(|| write::stale("the target does not exist"))?;
    write::fresh(plan, target)?;
    plan.proposal.action.act().preconditions(target).map_err(|reason| Refusal::new(Rule::ForbiddenTarget, reason, "a workload that the action models"))?;
    write::evictable(facts, &plan.proposal)?;
    let inverse = plan.proposal.action.act().inverse(target).map_err(|reason| Refusal::new(Rule::Revert, reason, "a target that can be restored"))?;
    if inverse != plan.inverse {
        return Err(Refusal::new(Rule::Revert, "the plan's inverse would not restore the target as it is", "the inverse of the action on the target as it is"));
    }
    if plan.canary != canary(facts, &plan.proposal) {
        return Err(Refusal::new(
            Rule::Canary,
            "the plan does not begin with one pod as the Blueprint says",
            "`canary` as the Blueprint and the target as it is have it",
        ));
    }
    extends(facts, plan)?;
    authority::guardrails(facts)
}

/// How `proposal` begins with one pod of its target, as the Blueprint has it; `None` where it does not.
#[must_use]
pub fn canary(facts: &Facts, proposal: &Proposal) -> Option<Canary> {
    let settings = facts.blueprint.as_ref().and_then(|blueprint| blueprint.effective.canary());
    Canary::of(settings, &proposal.action, facts.target.as_ref()?)
}

/// The plan's ledger is the one of the newest plan, or the one that people put in its place, with entries added at its end.
fn extends(facts: &Facts, plan: &Plan) -> Result<(), Refusal> {
    let next = facts.next_position()?;
    if plan.ledger.era == next.era && next.head.extends_to(&plan.ledger.head, &plan.ledger.proof) {
        return Ok(());
    }
    let LedgerPin { era, head, .. } = &plan.ledger;
    Err(Refusal::new(
        Rule::Ledger,
        format!("ledger head {} of era {era} is not shown to extend head {} of era {}", head.sequence, next.head.sequence, next.era),
        "a proof from that head to the plan's; after a lost ledger, a checkpoint by a person (`kubectl assent ledger accept`)",
    ))
}

/// The incident that a request names by its one extra.
pub fn incident_of(extras: &[String]) -> Result<IncidentUid, Refusal> {
    let refuse = |reason: String| Refusal::new(Rule::IncidentExtra, reason, "exactly one Incident-UID in the user's extra `assent.dev/incident-uid`");
    match extras {
        [one] => IncidentUid::try_from(one.clone()).map_err(|error| refuse(format!("`{one:.64}`: {error}"))),
        [] => Err(refuse("the write names no incident".into())),
        more => Err(refuse(format!("the write names {} incidents", more.len()))),
    }
}

#[cfg(test)]
mod cases;
