//! What became of the requests: totals since the start, and the answers of the last ten seconds.
//! Memory is bounded by the rate's bound times the window.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);

/// The counts as `/stats` serves them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Stats {
    /// The rate that is being sent, in requests per second.
    pub rps: f64,
    /// Requests started since the start of the process.
    pub sent: u64,
    /// Of those, how many were answered 2xx.
    pub ok: u64,
    /// Of those, how many were answered otherwise or not at all.
    pub failed: u64,
    /// Requests not started because too many were waiting.
    pub skipped: u64,
    /// Requests waiting for an answer now.
    pub waiting: u64,
    /// What ended in the last ten seconds.
    pub window: Window,
}

/// Requests that ended in the last ten seconds, and how long they took, failed ones included.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Window {
    /// Answered 2xx.
    pub ok: u64,
    /// Answered otherwise or not at all.
    pub failed: u64,
    /// Median in milliseconds; 0 if nothing ended.
    pub p50_ms: u64,
    /// 95th percentile in milliseconds; 0 if nothing ended.
    pub p95_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    ok: u64,
    failed: u64,
    skipped: u64,
    lately: VecDeque<Ended>,
}

#[derive(Debug)]
struct Ended {
    at: Instant,
    ok: bool,
    took: Duration,
}

// === impl Tally ===

impl Tally {
    pub(super) fn sent(&self) {
        self.counts().sent += 1;
    }

    pub(super) fn skipped(&self) {
        self.counts().skipped += 1;
    }

    pub(super) fn answered(&self, ok: bool, took: Duration) {
        let mut counts = self.counts();
        if ok {
            counts.ok += 1;
        } else {
            counts.failed += 1;
        }
        counts.forget();
        counts.lately.push_back(Ended { at: Instant::now(), ok, took });
    }

    pub(super) fn stats(&self, rps: f64) -> Stats {
        let mut counts = self.counts();
        counts.forget();
        let Counts { sent, ok, failed, skipped, .. } = *counts;
        let waiting = sent - ok - failed;
        Stats { rps, sent, ok, failed, skipped, waiting, window: counts.window() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every statement, so a panic elsewhere leaves them usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counts ===

impl Counts {
    fn forget(&mut self) {
        while self.lately.front().is_some_and(|ended| ended.at.elapsed() > WINDOW) {
            self.lately.pop_front();
        }
    }

    fn window(&self) -> Window {
        let mut took: Vec<u64> = self.lately.iter().map(|ended| ended.took.as_millis().try_into().unwrap_or(u64::MAX)).collect();
        took.sort_unstable();
        // Nearest rank; an empty window has no rank and counts as 0.
        let rank = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100);
            took.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        let ok = self.lately.iter().filter(|ended| ended.ok).count() as u64;
        Window { ok, failed: self.lately.len() as u64 - ok, p50_ms: rank(50), p95_ms: rank(95) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_window_forgets_and_the_totals_do_not() {
        let tally = Tally::default();
        for millis in 1..=100 {
            tally.sent();
            tally.answered(millis <= 90, Duration::from_millis(millis));
        }
        let window = Window { ok: 90, failed: 10, p50_ms: 50, p95_ms: 95 };
        assert_eq!(tally.stats(20.0).window, window);
        tokio::time::advance(WINDOW + Duration::from_millis(1)).await;
        let stats = tally.stats(20.0);
        assert_eq!(stats.window, Window { ok: 0, failed: 0, p50_ms: 0, p95_ms: 0 });
        assert_eq!((stats.sent, stats.ok, stats.failed, stats.waiting), (100, 90, 10, 0));
    }
}
