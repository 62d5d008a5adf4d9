//! Waiting, with a part left to chance so that two processes do not march in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Delays of one chain of attempts, doubling.
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
    /// The next delay, longer each time.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = jittered(self.next);
        self.next = (self.next * 2).min(LONGEST);
        delay
    }

    /// The next delay is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// The duration, or up to a tenth less.
pub(crate) fn jittered(duration: Duration) -> Duration {
    let [chance, ..] = *uuid::Uuid::now_v7().as_bytes().last_chunk::<1>().unwrap_or(&[0]);
    duration.mul_f64(0.9 + f64::from(chance) / 2560.0)
}
