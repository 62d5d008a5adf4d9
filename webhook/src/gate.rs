//! The gate: the last judge, in the API server's own path. It re-proves every write of the executor and guards every write to
//! our kinds. It decides nothing itself: it reads what is live, calls `core::proof`, and says why.
//!
//! It writes nothing, holds no lock and no cache that a decision rests on, and answers the same however often it is asked.
//! Whatever it cannot read in time is a refusal, and so is whatever it cannot take on (`intake`).

mod copies;
mod guardrails;
mod intake;
mod kinds;
mod metrics;
mod typing;
mod writes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use assent_api::names::accounts;
use assent_core::refusal::{Refusal, Rule};
use assent_live::Live;
use assent_policies::Outcome;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::kube::KubeArgs;
use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::{CancellationToken, Limits, metrics::registry::Registry};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::review::{self, BodyError, Details, MAX_BYTES, Request, Response, Review, Sender, Status};
use intake::{Admission, Intake, Shed};
use metrics::Metrics;
use typing::Typing;

/// The API server waits this long for us (`timeoutSeconds` of the configuration is 5); we answer before it gives up, so that
/// the requester sees our reason and not a time-out.
const DEADLINE: Duration = Duration::from_secs(4);
/// The machine-readable reason of code 429.
const TOO_MANY: &str = "TooManyRequests";
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(2);
/// Most bytes that are taken of a body that is not read.
const MAX_DRAINED: usize = 8 * MAX_BYTES;
/// Bodies above this size are read beside the others, not between them.
const LARGE: usize = 256 * 1024;

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
    /// Also answer `/guardrails`: reviews of other writers, judged by guardrails alone.
    #[arg(long, env = "ASSENT_GUARDRAILS_ENTRY")]
    pub guardrails_entry: bool,
    /// File with the signing secret of the Slack app whose buttons answer requests, read anew each time. Without one, no word by
    /// Slack is one. No other component may have it.
    #[arg(long, env = "ASSENT_SLACK_SIGNING_SECRET_FILE")]
    pub slack_signing_secret_file: Option<PathBuf>,
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
    /// Types of guardrails.
    typing: Typing,
    metrics: Metrics,
    intake: Intake,
}

/// An answer that is no review, because nobody can tell which review it would answer.
struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
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
    let guardrails = args.guardrails_entry.then(|| guardrails::entry(&client, &metrics, &readiness, &mut tasks));
    let live = Live::new(client.clone()).verifying_slack(args.slack_signing_secret_file);
    let gate = Gate { typing: Typing::new(client), live, metrics, intake: Intake::new() };
    let router = Router::new().route("/admit", post(admit)).with_state(gate).merge(guardrails.unwrap_or_default());
    let token = tasks.token();
    tasks.spawn("serving", async move { Ok(serving::serve(listener, &certificate, Limits::default(), router, token).await?) });
    // Without a roster the gate is ready and refuses: a fresh install must be able to write the roster through it.
    drop(starting);
    tasks.join().await
}

async fn admit(State(gate): State<Gate>, request: axum::extract::Request) -> axum::response::Response {
    let _in_flight = gate.metrics.begin();
    match gate.answer(Instant::now() + DEADLINE, request).await {
        Ok(response) => Json(Review::answer(response)).into_response(),
        Err(failure) => failure.into_response(),
    }
}

impl Gate {
    async fn answer(&self, deadline: Instant, request: axum::extract::Request) -> Result<Response, Failure> {
        let (head, body) = request.into_parts();
        let (bytes, room) = self.body(&head.headers, body).await?;
        let sender = review::sender(&bytes).unwrap_or_default();
        let admission = match self.intake.lane(&sender.username).enter(bytes.len()).await {
            Ok(admission) => admission,
            Err(shed) => return self.shed(shed, sender),
        };
        let request = self.read(bytes, room).await?;
        let verdict = self.judge_within(deadline, &admission, &request).await;
        self.metrics.count(&verdict);
        Ok(respond(&request, verdict))
    }

