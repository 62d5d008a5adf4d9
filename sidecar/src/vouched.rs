//! Open connections by the root that vouches for their peer, so that those end whose root is dropped because its key is in
//! wrong hands. Of a root that is dropped in good order no certificate is valid any more, and connections live on.
//!
//! What is between two requests ends at once and in good order, the rest is cut a moment later. Handshakes are verified
//! elsewhere; this follows the bundle and keeps one entry per connection.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use assent_runtime::CancellationToken;
use assent_runtime::workload::{Fingerprint, Roots, TrustBundle, Usage};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::oneshot;

/// For requests under way, before a connection is cut. Every second of it is one that a thief has.
const GRACE: Duration = Duration::from_secs(2);

/// The connections.
#[derive(Debug)]
pub(crate) struct Vouched {
    trust: TrustBundle,
    /// Cancelled when the sidecar is asked to stop.
    stop: CancellationToken,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    root: Fingerprint,
    ending: CancellationToken,
    cut: oneshot::Sender<()>,
}

/// One connection, until this is dropped. Resolves when it must not go on.
#[derive(Debug)]
pub(crate) struct Held {
    /// None if its peer has proven nothing.
    entry: Option<(Arc<Vouched>, u64, oneshot::Receiver<()>)>,
    ending: CancellationToken,
}

/// The error of a connection that was cut.
#[derive(Debug, thiserror::Error)]
#[error("the root behind the peer's certificate is compromised")]
pub(crate) struct Compromised;

// === impl Vouched ===

impl Vouched {
    pub(crate) fn new(trust: TrustBundle, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { trust, stop, open: Mutex::default() })
    }

    /// Notes a connection whose peer has just shown `chain` as `usage`.
    ///
    /// # Errors
    /// If the roots have changed since the handshake, and the chain leads to none of them or to a compromised one.
    pub(crate) fn hold(self: &Arc<Self>, chain: Option<&[CertificateDer<'_>]>, usage: Usage) -> io::Result<Held> {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            return Ok(Held { entry: None, ending: self.stop.clone() });
        };
        let root = self.trust.current().verify(leaf, intermediates, usage, UnixTime::now()).map_err(io::Error::other)?;
        let (ending, (cut, receiver)) = (self.stop.child_token(), oneshot::channel());
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, Entry { root, ending: ending.clone(), cut });
        drop(open);
        let held = Held { entry: Some((self.clone(), id, receiver)), ending };
        // Whoever follows the bundle may have looked before the entry was there.
        if self.trust.current().compromised().contains(&root) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, Compromised));
        }
        Ok(held)
    }

    /// Follows the bundle for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut changes = self.trust.watch();
        loop {
            let roots = changes.borrow_and_update().clone();
            if self.end(&roots) > 0 {
                tokio::time::sleep(GRACE).await;
                self.cut(&roots);
            }
            if changes.changed().await.is_err() {
                // Nobody publishes roots any more.
                return std::future::pending().await;
            }
        }
    }

    /// Asks the connections under compromised roots to end; how many there are.
    fn end(&self, roots: &Roots) -> usize {
        if roots.compromised().is_empty() {
            return 0;
        }
        let open = self.open();
        let ending = open.connections.values().filter(|entry| roots.compromised().contains(&entry.root));
        ending.inspect(|entry| entry.ending.cancel()).count()
    }

    /// Cuts those that have not.
    fn cut(&self, roots: &Roots) {
        let over = |entry: &Entry| roots.compromised().contains(&entry.root);
        let cut: Vec<Entry> = self.open().connections.extract_if(|_, entry| over(entry)).map(|(_, entry)| entry).collect();
        if !cut.is_empty() {
            tracing::warn!(connections = cut.len(), "connections of peers under a compromised root were cut");
        }
        for entry in cut {
            // Who is gone by itself need not be told.
            let _ = entry.cut.send(());
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl Held {
    /// Cancelled when the connection is to end, for whatever reason.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }
}

impl Future for Held {
    type Output = io::Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some((_, _, cut)) = &mut self.entry else { return Poll::Pending };
        // The other end is kept until it is used or this is dropped.
        let _ = ready!(Pin::new(cut).poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::PermissionDenied, Compromised))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((vouched, id, _)) = &self.entry {
            vouched.open().connections.remove(id);
        }
    }
}
