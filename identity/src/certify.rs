//! The `Certify` call: asks the API server who a token belongs to, reads the pod back, and lets the
//! CA decide and sign. Bounded in time and in how many run at once; every refusal is counted and
//! logged without the token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::metrics::gauge::Gauge;
use assent_runtime::metrics::registry::{Registry, Unit};
use assent_runtime::mtls::PeerIdentity;
use assent_runtime::telemetry;
use assent_runtime::workload::{Name, TOKEN_AUDIENCE};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use linkerd2_proxy_api::identity::identity_server::Identity;
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use tokio::sync::{Semaphore, watch};
use tonic::{Code, Request, Response, Status};

use crate::ca::{self, Bound, Issuer, Refusal};

/// Longest request message, in bytes: token and request with room for framing.
pub const MAX_MESSAGE: usize = 40 << 10;
const CONCURRENT: usize = 32;
// Shorter than the client's own 10 s, so that it learns the reason.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The service behind `io.linkerd.proxy.identity.Identity`.
pub struct Certify {
    client: Client,
    issuer: watch::Receiver<Arc<Issuer>>,
    own: Name,
    metrics: Metrics,
    life: Duration,
    slots: Semaphore,
}

/// What the certificate authority counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<[(&'static str, &'static str); 1], Counter>,
    issuer_expiry: Gauge,
}

// === impl Metrics ===

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("certify_requests", "Certificate requests by outcome", metrics.requests.clone());
        registry.register_with_unit("issuer_expiry", "When the issuer expires, since the epoch", Unit::Seconds, metrics.issuer_expiry.clone());
        metrics
    }

    pub(crate) fn issuer_expiry(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.issuer_expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    fn count(&self, outcome: &'static str) {
        self.requests.get_or_create(&[("outcome", outcome)]).inc();
    }
}

// === impl Certify ===

impl std::fmt::Debug for Certify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certify").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Certify {
    /// A service that signs with `issuer` as it is at that moment; `own` gives the authority of every name, and
    /// leafs live for `life`.
    pub fn new(client: Client, issuer: watch::Receiver<Arc<Issuer>>, own: Name, life: Duration, metrics: Metrics) -> Self {
        Self { client, issuer, own, life, metrics, slots: Semaphore::new(CONCURRENT) }
    }

    async fn answer(&self, request: CertifyRequest) -> Result<(Name, CertifyResponse), Status> {
        let refused = |refusal: Refusal| Status::new(refusal.code(), refusal.to_string());
        let examined = ca::examine(&request.identity, &request.token, &request.certificate_signing_request).map_err(refused)?;
        let token = String::from_utf8(request.token).map_err(|_| Status::invalid_argument("the token is not text"))?;
        let _slot = self.slots.acquire().await.map_err(|_| Status::unavailable("stopping"))?;
        let bound = self.review(token).await?;
        let proven = self.own.sibling(&bound.namespace, &bound.account).map_err(|error| Status::invalid_argument(error.to_string()))?;
        if examined.identity() != proven.as_str() {
            let text = format!("requested identity did not match the token: `{proven}`");
            return Err(refused(Refusal::Denied(text)));
        }
        self.check_pod(&bound).await?;
        let validity = ca::validity(&proven, self.life, SystemTime::now());
        let serial = serial().map_err(|error| Status::internal(error.to_string()))?;
        let issuer = self.issuer.borrow().clone();
        let leaf = issuer.sign(&examined, &proven, validity, serial).map_err(|error| match error {
            ca::Error::Refused(refusal) => refused(refusal),
            other => Status::internal(telemetry::chain(&other)),
        })?;
        let response = CertifyResponse {
            leaf_certificate: leaf.to_vec(),
            intermediate_certificates: vec![issuer.certificate().to_vec()],
            valid_until: Some(validity.not_after.min(issuer.not_after()).into()),
        };
        Ok((proven, response))
    }

    async fn review(&self, token: String) -> Result<Bound, Status> {
        let review = TokenReview { spec: TokenReviewSpec { token: Some(token), audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]) }, ..TokenReview::default() };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| {
            tracing::error!(error = telemetry::chain(&error), "the token cannot be reviewed");
            Status::unavailable("the token cannot be reviewed now")
        })?;
        let status = answer.status.unwrap_or_default();
        ca::bound(&status).map_err(|refusal| {
            tracing::debug!(error = status.error.as_deref().unwrap_or_default(), "token review");
            Status::new(refusal.code(), refusal.to_string())
        })
    }

    async fn check_pod(&self, bound: &Bound) -> Result<(), Status> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &bound.namespace);
        let pod = pods.get_opt(&bound.pod).await.map_err(|error| {
            tracing::error!(error = telemetry::chain(&error), "the pod cannot be read");
            Status::unavailable("the pod cannot be read now")
        })?;
        ca::check_pod(bound, pod.as_ref()).map_err(|refusal| Status::new(refusal.code(), refusal.to_string()))
    }
}

#[tonic::async_trait]
impl Identity for Certify {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let peer = PeerIdentity::of(&request)?.address;
        let answer = tokio::time::timeout(TIMEOUT, self.answer(request.into_inner()))
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("the api server takes too long")));
        match answer {
            Ok((name, response)) => {
                self.metrics.count("signed");
                tracing::info!(identity = %name, %peer, "certified");
                Ok(Response::new(response))
            }
            Err(status) => {
                self.metrics.count(match status.code() {
                    Code::InvalidArgument => "invalid",
                    Code::FailedPrecondition => "denied",
                    _ => "failed",
                });
                tracing::warn!(%peer, code = ?status.code(), reason = status.message(), "not certified");
                Err(status)
            }
        }
    }
}

/// A random serial number.
///
/// # Errors
/// If the system gives no randomness.
pub(crate) fn serial() -> Result<[u8; 16], NoRandomness> {
    let mut serial = [0; 16];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut serial).map_err(|_| NoRandomness)?;
    Ok(serial)
}

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("draw a random serial number")]
pub(crate) struct NoRandomness;
