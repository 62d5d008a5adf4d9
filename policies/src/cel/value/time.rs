//! Moments and spans of time, in the ranges of the language: years 1 to 9999, and 64 bits of nanoseconds.
//!
//! Parsing and printing them is the standard library's (`library/time.rs`).

use crate::cel::error::EvalError;

/// Nanoseconds in a second.
pub(crate) const NANOS: i64 = 1_000_000_000;

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(i64);

impl Duration {
    /// So many nanoseconds.
    pub fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// The whole span.
    pub fn nanoseconds(self) -> i64 {
        self.0
    }

    /// Both spans together.
    pub fn plus(self, other: Self) -> Result<Self, EvalError> {
        self.0.checked_add(other.0).map(Self).ok_or(EvalError::Overflow("duration"))
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Result<Self, EvalError> {
        self.0.checked_sub(other.0).map(Self).ok_or(EvalError::Overflow("duration"))
    }
}

/// A moment, since the Unix epoch. It remembers the offset it was written with, for printing; comparisons do not look at it.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
    offset: i32,
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.total() == other.total()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.total().cmp(&other.total())
    }
}

impl Timestamp {
    /// `0001-01-01T00:00:00Z`.
    pub const MIN: Self = Self { seconds: -62_135_596_800, nanoseconds: 0, offset: 0 };
    /// `9999-12-31T23:59:59Z`, the last second.
    pub const MAX_SECONDS: i64 = 253_402_300_799;

    /// A moment; refused outside the years 1 to 9999.
    pub fn new(seconds: i64, nanoseconds: u32) -> Result<Self, EvalError> {
        let carried = seconds.checked_add(i64::from(nanoseconds / 1_000_000_000)).ok_or(EvalError::Overflow("timestamp"))?;
        if !(Self::MIN.seconds..=Self::MAX_SECONDS).contains(&carried) {
            return Err(EvalError::Overflow("timestamp"));
        }
        Ok(Self { seconds: carried, nanoseconds: nanoseconds % 1_000_000_000, offset: 0 })
    }

    /// As written with an offset from UTC, in seconds to the east.
    #[must_use]
    pub fn at_offset(self, offset: i32) -> Self {
        Self { offset, ..self }
    }

    /// The offset it was written with.
    pub fn offset(self) -> i32 {
        self.offset
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// A moment so much later.
    pub fn plus(self, span: Duration) -> Result<Self, EvalError> {
        Self::from_total(self.total() + i128::from(span.0)).map(|moment| moment.at_offset(self.offset))
    }

    /// A moment so much earlier.
    pub fn minus(self, span: Duration) -> Result<Self, EvalError> {
        Self::from_total(self.total() - i128::from(span.0)).map(|moment| moment.at_offset(self.offset))
    }

    /// The span from another moment to this one.
    pub fn since(self, other: Self) -> Result<Duration, EvalError> {
        i64::try_from(self.total() - other.total()).map(Duration).map_err(|_| EvalError::Overflow("duration"))
    }

    fn total(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanoseconds)
    }

    fn from_total(total: i128) -> Result<Self, EvalError> {
        let overflow = || EvalError::Overflow("timestamp");
        let seconds = i64::try_from(total.div_euclid(i128::from(NANOS))).map_err(|_| overflow())?;
        let nanoseconds = u32::try_from(total.rem_euclid(i128::from(NANOS))).map_err(|_| overflow())?;
        Self::new(seconds, nanoseconds)
    }
}