    /// The body, if it is small enough, soon enough, and there is room for it.
    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, OwnedSemaphorePermit), Failure> {
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let most = declared.unwrap_or(MAX_BYTES);
        let room = match self.intake.room(most) {
            _ if most > MAX_BYTES => Err(self.unreadable(&BodyError::TooLarge { bytes: most })),
            room => room.map_err(|shed| self.shed_unread(shed)),
        };
        let room = match room {
            Ok(room) => room,
            Err(failure) => {
                drain(body).await;
                return Err(failure);
            }
        };
        match tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await {
            Ok(Ok(bytes)) => Ok((bytes, room)),
            Ok(Err(_)) if declared.is_none() => Err(self.unreadable(&BodyError::TooLarge { bytes: most + 1 })),
            Ok(Err(error)) => Err(Failure::request(format!("the body did not come whole: {error}"))),
            Err(_) => Err(Failure::request(format!("the body did not come within {} s", BODY_TIME.as_secs()))),
        }
    }

    /// The request under review. What held its bytes is free again when it is read.
    async fn read(&self, bytes: Bytes, room: OwnedSemaphorePermit) -> Result<Request, Failure> {
        let large = bytes.len() > LARGE;
        let read = move || {
            let read = review::read(&bytes);
            drop((bytes, room));
            read
        };
        let read = if large { tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(BodyError::Unread)) } else { read() };
        let review = read.map_err(|error| self.unreadable(&error))?;
        review.request.ok_or_else(|| Failure::request("the review has no request".into()))
    }

    /// A denial that may be sent again. Without a uid it can be no review.
    fn shed(&self, shed: Shed, sender: Sender) -> Result<Response, Failure> {
        if sender.uid.is_empty() {
            return Err(self.shed_unread(shed));
        }
        self.metrics.shed(shed);
        tracing::debug!(user = sender.username, reason = shed.reason(), "shed");
        let refusal = shed.refusal();
        let details = Some(Details { retry_after_seconds: intake::RETRY_AFTER });
        Ok(denied(sender.uid, &refusal, Status { code: 429, reason: TOO_MANY.into(), message: refusal.to_string(), details }))
    }

    fn shed_unread(&self, shed: Shed) -> Failure {
        self.metrics.shed(shed);
        tracing::debug!(reason = shed.reason(), "shed unread");
        Failure { code: StatusCode::TOO_MANY_REQUESTS, reason: TOO_MANY, message: shed.refusal().to_string() }
    }

    fn unreadable(&self, error: &BodyError) -> Failure {
        self.metrics.unreadable();
        tracing::warn!(%error, "a body is no review");
        match error {
            BodyError::TooLarge { .. } | BodyError::Memory { .. } => {
                Failure { code: StatusCode::PAYLOAD_TOO_LARGE, reason: "RequestEntityTooLarge", message: error.to_string() }
            }
            _ => Failure::request(error.to_string()),
        }
    }

    async fn judge_within(&self, deadline: Instant, admission: &Admission, request: &Request) -> Result<Passed, Refusal> {
        let mut judging = std::pin::pin!(self.judge(request));
        let judged = match tokio::time::timeout(intake::STALL, &mut judging).await {
            Ok(judged) => Some(judged),
            Err(_) => {
                admission.stalls();
                tokio::time::timeout_at(deadline, judging).await.ok()
            }
        };
        match judged {
            Some(verdict) => {
                admission.ends();
                verdict
            }
            None => Err(Refusal::new(
                Rule::Unavailable,
                format!("no verdict within {} s", DEADLINE.as_secs()),
                "the same request once the API server answers the gate in time",
            )),
        }
    }

    async fn judge(&self, request: &Request) -> Result<Passed, Refusal> {
        if request.resource.group == assent_api::names::GROUP {
            return kinds::judge(self, request).await;
        }
        if request.is_by(accounts::DIRECTOR) && request.resource.group.is_empty() && request.resource.resource == "configmaps" {
            return copies::judge(&self.live, request).await;
        }
        writes::judge(self, request).await
    }
}

/// Takes a body and forgets it: a client that is still sending would see a broken connection and not the answer.
async fn drain(body: Body) {
    let mut frames = body.into_data_stream();
    let mut drained = 0_usize;
    let draining = async {
        while let Some(Ok(frame)) = frames.next().await {
            drained = drained.saturating_add(frame.len());
            if drained > MAX_DRAINED {
                return;
            }
        }
    };
    // What does not come in time ends with the connection.
    let _ = tokio::time::timeout(BODY_TIME, draining).await;
}

// === impl Failure ===

impl Failure {
    fn request(message: String) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message }
    }
}

impl IntoResponse for Failure {
    /// A `Status`, whose message the API server repeats to the requester.
    fn into_response(self) -> axum::response::Response {
        let Self { code, reason, message } = self;
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
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
            let status = Status { code: 403, reason: "Forbidden".into(), message: refusal.to_string(), details: None };
            response = denied(response.uid, &refusal, status);
        }
    }
    response
}

fn denied(uid: String, refusal: &Refusal, status: Status) -> Response {
    let annotations = [("verdict".to_owned(), "refused".to_owned()), ("rule".to_owned(), refusal.rule.code())];
    Response { uid, status: Some(status), audit_annotations: BTreeMap::from(annotations), ..Response::default() }
}
