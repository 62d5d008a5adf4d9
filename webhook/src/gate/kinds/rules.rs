//! Rules that people give: guardrails, what binds them, exemptions, freeze windows, and what stands above Blueprints.

use assent_api::facts;
use assent_api::resources::{Ballot, FreezeWindow, GuardrailExemption};
use assent_core::ballot::{MAX_LIFE_MS, Statement};
use assent_core::blueprint::read_cluster;
use assent_core::ids::UnixMillis;
use assent_core::refusal::{Refusal, Rule};
use assent_live::Live;
use assent_policies::Set;
use serde_json::Value;

use super::people::understood;
use super::{Passed, Verdict, parse, stranger};
use crate::gate::Gate;
use crate::review::Request;

/// One that could not be judged would refuse everything, so it is refused when it is written; one that no binding names is
/// stored, and its author told.
pub(super) async fn guardrail(gate: &Gate, request: &Request) -> Result<Passed, Refusal> {
    by_people(request)?;
    if request.operation == "DELETE" {
        nobody_votes(&gate.live).await?;
        return Ok("guardrail".into());
    }
    dated(request, Rule::Guardrail)?;
    let spec = request.object.get("spec").cloned().unwrap_or(Value::Null);
    sound(&Set::new(vec![(request.name.clone(), spec.clone())], Vec::new()))?;
    let mut warnings = gate.typing.check(&parse(&spec)?).await?;
    // A new one is bound next; one that is edited and still has no effect is worth a word.
    if request.operation == "UPDATE" && !gate.live.rules().await?.bound.contains(&request.name) {
        warnings.push(unbound(&request.name));
    }
    Ok(Passed { warnings, ..Passed::from("guardrail") })
}

pub(super) async fn guardrail_binding(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    by_people(request)?;
    let rules = live.rules().await?;
    let named = |object: &Value| object.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if request.operation == "DELETE" {
        nobody_votes(live).await?;
        let name = named(&request.old_object);
        let last = rules.bound.iter().filter(|bound| **bound == name).count() <= 1 && rules.names.contains(&name);
        return Ok(Passed { warnings: if last { vec![unbound(&name)] } else { Vec::new() }, ..Passed::from("guardrail-binding") });
    }
    dated(request, Rule::Guardrail)?;
    let spec = request.object.get("spec").cloned().unwrap_or(Value::Null);
    // What is missing is not allowed: a param that somebody deletes must not take the rule with it.
    if spec.pointer("/paramRef/parameterNotFoundAction").is_some_and(|action| action != "Deny") {
        return Err(Refusal::new(Rule::Guardrail, "a binding may not let requests pass for want of a param", "`parameterNotFoundAction: Deny`"));
    }
    sound(&Set::new(Vec::new(), vec![(request.name.clone(), spec)]))?;
    let name = named(&request.object);
    let warnings = if rules.names.contains(&name) { Vec::new() } else { vec![format!("there is no guardrail `{name}`, so this binding has no effect")] };
    Ok(Passed { warnings, ..Passed::from("guardrail-binding") })
}

/// Lifts a guardrail for one object and a time. Taking it back, or leaving its spec as it is, is always allowed.
pub(super) async fn exemption(live: &Live, request: &Request) -> Verdict {
    by_people(request)?;
    if request.operation == "DELETE" || request.object.get("spec") == request.old_object.get("spec") {
        return Ok("guardrail-exemption");
    }
    dated(request, Rule::Guardrail)?;
    let exemption: GuardrailExemption = parse(&request.object)?;
    let now = live.now().await?;
    exemption.spec.check(now).map_err(|reason| Refusal::new(Rule::Guardrail, reason, "one guardrail, one object, an owner, a reason, at most 30 days"))?;
    Ok("guardrail-exemption")
}

pub(super) async fn freeze(live: &Live, request: &Request) -> Verdict {
    by_people(request)?;
    if request.operation == "DELETE" {
        nobody_votes(live).await?;
        return Ok("freeze-window");
    }
    dated(request, Rule::Guardrail)?;
    let window: FreezeWindow = parse(&request.object)?;
    window.spec.check().map_err(|reason| Refusal::new(Rule::Guardrail, reason, "a window that begins before it ends, with an owner and a reason"))?;
    Ok("freeze-window")
}

/// Rules above every Blueprint. One that is taken away leaves no time, so it stays while anybody votes.
pub(super) async fn cluster_blueprint(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    by_people(request)?;
    if request.operation == "DELETE" {
        nobody_votes(live).await?;
        return Ok("cluster-blueprint".into());
    }
    dated(request, Rule::Blueprint)?;
    understood(read_cluster(&request.name, request.object.get("spec").unwrap_or(&Value::Null)), "cluster-blueprint")
}

fn by_people(request: &Request) -> Result<(), Refusal> {
    if request.is_by_assent() { Err(stranger(request, "a person or their GitOps controller")) } else { Ok(()) }
}

/// Whether a change holds for a vote goes by when it was made, and that stands in `managedFields`. A client can empty them.
pub(super) fn dated(request: &Request, rule: Rule) -> Result<(), Refusal> {
    let entries = request.object.pointer("/metadata/managedFields").and_then(Value::as_array);
    if entries.is_some_and(|entries| entries.iter().any(|entry| entry.get("time").is_some())) {
        return Ok(());
    }
    Err(Refusal::new(rule, "the object does not say when it was written", "the same object with the `managedFields` that the API server keeps"))
}

/// A change leaves its time, a deletion leaves nothing. So while ballots are live whose plan is not stored yet, nothing is
/// deleted that they may have been cast under; a stored plan pins the whole set by its digest.
async fn nobody_votes(live: &Live) -> Result<(), Refusal> {
    let now = live.now().await?;
    let mut live_votes: Vec<(UnixMillis, String)> = live.stored_ballots().await?.into_iter().map(|ballot| (ends(&ballot, now), ballot.spec.incident)).collect();
    live_votes.retain(|(ends, _)| *ends > now);
    if live_votes.is_empty() {
        return Ok(());
    }
    let planned = live.planned_incidents().await?;
    match live_votes.into_iter().filter(|(_, incident)| !planned.contains(incident)).max() {
        None => Ok(()),
        Some((ends, incident)) => Err(Refusal::new(
            Rule::Authority,
            format!("the seats are voting on incident {incident}, and a vote is judged by what it was cast under"),
            format!("the deletion {} s from now, or once the vote has led to a plan", ends.since(now) / 1000 + 1),
        )),
    }
}

/// When a ballot's life ends. One that cannot be read lives as long as any may.
fn ends(ballot: &Ballot, now: UnixMillis) -> UnixMillis {
    let statement = Statement::parse(&ballot.spec.signed.payload).ok();
    let life = statement.map_or(MAX_LIFE_MS, |statement| statement.predicate.expires_after_ms.min(MAX_LIFE_MS));
    facts::created_at(ballot).unwrap_or(now).plus(i64::from(life))
}

fn sound(set: &Set) -> Result<(), Refusal> {
    match set.problems().first() {
        Some(problem) => Err(Refusal::new(Rule::Guardrail, problem.to_string(), "a spec that the engine can load and an API server would store")),
        None => Ok(()),
    }
}

/// What an author of guardrails is told of one that no binding names.
fn unbound(name: &str) -> String {
    format!("assent[{}]: no GuardrailBinding names guardrail `{name}`, so it has no effect", Rule::Guardrail.code())
}
