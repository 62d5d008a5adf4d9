//! Wire to domain: a stored `Ballot` becomes a `core` ballot only if everything about it is its seat's own, a stored
//! `Remediation` becomes a plan only if its typed fields say what its payload says. What a seat says of a neighbour is the same word in
//! both, and one that is not known here is no evidence.

use assent_core::ballot::{CastBallot, PAYLOAD_TYPE, Statement};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::Roster;
use assent_core::ledger::Proof;
use assent_core::plan::Plan;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Service;
use assent_core::verification::{Neighbour, Side};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::names;
use crate::proto::{IndicatorNeighbour, NeighbourState};
use crate::resources::{Ballot, Remediation, RemediationSpec};

/// Longest line of figures of a neighbour, and longest name, in characters.
const MAX_SUMMARY: usize = 300;
const MAX_NAME: usize = 253;

impl From<Side> for NeighbourState {
    fn from(side: Side) -> Self {
        match side {
            Side::Unknown => Self::Unspecified,
            Side::WasIll => Self::WasIll,
            Side::Well => Self::Well,
            Side::Turning => Self::Turning,
            Side::Broken => Self::Broken,
        }
    }
}

impl From<NeighbourState> for Side {
    fn from(state: NeighbourState) -> Self {
        match state {
            NeighbourState::Unspecified => Self::Unknown,
            NeighbourState::WasIll => Self::WasIll,
            NeighbourState::Well => Self::Well,
            NeighbourState::Turning => Self::Turning,
            NeighbourState::Broken => Self::Broken,
        }
    }
}

impl From<Neighbour> for IndicatorNeighbour {
    fn from(neighbour: Neighbour) -> Self {
        let Neighbour { service: Service { namespace, name }, calls, own, callers, summary } = neighbour;
        Self { namespace, name, calls, own: NeighbourState::from(own).into(), callers: NeighbourState::from(callers).into(), summary }
    }
}

impl From<&IndicatorNeighbour> for Neighbour {
    fn from(told: &IndicatorNeighbour) -> Self {
        let side = |state: i32| NeighbourState::try_from(state).map_or(Side::Unknown, Side::from);
        Self {
            service: Service { namespace: told.namespace.chars().take(MAX_NAME).collect(), name: told.name.chars().take(MAX_NAME).collect() },
            calls: told.calls,
            own: side(told.own),
            callers: side(told.callers),
            summary: told.summary.chars().take(MAX_SUMMARY).collect(),
        }
    }
}

/// The vote in `stored`, if its seat of `roster` signed it, its typed fields and name equal its payload, and its
/// certificate was valid when the API server stored it. Who *created* it is checked at admission.
pub fn cast(stored: &Ballot, roster: &Roster) -> Result<CastBallot, Refusal> {
    let refuse =
        |rule, reason: String| Refusal::new(rule, format!("ballot `{}`: {reason}", stored.name_any()), "the ballot that its seat wrote and signed itself");
    let statement = Statement::parse(&stored.spec.signed.payload).map_err(|reason| refuse(Rule::Payload, reason))?;
    let ballot = statement.predicate;
    let typed = &stored.spec;
    let same =
        typed.incident == ballot.incident.as_str() && typed.seat == ballot.seat && typed.epoch == ballot.epoch && typed.round == ballot.round().to_string();
    if !same || stored.name_any() != ballot.name() {
        return Err(refuse(Rule::Payload, "typed fields or name differ from the signed payload".into()));
    }
    if stored.labels().get(names::INCIDENT).map(String::as_str) != Some(ballot.incident.as_str()) {
        return Err(refuse(Rule::Payload, format!("label `{}` is not the incident", names::INCIDENT)));
    }
    let seat = roster.seat(&ballot.seat).ok_or_else(|| refuse(Rule::BallotIdentity, format!("`{}` is no seat of the roster", ballot.seat)))?;
    let created_at = crate::facts::created_at(stored).ok_or_else(|| refuse(Rule::Unavailable, "no creation time".into()))?;
    stored
        .spec
        .signed
        .verify(PAYLOAD_TYPE, &roster.trust_roots, &names::own_identity(&seat.account), created_at.0)
        .map_err(|error| refuse(Rule::BallotIdentity, error.to_string()))?;
    Ok(CastBallot { digest: Digest::of_bytes(stored.spec.signed.payload.as_bytes()), created_at, ballot })
}

/// The plan in `stored`, if its typed fields and name equal its payload.
pub fn parse_plan(stored: &Remediation) -> Result<Plan, Refusal> {
    let refuse = |rule, reason: String| Refusal::new(rule, format!("remediation `{}`: {reason}", stored.name_any()), "the plan as the executor planned it");
    let plan: Plan = serde_json::from_str(&stored.spec.payload).map_err(|error| refuse(Rule::Payload, format!("payload is not a plan: {error}")))?;
    let text = canonical::text(&plan).map_err(|error| refuse(Rule::Payload, error.to_string()))?;
    if text != stored.spec.payload {
        return Err(refuse(Rule::Payload, "payload is not in canonical form".into()));
    }
    let name = plan.name().map_err(|error| refuse(Rule::Payload, error.to_string()))?;
    if stored.name_any() != name {
        return Err(refuse(Rule::PlanName, format!("the name of this plan is `{name}`")));
    }
    if stored.spec != RemediationSpec::of(&plan, text) || stored.labels().get(names::INCIDENT).map(String::as_str) != Some(plan.incident.as_str()) {
        return Err(refuse(Rule::Payload, "typed fields differ from the payload".into()));
    }
    Ok(plan)
}

/// What `stored` was planned as, also by the first version, whose plans named links of a chain in place of a proof. Good for counting
/// what was done; it proves and admits nothing.
#[must_use]
pub fn told_plan(stored: &Remediation) -> Option<Plan> {
    if let Ok(plan) = parse_plan(stored) {
        return Some(plan);
    }
    let mut payload: Value = serde_json::from_str(&stored.spec.payload).ok()?;
    let ledger = payload.get_mut("ledger")?.as_object_mut()?;
    ledger.remove("links")?;
    ledger.insert("era".into(), json!(0));
    ledger.insert("proof".into(), serde_json::to_value(Proof::default()).ok()?);
    let plan: Plan = serde_json::from_value(payload).ok()?;
    (plan.incident.as_str() == stored.spec.incident && plan.name().is_ok_and(|name| name == stored.name_any())).then_some(plan)
}
