//! How long an endpoint takes, as one number: it jumps up with every slow answer and comes down with time.
//!
//! An average would hide the first slow answers until many have followed; the peak does not. Without measurements it
//! fades to nothing, so that an endpoint that was slow is tried again. Time is an argument.

use std::time::{Duration, Instant};

/// In this time an old measurement loses all but a third of its weight.
const FADE: Duration = Duration::from_secs(10);

/// Peak-sensitive, exponentially fading average of durations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeakEwma(Option<Measured>);

#[derive(Clone, Copy, Debug)]
struct Measured {
    // INVARIANT: finite and not negative.
    seconds: f64,
    at: Instant,
}

// === impl PeakEwma ===

impl PeakEwma {
    /// Something took `duration`, as seen at `now`.
    pub(super) fn observe(&mut self, duration: Duration, now: Instant) {
        let new = duration.as_secs_f64();
        let seconds = match self.0 {
            Some(measured) => {
                let weight = measured.weight(now);
                let faded = measured.seconds * weight;
                if new > faded { new } else { faded + new * (1.0 - weight) }
            }
            None => new,
        };
        // Two measurements may arrive in the wrong order; time does not go back for them.
        let at = self.0.map_or(now, |measured| measured.at.max(now));
        self.0 = Some(Measured { seconds, at });
    }

    /// The estimate in seconds at `now`; none before the first measurement.
    pub(super) fn seconds(&self, now: Instant) -> Option<f64> {
        self.0.map(|measured| measured.seconds * measured.weight(now))
    }
}

// === impl Measured ===

impl Measured {
    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / FADE.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rises_at_once_and_falls_slowly() {
        let (mut latency, start) = (PeakEwma::default(), Instant::now());
        assert!(latency.seconds(start).is_none());
        latency.observe(Duration::from_millis(1), start);
        latency.observe(Duration::from_millis(500), start);
        assert_eq!(latency.seconds(start), Some(0.5));
        let later = start + Duration::from_secs(1);
        latency.observe(Duration::from_millis(1), later);
        let fallen = latency.seconds(later).unwrap();
        assert!((0.4..0.5).contains(&fallen), "{fallen}");
        let faded = latency.seconds(later + FADE * 10).unwrap();
        assert!(faded < 0.001, "{faded}");
    }

    proptest! {
        #[test]
        fn stays_between_nothing_and_the_largest(steps in proptest::collection::vec((0u64..5_000, 0u64..60_000), 1..50)) {
            let (mut latency, mut now) = (PeakEwma::default(), Instant::now());
            let largest = steps.iter().map(|(took, _)| *took).max().unwrap();
            for (took, pause) in steps {
                latency.observe(Duration::from_millis(took), now);
                let seconds = latency.seconds(now).unwrap();
                prop_assert!(seconds >= took as f64 / 1000.0 - 1e-9 && seconds <= largest as f64 / 1000.0 + 1e-9);
                now += Duration::from_millis(pause);
            }
        }
    }
}
