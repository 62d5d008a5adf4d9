//! Where alerts come in over plain HTTP inside the cluster: `POST /v1/alertmanager/SECRET` and `POST /v1/goalert/SECRET`.
//!
//! A 2xx means stored on disk, never less. What is our fault is 503, because Alertmanager drops an alert at any 4xx; what is
//! the sender's fault is 4xx with where and what to do. The secret stands in the path since GoAlert can send no header.

mod alertmanager;
mod fields;
mod goalert;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assent_core::canonical::Digest;
use assent_core::incident::AlertSource;
use assent_runtime::telemetry::chain;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;
use crate::store::{self, Arrival, Notice, Received, Store};

pub(crate) use fields::{capped, is_name, line};

/// Largest body.
const BODY: usize = 1 << 20;
/// Deliveries that are worked on at once; each may hold a whole body.
const AT_ONCE: usize = 16;
/// How long a sender may take to deliver its body.
const DELIVERY: Duration = Duration::from_secs(5);
/// Shortest secret, in bytes.
const SECRET: usize = 16;

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    store: Store,
    author: Arc<str>,
    secret: Arc<PathBuf>,
    slots: Arc<Semaphore>,
    metrics: Metrics,
    /// Told after each delivery that was stored.
    arrived: watch::Sender<()>,
}

// === impl Intake ===

impl Intake {
    /// `secret` is read anew for each delivery, so that it can be rotated.
    pub(crate) fn new(store: Store, author: &str, secret: PathBuf, metrics: Metrics, arrived: watch::Sender<()>) -> Self {
        Self { store, author: author.into(), secret: Arc::new(secret), slots: Arc::new(Semaphore::new(AT_ONCE)), metrics, arrived }
    }

    /// The routes.
    pub(crate) fn router(self) -> Router {
        let unnamed = || async { refuse(StatusCode::UNAUTHORIZED, "path", "names no secret", "append the intake secret to the path: /v1/SENDER/SECRET") };
        Router::new()
            .route("/v1/alertmanager", post(unnamed))
            .route("/v1/goalert", post(unnamed))
            .route("/v1/alertmanager/{secret}", post(|state, path, body| receive(AlertSource::Alertmanager, state, path, body)))
            .route("/v1/goalert/{secret}", post(|state, path, body| receive(AlertSource::GoAlert, state, path, body)))
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

    async fn keep(&self, arrivals: &[Arrival], notices: &[Notice]) -> Result<Vec<Received>, store::Error> {
        let received = self.store.receive(&self.author, arrivals, notices).await?;
        for (arrival, what) in arrivals.iter().zip(&received) {
            self.metrics.received(arrival.alert.source, what);
            if let Received::Opened(uid) = what {
                tracing::info!(incident.id = %uid, source = ?arrival.alert.source, "incident opened");
            }
        }
        for notice in notices {
            tracing::info!(source = ?notice.source, text = notice.text, "notice received");
        }
        self.arrived.send_replace(());
        Ok(received)
    }
}

async fn receive(source: AlertSource, State(intake): State<Intake>, Path(secret): Path<String>, body: Body) -> Response {
    match intake.is_secret(&secret).await {
        Ok(true) => {}
        Ok(false) => return refuse(StatusCode::FORBIDDEN, "path", "the secret is not the intake's", "use the secret that the director was given"),
        Err(error) => {
            tracing::error!(error = %error, "the intake secret cannot be read");
            return busy("the intake secret cannot be read");
        }
    }
    let Ok(_slot) = intake.slots.try_acquire() else {
        return busy("too many deliveries at once");
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
    match intake.keep(&arrivals, &notices).await {
        Ok(received) => Json(json!({"received": received.len(), "incidents": incidents(&received)})).into_response(),
        Err(error) => {
            tracing::error!(error = chain(&error), transient = error.is_transient(), "delivery not stored");
            busy("the delivery could not be stored")
        }
    }
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

/// Our own trouble: the sender should come again.
fn busy(error: &str) -> Response {
    let body = Json(json!({"error": error, "fix": "send it again"}));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
}

#[cfg(test)]
mod tests;
