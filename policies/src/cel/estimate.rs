//! Estimated cost, at load: what an expression may cost at least and at most. Unknown sizes count as unbounded, as the server's.
//!
//! The facts are cel-go's `checker/cost.go` and apiserver's `pkg/cel/library/cost.go`.

mod walk;

use super::types::Type;
pub(crate) use walk::estimate;

/// Between so much and so much, of sizes or of cost. Arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Range {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    /// Exactly so much.
    pub const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    /// So many times.
    pub fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Either of both.
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Times a factor, rounded up.
    pub fn scaled(self, factor: f64) -> Self {
        Self { min: super::cost::scaled(self.min, factor), max: super::cost::scaled(self.max, factor) }
    }
}

/// An argument as an estimate rule sees it.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Its deduced type.
    pub kind: Type,
    /// Its size as far as it is known.
    pub size: Range,
    /// The size of its elements, if it is a list.
    pub element: Option<Range>,
    /// Its value, if it is an integer literal.
    pub literal: Option<i64>,
}

/// A call as an estimate rule sees it.
#[derive(Clone, Debug)]
pub struct Estimation {
    /// The receiver of a member call.
    pub target: Option<Operand>,
    /// The other arguments.
    pub args: Vec<Operand>,
}

impl Estimation {
    /// The size of an argument, the receiver not counted.
    pub fn size(&self, index: usize) -> Range {
        self.args.get(index).map_or(Range::UNKNOWN, |operand| operand.size)
    }

    /// The size of the receiver.
    pub fn target_size(&self) -> Range {
        self.target.as_ref().map_or(Range::UNKNOWN, |operand| operand.size)
    }
}

/// What a call is estimated to cost, and how large its result is.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Of the call without its arguments.
    pub cost: Range,
    /// Of the result, if the rule knows.
    pub size: Option<Range>,
}

impl Estimate {
    /// One unit, nothing known of the result.
    pub const UNIT: Self = Self { cost: Range::exactly(1), size: None };

    /// So much, nothing known of the result.
    pub fn cost(cost: Range) -> Self {
        Self { cost, size: None }
    }
}

/// How the estimated cost of a call is found; `None` from the rule means the default of one unit.
pub type EstimateRule = fn(&Estimation) -> Option<Estimate>;
