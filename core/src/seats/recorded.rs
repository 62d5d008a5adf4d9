//! All seats over one recording: each judges by its own classes of evidence, blind, and the ballots are tallied as in production.
//! The answer may be that nobody knows.

use std::collections::{BTreeMap, BTreeSet};

use super::{SEATS, digest_of, opinion};
use crate::ballot::{Ballot, CastBallot, Edge, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Round};
use crate::canonical::Digest;
use crate::consensus::{Dissent, Question, RankedCause, Roster, Seat, TallyConfiguration, shipped_principals, tally};
use crate::diagnosis::changes::{self, Remedy};
use crate::diagnosis::{Recording, Suspicion, graded, unlike};
use crate::ids::{Domain, IncidentUid, Millionths, UnixMillis};
use crate::target::Service;

/// What the seats and the tally make of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Causes, most probable first.
    pub causes: Vec<RankedCause>,
    /// Services in this order, each once: those of the causes, then what is most unlike before. Empty where nobody names a cause.
    pub ranked: Vec<String>,
    /// Where nobody names a cause: what is most unlike before, as places to look.
    pub look: Vec<String>,
    /// Probability of the first.
    pub confidence: Millionths,
    /// Why nothing should be done; nothing when the first cause is sure enough to act on.
    pub abstain: Option<String>,
    /// Seats that could not judge.
    pub abstained: Vec<String>,
    /// Who disagrees with the first cause.
    pub dissent: Vec<Dissent>,
    /// How much the seats contradict each other.
    pub conflict: Millionths,
    /// What would change the answer most, where evidence is missing.
    pub question: Option<Question>,
    /// What each seat said, by seat.
    pub votes: BTreeMap<String, Vec<Suspicion>>,
    /// The commit that is to blame for the first cause, where commits were recorded and one is.
    pub commit: Option<String>,
    /// What would help against it, where that is known.
    pub remedy: Option<Remedy>,
}

/// Services without a cause that are worth a look.
const MOST_TO_LOOK_AT: usize = 5;

/// A seat's rules over a recording; nothing when it has no figures of its own.
pub(super) type Rules = fn(&Recording) -> Option<Vec<Suspicion>>;

/// The rules of each seat in [`SEATS`], in its order.
const RULES: [Rules; SEATS.len()] =
    [super::network::recorded::suspect, super::compute::recorded::suspect, super::database::recorded::suspect, super::change::recorded::suspect];

/// The rules of the seat of this name.
pub(super) fn rules(seat: &str) -> Option<Rules> {
    SEATS.iter().zip(RULES).find(|(entry, _)| entry.name == seat).map(|(_, rules)| rules)
}

/// Judges `recording` with `configuration`, leaving out the seats in `without`.
#[must_use]
pub fn judge(recording: &Recording, configuration: &TallyConfiguration, without: &[&str]) -> Diagnosis {
    let roster = roster(configuration);
    let mut votes = BTreeMap::new();
    let mut abstained = Vec::new();
    let mut ballots = Vec::new();
    for (entry, rules) in SEATS.iter().zip(RULES).filter(|(entry, _)| !without.contains(&entry.name)) {
        let said = told(recording, entry.domain, rules(recording));
        if said.is_none() {
            abstained.push(entry.name.to_owned());
        }
        ballots.push(cast(entry.name, entry.rules, opinion_of(recording, said.as_deref())));
        votes.insert(entry.name.to_owned(), said.unwrap_or_default());
    }
    let outcome = tally(&roster, &ballots);
    let mut ranked: Vec<String> = Vec::new();
    for cause in &outcome.causes {
        if !ranked.contains(&cause.service.name) {
            ranked.push(cause.service.name.clone());
        }
    }
    let mut look: Vec<String> = unlike::unlike_before(recording).into_iter().map(str::to_owned).collect();
    look.retain(|service| !ranked.contains(service));
    look.truncate(MOST_TO_LOOK_AT);
    if !ranked.is_empty() {
        ranked.append(&mut look);
    }
    let confidence = outcome.causes.first().map_or(Millionths::new(0), |first| first.probability);
    let abstain = unsure(configuration, &outcome.causes);
    let first = recording.surroundings.as_ref().filter(|found| found.suspicions.first().map(|s| &s.service) == ranked.first());
    let (commit, remedy) = first.map_or((None, None), |found| (found.commit.clone(), found.remedy));
    let rolled_out = recording.rollouts.as_ref().is_some_and(|rollouts| rollouts.steps.iter().any(|step| Some(&step.service) == ranked.first()));
    let remedy = remedy.or_else(|| rolled_out.then_some(Remedy::Rollback));
    Diagnosis {
        commit,
        remedy,
        ranked,
        look,
        confidence,
        abstain,
        abstained,
        dissent: outcome.dissent,
        conflict: outcome.conflict,
        question: outcome.question,
        causes: outcome.causes,
        votes,
    }
}

