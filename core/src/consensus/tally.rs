//! The count itself, as one list of steps.

use std::collections::{BTreeMap, BTreeSet};

use super::disagreement::{TOO_MUCH, conflict, question};
use super::{Dissent, MAX_EPOCHS, Outcome, RankedCause, Roster, Verdict, Voted, log_odds};
use crate::ballot::{Ballot, CastBallot, CauseVote, Edge, Evidence, Hypothesis, Opinion, Principal, Proposal, RemedyVote, Round, StanceVerdict};
use crate::canonical::Digest;
use crate::ids::{Domain, Millionths};
use crate::refusal::Rule;
use crate::target::Service;

/// From here on a seat is said to support a cause.
pub(super) const SUPPORT: Millionths = Millionths::new(500_000);
/// "Healthy in my domain" as a probability for any cause in that domain.
const HEALTHY: Millionths = Millionths::new(200_000);
/// Largest weight of one seat, in millionths.
const WEIGHT_CAP: u32 = 3_000_000;

type Key = (Service, Domain);

/// Counts `ballots` of one incident and epoch. Ballots of unknown seats count for nothing.
#[must_use]
pub fn tally(roster: &Roster, ballots: &[CastBallot]) -> Outcome {
    let (counted, void) = counted(roster, ballots);
    let causes_cast = cause_votes(&counted);
    let remedies_cast = remedy_votes(&counted);
    let mut outcome = Outcome {
        causes: rank(roster, &causes_cast),
        verdict: hold(Rule::Quorum, String::new()),
        voted: Voted { cause: names(&causes_cast), remedy: names(&remedies_cast) },
        void,
        dissent: Vec::new(),
        conflict: conflict(&causes_cast),
        question: None,
    };
    outcome.dissent = dissent(&outcome.causes, &causes_cast, &remedies_cast);
    outcome.verdict = verdict(roster, &outcome, &causes_cast, &remedies_cast, &counted);
    if matches!(outcome.verdict, Verdict::Hold { rule, .. } if rule != Rule::Veto) {
        outcome.question = question(roster, &outcome.causes, &causes_cast);
    }
    outcome
}

/// One ballot per seat and round, and the seats that contradicted themselves.
fn counted<'a>(roster: &Roster, ballots: &'a [CastBallot]) -> (Vec<&'a CastBallot>, Vec<String>) {
    let mut by_place: BTreeMap<(&str, Round, u32), BTreeMap<&Digest, &CastBallot>> = BTreeMap::new();
    for cast in ballots {
        let ballot = &cast.ballot;
        if roster.seat(&ballot.seat).is_some() && (1..=MAX_EPOCHS).contains(&ballot.epoch) {
            by_place.entry((&ballot.seat, ballot.round(), ballot.epoch)).or_default().insert(&cast.digest, cast);
        }
    }
    let void: BTreeSet<&str> = by_place.iter().filter(|(_, copies)| copies.len() > 1).map(|((seat, ..), _)| *seat).collect();
    let counted = by_place.iter().filter(|((seat, ..), _)| !void.contains(seat)).flat_map(|(_, copies)| copies.values().copied()).collect();
    (counted, void.into_iter().map(str::to_owned).collect())
}

pub(super) type Cast<'a, V> = BTreeMap<&'a str, (&'a Ballot, &'a V)>;

fn cause_votes<'a>(counted: &[&'a CastBallot]) -> Cast<'a, CauseVote> {
    let votes = counted.iter().filter_map(|cast| match &cast.ballot.opinion {
        Opinion::Cause(vote) if vote.hypotheses.iter().any(|h| !h.evidence.is_empty()) || !vote.healthy.is_empty() => {
            Some((cast.ballot.seat.as_str(), (&cast.ballot, vote)))
        }
        _ => None,
    });
    votes.collect()
}

fn remedy_votes<'a>(counted: &[&'a CastBallot]) -> Cast<'a, RemedyVote> {
    let votes = counted.iter().filter_map(|cast| match &cast.ballot.opinion {
        Opinion::Remedy(vote) => Some((cast.ballot.seat.as_str(), (&cast.ballot, vote))),
        _ => None,
    });
    votes.collect()
}

