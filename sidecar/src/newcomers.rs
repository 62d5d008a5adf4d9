//! Connections that have not proven yet that they are good for anything: those whose handshake is not over.
//!
//! They may take a part of the connections' slots and no more. When that part is full, the oldest makes room once it has had
//! its time, and until then the next one waits: a burst of honest clients is only slowed down, and
//! clients that begin a handshake and leave it lock out nobody for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// What every handshake is given, however many wait behind it.
const GRACE: Duration = Duration::from_secs(1);

/// The handshakes of one listener.
#[derive(Debug)]
pub(crate) struct Newcomers {
    limit: usize,
    waiting: Mutex<Waiting>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// In order of arrival; who is dropped here has to go.
    all: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
    next: u64,
}

/// One handshake's place; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Newcomer {
    number: u64,
    displaced: oneshot::Receiver<()>,
    among: Arc<Newcomers>,
}

// === impl Newcomers ===

impl Newcomers {
    /// At most a quarter of `connections`.
    pub(crate) fn of(connections: usize) -> Arc<Self> {
        Arc::new(Self { limit: (connections / 4).max(1), waiting: Mutex::default(), left: Notify::new() })
    }

    /// A place, as soon as there is one. Only one may wait for it.
    pub(crate) async fn enter(self: &Arc<Self>) -> Newcomer {
        loop {
            let oldest = match self.place() {
                Ok(newcomer) => return newcomer,
                Err(oldest) => oldest,
            };
            tokio::select! {
                () = self.left.notified() => {}
                () = tokio::time::sleep_until(oldest + GRACE) => drop(self.waiting().all.pop_first()),
            }
        }
    }

    /// A place, or since when the oldest has been here.
    fn place(self: &Arc<Self>) -> Result<Newcomer, Instant> {
        let mut waiting = self.waiting();
        if waiting.all.len() >= self.limit
            && let Some((_, (since, _))) = waiting.all.first_key_value()
        {
            return Err(*since);
        }
        let number = waiting.next;
        waiting.next += 1;
        let (keep, displaced) = oneshot::channel();
        waiting.all.insert(number, (Instant::now(), keep));
        Ok(Newcomer { number, displaced, among: self.clone() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Newcomer ===

impl Newcomer {
    /// Ends when a newer one needs the place.
    pub(crate) async fn displaced(&mut self) {
        // Nothing is ever sent.
        drop((&mut self.displaced).await);
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if self.among.waiting().all.remove(&self.number).is_some() {
            self.among.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_when_it_has_had_its_time() {
        let newcomers = Newcomers::of(8);
        let start = Instant::now();
        let (mut first, mut second) = (newcomers.enter().await, newcomers.enter().await);
        assert_eq!(start.elapsed(), Duration::ZERO, "there was room");
        let third = newcomers.enter().await;
        assert_eq!(start.elapsed(), GRACE);
        first.displaced().await;
        assert!(futures::poll!(std::pin::pin!(second.displaced())).is_pending(), "one is enough");
        drop(first);
        assert_eq!(newcomers.waiting().all.len(), 2, "its place is taken already");
        drop((second, third));
        assert!(newcomers.waiting().all.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_enters_as_soon_as_another_is_done() {
        let newcomers = Newcomers::of(1);
        let start = Instant::now();
        let first = newcomers.enter().await;
        let entering = tokio::spawn({
            let newcomers = newcomers.clone();
            async move { newcomers.enter().await }
        });
        tokio::time::sleep(GRACE / 2).await;
        drop(first);
        drop(entering.await.unwrap());
        assert_eq!(start.elapsed(), GRACE / 2);
    }
}
