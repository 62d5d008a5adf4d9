//! The seat's desk: where the director asks for votes, and director and executor ask how a service is.
//!
//! Callers are known by their certificates alone. A context that is not canonical, not of this cluster or out of bounds is
//! refused: what was judged must be exactly what the ballot names.

use std::sync::Arc;

use assent_api::names::{self, accounts};
use assent_api::proto::seat_server::Seat as SeatService;
use assent_api::proto::{CastReply, CauseRequest, IndicatorReply, IndicatorRequest, IndicatorWindow, RemedyRequest};
use assent_core::ballot::{Opinion, Round};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::MAX_EPOCHS;
use assent_core::diagnosis::Recording;
use assent_core::ids::UnixMillis;
use assent_core::incident::Context;
use assent_core::seats::{Asked, Seat, merge};
use assent_core::target::Service;
use assent_core::verification::Window;
use assent_runtime::mtls::PeerIdentity;
use assent_runtime::telemetry::chain;
use assent_runtime::workload::Name;
use tonic::{Request, Response, Status};

use crate::ballots::{Ballots, Question, verified_causes};
use crate::held::{Held, now};
use crate::metrics::Metrics;
use crate::sources::Sources;

const MAX_CONTEXT: usize = 256 * 1024;
const MAX_WORKLOADS: usize = 64;
const MAX_CAUSES: usize = 16;
/// Single pods that a word is asked of, and their UIDs' length.
const MAX_PODS: usize = 16;
const MAX_UID: usize = 64;
/// Kept of the time for signing and storing.
const WRITE_MS: i64 = 3_000;
/// A context may not mask more of the past than this.
const OLDEST_ONSET_MS: i64 = 15 * 60 * 1000;

/// One seat, as it is asked.
pub(crate) struct Desk<V> {
    pub(crate) held: Arc<Held<V>>,
    pub(crate) ballots: Ballots,
    pub(crate) own: Name,
    /// UID of the `kube-system` namespace.
    pub(crate) cluster: String,
    pub(crate) metrics: Metrics,
    pub(crate) sources: Sources,
}

#[tonic::async_trait]
impl<V: Seat + 'static> SeatService for Desk<V> {
    async fn cast_cause(&self, request: Request<CauseRequest>) -> Result<Response<CastReply>, Status> {
        self.admit(&request, &[accounts::DIRECTOR])?;
        let CauseRequest { context, epoch, deadline_ms } = request.into_inner();
        let (context, digest) = self.parse(&context, epoch)?;
        let question = Question { context: &context, digest, epoch, round: Round::Cause };
        if let Some(reply) = self.earlier(&question)? {
            return Ok(reply);
        }
        let deadline = UnixMillis(deadline_ms);
        let routine = context.symptom.is_routine();
        if !routine {
            self.held.update(|view| view.incident_began(context.since.max(now().plus(-OLDEST_ONSET_MS))));
        }
        let until = deadline.plus(-WRITE_MS);
        // The sources are asked last, since they are behind; what they need is kept of the time.
        let patience = i64::try_from(self.sources.patience().as_millis()).unwrap_or(0);
        self.held.informed(&context, epoch, until.plus(-patience)).await;
        let recording = if routine { None } else { self.sources.gather(&context, until).await };
        let opinion = if now() > deadline { late(Round::Cause) } else { self.opinion(&Asked { context: &context, epoch, now: now() }, recording) };
        self.cast(&question, opinion).await
    }

    async fn cast_remedy(&self, request: Request<RemedyRequest>) -> Result<Response<CastReply>, Status> {
        self.admit(&request, &[accounts::DIRECTOR])?;
        let RemedyRequest { context, epoch, deadline_ms, cause_ballots } = request.into_inner();
        let (context, digest) = self.parse(&context, epoch)?;
        if cause_ballots.len() > MAX_CAUSES {
            return Err(Status::invalid_argument(format!("more than {MAX_CAUSES} cause ballots")));
        }
        let question = Question { context: &context, digest, epoch, round: Round::Remedy };
        if let Some(reply) = self.earlier(&question)? {
            return Ok(reply);
        }
        let opinion = if now() > UnixMillis(deadline_ms) {
            late(Round::Remedy)
        } else {
            let roster = self.ballots.roster().await.map_err(|error| Status::failed_precondition(chain(&error)))?;
            let causes = verified_causes(&roster, &question, &cause_ballots, now());
            self.held.read(|view| view.remedy(&Asked { context: &context, epoch, now: now() }, &causes))
        };
        self.cast(&question, opinion).await
    }

    async fn indicator(&self, request: Request<IndicatorRequest>) -> Result<Response<IndicatorReply>, Status> {
        self.admit(&request, &[accounts::DIRECTOR, accounts::EXECUTOR])?;
        let IndicatorRequest { namespace, name, since_ms, pods } = request.into_inner();
        if pods.len() > MAX_PODS || pods.iter().any(|uid| uid.len() > MAX_UID) {
            return Err(Status::invalid_argument(format!("more than {MAX_PODS} pods, or a UID of more than {MAX_UID} characters")));
        }
        let (service, since) = (Service { namespace, name }, UnixMillis(since_ms));
        let (word, on) = self.held.read(|view| match pods.as_slice() {
            [] => (view.indicator(&service, since, now()), "services"),
            pods => (view.indicator_of(&service, pods, since, now()), "single pods"),
        });
        let word = word.ok_or_else(|| Status::unimplemented(format!("this seat gives no word on {on}")))?;
        Ok(Response::new(IndicatorReply {
            live: word.live,
            healthy: word.healthy,
            summary: word.summary,
            requests: word.requests,
            errors: word.errors,
            p95_us: word.p95_us,
            stalled: word.stalled,
            latency: word.latency,
            windows: word.windows.iter().map(told).collect(),
            cpu_share: word.cpu_share,
            memory_share: word.memory_share,
            neighbours: word.neighbours.into_iter().map(Into::into).collect(),
        }))
    }
}

