//! Waiting between two attempts: doubling, capped, with a part left to chance so that two processes do not march in step.

use std::time::Duration;

/// Delays of one chain of attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    spread: f64,
    next: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// From `first` to `longest`; each delay is up to the part `spread` (0 to 1) shorter by chance.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, spread: f64) -> Self {
        Self { first, longest, spread, next: first }
    }

    /// The next delay, longer each time.
    pub fn delay(&mut self) -> Duration {
        let delay = jittered(self.next, self.spread);
        self.next = (self.next * 2).min(self.longest);
        delay
    }

    /// Sleeps for the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.delay()).await;
    }

    /// The next delay is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The duration, or up to the part `spread` (0 to 1) less.
#[must_use]
pub fn jittered(duration: Duration, spread: f64) -> Duration {
    duration.mul_f64(1.0 - spread * fraction())
}

/// Uniform in 0..1; jitter needs no better.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness there is no jitter, and a fixed half is still a valid choice.
    match rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_le_bytes(bytes)) / 65536.0,
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4), 0.25);
        let mut within = |most: u64| {
            let delay = backoff.delay();
            assert!(delay <= Duration::from_secs(most) && delay >= Duration::from_secs(most).mul_f64(0.75), "{delay:?} of {most} s");
        };
        [1, 2, 4, 4].into_iter().for_each(&mut within);
        backoff.reset();
        assert!(backoff.delay() <= Duration::from_secs(1));
    }
}
