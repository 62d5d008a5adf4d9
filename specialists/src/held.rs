//! A view shared between those who fill it and those who ask it, with a sign when it has changed. Nobody holds it across
//! an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

use assent_core::ids::UnixMillis;
use assent_core::incident::Context;
use assent_core::seats::{Asked, Seat};
use tokio::sync::watch;

/// A view behind a lock.
#[derive(Debug)]
pub(crate) struct Held<V> {
    view: Mutex<V>,
    version: watch::Sender<u64>,
}

/// The clock of this process.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

// === impl Held ===

impl<V> Held<V> {
    pub(crate) fn new(view: V) -> Self {
        Self { view: Mutex::new(view), version: watch::Sender::new(0) }
    }

    /// Looks at the view.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&V) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the view.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut V) -> R) -> R {
        let result = change(&mut self.lock());
        self.version.send_modify(|version| *version = version.wrapping_add(1));
        result
    }

    fn lock(&self) -> MutexGuard<'_, V> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Seat> Held<V> {
    /// Returns when the view holds data from after the onset, or at `until`.
    pub(crate) async fn informed(&self, context: &Context, epoch: u32, until: UnixMillis) {
        let mut version = self.version.subscribe();
        let waiting = async {
            loop {
                version.borrow_and_update();
                let asked = Asked { context, epoch, now: now() };
                if self.read(|view| view.informed(&asked)) {
                    return;
                }
                // A window closes by time alone, so the clock is looked at as well.
                let tick = tokio::time::sleep(std::time::Duration::from_millis(250));
                tokio::select! {
                    changed = version.changed() => if changed.is_err() { return },
                    () = tick => {}
                }
            }
        };
        let left = std::time::Duration::from_millis(u64::try_from(until.since(now())).unwrap_or(0));
        if tokio::time::timeout(left, waiting).await.is_err() {
            tracing::debug!(incident.id = %context.incident, "voting without figures from after the onset");
        }
    }
}
