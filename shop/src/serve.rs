//! How a part of the shop listens and how it stops: after SIGTERM it accepts connections for a
//! moment longer, because endpoints take time to leave a load balancer, and then ends whether or
//! not every request has been answered. Routing belongs to the parts.

use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The largest request body that a part reads, in bytes.
pub(crate) const BODY_LIMIT: usize = 4096;

/// How long answers may still be written once nothing more is accepted. With the drain time it
/// stays within the manifests' grace period of two seconds.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// When and how a part stops.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Cancelled when the part is asked to stop.
    pub token: CancellationToken,
    /// How long connections are accepted after that.
    pub drain: Duration,
}

/// A token that is cancelled at the first SIGTERM or SIGINT.
pub(crate) fn signals() -> anyhow::Result<CancellationToken> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    // Detached on purpose: it holds nothing and lives as long as the process.
    drop(tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    }));
    Ok(token)
}

pub(crate) async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listen on `{address}`"))
}

/// Serves until stopped.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: Stop) -> anyhow::Result<()> {
    let address = listener.local_addr().context("read the listening address")?;
    tracing::info!(%address, "listening");
    // A failed option leaves a slower connection, nothing worse.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let closing = CancellationToken::new();
    let server = axum::serve(listener, router.layer(DefaultBodyLimit::max(BODY_LIMIT))).with_graceful_shutdown(closing.clone().cancelled_owned());
    let deadline = async {
        stop.token.cancelled().await;
        tokio::time::sleep(stop.drain).await;
        closing.cancel();
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        served = server => served.context("serve connections"),
        () = deadline => Ok(()),
    }
}
