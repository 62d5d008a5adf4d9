//! Waiting between two attempts: doubling, capped, with a part left to chance so that two processes do not march in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Delays of one chain of attempts.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

// === impl Backoff ===

impl Backoff {
    /// Sleeps, longer each time.
    pub(crate) async fn wait(&mut self) {
        let [chance, ..] = *uuid::Uuid::now_v7().as_bytes().last_chunk::<1>().unwrap_or(&[0]);
        let delay = self.next.mul_f64(0.75 + f64::from(chance) / 1024.0);
        self.next = (self.next * 2).min(LONGEST);
        tokio::time::sleep(delay).await;
    }

    /// The next delay is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}
