//! Traces that collectors and applications send: OTLP over HTTP and over gRPC, in plain text, on a port of its own.
//!
//! Nobody proves who they are here, so whatever is said is the pods' word and never stands alone. A body is bounded before it is
//! read, and read in place; the gRPC call is the same body behind five bytes.

mod spans;
mod wire;

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assent_core::diagnosis::Operation;
use assent_runtime::CancellationToken;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use axum::routing::post;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::names::Names;
use crate::held::now;
use crate::metrics::Metrics;
use spans::{Bounds, Spans};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Longest body, as sent and as unpacked.
const MAX_BODY: usize = 4 << 20;
/// Bodies that are read at the same time.
const AT_ONCE: usize = 4;
const CONNECTIONS: usize = 256;
const HEADERS: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(10);
/// A connection makes room for another one after so long.
const AGE: Duration = Duration::from_secs(300);
/// Length of a gRPC message's prefix: whether it is packed, and its length.
const PREFIX: usize = 5;

/// Where spans arrive.
#[derive(Debug)]
pub(crate) struct Receiver {
    spans: Mutex<Spans>,
    reading: Semaphore,
    metrics: Metrics,
}

/// Why an export was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// Come again later.
    Busy,
    TooLarge,
    Unsupported,
    Malformed,
}

// === impl Receiver ===

impl Receiver {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { spans: Mutex::new(Spans::new(Bounds::default())), reading: Semaphore::new(AT_ONCE), metrics })
    }

    /// What the workloads of `names` did of late.
    pub(crate) fn operations(&self, names: &Names) -> Vec<Operation> {
        let mut spans = self.lock();
        spans.tick(now().0);
        spans.operations(names, now().0)
    }

    /// Takes exports until the token is cancelled.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, token: CancellationToken) -> anyhow::Result<()> {
        let router = Router::new().route("/v1/traces", post(http)).route(EXPORT, post(grpc)).with_state(self.clone());
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            let accepting = async {
                // Fails only on a closed semaphore, and nobody closes this one.
                let permit = slots.clone().acquire_owned().await.ok()?;
                Some((listener.accept().await, permit))
            };
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                Some(_) = connections.join_next() => {}
                _ = ticks.tick() => self.lock().tick(now().0),
                Some((accepted, permit)) = accepting => match accepted {
                    Ok((stream, _)) => {
                        let router = router.clone();
                        connections.spawn(async move {
                            converse(stream, router).await;
                            drop(permit);
                        });
                    }
                    // Out of file descriptors: looked at again with the next tick.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        ticks.tick().await;
                    }
                },
            }
        }
    }

    fn take(&self, body: &[u8]) -> Result<(), Refused> {
        let at = now().0;
        let (mut taken, mut dropped) = (0, 0);
        let mut spans = self.lock();
        let read = wire::spans(body, |resource, span| if spans.take(resource, &span, at) { taken += 1 } else { dropped += 1 });
        drop(spans);
        self.metrics.spans(taken, dropped);
        read.map_err(|_| Refused::Malformed)
    }

    fn lock(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole body, while there is room to hold it.
    async fn body(&self, body: Body) -> Result<(Bytes, tokio::sync::SemaphorePermit<'_>), Refused> {
        let permit = self.reading.try_acquire().map_err(|_| Refused::Busy)?;
        let read = tokio::time::timeout(BODY, axum::body::to_bytes(body, MAX_BODY + PREFIX)).await.map_err(|_| Refused::Busy)?;
        Ok((read.map_err(|_| Refused::TooLarge)?, permit))
    }

    async fn http(&self, request: Request<Body>) -> Result<(), Refused> {
        let (head, body) = request.into_parts();
        let is = |name: header::HeaderName, wanted: &str| head.headers.get(name).is_some_and(|value| value.as_bytes() == wanted.as_bytes());
        if !is(header::CONTENT_TYPE, "application/x-protobuf") {
            return Err(Refused::Unsupported);
        }
        let packed = match head.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => false,
            Some(b"gzip") => true,
            Some(_) => return Err(Refused::Unsupported),
        };
        let (bytes, _permit) = self.body(body).await?;
        if packed { self.take(&unpacked(&bytes)?) } else { self.take(&bytes) }
    }

    async fn grpc(&self, request: Request<Body>) -> Result<(), Refused> {
        let packed = request.headers().get("grpc-encoding").map(|value| value.as_bytes().to_vec());
        let (bytes, _permit) = self.body(request.into_body()).await?;
        let (prefix, message) = bytes.split_first_chunk::<PREFIX>().ok_or(Refused::Malformed)?;
        let [flag, length @ ..] = *prefix;
        if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
            return Err(Refused::Malformed);
        }
        match (flag, packed.as_deref()) {
            (0, _) => self.take(message),
            (1, Some(b"gzip")) => self.take(&unpacked(message)?),
            _ => Err(Refused::Unsupported),
        }
    }
}

async fn http(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response<Body> {
    let refused = receiver.http(request).await.err();
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    *response.status_mut() = match refused {
        None => StatusCode::OK,
        Some(Refused::Busy) => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            StatusCode::SERVICE_UNAVAILABLE
        }
        Some(Refused::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        Some(Refused::Unsupported) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some(Refused::Malformed) => StatusCode::BAD_REQUEST,
    };
    receiver.metrics.export(refused.is_none());
    response
}

async fn grpc(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response<Body> {
    let refused = receiver.grpc(request).await.err();
    receiver.metrics.export(refused.is_none());
    let status = match refused {
        None => "0",
        Some(Refused::Busy) => "14",
        Some(Refused::TooLarge) => "8",
        Some(Refused::Unsupported) => "12",
        Some(Refused::Malformed) => "3",
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    // An empty answer is all that there is to say.
    let message = if refused.is_none() { Bytes::from_static(&[0; PREFIX]) } else { Bytes::new() };
    let mut response = Response::new(Body::new(Full::new(message).with_trailers(async { Some(Ok(trailers)) })));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut plain = Vec::new();
    let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::GzDecoder::new(bytes).take(limit).read_to_end(&mut plain).map_err(|_| Refused::Malformed)?;
    if plain.len() > MAX_BODY { Err(Refused::TooLarge) } else { Ok(plain) }
}

async fn converse(stream: TcpStream, router: Router) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(HEADERS).max_concurrent_streams(16).max_header_list_size(16 << 10);
    let mut serving = std::pin::pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let served = tokio::select! {
        served = &mut serving => served,
        () = tokio::time::sleep(AGE) => {
            serving.as_mut().graceful_shutdown();
            // What is still open then has had its time.
            match tokio::time::timeout(BODY, serving).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection of traces ended");
    }
}

#[cfg(test)]
mod tests;
