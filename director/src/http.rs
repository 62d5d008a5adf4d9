//! Plain HTTP/1 for the ports that are not gRPC, each bounded in connections and in how long a request line may take. What is
//! served, and to whom, is the router's part.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;

/// Connections at once of those who send alerts or read the ledger.
pub(crate) const CONNECTIONS: usize = 256;
/// How long a peer may take to send a request's head; also ends idle connections.
const HEAD: Duration = Duration::from_secs(10);

/// Serves until dropped, so many connections at once; further ones wait in the kernel's queue.
pub(crate) async fn serve(listener: TcpListener, router: Router, most: usize) {
    let slots = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    let mut incoming = TcpListenerStream::new(listener);
    while let Some(accepted) = incoming.next().await {
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "connection not accepted");
                // Out of descriptors stays so for a moment, and accept does not wait for it.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The semaphore lives as long as this function and is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let connection =
                hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "connection ended");
            }
            drop(slot);
        });
    }
}