fn names<V>(cast: &Cast<'_, V>) -> Vec<String> {
    cast.keys().map(|seat| (*seat).to_owned()).collect()
}

// --- causes ---

fn rank(roster: &Roster, cast: &Cast<'_, CauseVote>) -> Vec<RankedCause> {
    let keys: BTreeSet<Key> = cast.values().flat_map(|(_, vote)| &vote.hypotheses).map(|h| (h.service.clone(), h.domain)).collect();
    let mut ranked: Vec<RankedCause> = keys.into_iter().map(|key| pool(roster, cast, key)).collect();
    explain_away(&mut ranked, cast);
    // Most probable first; equal ones by name, so that every count has the same order.
    ranked.sort_by(|a, b| b.log_odds.cmp(&a.log_odds).then_with(|| (&a.service, a.domain).cmp(&(&b.service, b.domain))));
    ranked
}

fn pool(roster: &Roster, cast: &Cast<'_, CauseVote>, (service, domain): Key) -> RankedCause {
    let prior = log_odds::of(roster.tally.prior);
    let mut pooled = prior;
    let (mut faults, mut supporters) = (BTreeSet::new(), Vec::new());
    let mut moves: Vec<(i64, &str, BTreeSet<Principal>)> = Vec::new();
    for (seat, (_, vote)) in cast {
        let own = hypotheses_for(vote, &service, domain).max_by_key(|h| h.probability);
        let own_domain = roster.seat(seat).map(|s| s.domain) == Some(domain);
        let word = match own {
            Some(h) => Some(h.probability),
            None if own_domain && vote.hypotheses.is_empty() => Some(HEALTHY),
            None => None,
        };
        if let Some(p) = word {
            // A seat moves the pool by how far it is from the prior, so that silence and "no better than before" are alike.
            let by = weighted(roster, seat, domain, log_odds::of(p).saturating_sub(prior));
            let evidence = own.map_or(&vote.healthy, |h| &h.evidence);
            moves.push((by, seat, evidence.iter().map(|item| item.principal).collect()));
        }
        if let Some(h) = own {
            faults.insert(h.fault.clone());
            if h.probability >= SUPPORT && !h.evidence.is_empty() {
                supporters.push((*seat).to_owned());
            }
        }
    }
    pooled = pooled.saturating_add(together(moves));
    RankedCause {
        service,
        domain,
        faults: faults.into_iter().collect(),
        log_odds: pooled,
        probability: log_odds::probability(pooled),
        supporters,
        explained_by: None,
    }
}

/// What all seats move the pool by. Whoever judges by figures of principals that a stronger voice judged by already says less that is
/// new: it counts half.
fn together(mut moves: Vec<(i64, &str, BTreeSet<Principal>)>) -> i64 {
    moves.sort_by(|(one, a, _), (other, b, _)| other.unsigned_abs().cmp(&one.unsigned_abs()).then_with(|| a.cmp(b)));
    let mut heard: BTreeSet<Principal> = BTreeSet::new();
    let mut sum = 0_i64;
    for (by, _, principals) in moves {
        let known = !heard.is_empty() && !principals.is_empty() && principals.is_subset(&heard);
        sum = sum.saturating_add(if known { by / 2 } else { by });
        heard.extend(principals);
    }
    sum
}

fn hypotheses_for<'a>(vote: &'a CauseVote, service: &'a Service, domain: Domain) -> impl Iterator<Item = &'a Hypothesis> {
    vote.hypotheses.iter().filter(move |h| h.service == *service && h.domain == domain)
}

fn weighted(roster: &Roster, seat: &str, domain: Domain, log_odds: i64) -> i64 {
    let weight = roster.tally.weights.iter().find(|w| w.seat == seat && w.domain == domain).map_or(1_000_000, |w| w.weight.min(WEIGHT_CAP));
    i64::try_from(i128::from(log_odds) * i128::from(weight) / 1_000_000).unwrap_or(0)
}

