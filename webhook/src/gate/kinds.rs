//! Writes to our own kinds, by anybody: one table, one entry per kind. Whoever is not named here may not write.
//!
//! The rules rest on `request.userInfo` alone. That a plan exists admits nothing later: workload writes are proven again.

use assent_api::names::{self, accounts};
use assent_api::resources::{Ballot, Blueprint, Decision, Remediation, RosterSpec};
use assent_api::{cast, parse_plan};
use assent_core::action;
use assent_core::canonical;
use assent_core::consensus::{MAX_EPOCHS, Roster, tally};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::{Checkpoint, Position};
use assent_core::plan::KEEP_MS;
use assent_core::proof;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use assent_policies::Set;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::live::{Live, created_at};
use super::{Passed, policy};
use crate::review::Request;

type Verdict = Result<&'static str, Refusal>;

/// Judges one write to a kind of ours. To add a kind: one arm here, one function below, its cases in the tests.
pub(super) async fn judge(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    let verdict = match (request.resource.resource.as_str(), request.sub_resource.as_str()) {
        ("remediations", "") => return remediation(live, request).await,
        ("guardrails", "") => return guardrail(live, request).await,
        ("guardrailbindings", "") => return guardrail_binding(live, request).await,
        ("ballots", "") => ballot(live, request).await,
        ("decisions", "") => decision(live, request).await,
        ("remediations", "status") => only(request, accounts::EXECUTOR, "remediation-status"),
        ("rosters", "") => roster(live, request).await,
        ("pauses", "") => person(request, "pause"),
        ("blueprints", "") => blueprint(request),
        (kind, part) => Err(Refusal::new(Rule::Account, format!("nobody may write `{kind}` `{part}` yet"), "a kind and sub-resource that the gate knows")),
    };
    verdict.map(Passed::from)
}

// --- who ---

fn only(request: &Request, account: &str, what: &'static str) -> Verdict {
    if request.is_by(account) { Ok(what) } else { Err(stranger(request, &names::account_user(account))) }
}

fn person(request: &Request, what: &'static str) -> Verdict {
    if request.is_by_machine() { Err(stranger(request, "a person's own credentials")) } else { Ok(what) }
}

fn stranger(request: &Request, who: &str) -> Refusal {
    Refusal::new(
        Rule::Account,
        format!("`{}` may not {} {}", request.user_info.username, request.operation.to_lowercase(), request.resource.resource),
        who.to_owned(),
    )
}

fn immutable(request: &Request) -> Verdict {
    Err(Refusal::new(Rule::Immutable, format!("{} `{}` never changes", request.resource.resource, request.name), "a new object for a new epoch"))
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    serde_json::from_value(value.clone())
        .map_err(|error| Refusal::new(Rule::Payload, format!("the object is not of its kind: {error}"), "an object that its definition describes"))
}

/// Objects of the record carry nothing by which another controller could delete or hold them.
fn plain_metadata(object: &Value) -> Result<(), Refusal> {
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

async fn ballot(live: &Live, request: &Request) -> Verdict {
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

async fn decision(live: &Live, request: &Request) -> Verdict {
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

async fn remediation(live: &Live, request: &Request) -> Result<Passed, Refusal> {
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
    let write = plan.proposal.action.act().write();
    let resource = crate::review::Resource { group: write.group.into(), version: write.version.into(), resource: write.resource.into() };
    if is_system_namespace(&target.namespace) {
        return Err(Refusal::new(
            Rule::ForbiddenTarget,
            format!("namespace `{}` is never a target", target.namespace),
            "a workload outside `assent-system` and `kube-*`",
        ));
    }
    let workload = live.workload(&resource, &target.namespace, &target.name).await?;
    let (facts, said) = live.facts(&plan.incident, Some(target), request, Some(workload)).await?;
    proof::judge_plan(&facts, &plan)?;
    Ok(Passed::with("plan", said))
}

/// Objects of the record are kept as long as anything may rest on them.
async fn deletion(live: &Live, request: &Request) -> Verdict {
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

// --- authority: only people ---

async fn roster(live: &Live, request: &Request) -> Verdict {
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

fn blueprint(request: &Request) -> Verdict {
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

/// One that could not be judged would refuse everything, so it is refused when it is written; one that no binding names is
/// stored, and its author told.
async fn guardrail(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    if request.is_by_assent() {
        return Err(stranger(request, "a person or their GitOps controller"));
    }
    if request.operation == "DELETE" {
        return Ok("guardrail".into());
    }
    let spec = request.object.get("spec").cloned().unwrap_or(Value::Null);
    sound(&Set::new(vec![(request.name.clone(), spec)], Vec::new()))?;
    let (_, bound) = live.bound().await?;
    let warnings = if bound.contains(&request.name) { Vec::new() } else { vec![policy::unbound(&request.name)] };
    Ok(Passed { warnings, ..Passed::from("guardrail") })
}

async fn guardrail_binding(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    if request.is_by_assent() {
        return Err(stranger(request, "a person or their GitOps controller"));
    }
    let (guardrails, bound) = live.bound().await?;
    let named = |object: &Value| object.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if request.operation == "DELETE" {
        let name = named(&request.old_object);
        let last = bound.iter().filter(|bound| **bound == name).count() <= 1 && guardrails.contains(&name);
        return Ok(Passed { warnings: if last { vec![policy::unbound(&name)] } else { Vec::new() }, ..Passed::from("guardrail-binding") });
    }
    let spec = request.object.get("spec").cloned().unwrap_or(Value::Null);
    // What is missing is not allowed: a param that somebody deletes must not take the rule with it.
    if spec.pointer("/paramRef/parameterNotFoundAction").is_some_and(|action| action != "Deny") {
        return Err(Refusal::new(Rule::Guardrail, "a binding may not let requests pass for want of a param", "`parameterNotFoundAction: Deny`"));
    }
    sound(&Set::new(Vec::new(), vec![(request.name.clone(), spec)]))?;
    let name = named(&request.object);
    let warnings = if guardrails.contains(&name) { Vec::new() } else { vec![format!("there is no guardrail `{name}`, so this binding has no effect")] };
    Ok(Passed { warnings, ..Passed::from("guardrail-binding") })
}

fn sound(set: &Set) -> Result<(), Refusal> {
    match set.problems().first() {
        Some(problem) => Err(Refusal::new(Rule::Guardrail, problem.to_string(), "a spec that the engine can load and an API server would store")),
        None => Ok(()),
    }
}
