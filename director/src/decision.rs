//! From stored ballots to a `Decision`: verify, tally, ask the gate's own question ahead of time, put it on record, write it.
//!
//! The same ballots give the same answer whenever and by whomever it is computed; the gate computes it again at each write
//! and believes none of this.

use std::collections::BTreeSet;

use assent_api::resources::{Ballot, Decision, DecisionSpec, decision_name};
use assent_api::{cast, names};
use assent_core::ballot::{CastBallot, Edge, Opinion};
use assent_core::breaker::{History, Settings};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::{Outcome, Roster, Verdict, tally};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::Event;
use assent_core::ledger::Position;
use assent_core::proof::{self, Facts};
use assent_core::refusal::Refusal;
use assent_runtime::workload;
use kube::ResourceExt as _;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::director::{Director, Error, created_at, exists, kubernetes};
use crate::intake::capped;
use crate::store::{self, Draft};

/// Most lines of a Reason Card and their length in bytes, as the schema bounds them.
const LINES: usize = 64;
const LINE: usize = 600;

/// What follows from the vote, with what has to be on record before it does.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) event: Event,
    pub(crate) entries: Vec<Draft>,
    /// Calls between services that the seats speak of.
    pub(crate) calls: BTreeSet<Edge>,
}

/// Counts what the seats stored for one epoch.
pub(crate) async fn count(director: &Director, roster: Option<&Roster>, incident: &IncidentUid, epoch: u32) -> Result<Tally, Error> {
    let stored = director.ballots(incident).await?;
    let Some(roster) = roster else {
        let event = Event::Abandoned("there is no Roster `default`, so nobody may vote".into());
        return Ok(Tally { event, entries: Vec::new(), calls: BTreeSet::new() });
    };
    let entries = entries(director, roster, &stored, incident, epoch)?;
    let (event, calls) = match judge(&director.cluster, roster, &stored, incident, epoch, store::now()) {
        Ok((outcome, calls)) => (Event::Tallied { epoch, outcome: Box::new(outcome) }, calls),
        Err(refusal) => (Event::Abandoned(refusal.to_string()), BTreeSet::new()),
    };
    Ok(Tally { event, entries, calls })
}

/// The tally with the calls that its ballots speak of; or the refusal with which the gate would answer whatever is made of it.
fn judge(cluster: &str, roster: &Roster, stored: &[Ballot], incident: &IncidentUid, epoch: u32, now: UnixMillis) -> Result<(Outcome, BTreeSet<Edge>), Refusal> {
    // One that does not verify stops everything, since leaving it out might leave out a veto.
    let ballots: Vec<CastBallot> = stored.iter().map(|ballot| cast(ballot, roster)).collect::<Result<_, _>>()?;
    let outcome = tally_of(roster, &ballots, epoch);
    let calls = calls(&ballots, epoch);
    if let Verdict::Act { proposal, .. } = &outcome.verdict {
        let facts = Facts {
            cluster: cluster.to_owned(),
            now,
            own_clock: now,
            roster: Ok(roster.clone()),
            ballots: Ok(ballots),
            plans: Vec::new(),
            ledger: Position::start(),
            paused: None,
            blueprint: None,
            guardrails: Digest::of_bytes(b""),
            rules_changed_at: None,
            guardrail_denial: None,
            target: None,
            pod: None,
            configurations: Vec::new(),
            approvals: Vec::new(),
            history: History::default(),
            breaker: Settings::default(),
            entered: Vec::new(),
        };
        proof::prove(&facts, incident, epoch, proposal, now)?;
    }
    Ok((outcome, calls))
}

fn calls(ballots: &[CastBallot], epoch: u32) -> BTreeSet<Edge> {
    let edges = |cast: &CastBallot| match &cast.ballot.opinion {
        Opinion::Cause(vote) => vote.edges.clone(),
        Opinion::Remedy(_) | Opinion::Abstain { .. } => Vec::new(),
    };
    ballots.iter().filter(|cast| cast.ballot.epoch == epoch).flat_map(edges).collect()
}

fn tally_of(roster: &Roster, ballots: &[CastBallot], epoch: u32) -> Outcome {
    let of_epoch: Vec<CastBallot> = ballots.iter().filter(|cast| cast.ballot.epoch == epoch).cloned().collect();
    tally(roster, &of_epoch)
}

