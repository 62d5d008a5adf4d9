//! The mathematics of diagnosis: what was recorded around an incident, what is usual, what strays from it, and what of that
//! a callee or a caller explains. It knows no seat; each seat's rules over a [`Recording`] stand in its own folder.
//!
//! Numbers are floating point with the four operations and square roots only, which every platform rounds alike; what leaves
//! for a ballot are integers.

pub mod changes;
pub mod flow;
pub mod inflow;
pub mod operations;
pub mod recording;
pub mod robust;
pub mod rollouts;
pub mod unlike;
pub mod vocabulary;

pub use recording::{Alert, CallSeries, Objective, Operation, Recording, Seconds, Series, Side};

use crate::ballot::{EvidenceClass, Principal};
use crate::ids::{Domain, Millionths};

/// What a seat suspects, before it becomes a hypothesis in a ballot.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// Where.
    pub service: String,
    /// Of which kind.
    pub domain: Domain,
    /// Fault class in the field's words.
    pub fault: String,
    /// How sure the seat is.
    pub probability: Millionths,
    /// What kind of figures, and whose.
    pub source: (EvidenceClass, Principal),
    /// Figures, a line each.
    pub grounds: Vec<String>,
}

/// A probability from `low` to `high` (both in thousandths) by where `value` lies between `from` and `to`.
#[must_use]
pub fn graded(value: f64, (from, to): (f64, f64), (low, high): (u32, u32)) -> Millionths {
    let share = if to > from { ((value - from) / (to - from)).clamp(0.0, 1.0) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of at most a thousand")]
    let more = (share * f64::from(high.saturating_sub(low))) as u32;
    Millionths::new(low.saturating_add(more).min(1_000).saturating_mul(1_000))
}