/// A caller of a service that is itself a supported cause is suspect only for what the callee does not explain.
fn explain_away(ranked: &mut [RankedCause], cast: &Cast<'_, CauseVote>) {
    let edges: BTreeSet<&Edge> = cast.values().flat_map(|(_, vote)| &vote.edges).collect();
    let strong: Vec<(Service, i64)> =
        ranked.iter().filter(|cause| !cause.supporters.is_empty() && cause.log_odds > 0).map(|cause| (cause.service.clone(), cause.log_odds)).collect();
    for cause in ranked.iter_mut() {
        let callee = strong
            .iter()
            .filter(|(callee, _)| *callee != cause.service)
            .filter_map(|(callee, log_odds)| {
                let edge = Edge { caller: cause.service.clone(), callee: callee.clone() };
                // Of two services that call each other neither explains the other.
                let back = Edge { caller: callee.clone(), callee: cause.service.clone() };
                (edges.contains(&edge) && !edges.contains(&back)).then_some((edge, *log_odds))
            })
            .max_by_key(|(_, log_odds)| *log_odds);
        if let Some((edge, log_odds)) = callee {
            cause.log_odds = cause.log_odds.saturating_sub(log_odds);
            cause.probability = log_odds::probability(cause.log_odds);
            cause.explained_by = Some(edge);
        }
    }
}

// --- remedy ---

fn verdict(roster: &Roster, outcome: &Outcome, cause_cast: &Cast<'_, CauseVote>, remedy_cast: &Cast<'_, RemedyVote>, counted: &[&CastBallot]) -> Verdict {
    let causes = &outcome.causes;
    let quorum = usize::try_from(roster.quorum).unwrap_or(usize::MAX);
    if cause_cast.len() < quorum {
        return hold(Rule::Quorum, format!("{} of {} seats judged the cause with live data, and {quorum} must", cause_cast.len(), roster.seats.len()));
    }
    let Some(first) = causes.first() else {
        return hold(Rule::Support, "no seat names a cause".into());
    };
    let needed = usize::try_from(roster.supporters).unwrap_or(usize::MAX);
    if first.supporters.len() < needed {
        return hold(Rule::Support, format!("{} of {needed} seats needed support {} at {}", first.supporters.len(), first.domain, first.service));
    }
    if outcome.conflict > TOO_MUCH {
        return hold(Rule::Confidence, format!("seats are sure of causes at unconnected places: {} of conflict, and {TOO_MUCH} is the most", outcome.conflict));
    }
    let runner_up = causes.get(1).map_or(i64::MIN, |second| second.log_odds);
    if first.log_odds.saturating_sub(runner_up) < i64::from(roster.tally.margin) {
        let second = causes.get(1).map(|s| format!("{} at {} ({})", s.domain, s.service, s.probability)).unwrap_or_default();
        return hold(Rule::Confidence, format!("{} at {} ({}) is too close to {second}", first.domain, first.service, first.probability));
    }
    if remedy_cast.len() < quorum {
        return hold(Rule::Quorum, format!("{} of {} seats judged the remedies, and {quorum} must", remedy_cast.len(), roster.seats.len()));
    }
    let proposals = proposals(first, cause_cast);
    if proposals.is_empty() {
        return hold(Rule::Support, format!("no seat proposes a remedy for {} at {}", first.domain, first.service));
    }
    let seen: BTreeSet<&Digest> = counted.iter().filter(|c| c.ballot.round() == Round::Cause).map(|c| &c.digest).collect();
    let mut refused = None;
    let mut best: Option<(usize, &Proposal, Vec<String>)> = None;
    for (digest, proposal) in &proposals {
        match judge(roster, first, cause_cast, remedy_cast, &seen, digest, proposal) {
            Err(hold) => refused = refused.or(Some(hold)),
            Ok(supporters) => {
                let better = best.as_ref().is_none_or(|(count, other, _)| {
                    // More support, then the more reversible, then the smaller name: never chance.
                    (supporters.len(), other.action.act().risk(), *other) > (*count, proposal.action.act().risk(), *proposal)
                });
                if better {
                    best = Some((supporters.len(), proposal, supporters));
                }
            }
        }
    }
    match (best, refused) {
        (Some((_, proposal, supporters)), _) => Verdict::Act { proposal: Box::new(proposal.clone()), supporters },
        (None, Some(hold)) => hold,
        (None, None) => hold(Rule::Support, "no remedy is supported".into()),
    }
}

