//! Leaves an endpoint alone that cannot be reached, and finds out carefully whether it has come back.
//!
//! ```text
//!   closed ── failures in a row ──► open ── probation over ──► half open ── one probe succeeds ──► closed
//!                                    ▲                              └── it fails: longer probation ──┐
//!                                    └───────────────────────────────────────────────────────────────┘
//! ```
//! It judges one endpoint by itself; how many may be out at once is decided by the pool.

use std::time::{Duration, Instant};

use assent_runtime::backoff::Backoff;

/// Failures in a row that open it: one may be chance, and every further one costs a connection its time.
pub(super) const FAILURES: u32 = 3;
const FIRST_PROBATION: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PROBATION: Duration = Duration::from_secs(60);
/// Part of a probation left to chance, so that the sidecars of many pods do not probe in step.
const SPREAD: f64 = 0.5;

/// What connections an endpoint gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All.
    Closed,
    /// None.
    Open,
    /// One, to see.
    HalfOpen,
}

/// The circuit breaker of one endpoint.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    probing: bool,
    backoff: Backoff,
}

// === impl State ===

impl State {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(FIRST_PROBATION, LONGEST_PROBATION, SPREAD);
        Self { failures: 0, open_until: None, probing: false, backoff }
    }

    pub(super) fn state(&self, now: Instant) -> State {
        match self.open_until {
            None => State::Closed,
            Some(until) if now < until => State::Open,
            Some(_) => State::HalfOpen,
        }
    }

    /// Whether a connection may be tried; a probe under way is enough for one that is half open.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.state(now) {
            State::Closed => true,
            State::Open => false,
            State::HalfOpen => !self.probing,
        }
    }

    /// Until when it stays open; none if it is closed.
    pub(super) fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    /// A connection is tried. Returns whether it is the probe; then one of the methods below must follow with `probe` set.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let probe = self.state(now) == State::HalfOpen && !self.probing;
        self.probing |= probe;
        probe
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Returns whether this failure opened it.
    pub(super) fn failed(&mut self, now: Instant, probe: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.probing &= !probe;
        let closed = self.open_until.is_none();
        // Otherwise there are still too few, or it was dialled before it opened or against its advice: nothing new.
        if probe || (closed && self.failures >= FAILURES) {
            self.open_until = Some(now + self.backoff.delay());
            return closed;
        }
        false
    }

    /// Nobody waited for the outcome.
    pub(super) fn abandoned(&mut self, probe: bool) {
        self.probing &= !probe;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        for n in 1..=FAILURES {
            assert!(breaker.admits(now));
            assert_eq!(breaker.failed(now, false), n == FAILURES);
        }
        breaker
    }

    #[test]
    fn opens_only_after_failures_in_a_row() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        for _ in 0..10 {
            assert!(!breaker.failed(now, false) && !breaker.failed(now, false));
            breaker.succeeded();
        }
        assert_eq!(breaker.state(now), State::Closed);
        assert_eq!(opened(now).state(now), State::Open);
    }

    #[test]
    fn half_open_takes_one_probe_at_a_time() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert!(!breaker.admits(start) && !breaker.begin(start));
        let now = start + FIRST_PROBATION;
        assert_eq!(breaker.state(now), State::HalfOpen);
        assert!(breaker.begin(now));
        assert!(!breaker.admits(now) && !breaker.begin(now), "a second probe");
        breaker.abandoned(false);
        assert!(!breaker.admits(now), "somebody else gave up, not the probe");
        breaker.abandoned(true);
        assert!(breaker.begin(now), "an abandoned probe does not block the next");
        breaker.succeeded();
        assert_eq!(breaker.state(now), State::Closed);
        assert!(!breaker.failed(now, false), "the count begins anew");
    }

    #[test]
    fn probation_doubles_up_to_the_longest_and_varies() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut longest = FIRST_PROBATION;
        for _ in 0..10 {
            let probation = breaker.open_until().unwrap() - now;
            assert!(probation <= longest && probation >= longest.mul_f64(1.0 - SPREAD), "{probation:?} of {longest:?}");
            longest = (longest * 2).min(LONGEST_PROBATION);
            now += probation;
            assert!(breaker.begin(now));
            assert!(!breaker.failed(now, true), "it had been opened before");
        }
    }
}
