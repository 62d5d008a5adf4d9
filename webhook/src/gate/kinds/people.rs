//! Authority that only people give: the Roster and Blueprints.

use assent_api::resources::{Blueprint, RosterSpec};
use assent_core::action;
use assent_core::consensus::Roster;
use assent_core::ledger::{Checkpoint, Position};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use assent_live::Live;
use serde_json::Value;

use super::{Verdict, parse, person, stranger};
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

pub(super) fn blueprint(request: &Request) -> Verdict {
    if request.is_by_assent() {
        return Err(stranger(request, "a person or their GitOps controller: Assent never widens its own authority"));
    }
    if request.operation == "DELETE" {
        return Ok("blueprint");
    }
    let invalid = |reason: String, would_pass: String| Err(Refusal::new(Rule::Blueprint, reason, would_pass));
    let blueprint: Blueprint = parse(&request.object)?;
    if is_system_namespace(&request.namespace) {
        return invalid(format!("namespace `{}` is never a target", request.namespace), "a Blueprint beside its workload".into());
    }
    if blueprint.spec.target.kind != "Deployment" {
        return invalid(format!("kind `{}` is not modelled", blueprint.spec.target.kind), "target kind `Deployment`".into());
    }
    if let Some(unknown) = blueprint.spec.actions.iter().find(|allowed| !action::NAMES.contains(&allowed.name.as_str())) {
        return invalid(format!("action `{}` does not exist", unknown.name), action::NAMES.join(", "));
    }
    if let (Some(least), Some(most)) = (blueprint.spec.limits.min_replicas, blueprint.spec.limits.max_replicas)
        && least > most
    {
        return invalid(format!("minReplicas {least} is more than maxReplicas {most}"), "limits that leave a number of replicas".into());
    }
    Ok("blueprint")
}
