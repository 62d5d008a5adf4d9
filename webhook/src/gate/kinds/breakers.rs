//! CircuitBreakers: people's word in their specification, and plans that enter one after the other in their status.

use assent_api::names::accounts;
use assent_api::resources::{CLUSTER_BREAKER, CircuitBreaker, CircuitBreakerSpec, breaker_name, entered_with};
use assent_core::ids::UnixMillis;
use assent_core::proof;
use assent_core::refusal::{Refusal, Rule};
use assent_live::Live;
use kube::ResourceExt as _;
use serde_json::Value;

use super::asking::dated_now;
use super::record::plain_metadata;
use super::{Verdict, only, parse, person};
use crate::review::Request;

fn refuse(reason: impl Into<String>, would_pass: impl Into<String>) -> Verdict {
    Err(Refusal::new(Rule::Breaker, reason, would_pass))
}

/// The executor makes a new one, with nothing in it but whose it is. Lifts, promotions and the brake are people's.
pub(super) async fn specification(live: &Live, request: &Request) -> Verdict {
    if request.operation == "DELETE" {
        return person(request, "circuit-breaker");
    }
    plain_metadata(&request.object)?;
    let stored: CircuitBreaker = parse(&request.object)?;
    let named = stored.spec.of().map_or_else(|| CLUSTER_BREAKER.to_owned(), |service| breaker_name(&service));
    if named != stored.name_any() {
        return refuse(format!("it is called `{}`", stored.name_any()), format!("`{named}`, by its namespace and service"));
    }
    if stored.spec.of().is_some() && stored.spec.brake.is_some() {
        return refuse("the brake is of all services together", format!("`spec.brake` of CircuitBreaker `{CLUSTER_BREAKER}`"));
    }
    if request.is_by(accounts::EXECUTOR) {
        let plain = CircuitBreakerSpec { namespace: stored.spec.namespace.clone(), service: stored.spec.service.clone(), ..CircuitBreakerSpec::default() };
        return match request.operation.as_str() {
            "CREATE" if plain == stored.spec => Ok("circuit-breaker"),
            _ => refuse("what stands in a CircuitBreaker's specification is people's word", "a person's own credentials"),
        };
    }
    person(request, "circuit-breaker")?;
    let before: CircuitBreakerSpec = match request.old_object.get("spec") {
        Some(spec) => parse(spec)?,
        None => CircuitBreakerSpec::default(),
    };
    if request.operation == "UPDATE" && (&before.namespace, &before.service) != (&stored.spec.namespace, &stored.spec.service) {
        return refuse("it is of another service than before", "a CircuitBreaker of its own for each service");
    }
    own_words(request, &before, &stored.spec, live.now().await?)
}

/// Whoever lifts or promotes does it now, and under their own name.
fn own_words(request: &Request, before: &CircuitBreakerSpec, after: &CircuitBreakerSpec, now: UnixMillis) -> Verdict {
    let lifted = after.lifted.iter().filter(|lifted| before.lifted.as_ref() != Some(lifted)).map(|lifted| (&lifted.by, &lifted.at));
    let promoted = after.promotions.iter().filter(|promoted| !before.promotions.contains(promoted)).map(|promoted| (&promoted.by, &promoted.at));
    let user = &request.user_info.username;
    for (by, at) in lifted.chain(promoted) {
        if by != user {
            return refuse(format!("it says that `{by}` did what `{user}` does"), format!("`by: {user}`"));
        }
        if !dated_now(at, now) {
            return refuse(format!("it is dated `{at:.40}`"), format!("a time within a minute of {}", now.rfc3339()));
        }
    }
    Ok("circuit-breaker")
}

/// Plans enter one after the other: each is judged with all that entered before it, and whoever read an older list conflicts.
pub(super) async fn status(live: &Live, request: &Request) -> Verdict {
    only(request, accounts::EXECUTOR, "circuit-breaker-status")?;
    let (old, new) = (entered(&request.old_object)?, entered(&request.object)?);
    if old == new {
        return Ok("circuit-breaker-status");
    }
    let Some(name) = new.last().filter(|name| entered_with(&old, name) == new) else {
        return refuse("plans enter one at a time, at the end", "the list as it was with one plan more");
    };
    let breaker: CircuitBreaker = parse(&request.object)?;
    let plan = live.plan(name).await?.ok_or_else(|| Refusal::new(Rule::NoPlan, format!("there is no plan `{name}`"), "a plan that was admitted"))?;
    let target = &plan.proposal.target;
    if breaker.spec.of() != Some(target.service()) {
        return refuse(format!("`{name}` is of {}", target.service()), "the CircuitBreaker of the plan's own service");
    }
    let workload = live.workload(target).await?;
    let facts = live.authority(&plan.incident, Some(target), workload).await?.facts;
    if facts.entered != old {
        return Err(Refusal::new(Rule::Stale, "another plan entered while the gate looked", "the same once it was read again"));
    }
    proof::may_enter(&facts, &plan)?;
    Ok("entry")
}

fn entered(object: &Value) -> Result<Vec<String>, Refusal> {
    object.pointer("/status/entered").map_or(Ok(Vec::new()), parse)
}
