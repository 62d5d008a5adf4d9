//! The vote, counted again from live ballots.

use super::{Facts, authority};
use crate::ballot::{CastBallot, Proposal};
use crate::canonical::Digest;
use crate::consensus::{MAX_EPOCHS, Verdict, tally};
use crate::ids::{IncidentUid, UnixMillis};
use crate::plan::Plan;
use crate::refusal::{Refusal, Rule};

/// Whether the ballots of `incident` and `epoch` decide for `proposal`, as of `as_of`, under an authority that is older than
/// they are. Returns the digests of the ballots that were counted, sorted.
pub fn prove(facts: &Facts, incident: &IncidentUid, epoch: u32, proposal: &Proposal, as_of: UnixMillis) -> Result<Vec<Digest>, Refusal> {
    let ballots = facts.ballots.as_ref().map_err(Clone::clone)?;
    let digests = decided(facts, ballots, incident, epoch, proposal, as_of)?;
    match ballots.iter().filter(|cast| cast.ballot.epoch == epoch).map(|cast| cast.created_at).min() {
        Some(first_vote) => authority::precedes(facts, first_vote).map(|()| digests),
        None => Ok(digests),
    }
}

/// Whether `plan` was proven when it was stored, whatever has become of votes and authority since: for what was admitted under
/// them. A vote that came later, of a late seat or of one that lies, takes nothing back.
pub(super) fn was_decided(facts: &Facts, plan: &Plan, created_at: UnixMillis) -> Result<(), Refusal> {
    let ballots = facts.ballots.as_ref().map_err(Clone::clone)?;
    // Times are whole seconds: of that second the plan says which were counted, and the gate admitted it with all there were.
    let then = |cast: &&CastBallot| cast.created_at < created_at || plan.ballots.contains(&cast.digest);
    let ballots: Vec<CastBallot> = ballots.iter().filter(then).cloned().collect();
    decided(facts, &ballots, &plan.incident, plan.epoch, &plan.proposal, created_at).map(drop)
}

fn decided(facts: &Facts, ballots: &[CastBallot], incident: &IncidentUid, epoch: u32, proposal: &Proposal, as_of: UnixMillis) -> Result<Vec<Digest>, Refusal> {
    let roster = facts.roster()?;
    let roster_digest = roster.digest().map_err(|error| Refusal::new(Rule::NoRoster, error.to_string(), "a roster with a digest"))?;
    if !(1..=MAX_EPOCHS).contains(&epoch) {
        return Err(Refusal::new(Rule::Epoch, format!("epoch {epoch}"), format!("an epoch from 1 to {MAX_EPOCHS}")));
    }
    if let Some(later) = ballots.iter().map(|cast| cast.ballot.epoch).max().filter(|later| *later > epoch) {
        return Err(Refusal::new(Rule::Epoch, format!("the seats have voted in epoch {later} since"), format!("the decision of epoch {later}")));
    }
    let counted: Vec<CastBallot> = ballots.iter().filter(|cast| cast.ballot.epoch == epoch).cloned().collect();
    for cast in &counted {
        check(facts, cast, incident, &roster_digest, as_of)?;
    }
    if let [first, rest @ ..] = counted.as_slice()
        && rest.iter().any(|cast| cast.ballot.context != first.ballot.context)
    {
        return Err(Refusal::new(Rule::Incident, "the seats were shown different contexts", "ballots on one and the same incident context"));
    }
    match tally(roster, &counted).verdict {
        Verdict::Act { proposal: chosen, .. } if *chosen == *proposal => {}
        Verdict::Act { proposal: chosen, .. } => {
            let chosen = format!("{} on {}", chosen.action.act().describe(), chosen.target);
            return Err(Refusal::new(Rule::Tally, "the ballots decide for another action, target or parameters", chosen));
        }
        Verdict::Hold { rule, reason } => return Err(Refusal::new(rule, reason, "ballots that reach the quorum, support, principals, confidence and no veto")),
    }
    let mut digests: Vec<Digest> = counted.into_iter().map(|cast| cast.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    Ok(digests)
}

fn check(facts: &Facts, cast: &CastBallot, incident: &IncidentUid, roster: &Digest, as_of: UnixMillis) -> Result<(), Refusal> {
    let ballot = &cast.ballot;
    let name = ballot.name();
    if ballot.cluster != facts.cluster {
        return Err(Refusal::new(Rule::Cluster, format!("ballot `{name}` is for cluster `{}`", ballot.cluster), format!("cluster `{}`", facts.cluster)));
    }
    if ballot.incident != *incident {
        return Err(Refusal::new(Rule::Incident, format!("ballot `{name}` is for incident {}", ballot.incident), format!("incident {incident}")));
    }
    if ballot.roster != *roster {
        return Err(Refusal::new(Rule::Authority, format!("ballot `{name}` was cast under another roster"), "a fresh vote under the roster in force"));
    }
    let age = as_of.since(cast.created_at);
    // Server times are whole seconds, so a ballot may look a second younger than it is; it may never look older than allowed.
    if age > i64::from(ballot.expires_after_ms) {
        return Err(Refusal::new(Rule::Expired, format!("ballot `{name}` is {} s old", age / 1000), format!("at most {} s", ballot.expires_after_ms / 1000)));
    }
    Ok(())
}
