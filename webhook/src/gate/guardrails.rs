//! An entry that judges by guardrails alone: for platform teams that want the guardrails of Assent held over other writers,
//! by a ValidatingWebhookConfiguration of their own.
//!
//! Its set is watched and compiled when it changes, not read at each request: other writers are many. So it lags the stored
//! guardrails by moments, and nothing that Assent itself does rests on it. What it cannot know (params, `Facts`, the
//! authorizer, other versions of an object) cannot be judged, and follows failurePolicy.

mod evaluation;
mod watching;

use std::sync::Arc;

use anyhow::Context as _;
use assent_core::refusal::{Refusal, Rule};
use assent_policies::{Outcome, Set};
use assent_runtime::admin::Readiness;
use assent_runtime::shutdown::Tasks;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use kube::Client;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::metrics::Metrics;
use super::{DEADLINE, Passed};
use crate::review::{self, Request, Response, Review, Status};
use evaluation::{Found, evaluate, needs_namespace};

/// Requests that take long and are judged at the same time; further ones wait within the deadline. Quick ones never wait.
const SLOW: usize = 2;

/// What the entry judges by.
#[derive(Clone)]
struct Entry {
    client: Client,
    /// `None` until it was read in whole.
    set: watch::Receiver<Option<Arc<Set>>>,
    slow: Arc<Semaphore>,
    metrics: Metrics,
}

/// The route; its watch becomes one of `tasks`. The gate is not ready before the set was first read in whole.
pub(super) fn entry(client: &Client, metrics: &Metrics, readiness: &Readiness, tasks: &mut Tasks) -> Router {
    let (publish, set) = watch::channel(None);
    tasks.spawn_forever("guardrails", watching::follow(client.clone(), publish, readiness.guard("guardrails")));
    let entry = Entry { client: client.clone(), set, slow: Arc::new(Semaphore::new(SLOW)), metrics: metrics.clone() };
    Router::new().route("/guardrails", post(answer)).with_state(entry)
}

async fn answer(State(entry): State<Entry>, body: axum::body::Bytes) -> Result<Json<Review>, (StatusCode, String)> {
    let review = review::read(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    drop(body);
    let request = Arc::new(review.request.ok_or((StatusCode::BAD_REQUEST, "AdmissionReview has no request".to_owned()))?);
    let verdict = match tokio::time::timeout(DEADLINE, entry.judge(&request)).await {
        Ok(verdict) => verdict,
        Err(_) => Err(unavailable(format!("no verdict within {} s", DEADLINE.as_secs()))),
    };
    let (response, counted) = respond(&request, verdict);
    entry.metrics.count(&counted);
    Ok(Json(Review::answer(response)))
}

fn unavailable(reason: impl Into<String>) -> Refusal {
    Refusal::new(Rule::Unavailable, reason, "the same request once the gate can judge it")
}

// === impl Entry ===

impl Entry {
    async fn judge(&self, request: &Arc<Request>) -> Result<Outcome, Refusal> {
        let set = self.set.borrow().clone().ok_or_else(|| unavailable("the guardrails have not been read yet"))?;
        let namespace = self.namespace(&set, request).await;
        // Almost every request is judged in less time than it takes to hand it to another thread and back.
        if let Some(outcome) = evaluate(&set, request, &namespace, evaluation::Pace::Quick) {
            return Ok(outcome);
        }
        // What takes long is judged again from the start where it holds up nobody else.
        let permit = Arc::clone(&self.slow).acquire_owned().await.map_err(|_| unavailable("the gate is stopping"))?;
        let request = Arc::clone(request);
        let judged = tokio::task::spawn_blocking(move || {
            let outcome = evaluate(&set, &request, &namespace, evaluation::Pace::Patient);
            drop(permit);
            outcome
        });
        let outcome = judged.await.context("judge by guardrails").map_err(|error| unavailable(format!("{error:#}")))?;
        outcome.ok_or_else(|| unavailable("the guardrails take too long"))
    }

    /// The request's Namespace, if a guardrail could ask for it.
    async fn namespace(&self, set: &Set, request: &Request) -> Found {
        let name = request.namespace.as_str();
        if name.is_empty() || !needs_namespace(set, request) {
            return Found::NotAsked;
        }
        // It becomes part of a path, and whoever reaches this port can put anything there.
        if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return Found::Unreadable("no namespace has such a name".to_owned());
        }
        let read = match http::Request::get(format!("/api/v1/namespaces/{name}")).body(Vec::new()) {
            Ok(read) => self.client.request::<Value>(read).await,
            Err(error) => return Found::Unreadable(error.to_string()),
        };
        match read {
            Ok(namespace) => Found::Is(namespace),
            Err(kube::Error::Api(status)) if status.code == 404 => Found::Nothing,
            Err(error) => Found::Unreadable(error.to_string()),
        }
    }
}

fn respond(request: &Request, verdict: Result<Outcome, Refusal>) -> (Response, Result<Passed, Refusal>) {
    let mut response = Response { uid: request.uid.clone(), ..Response::default() };
    let refusal = match verdict {
        Ok(outcome) => {
            let refusal = outcome.refusal().zip(outcome.denial().map(|denial| (denial.code(), denial.reason.clone())));
            response.warnings = outcome.warnings;
            // The API server puts the webhook's name and a slash before each key, and a key has one slash.
            response.audit_annotations = outcome.annotations.into_iter().map(|(key, value)| (key.replace('/', "."), value)).collect();
            refusal
        }
        Err(refusal) => Some((refusal, (503, "ServiceUnavailable".to_owned()))),
    };
    let Some((refusal, (code, reason))) = refusal else {
        response.allowed = true;
        return (response, Ok(Passed::from("guardrails")));
    };
    tracing::info!(
        user = request.user_info.username,
        resource = request.resource.resource,
        namespace = request.namespace,
        name = request.name,
        dry_run = request.dry_run,
        rule = refusal.rule.code(),
        reason = refusal.reason,
        "refused by guardrails alone"
    );
    response.status = Some(Status { code, reason, message: refusal.to_string(), details: None });
    (response, Err(refusal))
}