/// What the surroundings of a change say in a seat's field, beside what it sees itself. The change seat also names what a change of
/// its own explains, whatever the field.
fn told(recording: &Recording, domain: Domain, said: Option<Vec<Suspicion>>) -> Option<Vec<Suspicion>> {
    let Some(found) = &recording.surroundings else { return said };
    let explained = domain == Domain::Application && found.is_change();
    let source = if domain == Domain::Application { (EvidenceClass::Change, Principal::ApiServer) } else { (EvidenceClass::Requests, Principal::MetricStore) };
    let voiced = |(place, suspicion): (usize, &changes::Suspicion)| {
        let own = suspicion.domain == domain || place == 0 && explained;
        own.then(|| Suspicion {
            service: suspicion.service.clone(),
            domain: suspicion.domain,
            fault: suspicion.fault.clone(),
            probability: graded(suspicion.strength, (0.0, 1.0), (50, 900)),
            source,
            grounds: suspicion.grounds.clone(),
        })
    };
    let more = found.suspicions.iter().enumerate().filter_map(voiced);
    Some(said.unwrap_or_default().into_iter().chain(more).collect())
}

/// Why the first cause is not sure enough, if it is not. Two kinds of trouble at one place do not make the place less sure.
fn unsure(configuration: &TallyConfiguration, causes: &[RankedCause]) -> Option<String> {
    let Some(first) = causes.first() else { return Some("no seat names a cause".into()) };
    if first.probability < configuration.threshold_low {
        return Some(format!("{} at {} is {} probable, and {} is needed", first.domain, first.service.name, first.probability, configuration.threshold_low));
    }
    let second = causes.iter().find(|cause| cause.service != first.service)?;
    let close = first.log_odds.saturating_sub(second.log_odds) < i64::from(configuration.margin);
    close.then(|| format!("{} is too close to {}", first.service.name, second.service.name))
}

fn roster(configuration: &TallyConfiguration) -> Roster {
    let seat = |name: &str, domain: Domain| Seat { name: name.into(), domain, account: String::new(), principals: shipped_principals(domain) };
    Roster {
        seats: SEATS.iter().map(|entry| seat(entry.name, entry.domain)).collect(),
        quorum: 3,
        supporters: 2,
        tally: configuration.clone(),
        trust_roots: String::new(),
        gate: Digest::of_bytes(b""),
        ledger: None,
    }
}

/// Recordings know no namespaces.
fn service(name: &str) -> Service {
    Service { namespace: "recorded".into(), name: name.to_owned() }
}

fn opinion_of(recording: &Recording, said: Option<&[Suspicion]>) -> Opinion {
    let Some(said) = said else { return opinion::abstain(Round::Cause, "no figures of its classes") };
    let at = UnixMillis(recording.alert.at.saturating_mul(1_000));
    let known: BTreeSet<(&str, &str)> = recording.edges();
    let edges = known.iter().map(|(caller, callee)| Edge { caller: service(caller), callee: service(callee) });
    let evidence = |suspicion: &Suspicion| opinion::evidence(suspicion.source, &suspicion.grounds, (at, at), &suspicion.grounds.join("; "));
    let hypothesis = |suspicion: &Suspicion| Hypothesis {
        service: service(&suspicion.service),
        domain: suspicion.domain,
        fault: suspicion.fault.clone(),
        probability: suspicion.probability,
        evidence: vec![evidence(suspicion)],
        path: Vec::new(),
        remedies: Vec::new(),
    };
    let healthy = Evidence {
        class: EvidenceClass::Requests,
        principal: Principal::MetricStore,
        digest: digest_of(&recording.alert.at),
        from: at,
        to: at,
        summary: "nothing of its classes is unusual".into(),
    };
    opinion::cause(said.iter().map(hypothesis).collect(), vec![healthy], edges)
}

fn cast(seat: &str, rules: &str, opinion: Opinion) -> CastBallot {
    let ballot = Ballot {
        cluster: String::new(),
        incident: IncidentUid::of_no_cluster(),
        seat: seat.to_owned(),
        epoch: 1,
        issued_at: UnixMillis(0),
        expires_after_ms: 1,
        context: Digest::of_bytes(b""),
        roster: Digest::of_bytes(b""),
        rules: rules.to_owned(),
        opinion,
    };
    CastBallot { digest: digest_of(&ballot), created_at: UnixMillis(0), ballot }
}

#[cfg(test)]
mod cases;
