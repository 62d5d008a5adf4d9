//! Durations as counts by power of two, the way sidecars send them: small, mergeable, good enough for a percentile.

use serde::Serialize;

/// Number of buckets; bucket `i` counts values from `2^i` to below `2^(i+1)` microseconds.
pub const BUCKETS: usize = 32;

/// Counts by power of two with the exact sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    buckets: [u32; BUCKETS],
    sum_us: u64,
}

// === impl Histogram ===

impl Histogram {
    /// From the wire; buckets beyond the last are ignored.
    #[must_use]
    pub fn new(buckets: &[u64], sum_us: u64) -> Self {
        let mut histogram = Self { sum_us, ..Self::default() };
        for (slot, count) in histogram.buckets.iter_mut().zip(buckets) {
            *slot = u32::try_from(*count).unwrap_or(u32::MAX);
        }
        histogram
    }

    /// So many values that make up that sum: their mean is right, and of their spread nothing is known.
    #[must_use]
    pub fn of_mean(count: u64, sum_us: u64) -> Self {
        let mut histogram = Self { sum_us, ..Self::default() };
        let mean = sum_us.checked_div(count).unwrap_or(0).max(1);
        let bucket = usize::try_from(mean.ilog2()).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(slot) = histogram.buckets.get_mut(bucket) {
            *slot = u32::try_from(count).unwrap_or(u32::MAX);
        }
        histogram
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// Counts by power of two.
    #[must_use]
    pub fn buckets(&self) -> Vec<u64> {
        self.buckets.iter().map(|count| u64::from(*count)).collect()
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// All values together.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The mean, if there is any value.
    #[must_use]
    pub fn mean_us(&self) -> Option<i64> {
        let count = self.count();
        (count > 0).then(|| i64::try_from(self.sum_us / count).unwrap_or(i64::MAX))
    }

    /// Upper bound of the bucket that holds the 95th percentile; 0 without values.
    #[must_use]
    pub fn p95_us(&self) -> u64 {
        let rank = self.count().saturating_mul(95).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if rank > 0 && seen >= rank {
                return 2_u64 << index;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_is_exact_and_the_percentile_a_bound() {
        let mut histogram = Histogram::new(&[0, 0, 19], 95);
        histogram.merge(&Histogram::new(&[0, 0, 0, 0, 0, 1], 40));
        assert_eq!((histogram.count(), histogram.mean_us(), histogram.p95_us()), (20, Some(6), 8));
        assert_eq!((Histogram::default().mean_us(), Histogram::default().p95_us()), (None, 0));
        assert_eq!(Histogram::new(&[u64::MAX; 40], u64::MAX).p95_us(), 2 << 30);
    }

    #[test]
    fn of_a_mean_the_mean_is_kept_when_merged() {
        let mut histogram = Histogram::of_mean(3, 900);
        histogram.merge(&Histogram::of_mean(1, 100));
        assert_eq!((histogram.count(), histogram.sum_us(), histogram.mean_us()), (4, 1_000, Some(250)));
        assert_eq!((Histogram::of_mean(0, 9).mean_us(), Histogram::of_mean(1, u64::MAX).p95_us()), (None, 2 << 31));
    }
}