fn told(window: &Window) -> IndicatorWindow {
    IndicatorWindow { at_ms: window.at.0, requests: window.requests, errors: window.errors, mean_us: window.mean_us }
}

// === impl Desk ===

impl<V: Seat> Desk<V> {
    /// Only accounts of ours, by their certificates.
    fn admit<T>(&self, request: &Request<T>, accounts: &[&str]) -> Result<(), Status> {
        let peer = PeerIdentity::of(request)?.name()?;
        if accounts.iter().any(|account| peer.is(names::SYSTEM_NAMESPACE, account, &self.own)) {
            return Ok(());
        }
        Err(Status::permission_denied(format!("`{peer}` may not ask this seat")))
    }

    fn parse(&self, bytes: &[u8], epoch: u32) -> Result<(Context, Digest), Status> {
        let refuse = |reason: &str| Status::invalid_argument(reason.to_owned());
        if bytes.len() > MAX_CONTEXT {
            return Err(refuse("the context is too large"));
        }
        let context: Context = serde_json::from_slice(bytes).map_err(|error| refuse(&format!("the context is none: {error}")))?;
        let text = canonical::text(&context).map_err(|error| refuse(&error.to_string()))?;
        if text.as_bytes() != bytes {
            return Err(refuse("the context is not in canonical form"));
        }
        if context.cluster != self.cluster {
            return Err(refuse("the context is of another cluster"));
        }
        if context.workloads.len() > MAX_WORKLOADS || !(1..=MAX_EPOCHS).contains(&epoch) {
            return Err(refuse("the context or the epoch is out of bounds"));
        }
        Ok((context, Digest::of_bytes(bytes)))
    }

    /// What the view says, and what the sources add to it.
    fn opinion(&self, asked: &Asked<'_>, recording: Option<Recording>) -> Opinion {
        let (entry, live) = self.held.read(|view| (view.entry(), view.cause(asked)));
        match recording {
            Some(recording) => merge::merge(&entry, asked, live, recording),
            None => live,
        }
    }

    /// The reply to a question that was answered before; another context under the same name is refused.
    fn earlier(&self, question: &Question<'_>) -> Result<Option<Response<CastReply>>, Status> {
        match self.ballots.earlier(question) {
            None => Ok(None),
            Some((ballot, digest)) if digest == question.digest => Ok(Some(Response::new(CastReply { ballot }))),
            Some((ballot, _)) => Err(Status::failed_precondition(format!("ballot `{ballot}` was cast on another context"))),
        }
    }

    async fn cast(&self, question: &Question<'_>, opinion: Opinion) -> Result<Response<CastReply>, Status> {
        let abstained = matches!(opinion, Opinion::Abstain { .. });
        match self.ballots.cast(question, opinion).await {
            Ok(ballot) => {
                tracing::info!(incident.id = %question.context.incident, ballot, abstained, "cast");
                self.metrics.ballot(if abstained { "abstained" } else { "voted" });
                Ok(Response::new(CastReply { ballot }))
            }
            Err(error) => {
                self.metrics.ballot("failed");
                tracing::error!(incident.id = %question.context.incident, error = chain(&error), "no ballot");
                Err(Status::unavailable(chain(&error)))
            }
        }
    }
}

fn late(round: Round) -> Opinion {
    Opinion::Abstain { round, reason: "asked after the deadline".into() }
}
