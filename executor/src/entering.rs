//! Entering a service's CircuitBreaker before the first write, and showing how it stands. The gate judges each entry with all
//! that entered before it; the resourceVersion makes two of them one after the other.

use assent_api::facts::breaker_status;
use assent_api::names;
use assent_api::resources::{CircuitBreaker, CircuitBreakerStatus, breaker_name, entered_with};
use assent_core::plan::Plan;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Service;
use assent_live::{Live, own_clock, unavailable};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::writes::{Answer, classify, code, verbatim};

/// Makes the plan of this name the last that entered. Asked again it is.
pub(crate) async fn enter(live: &Live, plan: &Plan, name: &str) -> Result<(), Refusal> {
    let service = plan.proposal.target.service();
    let stored = breaker(live, &service).await?;
    let status = stored.status.clone().unwrap_or_default();
    if status.entered.last().is_some_and(|last| last == name) {
        return Ok(());
    }
    let status = CircuitBreakerStatus { entered: entered_with(&status.entered, name), ..status };
    write(live, &stored, &shown(live, plan, status).await?).await
}

/// Shows how the breaker stands now that the plan is over. For people alone, so nothing depends on it.
pub(crate) async fn show(live: &Live, plan: &Plan) {
    let shown = async {
        let stored = breaker(live, &plan.proposal.target.service()).await?;
        let status = shown(live, plan, stored.status.clone().unwrap_or_default()).await?;
        if stored.status.as_ref() == Some(&status) { Ok(()) } else { write(live, &stored, &status).await }
    };
    if let Err(refusal) = shown.await {
        tracing::debug!(service = %plan.proposal.target.service(), reason = refusal.reason, "the circuit breaker shows an older state");
    }
}

async fn shown(live: &Live, plan: &Plan, status: CircuitBreakerStatus) -> Result<CircuitBreakerStatus, Refusal> {
    let target = &plan.proposal.target;
    let Some(blueprint) = live.blueprint(target).await? else { return Ok(status) };
    let (history, settings) = live.history().await?;
    let settings = settings.within(&blueprint.effective.safeguards());
    Ok(breaker_status(&target.service(), &settings, &history, own_clock(), status))
}

async fn breaker(live: &Live, service: &Service) -> Result<CircuitBreaker, Refusal> {
    let api = api(live);
    let name = breaker_name(service);
    let failed = |error: kube::Error| unavailable(format!("cannot read circuit breaker `{name}`: {error}"));
    if let Some(stored) = api.get_opt(&name).await.map_err(failed)? {
        return Ok(stored);
    }
    let params = PostParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PostParams::default() };
    match api.create(&params, &CircuitBreaker::for_service(service)).await {
        Ok(stored) => Ok(stored),
        Err(kube::Error::Api(status)) if status.is_already_exists() => api.get(&name).await.map_err(failed),
        Err(error) => Err(unavailable(format!("cannot create circuit breaker `{name}`: {error}"))),
    }
}

async fn write(live: &Live, stored: &CircuitBreaker, status: &CircuitBreakerStatus) -> Result<(), Refusal> {
    let patch = json!({"metadata": {"resourceVersion": stored.resource_version()}, "status": status});
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
    match api(live).patch_status(&stored.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => match classify(&status) {
            Answer::Refused(message) if waits(&message) => Err(unavailable(message)),
            Answer::Refused(message) => Err(verbatim(Rule::Breaker, &format!("the plan may not enter: {message}"))),
            Answer::Done(_) | Answer::Changed(_) | Answer::Transient(_) | Answer::Unheard(_) => Err(unavailable(status.message)),
        },
        Err(error) => Err(unavailable(format!("no word on the entry: {error}"))),
    }
}

/// What time alone brings about within the life of a plan.
pub(crate) fn waits(message: &str) -> bool {
    [Rule::Conflict, Rule::Cooldown].into_iter().any(|rule| message.contains(&code(rule)))
}

fn api(live: &Live) -> Api<CircuitBreaker> {
    Api::namespaced(live.client().clone(), names::SYSTEM_NAMESPACE)
}
