//! The record: ballots, decisions and plans. Created once by whom they belong to, never changed, kept while anything rests on
//! them.

use assent_api::names::{self, accounts};
use assent_api::resources::{Ballot, Decision, Remediation};
use assent_api::{cast, parse_plan};
use assent_core::canonical;
use assent_core::consensus::{MAX_EPOCHS, tally};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::plan::KEEP_MS;
use assent_core::proof;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use assent_live::{Live, Subject, change, created_at};
use serde_json::Value;

use super::{Passed, Verdict, only, parse, stranger};
use crate::gate::Gate;
use crate::review::Request;

pub(super) fn immutable(request: &Request) -> Verdict {
    Err(Refusal::new(Rule::Immutable, format!("{} `{}` never changes", request.resource.resource, request.name), "a new object for a new epoch"))
}

/// Objects of the record carry nothing by which another controller could delete or hold them.
pub(super) fn plain_metadata(object: &Value) -> Result<(), Refusal> {
    for field in ["ownerReferences", "finalizers"] {
        if object.pointer(&format!("/metadata/{field}")).and_then(Value::as_array).is_some_and(|items| !items.is_empty()) {
            return Err(Refusal::new(Rule::Immutable, format!("objects of the record have no `{field}`"), format!("the object without `{field}`")));
        }
    }
    if object.pointer("/metadata/namespace").and_then(Value::as_str) != Some(names::SYSTEM_NAMESPACE) {
        return Err(Refusal::new(
            Rule::Request,
            format!("objects of the record live in `{}`", names::SYSTEM_NAMESPACE),
            format!("the object in `{}`", names::SYSTEM_NAMESPACE),
        ));
    }
    Ok(())
}

// --- ballots ---

pub(super) async fn ballot(live: &Live, request: &Request) -> Verdict {
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return deletion(live, request).await,
        _ => return immutable(request),
    }
    plain_metadata(&request.object)?;
    let stored: Ballot = parse(&request.object)?;
    let roster = live.roster().await?.value?;
    let now = live.now().await?;
    let vote = cast(&stored, &roster)?.ballot;
    // The token that creates it and the key that signed it must name the same seat; `cast` checked the key.
    let seat = roster.seat(&vote.seat).ok_or_else(|| Refusal::new(Rule::BallotIdentity, "no such seat", "a seat of the roster"))?;
    if !request.is_by(&seat.account) {
        return Err(Refusal::new(
            Rule::BallotIdentity,
            format!("ballot of seat `{}` created by `{}`", vote.seat, request.user_info.username),
            names::account_user(&seat.account),
        ));
    }
    let cluster = live.cluster().await?;
    if vote.cluster != cluster {
        return Err(Refusal::new(Rule::Cluster, format!("the ballot is for cluster `{}`", vote.cluster), format!("cluster `{cluster}`")));
    }
    let in_force = roster.digest().map_err(|error| Refusal::new(Rule::NoRoster, error.to_string(), "a roster with a digest"))?;
    if vote.roster != in_force {
        return Err(Refusal::new(Rule::Authority, "the ballot was cast under another roster", "a vote under the roster in force"));
    }
    if vote.issued_at.since(now) > proof::MAX_SKEW_MS {
        return Err(Refusal::new(Rule::Clock, "the ballot comes from the future", "a seat whose clock is right"));
    }
    Ok("ballot")
}

// --- decisions ---

pub(super) async fn decision(live: &Live, request: &Request) -> Verdict {
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return deletion(live, request).await,
        _ => return immutable(request),
    }
    only(request, accounts::DIRECTOR, "decision")?;
    plain_metadata(&request.object)?;
    let decision: Decision = parse(&request.object)?;
    let incident = incident(&decision.spec.incident)?;
    if !(1..=MAX_EPOCHS).contains(&decision.spec.epoch) {
        return Err(Refusal::new(Rule::Epoch, format!("epoch {}", decision.spec.epoch), format!("an epoch from 1 to {MAX_EPOCHS}")));
    }
    let roster = live.roster().await?.value?;
    let ballots = live.ballots(&incident, &roster).await?;
    let of_epoch: Vec<_> = ballots.into_iter().filter(|cast| cast.ballot.epoch == decision.spec.epoch).collect();
    let recount =
        canonical::text(&tally(&roster, &of_epoch)).map_err(|error| Refusal::new(Rule::Payload, error.to_string(), "ballots with a canonical outcome"))?;
    if recount != decision.spec.payload {
        return Err(Refusal::new(Rule::Tally, "the decision is not what the live ballots decide", "the outcome of the tally over all ballots of the epoch"));
    }
    Ok("decision")
}

