//! What the seats disagree on, and what would settle it. Disagreement is shown, never averaged away: a pool of two sure and contrary
//! seats looks like one that is half sure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::tally::Cast;
use super::{RankedCause, Roster};
use crate::ballot::{CauseVote, Edge, Hypothesis};
use crate::ids::{Domain, Millionths};
use crate::target::Service;

/// Conflict from which on nothing is done.
pub(super) const TOO_MUCH: Millionths = Millionths::new(600_000);

/// What would change the answer most: a seat that had nothing to judge by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Who would have to see more.
    pub seat: String,
    /// Of which service.
    pub service: Service,
    /// What it would decide between, in words.
    pub why: String,
}

/// The largest product of two seats' probabilities for their first causes, where these lie at different places of which neither
/// calls the other. Nothing when all who speak speak of one place.
pub(super) fn conflict(cast: &Cast<'_, CauseVote>) -> Millionths {
    let edges: BTreeSet<&Edge> = cast.values().flat_map(|(_, vote)| &vote.edges).collect();
    let calls = |caller: &Service, callee: &Service| edges.contains(&Edge { caller: caller.clone(), callee: callee.clone() });
    let first: Vec<&Hypothesis> =
        cast.values().filter_map(|(_, vote)| vote.hypotheses.iter().filter(|h| !h.evidence.is_empty()).max_by_key(|h| h.probability)).collect();
    let contrary =
        |one: &Hypothesis, other: &Hypothesis| one.service != other.service && !calls(&one.service, &other.service) && !calls(&other.service, &one.service);
    let product = |one: &Hypothesis, other: &Hypothesis| u64::from(one.probability.get()) * u64::from(other.probability.get()) / 1_000_000;
    let pairs = first.iter().flat_map(|one| first.iter().filter(|other| contrary(one, other)).map(|other| product(one, other)));
    Millionths::new(u32::try_from(pairs.max().unwrap_or(0)).unwrap_or(1_000_000))
}

/// The seat without data whose word would weigh most: first the one whose field the first cause is, then the runner-up's.
pub(super) fn question(roster: &Roster, causes: &[RankedCause], cast: &Cast<'_, CauseVote>) -> Option<Question> {
    let silent = |domain: Domain| roster.seats.iter().find(|seat| seat.domain == domain && !cast.contains_key(seat.name.as_str()));
    let (about, seat) = causes.iter().take(2).find_map(|cause| silent(cause.domain).map(|seat| (cause, seat))).or_else(|| {
        let seat = roster.seats.iter().find(|seat| !cast.contains_key(seat.name.as_str()))?;
        causes.first().map(|cause| (cause, seat))
    })?;
    let other = causes.iter().find(|cause| cause.service != about.service || cause.domain != about.domain);
    let against = other.map(|other| format!(" against {} at {}", other.domain, other.service)).unwrap_or_default();
    Some(Question {
        seat: seat.name.clone(),
        service: about.service.clone(),
        why: format!("its figures of {} would decide {} at {}{against}", about.service, about.domain, about.service),
    })
}
