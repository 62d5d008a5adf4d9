//! Authority that only people give: the Roster and Blueprints.

use assent_api::facts::listed;
use assent_api::names::EXECUTOR_USER;
use assent_api::resources::RosterSpec;
use assent_core::blueprint::{ClusterBlueprint, Reading, effective, read};
use assent_core::consensus::Roster;
use assent_core::ledger::{Checkpoint, Position};
use assent_core::proof;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use assent_live::Live;
use serde_json::Value;

use super::rules::dated;
use super::{Passed, Verdict, parse, person, stranger};
use crate::gate::writes::write_request;
use crate::review::Request;

pub(super) async fn roster(live: &Live, request: &Request) -> Verdict {
    person(request, "roster")?;
    if request.operation != "DELETE" {
        let invalid = |reason: String| Refusal::new(Rule::NoRoster, reason, "a roster whose fields make sense together");
        let spec: RosterSpec = parse(request.object.get("spec").unwrap_or(&Value::Null))?;
        let roster = Roster::try_from(&spec).map_err(invalid)?;
        let seats = u32::try_from(roster.seats.len()).unwrap_or(u32::MAX);
        let mut names: Vec<&str> = roster.seats.iter().map(|seat| seat.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != roster.seats.len() {
            return Err(invalid("two seats have the same name".into()));
        }
        if roster.quorum < roster.supporters || roster.quorum > seats || roster.quorum.saturating_mul(2) <= seats {
            return Err(invalid(format!("a quorum of {} over {seats} seats: it must be a majority, and at least `supporters`", roster.quorum)));
        }
        if let Some(checkpoint) = roster.ledger.filter(|_| request.object.pointer("/spec/ledger") != request.old_object.pointer("/spec/ledger")) {
            followed(&checkpoint, &live.newest_position().await?)?;
        }
    }
    Ok("roster")
}

/// A new checkpoint must be made for what is. Each plan is judged by it again; this is so that a person hears of it at once.
fn followed(checkpoint: &Checkpoint, newest: &Position) -> Result<(), Refusal> {
    if checkpoint.follows(newest) {
        return Ok(());
    }
    let Checkpoint { begins, supersedes } = checkpoint;
    Err(Refusal::new(
        Rule::Ledger,
        format!("the checkpoint begins era {} and supersedes head {} {:.16}…", begins.era, supersedes.sequence, supersedes.hash.as_str()),
        format!("what supersedes the newest plan's head {} {} of era {}", newest.head.sequence, newest.head.hash, newest.era),
    ))
}

/// Everything that is wrong with it is told at once; what is right and may surprise, or is taken back by what stands above
/// it, is a warning.
pub(super) async fn blueprint(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    if request.user_info.username == EXECUTOR_USER {
        return raise(live, request).await;
    }
    if request.is_by_assent() {
        return Err(stranger(request, "a person or their GitOps controller: Assent never widens its own authority, but by what people agreed to"));
    }
    if request.operation == "DELETE" {
        return Ok("blueprint".into());
    }
    if is_system_namespace(&request.namespace) {
        let reason = format!("namespace `{}` is never a target", request.namespace);
        return Err(Refusal::new(Rule::Blueprint, reason, "a Blueprint beside its workload"));
    }
    dated(request, Rule::Blueprint)?;
    let mut reading = read(request.object.get("spec").unwrap_or(&Value::Null));
    if reading.problems.is_empty() {
        let above: Vec<ClusterBlueprint> = live.above().await?.into_iter().filter(|rules| rules.concerns(&request.namespace)).collect();
        reading.notes.extend(effective(&above, &reading.value).overruled());
    }
    understood(reading, "blueprint")
}

/// The one thing that Assent writes to a Blueprint: the limit that people agreed to go beyond, once that was done.
async fn raise(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    let write = write_request(request);
    let incident = proof::incident_of(&write.incidents)?;
    let uid = request.old_object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let plans = live.plans(&incident).await?;
    let target = proof::planned_under(&plans, &incident, &request.namespace, uid).map(|(plan, _)| plan.proposal.target.clone());
    let workload = match &target {
        Some(target) => live.workload(target).await?,
        None => None,
    };
    let facts = live.authority(&incident, target.as_ref(), workload).await?.facts;
    proof::judge_raise(&facts, &write)?;
    Ok("blueprint-limit-raised".into())
}

/// Passes what was read without a problem, with its notes.
pub(super) fn understood<T>(reading: Reading<T>, what: &'static str) -> Result<Passed, Refusal> {
    if !reading.problems.is_empty() {
        return Err(Refusal::new(Rule::Blueprint, listed(&reading.problems), "the same object with each of these fields as its hint says"));
    }
    let warnings = reading.notes.iter().map(|note| format!("assent[{}]: {note}", Rule::Blueprint.code())).collect();
    Ok(Passed { warnings, ..Passed::from(what) })
}
