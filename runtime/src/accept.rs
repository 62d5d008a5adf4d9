//! Accepting TLS connections within bounds: so many at once, and a handshake that must end in
//! time. Handshakes run side by side, so a slow one delays nobody. It knows no protocol above TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How much a server takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Time that a TLS handshake may take.
    pub handshake: Duration,
    /// Size of one HTTP request body in bytes (webhooks only; gRPC has 4 MiB per message).
    pub body_bytes: usize,
    /// Time that open requests are given after the process was asked to stop.
    pub drain: Duration,
}

/// One connection past its handshake. Its slot is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) address: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, handshake: Duration::from_secs(5), body_bytes: 8 << 20, drain: Duration::from_secs(5) }
    }
}

/// Connections that finished their handshake, in that order. Failed ones are logged and skipped.
pub(crate) fn incoming(listener: TcpListener, config: Arc<ServerConfig>, limits: Limits) -> impl Stream<Item = Connection> + Send {
    let acceptor = TlsAcceptor::from(config);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let accepted = stream::unfold((listener, slots), async |(listener, slots)| {
        // Fails only on a closed semaphore, and nobody closes this one.
        let permit = slots.clone().acquire_owned().await.ok()?;
        let (stream, address) = accept(&listener).await;
        Some(((stream, address, permit), (listener, slots)))
    });
    accepted
        .map(move |(stream, address, permit)| {
            let acceptor = acceptor.clone();
            async move {
                // Only a latency hint; a socket that refuses it still works.
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(limits.handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => Some(Connection { stream, address, permit }),
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %address, %error, "tls handshake failed");
                        None
                    }
                    Err(_) => {
                        tracing::debug!(peer = %address, "tls handshake took too long");
                        None
                    }
                }
            }
        })
        .buffer_unordered(limits.connections)
        .filter_map(std::future::ready)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors: nothing tells when one is free, so look again soon.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