/// Roster and trust bundle once per change, each ballot as it was signed, and the count: enough to prove the decision again
/// when ballots and certificates are long gone.
fn entries(director: &Director, roster: &Roster, stored: &[Ballot], incident: &IncidentUid, epoch: u32) -> Result<Vec<Draft>, Error> {
    let ours = |kind: &str, key: String, body: Value| director.draft(incident, kind, key, body);
    let digest = |what, value: &Value| Digest::of(value).map_err(|source| Error::Canonical { what, source });
    let roster_digest = roster.digest().map_err(|source| Error::Canonical { what: "roster", source })?;
    let bundle: String = director.workload.trust().current().certificates().iter().map(|der| workload::pem(der)).collect();
    let bundle = json!({"pem": bundle});
    let mut entries = vec![
        ours("roster", format!("roster/{roster_digest}"), json!(roster)),
        ours("trust-bundle", format!("trust-bundle/{}", digest("trust bundle", &bundle)?), bundle),
    ];
    let mut digests = Vec::new();
    for ballot in stored.iter().filter(|ballot| ballot.spec.epoch == epoch) {
        let author = roster.seat(&ballot.spec.seat).map_or_else(|| ballot.spec.seat.clone(), |seat| names::own_identity(&seat.account));
        let name = ballot.name_any();
        let body = json!({"name": name, "createdAt": created_at(ballot).0, "signed": ballot.spec.signed});
        digests.push(Digest::of_bytes(ballot.spec.signed.payload.as_bytes()));
        entries.push(Draft { incident: incident.clone(), author, kind: "ballot".into(), key: format!("{incident}/{epoch}/ballot/{name}"), body });
    }
    let body = json!({
        "decision": decision_name(incident.as_str(), epoch),
        "roster": roster_digest,
        "ballots": digests,
    });
    entries.push(ours("tally", format!("{incident}/{epoch}/tally"), body));
    Ok(entries)
}

/// Writes the `Decision`. The gate admits it only as the count of the ballots that exist now, so it is counted again: a ballot
/// that came in between may change figures, and if it changes the conclusion, nothing may follow from the first count. The
/// inner error says so.
pub(crate) async fn write(director: &Director, incident: &IncidentUid, epoch: u32, outcome: &Outcome) -> Result<Result<(), String>, Error> {
    let stored = director.ballots(incident).await?;
    let of_epoch: Vec<&Ballot> = stored.iter().filter(|ballot| ballot.spec.epoch == epoch).collect();
    let Some(roster) = director.roster().await? else { return Ok(Err("the Roster is gone".into())) };
    let ballots: Result<Vec<CastBallot>, Refusal> = stored.iter().map(|ballot| cast(ballot, &roster)).collect();
    let recount = match ballots {
        Ok(ballots) => tally_of(&roster, &ballots, epoch),
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    if !same_conclusion(outcome, &recount) {
        return Ok(Err(format!("a ballot that came after the count of epoch {epoch} changes its conclusion")));
    }
    let decision = decision(incident, epoch, &recount, &of_epoch)?;
    let api = director.ours::<Decision>();
    match api.create(&PostParams::default(), &decision).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if exists(&error) => {
            let other = api.get(&decision.name_any()).await.map_err(kubernetes("read a decision"))?;
            let same = serde_json::from_str(&other.spec.payload).is_ok_and(|other| same_conclusion(&other, outcome));
            Ok(if same { Ok(()) } else { Err(format!("Decision `{}` exists and says something else", other.name_any())) })
        }
        Err(error) => Err(kubernetes("create a decision")(error)),
    }
}

/// Whether the same follows from both: the same action on the same target, or nothing.
fn same_conclusion(one: &Outcome, other: &Outcome) -> bool {
    match (&one.verdict, &other.verdict) {
        (Verdict::Act { proposal: one, .. }, Verdict::Act { proposal: other, .. }) => one == other,
        (Verdict::Hold { .. }, Verdict::Hold { .. }) => true,
        _ => false,
    }
}

