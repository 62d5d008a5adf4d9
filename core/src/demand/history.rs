//! What the containers of one service used, period by period: the history that their sizes are fitted to.

use std::collections::{BTreeMap, VecDeque};

use super::arithmetic::percentile;
use super::observation::Period;
use crate::ids::UnixMillis;

/// Periods that are kept, of each container.
const MAX_PERIODS: usize = 8 * 24;
/// Containers of a pod whose use is kept.
const MAX_CONTAINERS: usize = 16;
/// Figures of one period; of more, every second one is left out again and again, evenly.
const MAX_FIGURES: usize = 256;
/// Of the processor's use, what a period counts.
const PERCENTILE: u32 = 950_000;

/// The history of all containers of a service.
#[derive(Debug, Default)]
pub struct Histories {
    containers: BTreeMap<String, History>,
}

/// Periods of one container that are over, and the one that is not.
#[derive(Debug, Default)]
struct History {
    over: VecDeque<Period>,
    now: Option<Use>,
}

/// What one container used in the present period, over all replicas.
#[derive(Debug)]
struct Use {
    from: UnixMillis,
    memory_peak_bytes: Option<u64>,
    cpu_milli: Vec<u64>,
    /// One of so many figures is kept.
    every: usize,
    seen: usize,
}

// === impl Histories ===

impl Histories {
    /// One figure of one replica's container. What is older than the present period is left out.
    pub fn take(&mut self, container: &str, at: UnixMillis, cpu_milli: Option<u64>, memory_bytes: Option<u64>, period_ms: i64) {
        if self.containers.len() >= MAX_CONTAINERS && !self.containers.contains_key(container) {
            return;
        }
        let from = UnixMillis(at.0.saturating_sub(at.0.rem_euclid(period_ms.max(1))));
        self.containers.entry(container.to_owned()).or_default().take(from, cpu_milli, memory_bytes);
    }

    /// Everything that is known of one container, oldest first.
    #[must_use]
    pub fn of(&self, container: &str) -> Vec<Period> {
        let Some(history) = self.containers.get(container) else { return Vec::new() };
        history.over.iter().copied().chain(history.now.as_ref().and_then(Use::period)).collect()
    }
}

// === impl History ===

impl History {
    fn take(&mut self, from: UnixMillis, cpu_milli: Option<u64>, memory_bytes: Option<u64>) {
        if self.now.as_ref().is_some_and(|now| now.from > from) {
            return;
        }
        if let Some(over) = self.now.take_if(|now| now.from < from) {
            if self.over.len() >= MAX_PERIODS - 1 {
                self.over.pop_front();
            }
            self.over.extend(over.period());
        }
        self.now.get_or_insert_with(|| Use { from, memory_peak_bytes: None, cpu_milli: Vec::new(), every: 1, seen: 0 }).take(cpu_milli, memory_bytes);
    }
}

// === impl Use ===

impl Use {
    fn take(&mut self, cpu_milli: Option<u64>, memory_bytes: Option<u64>) {
        self.memory_peak_bytes = self.memory_peak_bytes.max(memory_bytes);
        let Some(milli) = cpu_milli else { return };
        if self.seen.is_multiple_of(self.every) {
            self.cpu_milli.push(milli);
        }
        self.seen = self.seen.saturating_add(1);
        if self.cpu_milli.len() > MAX_FIGURES {
            let mut index = 0_usize;
            self.cpu_milli.retain(|_| {
                index = index.wrapping_add(1);
                index % 2 == 1
            });
            self.every = self.every.saturating_mul(2);
        }
    }

    /// Nothing where one of the two was not measured: that is not a use of nothing.
    fn period(&self) -> Option<Period> {
        let cpu_p95_milli = percentile(self.cpu_milli.iter().copied(), PERCENTILE)?;
        Some(Period { from: self.from, cpu_p95_milli, memory_peak_bytes: self.memory_peak_bytes? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 60_000;

    #[test]
    fn a_period_has_the_percentile_of_all_replicas_and_the_highest_memory() {
        let mut histories = Histories::default();
        for figure in 0..100 {
            histories.take("app", UnixMillis(PERIOD + figure * 500), Some(u64::try_from(figure).unwrap()), Some(7), PERIOD);
        }
        histories.take("app", UnixMillis(PERIOD + 59_999), None, Some(9), PERIOD);
        let first = Period { from: UnixMillis(PERIOD), cpu_p95_milli: 94, memory_peak_bytes: 9 };
        assert_eq!(histories.of("app"), [first]);
        histories.take("app", UnixMillis(3 * PERIOD), Some(5), Some(1), PERIOD);
        let second = Period { from: UnixMillis(3 * PERIOD), cpu_p95_milli: 5, memory_peak_bytes: 1 };
        assert_eq!(histories.of("app"), [first, second], "a period without figures is none");
        histories.take("app", UnixMillis(PERIOD), Some(1_000), Some(1_000), PERIOD);
        assert_eq!(histories.of("app"), [first, second], "what is over stays as it was");
        assert_eq!(histories.of("other"), []);
        histories.take("app", UnixMillis(4 * PERIOD), Some(5), None, PERIOD);
        histories.take("app", UnixMillis(5 * PERIOD), None, Some(5), PERIOD);
        histories.take("app", UnixMillis(6 * PERIOD), Some(6), Some(6), PERIOD);
        let third = Period { from: UnixMillis(6 * PERIOD), cpu_p95_milli: 6, memory_peak_bytes: 6 };
        assert_eq!(histories.of("app"), [first, second, third], "what was not measured is no use of nothing");
    }

    #[test]
    fn many_figures_are_thinned_evenly_and_old_periods_forgotten() {
        let mut histories = Histories::default();
        for figure in 0..100_000 {
            histories.take("app", UnixMillis(figure / 10), Some(u64::try_from(figure).unwrap()), Some(1), PERIOD);
        }
        let thinned = histories.of("app")[0].cpu_p95_milli;
        assert!((94_000..96_000).contains(&thinned), "{thinned}");
        for period in 1..1_000 {
            histories.take("app", UnixMillis(period * PERIOD), Some(1), Some(1), PERIOD);
        }
        assert_eq!(histories.of("app").len(), MAX_PERIODS);
        for container in 0..100 {
            histories.take(&container.to_string(), UnixMillis(0), Some(1), Some(1), PERIOD);
        }
        assert_eq!(histories.containers.len(), MAX_CONTAINERS);
    }
}
