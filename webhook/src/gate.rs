//! The gate: the last judge, in the API server's own path. It re-proves every write of the executor and guards every write to
//! our kinds. It decides nothing itself: it reads what is live, calls `core::proof`, and says why.
//!
//! It writes nothing, holds no lock and no cache that a decision rests on, and answers the same however often it is asked.
//! Whatever it cannot read in time is a refusal.

mod kinds;
mod live;
mod metrics;
mod policy;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use assent_core::refusal::{Refusal, Rule};
use assent_policies::Outcome;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::kube::KubeArgs;
use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::{CancellationToken, Limits, metrics::registry::Registry};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::review::{Request, Response, Review, Status};
use live::Live;
use metrics::Metrics;

/// The API server waits this long for us (`timeoutSeconds` of the configuration is 5); we answer before it gives up, so that
/// the requester sees our reason and not a time-out.
const DEADLINE: Duration = Duration::from_secs(4);
/// Reviews judged at the same time; further ones wait within the deadline.
const CONCURRENCY: usize = 32;

/// The gate's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "assent-gate", version, about = "Admits what a quorum voted for, and nothing else")]
pub struct Args {
    /// Log output.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// API server.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// HTTPS.
    #[command(flatten)]
    pub serving: ServingArgs,
}

/// Why something is admitted, and what else its requester and the audit log are told.
#[derive(Debug, Default)]
struct Passed {
    why: &'static str,
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Gate {
    live: Live,
    metrics: Metrics,
    permits: Arc<Semaphore>,
}

/// Runs the gate until it is told to stop.
///
/// # Errors
/// If it cannot listen, has no certificate, or a part of it ends by itself.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let listener = TcpListener::bind(args.serving.listen).await.with_context(|| format!("listen on {}", args.serving.listen))?;
    let stop = shutdown::signals()?;
    serve(args, listener, stop).await
}

/// Runs the gate on `listener` until `stop` is cancelled.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tasks = Tasks::new(stop);
    let readiness = Readiness::default();
    let starting = readiness.guard("certificate");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness.clone(), registry).await?;
    tasks.spawn("admin", admin.serve(tasks.token()));
    let client = assent_runtime::kube::client(&args.kube).await?;
    let (certificate, upkeep) = serving::certificate(&args.serving).await?;
    tasks.spawn_forever("certificate", upkeep);
    let gate = Gate { live: Live::new(client), metrics, permits: Arc::new(Semaphore::new(CONCURRENCY)) };
    let router = Router::new().route("/admit", post(admit)).with_state(gate);
    let token = tasks.token();
    tasks.spawn("serving", async move { Ok(serving::serve(listener, &certificate, Limits::default(), router, token).await?) });
    // Without a roster the gate is ready and refuses: a fresh install must be able to write the roster through it.
    drop(starting);
    tasks.join().await
}

async fn admit(State(gate): State<Gate>, body: axum::body::Bytes) -> Result<Json<Review>, (axum::http::StatusCode, String)> {
    let review: Review =
        serde_json::from_slice(&body).map_err(|error| (axum::http::StatusCode::BAD_REQUEST, format!("body is not an AdmissionReview: {error}")))?;
    let request = review.request.ok_or((axum::http::StatusCode::BAD_REQUEST, "AdmissionReview has no request".to_owned()))?;
    let verdict = match tokio::time::timeout(DEADLINE, gate.judge(&request)).await {
        Ok(verdict) => verdict,
        Err(_) => Err(Refusal::new(
            Rule::Unavailable,
            format!("no verdict within {} s", DEADLINE.as_secs()),
            "the same request once the API server answers the gate in time",
        )),
    };
    gate.metrics.count(&verdict);
    Ok(Json(Review::answer(respond(&request, verdict))))
}

impl Gate {
    async fn judge(&self, request: &Request) -> Result<Passed, Refusal> {
        let _permit = self.permits.acquire().await.map_err(|_| Refusal::new(Rule::Unavailable, "the gate is stopping", "the same request again"))?;
        if request.resource.group == assent_api::names::GROUP {
            return kinds::judge(&self.live, request).await;
        }
        writes::judge(&self.live, request).await
    }
}

// === impl Passed ===

impl From<&'static str> for Passed {
    fn from(why: &'static str) -> Self {
        Self { why, ..Self::default() }
    }
}

impl Passed {
    /// With what the guardrails said of it.
    fn with(why: &'static str, said: Outcome) -> Self {
        Self { why, warnings: said.warnings, annotations: said.annotations }
    }
}

fn respond(request: &Request, verdict: Result<Passed, Refusal>) -> Response {
    let mut response = Response { uid: request.uid.clone(), ..Response::default() };
    match verdict {
        Ok(Passed { why, warnings, annotations }) => {
            tracing::info!(
                user = request.user_info.username,
                resource = request.resource.resource,
                name = request.name,
                dry_run = request.dry_run,
                verdict = why,
                "admitted"
            );
            response.allowed = true;
            response.warnings = warnings;
            // The API server puts the webhook's name and a slash before each key, and a key has one slash.
            response.audit_annotations = annotations.into_iter().map(|(key, value)| (key.replace('/', "."), value)).collect();
            response.audit_annotations.insert("verdict".into(), why.into());
        }
        Err(refusal) => {
            tracing::warn!(
                user = request.user_info.username,
                resource = request.resource.resource,
                name = request.name,
                dry_run = request.dry_run,
                rule = refusal.rule.code(),
                reason = refusal.reason,
                "refused"
            );
            response.audit_annotations.insert("verdict".into(), "refused".into());
            response.audit_annotations.insert("rule".into(), refusal.rule.code());
            response.status = Some(Status { code: 403, reason: "Forbidden".into(), message: refusal.to_string() });
        }
    }
    response
}
