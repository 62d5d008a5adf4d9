//! How opinions are put together, alike for all seats: evidence with its digest, hypotheses in order, stances on proposals.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Put, digest_of};
use crate::ballot::{
    CastBallot, CauseVote, Edge, Evidence, EvidenceClass, Hypothesis, MAX_ITEMS, MAX_TEXT, Opinion, Principal, Proposal, RemedyVote, Round, Stance,
    StanceVerdict,
};
use crate::canonical::Digest;
use crate::ids::{Millionths, UnixMillis};
use crate::target::is_system_namespace;

/// From here on a seat says that it holds a cause for likely; the tally counts supporters from the same line.
pub(super) const LIKELY: Millionths = Millionths::new(500_000);
/// Most calls in a ballot.
const MAX_EDGES: usize = 256;

/// A seat's stance on one proposal before it is bound to the proposal's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// For, neutral, or against.
    pub verdict: StanceVerdict,
    /// One line for people.
    pub reason: String,
    /// Grounds.
    pub evidence: Vec<Evidence>,
}

// === impl Position ===

impl Position {
    /// It will help, on these grounds.
    pub(super) fn support(reason: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { verdict: StanceVerdict::Support, reason: reason.into(), evidence }
    }

    /// It does no harm in this seat's domain.
    pub(super) fn no_objection(reason: impl Into<String>) -> Self {
        Self { verdict: StanceVerdict::NoObjection, reason: reason.into(), evidence: Vec::new() }
    }

    /// It would harm this seat's domain.
    pub(super) fn veto(reason: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Self { verdict: StanceVerdict::Veto, reason: reason.into(), evidence }
    }
}

/// No judgement, and why.
pub(super) fn abstain(round: Round, reason: &str) -> Opinion {
    Opinion::Abstain { round, reason: cap(reason) }
}

/// Evidence over the `figures` that the seat holds.
pub(super) fn evidence<T: Serialize>(
    (class, principal): (EvidenceClass, Principal),
    figures: &T,
    (from, to): (UnixMillis, UnixMillis),
    summary: &str,
) -> Evidence {
    Evidence { class, principal, digest: digest_of(figures), from, to, summary: cap(summary) }
}

/// The first-round vote: hypotheses most probable first, or evidence of health. Calls that touch a suspect come first.
pub(super) fn cause(mut hypotheses: Vec<Hypothesis>, healthy: Vec<Evidence>, edges: impl IntoIterator<Item = Edge>) -> Opinion {
    hypotheses.sort_by(|a, b| b.probability.cmp(&a.probability).then_with(|| (&a.service, a.domain).cmp(&(&b.service, b.domain))));
    hypotheses.truncate(MAX_ITEMS);
    let healthy = if hypotheses.is_empty() { healthy.into_iter().take(MAX_ITEMS).collect() } else { Vec::new() };
    let suspect = |edge: &Edge| hypotheses.iter().any(|h| h.service == edge.callee || h.service == edge.caller);
    let (mut first, rest): (Vec<Edge>, Vec<Edge>) = edges.into_iter().partition(suspect);
    first.extend(rest);
    first.truncate(MAX_EDGES);
    first.sort_unstable();
    if hypotheses.is_empty() && healthy.is_empty() {
        return abstain(Round::Cause, "no data about the services in question");
    }
    Opinion::Cause(CauseVote { hypotheses, healthy, edges: first })
}

/// The second-round vote: one stance on each proposal of the cause ballots. A support that the seat did not itself argue
/// for in the first round is no support.
pub(super) fn stances(own: &str, causes: &[CastBallot], judge: impl Fn(&Put<'_>) -> Position) -> Opinion {
    let mut ballots: Vec<&CastBallot> = causes.iter().filter(|cast| cast.ballot.round() == Round::Cause).collect();
    ballots.sort_by(|a, b| a.digest.cmp(&b.digest));
    ballots.dedup_by(|a, b| a.digest == b.digest);
    ballots.truncate(MAX_ITEMS);
    let mut puts: BTreeMap<Digest, Put<'_>> = BTreeMap::new();
    for cast in &ballots {
        for (hypothesis, proposal) in proposals(cast) {
            let Ok(digest) = proposal.digest() else { continue };
            let put = puts.entry(digest).or_insert_with(|| Put { proposal, grounds: Vec::new(), held: None });
            put.grounds.push((&cast.ballot.seat, hypothesis));
        }
    }
    for put in puts.values_mut() {
        put.held = ballots
            .iter()
            .filter(|cast| cast.ballot.seat == own)
            .flat_map(|cast| hypotheses(cast))
            .filter(|mine| mine.probability >= LIKELY && !mine.evidence.is_empty())
            .find(|mine| put.grounds.iter().any(|(_, other)| (&mine.service, mine.domain) == (&other.service, other.domain)));
    }
    let stances = puts.iter().take(4 * MAX_ITEMS).map(|(digest, put)| stance(digest, put, judge(put))).collect();
    Opinion::Remedy(RemedyVote { causes: ballots.iter().map(|cast| cast.digest.clone()).collect(), stances })
}

fn stance(digest: &Digest, put: &Put<'_>, position: Position) -> Stance {
    let position = match position.verdict {
        _ if is_system_namespace(&put.proposal.target.namespace) => Position::veto("system namespaces are never targets", position.evidence),
        StanceVerdict::Support if put.held.is_none() || position.evidence.is_empty() => {
            Position::no_objection("not the cause as this seat sees it, and no harm to its domain")
        }
        _ => position,
    };
    Stance {
        proposal: digest.clone(),
        verdict: position.verdict,
        reason: cap(&position.reason),
        evidence: position.evidence.into_iter().take(MAX_ITEMS).collect(),
    }
}

fn hypotheses(cast: &CastBallot) -> &[Hypothesis] {
    match &cast.ballot.opinion {
        Opinion::Cause(vote) => &vote.hypotheses,
        _ => &[],
    }
}

/// A ballot's proposals, at most [`MAX_ITEMS`], so that one seat cannot crowd out the others.
fn proposals(cast: &CastBallot) -> impl Iterator<Item = (&Hypothesis, &Proposal)> {
    hypotheses(cast).iter().flat_map(|hypothesis| hypothesis.remedies.iter().map(move |proposal| (hypothesis, proposal))).take(MAX_ITEMS)
}

/// `text` within the bound of ballots, cut at a character.
pub(super) fn cap(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned()
}
