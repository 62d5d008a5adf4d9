//! What must hold of what was done, judged by hand: nothing here asks the engine.

use super::run::Violation;
use super::service::{Nature, Service};

/// As people set it, written down once more.
pub(crate) const HYSTERESIS_S: i64 = 300;
const REST_S: i64 = 60;
const AN_HOUR: usize = 10;
const FRESH_S: i64 = 60;

/// Steps of one service: when, from, to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(pub(crate) Vec<(i64, u32, u32)>);

// === impl Steps ===

impl Steps {
    pub(crate) fn ups(&self) -> u64 {
        self.0.iter().filter(|(_, from, to)| to > from).count() as u64
    }

    pub(crate) fn downs(&self) -> u64 {
        self.0.iter().filter(|(_, from, to)| to < from).count() as u64
    }

    /// When it turned round.
    pub(crate) fn reversals(&self) -> Vec<i64> {
        self.0.windows(2).filter(|pair| (pair[0].2 > pair[0].1) != (pair[1].2 > pair[1].1)).map(|pair| pair[1].0).collect()
    }

    /// Reversals that came within the window after another one: what people call flapping.
    pub(crate) fn early_reversals(&self) -> u64 {
        self.reversals().windows(2).filter(|pair| pair[1] - pair[0] < HYSTERESIS_S).count() as u64
    }

    /// Whether the last step may stand, after those before it.
    pub(crate) fn judge(&self, nature: &Nature) -> Result<(), Violation> {
        let violated = |what: String| Err(Violation(what));
        let Some((at, from, to)) = self.0.last() else { return Ok(()) };
        if !(nature.min..=nature.max).contains(to) {
            return violated(format!("{from} → {to} at {at} s is outside {} to {}", nature.min, nature.max));
        }
        if self.0.iter().rev().nth(1).is_some_and(|(before, ..)| at - before < REST_S) {
            return violated(format!("{from} → {to} at {at} s came with no rest after the step before"));
        }
        if self.0.iter().filter(|(before, ..)| at - before < 3600).count() > AN_HOUR {
            return violated(format!("{from} → {to} at {at} s is one more than {AN_HOUR} within an hour"));
        }
        if self.early_reversals() > 0 {
            return violated(format!("it turned round twice within {HYSTERESIS_S} s: {:?}", self.0));
        }
        Ok(())
    }
}

/// Whether everything that is weighed was measured lately, and often enough.
pub(crate) fn figures_are_fresh(service: &Service, now_s: i64) -> bool {
    let recent = || service.samples.iter().filter(|sample| now_s - sample.at.0 / 1000 <= FRESH_S);
    recent().filter(|sample| sample.cpu_milli.is_some()).count() >= 3 && recent().filter(|sample| sample.latency_p95_us.is_some()).count() >= 3
}
