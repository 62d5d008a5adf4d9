//! The vote, counted again from live ballots.

use super::{Facts, authority};
use crate::ballot::{CastBallot, Proposal};
use crate::canonical::Digest;
use crate::consensus::{MAX_EPOCHS, Verdict, tally};
use crate::ids::{IncidentUid, UnixMillis};
use crate::refusal::{Refusal, Rule};

/// Whether the ballots of `incident` and `epoch` decide for `proposal`, as of `as_of`, under an authority that is older than
/// they are. Returns the digests of the ballots that were counted, sorted.
pub fn prove(facts: &Facts, incident: &IncidentUid, epoch: u32, proposal: &Proposal, as_of: UnixMillis) -> Result<Vec<Digest>, Refusal> {
    let digests = decided(facts, incident, epoch, proposal, as_of)?;
    let ballots = facts.ballots.as_ref().map_err(Clone::clone)?;
    match ballots.iter().filter(|cast| cast.ballot.epoch == epoch).map(|cast| cast.created_at).min() {
        Some(first_vote) => authority::precedes(facts, first_vote).map(|()| digests),
        None => Ok(digests),
    }
}

/// [`prove`], whatever has become of the authority since: for what was admitted under it.
pub(super) fn decided(facts: &Facts, incident: &IncidentUid, epoch: u32, proposal: &Proposal, as_of: UnixMillis) -> Result<Vec<Digest>, Refusal> {
    let roster = facts.roster()?;
    let roster_digest = roster.digest().map_err(|error| Refusal::new(Rule::NoRoster, error.to_string(), "a roster with a digest"))?;
    let ballots = facts.ballots.as_ref().map_err(Clone::clone)?;
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
