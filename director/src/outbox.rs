//! Telling somebody outside what the ledger says they must hear, until it says that they did.

use std::time::Duration;

use assent_runtime::backoff::Backoff;
use futures::future::BoxFuture;
use tokio::sync::watch;

/// Between two attempts: at first, and at most.
const AGAIN: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_secs(60);
const SPREAD: f64 = 0.2;

/// Calls `tell`, which says how much it told, whenever there may be more, until dropped. `whom` is for the log.
pub(crate) async fn run<'a>(mut news: watch::Receiver<()>, whom: &'static str, tell: impl Fn() -> BoxFuture<'a, Result<usize, String>>) {
    let mut backoff = Backoff::new(AGAIN, AT_MOST, SPREAD);
    loop {
        news.borrow_and_update();
        match tell().await {
            // More may have come than one look shows.
            Ok(told) if told > 0 => backoff.reset(),
            Ok(_) => {
                backoff.reset();
                if news.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
            Err(reason) => {
                tracing::warn!(reason, whom, "not told yet");
                backoff.wait().await;
            }
        }
    }
}