// --- remediations ---

pub(super) async fn remediation(gate: &Gate, request: &Request) -> Result<Passed, Refusal> {
    let live = &gate.live;
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return deletion(live, request).await.map(Passed::from),
        _ => return immutable(request).map(Passed::from),
    }
    only(request, accounts::EXECUTOR, "plan")?;
    plain_metadata(&request.object)?;
    let stored: Remediation = parse(&request.object)?;
    let plan = parse_plan(&stored)?;
    let target = &plan.proposal.target;
    if is_system_namespace(&target.namespace) {
        return Err(Refusal::new(
            Rule::ForbiddenTarget,
            format!("namespace `{}` is never a target", target.namespace),
            "a workload outside `assent-system` and `kube-*`",
        ));
    }
    let workload = live.workload(target).await?;
    let workload = workload.ok_or_else(|| Refusal::new(Rule::Stale, format!("{target} does not exist"), "a target that exists"))?;
    let mut authority = live.authority(&plan.incident, Some(target), Some(workload.clone())).await?;
    authority.facts.pod = live.evicted(&plan.proposal).await?;
    // Where there is no such change, the proof says why; guardrails that ask for `Facts` cannot judge it either.
    let change = change(live, &plan.proposal, plan.canary.as_ref(), &workload, authority.facts.pod.as_ref()).await;
    let subject = match &change {
        Ok(change) => Ok(Subject::new(&plan.incident, &plan.proposal, change, &workload, &request.name)),
        Err(refusal) => Err(refusal.reason.as_str()),
    };
    let said = live.said(&authority, &request.asked(), subject.as_ref().map_err(|reason| *reason)).await;
    gate.metrics.judged(&said.outcome, said.took);
    authority.facts.guardrail_denial = said.outcome.refusal();
    proof::judge_plan(&authority.facts, &plan)?;
    Ok(Passed::with("plan", said.outcome))
}

/// Objects of the record are kept as long as anything may rest on them.
pub(super) async fn deletion(live: &Live, request: &Request) -> Verdict {
    if request.is_by_machine() && !request.is_by(accounts::DIRECTOR) {
        return Err(stranger(request, "the director, or a person"));
    }
    let now = live.now().await?;
    if request.resource.resource == "remediations" {
        let stored: Remediation = parse(&request.old_object)?;
        let created = created_at(&request.old_object)?;
        // A plan that cannot be read is as old as it is: only time lets it go.
        let Ok(plan) = parse_plan(&stored) else { return old_enough(created, now) };
        let newest = live.newest_position().await?.order() <= plan.ledger.position().order();
        proof::permits_deletion(&plan, created, newest, now)?;
        return Ok("expired-plan");
    }
    let name = request.old_object.pointer("/spec/incident").and_then(Value::as_str).unwrap_or_default();
    let created = created_at(&request.old_object)?;
    if let Ok(incident) = incident(name) {
        for (plan, planned) in live.plans(&incident).await? {
            proof::permits_deletion(&plan, planned, false, now)?;
        }
    }
    old_enough(created, now)
}

fn old_enough(created: UnixMillis, now: UnixMillis) -> Verdict {
    let age = now.since(created);
    if age <= KEEP_MS {
        return Err(Refusal::new(Rule::Immutable, "objects of the record are kept for a day", format!("deleting it {} s from now", (KEEP_MS - age) / 1000)));
    }
    Ok("expired-record")
}

fn incident(text: &str) -> Result<IncidentUid, Refusal> {
    IncidentUid::try_from(text.to_owned()).map_err(|error| Refusal::new(Rule::Payload, error, "an Incident-UID"))
}
