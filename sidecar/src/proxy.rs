//! What both listeners share: accepting, draining, the tables they fill, and how a failed connection ends.
//!
//! Each accepted connection is one task; they are counted, so that a stop can wait for them. The byte path itself is in
//! `inbound`, `outbound` and `relay`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assent_runtime::CancellationToken;
use assent_runtime::workload::Workload;
use assent_runtime::workload::resuming::ResumingClients;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::failures::Reason;
use crate::journey::{Journey, Leg};
use crate::metrics::{Counters, Failure};
use crate::newcomers::{Newcomer, Newcomers};
use crate::observe::flows::Flows;
use crate::observe::{Tap, flows};
use crate::otlp::spans::Spans;
use crate::vouched::Vouched;
use crate::{directory, relay};

/// Silence after which a peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Shared by every connection of a sidecar, but for its own way.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) workload: Workload,
    pub(crate) clients: Arc<ResumingClients>,
    pub(crate) flows: Arc<Flows>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) directory: Arc<directory::Directory>,
    pub(crate) vouched: Arc<Vouched>,
    /// Cancelled when the sidecar is asked to stop.
    pub(crate) stop: CancellationToken,
    pub(crate) journey: Arc<Journey>,
    pub(crate) spans: Option<Arc<Spans>>,
}

/// Local and remote address of a connection's network side.
pub(crate) type Socket = Option<(SocketAddr, SocketAddr)>;

/// Accepts until `stop`, handing each connection to `serve` in a task of `connections`, at most `limit` at a time; further
/// ones wait in the kernel's queue. `serve` keeps the place among newcomers for as long as a handshake takes.
pub(crate) async fn accept<S, F>(listener: TcpListener, limit: usize, stop: CancellationToken, connections: TaskTracker, serve: S)
where
    S: Fn(TcpStream, Newcomer) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let newcomers = Newcomers::of(limit);
    let slots = Arc::new(Semaphore::new(limit));
    loop {
        let accepting = async {
            let slot = slots.clone().acquire_owned().await;
            let accepted = listener.accept().await;
            (slot, newcomers.enter().await, accepted)
        };
        let (slot, newcomer, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tune(&stream);
                // On the heap by itself: a task that awaits what it was given keeps room for it twice.
                let serving = Box::pin(serve(stream, newcomer));
                connections.spawn(async move {
                    serving.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors: nothing tells when one is free, so look again soon.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Small writes go out at once, and a peer that vanished is noticed: the application's own keepalive ends at the sidecar.
fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    if let Err(error) = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "a connection keeps the kernel's defaults");
    }
}

/// Addresses of `stream` as the kernel's dump names them.
pub(crate) fn socket(stream: &TcpStream) -> Socket {
    let (local, remote) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    Some((crate::origin::canonical(local), crate::origin::canonical(remote)))
}

/// Ends a connection that cannot be served the way the peer would see it without us: by a reset.
pub(crate) fn refuse(stream: TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection closes instead of resetting");
    }
    drop(stream);
}

// === impl Proxy ===

impl Proxy {
    /// Dials `address`.
    pub(crate) async fn connect(&self, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let before = self.journey.enter(Leg::Connect);
        let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
        self.journey.enter(before);
        let stream = connected.map_err(|_| io::ErrorKind::TimedOut)??;
        tune(&stream);
        Ok(stream)
    }

    pub(crate) fn tap(&self, key: flows::Key, socket: Socket, port: u16) -> Tap {
        self.journey.enter(Leg::Relay);
        Tap::new(self.flows.clone(), self.flows.open(key, socket), port).until(self.stop.clone()).traced(self.spans.clone())
    }

    /// The connection to `address` was not served, or broke.
    pub(crate) fn count(&self, failure: Failure, reason: &dyn Reason, address: SocketAddr) {
        self.counters.failed(failure);
        self.counters.causes.add(failure, reason, address, &self.journey);
        tracing::debug!(reason = failure.as_str(), destination = %address, error = reason.text(), "a connection failed");
    }
}

/// A reset on one side becomes a reset on the other, so that neither mistakes it for an orderly end.
pub(crate) async fn relay_tcp(client: TcpStream, prefix: Vec<u8>, server: TcpStream, tap: Tap) -> io::Result<relay::Copied> {
    relay_tcp_until(client, prefix, server, tap, std::future::pending()).await
}

/// As [`relay_tcp`], and resets both sides as soon as `cut` gives an error.
pub(crate) async fn relay_tcp_until(
    mut client: TcpStream,
    prefix: Vec<u8>,
    mut server: TcpStream,
    tap: Tap,
    cut: impl Future<Output = io::Error>,
) -> io::Result<relay::Copied> {
    let result = if prefix.is_empty() {
        relay::relay_until(&mut client, &mut server, tap, cut).await
    } else {
        relay::relay_until(crate::prefixed::Prefixed::new(prefix, &mut client), &mut server, tap, cut).await
    };
    if result.is_err() {
        refuse(client);
        refuse(server);
    }
    result
}
