//! Two histograms of durations: base-2 microseconds for the seats, Linkerd's milliseconds for dashboards.
//!
//! Both are fixed arrays, so that a flow costs the same memory whatever its traffic.

use std::time::Duration;

use assent_api::proto;

/// Powers of two that are told apart.
pub(crate) const BUCKETS: usize = 32;
/// Upper bounds of Linkerd's `response_latency_ms`.
pub(crate) const MILLISECONDS: [u32; 25] =
    [1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000, 10_000, 20_000, 30_000, 40_000, 50_000];

/// Bucket i counts values v with 2^i <= v < 2^(i+1) microseconds; bucket 0 also holds 0, the last everything above.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: [u64; BUCKETS],
    sum: u64,
}

/// Counts by upper bound in milliseconds, the last slot being above all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Milliseconds {
    pub(crate) buckets: [u64; MILLISECONDS.len() + 1],
    pub(crate) sum_ms: u64,
}

// === impl Histogram ===

impl Histogram {
    pub(crate) fn record(&mut self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let bucket = (micros.max(1).ilog2() as usize).min(BUCKETS - 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(micros);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Seconds below which each bucket ends, with its count; and the sum in seconds.
    pub(crate) fn seconds(&self) -> (Vec<(f64, u64)>, f64) {
        let bounds = (1..BUCKETS).map(|power| 2f64.powi(power as i32) / 1e6).chain([f64::INFINITY]);
        (bounds.zip(self.buckets).collect(), self.sum as f64 / 1e6)
    }

    /// The wire form, without trailing zeros; none when nothing was recorded.
    pub(crate) fn wire(&self) -> Option<proto::Histogram> {
        let used = self.buckets.iter().rposition(|count| *count > 0)? + 1;
        Some(proto::Histogram { buckets: self.buckets.iter().take(used).copied().collect(), sum: self.sum })
    }
}

// === impl Milliseconds ===

impl Milliseconds {
    pub(crate) fn record(&mut self, value: Duration) {
        let slot = MILLISECONDS.iter().position(|bound| value <= Duration::from_millis(u64::from(*bound)));
        if let Some(count) = self.buckets.get_mut(slot.unwrap_or(MILLISECONDS.len())) {
            *count += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_powers_of_two() {
        let mut histogram = Histogram::default();
        assert!(histogram.wire().is_none());
        for micros in [0, 1, 2, 3, 4, 1023, 1024, u64::MAX] {
            histogram.record(Duration::from_micros(micros));
        }
        let wire = histogram.wire().unwrap();
        assert_eq!(wire.buckets.len(), 32);
        assert_eq!((wire.buckets[0], wire.buckets[1], wire.buckets[2]), (2, 2, 1));
        assert_eq!((wire.buckets[9], wire.buckets[10], wire.buckets[31]), (1, 1, 1));
        assert_eq!(wire.sum, u64::MAX);
    }

    #[test]
    fn counts_milliseconds_up_to_and_including_the_bound() {
        let mut histogram = Milliseconds::default();
        histogram.record(Duration::from_millis(1));
        histogram.record(Duration::from_micros(1001));
        histogram.record(Duration::from_secs(60));
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[25]), (1, 1, 1));
    }
}