/// What was proposed for this cause by name of the proposal; remedies for another service than the cause do not count.
fn proposals<'a>(cause: &RankedCause, cast: &Cast<'a, CauseVote>) -> BTreeMap<Digest, &'a Proposal> {
    let hypotheses = cast.values().flat_map(|(_, vote)| &vote.hypotheses);
    let remedies = hypotheses.filter(|h| h.service == cause.service && h.domain == cause.domain).flat_map(|h| &h.remedies);
    remedies.filter(|p| p.target.service() == cause.service).filter_map(|p| p.digest().ok().map(|digest| (digest, p))).collect()
}

fn judge(
    roster: &Roster,
    cause: &RankedCause,
    cause_cast: &Cast<'_, CauseVote>,
    remedy_cast: &Cast<'_, RemedyVote>,
    seen: &BTreeSet<&Digest>,
    digest: &Digest,
    proposal: &Proposal,
) -> Result<Vec<String>, Verdict> {
    let mut supporters = Vec::new();
    let mut principals: BTreeSet<Principal> = BTreeSet::new();
    for (seat, (_, vote)) in remedy_cast {
        let Some(stance) = vote.stances.iter().find(|stance| stance.proposal == *digest) else { continue };
        if stance.verdict == StanceVerdict::Veto {
            return Err(hold(Rule::Veto, format!("seat `{seat}` vetoes {}: {}", proposal.action.act().describe(), stance.reason)));
        }
        // A supporter must have seen the same cause ballots that are counted: a director cannot show it other ones.
        let informed = vote.causes.iter().all(|cause| seen.contains(cause));
        if stance.verdict == StanceVerdict::Support && informed && !stance.evidence.is_empty() && cause.supporters.iter().any(|s| s == seat) {
            supporters.push((*seat).to_owned());
            let said = stance.evidence.iter().chain(evidence_for(cause, cause_cast, seat)).map(|e| e.principal);
            let may = |principal: &Principal| roster.seat(seat).is_some_and(|s| s.principals.contains(principal));
            principals.extend(said.filter(may));
        }
    }
    let needed = usize::try_from(roster.supporters).unwrap_or(usize::MAX);
    if supporters.len() < needed {
        return Err(hold(
            Rule::Support,
            format!("{} of {needed} seats needed support both the cause and to {}", supporters.len(), proposal.action.act().describe()),
        ));
    }
    if principals.len() < 2 || principals.iter().all(|principal| principal.is_of_pods()) {
        return Err(hold(Rule::Principals, format!("the evidence comes from {principals:?} alone; two principals are needed, one of them no sidecar")));
    }
    let threshold = roster.tally.threshold(proposal.action.act().risk());
    if cause.probability < threshold {
        return Err(hold(
            Rule::Confidence,
            format!(
                "{} at {} is {} probable, and {threshold} is needed to {}",
                cause.domain,
                cause.service,
                cause.probability,
                proposal.action.act().describe()
            ),
        ));
    }
    Ok(supporters)
}

fn evidence_for<'a>(cause: &'a RankedCause, cast: &'a Cast<'a, CauseVote>, seat: &str) -> impl Iterator<Item = &'a Evidence> {
    cast.get(seat).into_iter().flat_map(|(_, vote)| hypotheses_for(vote, &cause.service, cause.domain)).flat_map(|h| &h.evidence)
}

fn dissent(causes: &[RankedCause], cause_cast: &Cast<'_, CauseVote>, remedy_cast: &Cast<'_, RemedyVote>) -> Vec<Dissent> {
    let mut dissent = Vec::new();
    if let Some(first) = causes.first() {
        for (seat, (_, vote)) in cause_cast {
            let Some(top) = vote.hypotheses.first() else { continue };
            if (&top.service, top.domain) != (&first.service, first.domain) {
                dissent.push(Dissent { seat: (*seat).to_owned(), reason: format!("holds {} at {} for {} probable", top.domain, top.service, top.probability) });
            }
        }
    }
    for (seat, (_, vote)) in remedy_cast {
        for stance in vote.stances.iter().filter(|stance| stance.verdict == StanceVerdict::Veto) {
            dissent.push(Dissent { seat: (*seat).to_owned(), reason: format!("vetoes {:.12}: {}", stance.proposal.as_str(), stance.reason) });
        }
    }
    dissent
}

fn hold(rule: Rule, reason: String) -> Verdict {
    Verdict::Hold { rule, reason }
}