fn decision(incident: &IncidentUid, epoch: u32, outcome: &Outcome, ballots: &[&Ballot]) -> Result<Decision, Error> {
    let payload = canonical::text(outcome).map_err(|source| Error::Canonical { what: "outcome", source })?;
    let (verdict, action) = match &outcome.verdict {
        Verdict::Act { proposal, .. } => ("Act", format!("{} on {}", proposal.action.act().describe(), proposal.target)),
        Verdict::Hold { rule, reason } => ("Hold", format!("{}: {reason}", rule.code())),
    };
    let mut names: Vec<String> = ballots.iter().map(|ballot| ballot.name_any()).collect();
    names.truncate(LINES);
    Ok(Decision::of(DecisionSpec {
        incident: incident.to_string(),
        epoch,
        verdict: verdict.into(),
        cause: capped(&cause(outcome).unwrap_or_else(|| "no seat names a cause".into()), LINE),
        action: capped(&action, LINE),
        confidence: outcome.causes.first().map(|first| first.probability.to_string()).unwrap_or_default(),
        ballots: names,
        reasons: reasons(outcome, ballots).into_iter().take(LINES).map(|line| capped(&line, LINE)).collect(),
        payload,
    }))
}

/// The first cause in a line.
pub(crate) fn cause(outcome: &Outcome) -> Option<String> {
    hypotheses(outcome).into_iter().next()
}

/// Causes in lines, most probable first.
pub(crate) fn hypotheses(outcome: &Outcome) -> Vec<String> {
    let line = |cause: &assent_core::consensus::RankedCause| {
        let faults = if cause.faults.is_empty() { String::new() } else { format!(" ({})", cause.faults.join(", ")) };
        format!("{} at {}{faults}: {}", cause.domain, cause.service, cause.probability)
    };
    outcome.causes.iter().map(line).collect()
}

/// The Reason Card: what was seen, what was chosen and why, what was not and why, who disagrees.
fn reasons(outcome: &Outcome, ballots: &[&Ballot]) -> Vec<String> {
    let mut lines = Vec::new();
    let voted = |seats: &[String]| if seats.is_empty() { "none".to_owned() } else { seats.join(", ") };
    match &outcome.verdict {
        Verdict::Act { proposal, supporters } => {
            lines.push(format!("Chosen: {} on {}; supported by {}", proposal.action.act().describe(), proposal.target, supporters.join(", ")));
        }
        Verdict::Hold { rule, reason } => lines.push(format!("Held back by rule `{}`: {reason}", rule.code())),
    }
    for (place, (cause, text)) in outcome.causes.iter().zip(hypotheses(outcome)).enumerate().take(8) {
        let place = if place == 0 { "Cause" } else { "Also considered" };
        let away = cause.explained_by.as_ref().map(|edge| format!("; explained by what it calls, {}", edge.callee)).unwrap_or_default();
        lines.push(format!("{place}: {text}; supported by {}{away}", voted(&cause.supporters)));
    }
    lines.push(format!("Judged the cause with live data: {}", voted(&outcome.voted.cause)));
    lines.push(format!("Judged the remedies with live data: {}", voted(&outcome.voted.remedy)));
    if outcome.conflict.get() > 0 {
        lines.push(format!("Conflict: {} of the seats' certainty is for causes at unconnected places", outcome.conflict));
    }
    lines.extend(outcome.question.iter().map(|question| format!("Missing: {} has no live data; {}", question.seat, question.why)));
    lines.extend(outcome.void.iter().map(|seat| format!("Void: {seat} cast two different ballots")));
    lines.extend(outcome.dissent.iter().map(|dissent| format!("Dissent: {} {}", dissent.seat, dissent.reason)));
    lines.extend(ballots.iter().flat_map(|ballot| grounds(ballot)));
    lines
}

/// A seat's evidence, or its reason to abstain, in its own words.
fn grounds(ballot: &Ballot) -> Vec<String> {
    let Ok(statement) = assent_core::ballot::Statement::parse(&ballot.spec.signed.payload) else { return Vec::new() };
    let vote = statement.predicate;
    let seat = vote.seat.clone();
    match vote.opinion {
        Opinion::Abstain { round, reason } => vec![format!("Abstained: {seat} on the {round}: {reason}")],
        Opinion::Cause(cause) => {
            let evidence = cause.hypotheses.into_iter().flat_map(|hypothesis| hypothesis.evidence).chain(cause.healthy);
            evidence.take(4).map(|item| format!("Seen by {seat} ({:?}): {}", item.principal, item.summary)).collect()
        }
        Opinion::Remedy(_) => Vec::new(),
    }
}
