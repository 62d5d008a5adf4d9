//! Where alerts come in over plain HTTP inside the cluster: `POST /v1/alertmanager/SECRET` and `POST /v1/goalert/SECRET`.
//!
//! A 2xx means stored on disk, never less. What is our fault is 503 with Retry-After, because Alertmanager drops an alert at any
//! 4xx; what is the sender's fault is 4xx with where and what to do. The secret stands in the path since GoAlert can send no header.

mod alertmanager;
mod fields;
mod goalert;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assent_core::canonical::Digest;
use assent_core::incident::AlertSource;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::store::{self, Delivery, Received};

pub(crate) use fields::{capped, is_name, line};

/// Largest body.
const BODY: usize = 1 << 20;
/// Bodies that are held at once, together, in units of 1 KiB.
const BODIES: usize = 16 * 1024;
/// How long a sender may take to deliver its body.
const DELIVERY: Duration = Duration::from_secs(5);
/// Shortest secret, in bytes.
const SECRET: usize = 16;

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    inbox: Inbox,
    secret: Arc<PathBuf>,
    bodies: Arc<Semaphore>,
    metrics: Metrics,
}

// === impl Intake ===

impl Intake {
    /// `secret` is read anew for each delivery, so that it can be rotated.
    pub(crate) fn new(inbox: Inbox, secret: PathBuf, metrics: Metrics) -> Self {
        Self { inbox, secret: Arc::new(secret), bodies: Arc::new(Semaphore::new(BODIES)), metrics }
    }

    /// The routes.
    pub(crate) fn router(self) -> Router {
        let unnamed = || async { refuse(StatusCode::UNAUTHORIZED, "path", "names no secret", "append the intake secret to the path: /v1/SENDER/SECRET") };
        Router::new()
            .route("/v1/alertmanager", post(unnamed))
            .route("/v1/goalert", post(unnamed))
            .route("/v1/alertmanager/{secret}", post(|state, path, headers, body| receive(AlertSource::Alertmanager, state, path, headers, body)))
            .route("/v1/goalert/{secret}", post(|state, path, headers, body| receive(AlertSource::GoAlert, state, path, headers, body)))
            .with_state(self)
    }

    async fn is_secret(&self, given: &str) -> std::io::Result<bool> {
        let stored = tokio::fs::read(&*self.secret).await?;
        let stored = stored.trim_ascii();
        if stored.len() < SECRET {
            return Err(std::io::Error::other(format!("the secret is shorter than {SECRET} bytes")));
        }
        // Digests are compared in constant time and say nothing about how much of the secret was right.
        let (stored, given) = (Digest::of_bytes(stored), Digest::of_bytes(given.as_bytes()));
        let difference = stored.as_str().bytes().zip(given.as_str().bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        Ok(difference == 0)
    }

    /// Our own trouble: the sender should come again.
    fn busy(&self, error: &str) -> Response {
        self.metrics.turned_away();
        let body = Json(json!({"error": error, "fix": "send it again"}));
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
    }
}

async fn receive(source: AlertSource, State(intake): State<Intake>, Path(secret): Path<String>, headers: HeaderMap, body: Body) -> Response {
    match intake.is_secret(&secret).await {
        Ok(true) => {}
        Ok(false) => return refuse(StatusCode::FORBIDDEN, "path", "the secret is not the intake's", "use the secret that the director was given"),
        Err(error) => {
            tracing::error!(error = %error, "the intake secret cannot be read");
            return intake.busy("the intake secret cannot be read");
        }
    }
    let Ok(_room) = intake.bodies.try_acquire_many(size(&headers)) else {
        return intake.busy("too many deliveries at once");
    };
    let body = match tokio::time::timeout(DELIVERY, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        // The only limit here is ours; a connection that broke reads no answer.
        Ok(Err(_)) => {
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body",
                &format!("is larger than {BODY} bytes"),
                "send fewer alerts at once (Alertmanager: `max_alerts`)",
            );
        }
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "body", &format!("did not arrive within {} s", DELIVERY.as_secs()), "send it again"),
    };
    let parsed = match source {
        AlertSource::GoAlert => goalert::parse(&body, store::now()),
        _ => alertmanager::parse(&body).map(|arrivals| (arrivals, Vec::new())),
    };
    let (arrivals, notices) = match parsed {
        Ok(parsed) => parsed,
        Err(problem) => {
            tracing::warn!(?source, ?problem, "delivery refused");
            return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
        }
    };
    match intake.inbox.keep(Delivery { arrivals, notices }).await {
        Ok(received) => Json(json!({"received": received.len(), "incidents": incidents(&received)})).into_response(),
        Err(error) => intake.busy(&error.to_string()),
    }
}

/// What a body takes in units of 1 KiB: as much as it says, or the most that it may have.
fn size(headers: &HeaderMap) -> u32 {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<usize>().ok());
    u32::try_from(said.unwrap_or(BODY).min(BODY) / 1024 + 1).unwrap_or(u32::MAX)
}

fn incidents(received: &[Received]) -> Vec<String> {
    let uid = |what: &Received| match what {
        Received::Opened(uid) | Received::Joined(uid) | Received::Known(Some(uid)) => Some(uid.to_string()),
        Received::Known(None) | Received::Kept => None,
    };
    let mut uids: Vec<String> = received.iter().filter_map(uid).collect();
    uids.sort_unstable();
    uids.dedup();
    uids
}

fn refuse(status: StatusCode, at: &str, error: &str, fix: &str) -> Response {
    (status, Json(fields::Problem::new(at, error, fix))).into_response()
}

#[cfg(test)]
mod tests;
