//! What customers saw between two moments, by the totals of the load generator.

use std::time::{Duration, Instant};

use assent_tests::place::Place;
use assent_tests::shop;

/// Totals at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Customers {
    sent: u64,
    failed: u64,
    since: Instant,
}

// === impl Customers ===

impl Customers {
    pub(crate) async fn of(place: &Place) -> Self {
        let stats = shop::customers(place).await.unwrap();
        let total = |name: &str| stats[name].as_u64().unwrap();
        Self { sent: total("sent"), failed: total("failed") + total("skipped"), since: Instant::now() }
    }

    /// Requests that failed since then, of how many.
    pub(crate) async fn failed_since(self, place: &Place) -> (u64, u64) {
        let now = Self::of(place).await;
        (now.failed - self.failed, now.sent - self.sent)
    }

    /// Nobody was refused since then, and somebody was served.
    pub(crate) async fn all_served(self, place: &Place, meanwhile: &str) {
        let (failed, sent) = self.failed_since(place).await;
        eprintln!("{meanwhile}: {failed} of {sent} requests failed in {:.0} s", self.since.elapsed().as_secs_f64());
        assert!(failed == 0 && sent > 0, "{meanwhile}: {failed} of {sent} requests failed");
    }
}

/// Lets customers come for so long; their requests are the events, and there is none to wait for.
pub(crate) async fn serve_for(time: Duration) {
    tokio::time::sleep(time).await;
}
