//! Each fault of the catalogue is a day of its own: what was done about the one before is looked into, as a person would, and
//! neither counts against the next nor makes it wait.

use anyhow::Context as _;
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Blueprint, BrakeSpec, CLUSTER_BREAKER, CircuitBreaker, CircuitBreakerSpec, GuardrailBinding, Lifted};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

/// Lets operations follow each other as fast as the catalogue causes faults.
///
/// # Errors
/// If the API server does not take it.
pub async fn hurry(client: &Client) -> anyhow::Result<()> {
    let blueprints: Api<Blueprint> = Api::namespaced(client.clone(), "shop");
    let safety = Patch::Merge(json!({"spec": {"safety": {"cooldown": "1s", "operationsPerHour": 1000, "breaker": {"failures": 20}}}}));
    for blueprint in blueprints.list(&ListParams::default()).await.context("list Blueprints")?.items {
        blueprints.patch(&blueprint.name_any(), &PatchParams::default(), &safety).await.context("set a Blueprint's safety")?;
    }
    for guardrail in ["rate-limit", "restart-storm"] {
        let bindings: Api<GuardrailBinding> = Api::all(client.clone());
        bindings.delete(guardrail, &DeleteParams::default()).await.with_context(|| format!("take guardrail `{guardrail}` away"))?;
    }
    let brake = BrakeSpec { failures: 1000, window_seconds: 3600, stand_seconds: 3600 };
    let mut cluster = CircuitBreaker::new(CLUSTER_BREAKER, CircuitBreakerSpec { brake: Some(brake), ..CircuitBreakerSpec::default() });
    cluster.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
    breakers(client).create(&PostParams::default(), &cluster).await.context("set the brake")?;
    Ok(())
}

/// Lifts every circuit breaker.
///
/// # Errors
/// As [`hurry`].
pub async fn lift(client: &Client) -> anyhow::Result<()> {
    let review: SelfSubjectReview = serde_json::from_value(json!({"metadata": {}}))?;
    let review = Api::<SelfSubjectReview>::all(client.clone()).create(&PostParams::default(), &review).await.context("ask who we are")?;
    let by = review.status.and_then(|status| status.user_info).and_then(|user| user.username).context("nobody says who we are")?;
    let lifted = Lifted { by, at: jiff::Timestamp::now().to_string(), reason: "the fault was undone".into() };
    let api = breakers(client);
    for breaker in api.list(&ListParams::default()).await.context("list circuit breakers")?.items {
        api.patch(&breaker.name_any(), &PatchParams::default(), &Patch::Merge(json!({"spec": {"lifted": lifted}}))).await.context("lift a circuit breaker")?;
    }
    Ok(())
}

fn breakers(client: &Client) -> Api<CircuitBreaker> {
    Api::namespaced(client.clone(), SYSTEM_NAMESPACE)
}
