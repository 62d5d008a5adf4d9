//! What is usual: median and spread of a service's own past, with incidents masked out and a floor under the spread.
//!
//! Median and inter-quartile range, because a few wild windows must not move them; a floor, because a flat series has no
//! spread and would make any change look endless. It knows nothing of what the numbers mean.

use serde::Serialize;

use crate::ids::UnixMillis;

/// A mask longer than this ends by itself: what has lasted so long is the new normal.
const MASK_LIMIT_MS: i64 = 10 * 60 * 1000;
/// Well for this long, and a mask ends.
const WELL_MS: i64 = 20_000;
/// Masks that are remembered.
const MASKS: usize = 16;

/// The usual value and how far it usually strays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// The middle value.
    pub median: i64,
    /// Spread comparable to a standard deviation, never under the floor.
    pub scale: i64,
    /// How many values it was learned from.
    pub samples: u32,
}

// === impl Baseline ===

impl Baseline {
    /// Learns from `values` if they are at least `least`; the spread is never under `floor` nor under a tenth of the median.
    #[must_use]
    pub fn learn(mut values: Vec<i64>, floor: i64, least: usize) -> Option<Self> {
        if values.len() < least.max(1) {
            return None;
        }
        values.sort_unstable();
        let at = |quarter: usize| values.get((values.len() - 1) * quarter / 4).copied().unwrap_or(0);
        let median = at(2);
        let range = at(3).saturating_sub(at(1));
        // For a normal distribution the inter-quartile range is 1.349 standard deviations.
        let scale = range.saturating_mul(741) / 1000;
        let scale = scale.max(floor).max(median.saturating_abs() / 10).max(1);
        Some(Self { median, scale, samples: u32::try_from(values.len()).unwrap_or(u32::MAX) })
    }

    /// How many spreads `value` is above the median, rounded towards zero.
    #[must_use]
    pub fn above(&self, value: i64) -> i64 {
        value.saturating_sub(self.median) / self.scale
    }
}

/// When the first of the bad windows at the end of `windows` (oldest first) began; one good window between is forgiven.
#[must_use]
pub fn onset(windows: &[(UnixMillis, bool)]) -> Option<UnixMillis> {
    let (mut began, mut good) = (None, 0);
    for (at, bad) in windows.iter().rev() {
        if *bad {
            began = Some(*at);
            good = 0;
        } else {
            good += 1;
            if good > 1 {
                break;
            }
        }
    }
    began
}

/// Times that teach nothing, because something was wrong.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    closed: Vec<(UnixMillis, UnixMillis)>,
    open: Option<UnixMillis>,
    /// Since when all has been well while one is open.
    well_since: Option<UnixMillis>,
}

// === impl Masks ===

impl Masks {
    /// Something is wrong from `since` on.
    pub fn open(&mut self, since: UnixMillis) {
        self.open = Some(self.open.map_or(since, |earlier| earlier.min(since)));
        self.well_since = None;
    }

    /// What is seen while one is open: once all has been `well` for long enough, it ends where that began.
    pub fn settle(&mut self, well: bool, now: UnixMillis) {
        if !well {
            self.well_since = None;
            return;
        }
        let since = *self.well_since.get_or_insert(now);
        if now.since(since) >= WELL_MS {
            self.close(since);
        }
    }

    /// All is well from `at` on.
    fn close(&mut self, at: UnixMillis) {
        if let Some(since) = self.open.take() {
            if self.closed.len() == MASKS {
                self.closed.remove(0);
            }
            self.closed.push((since, at));
        }
    }

    /// Closes a mask that has been open for too long.
    pub fn tick(&mut self, now: UnixMillis) {
        if self.open.is_some_and(|since| now.since(since) > MASK_LIMIT_MS) {
            // What it covered is learned from now on: it is what is usual today.
            self.open = None;
        }
    }

    /// Since when one is open.
    #[must_use]
    pub fn is_open(&self) -> Option<UnixMillis> {
        self.open
    }

    /// Whether `at` teaches nothing.
    #[must_use]
    pub fn cover(&self, at: UnixMillis) -> bool {
        self.open.is_some_and(|since| at >= since) || self.closed.iter().any(|(from, to)| at >= *from && at < *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_wild_values_do_not_move_it() {
        let mut values = vec![100; 20];
        values.extend([90_000; 4]);
        let baseline = Baseline::learn(values, 5, 8).unwrap();
        assert_eq!((baseline.median, baseline.scale), (100, 10));
        assert_eq!(baseline.above(200), 10);
    }

    #[test]
    fn a_flat_series_has_the_floor_as_its_spread() {
        assert_eq!(Baseline::learn(vec![0; 8], 7, 8).unwrap().scale, 7);
        assert_eq!(Baseline::learn(vec![0; 7], 7, 8), None);
        assert_eq!(Baseline::learn(vec![], 7, 0), None);
    }

    #[test]
    fn the_onset_forgives_one_good_window() {
        let windows = |bad: &[bool]| -> Vec<_> { bad.iter().zip(0..).map(|(bad, at)| (UnixMillis(at), *bad)).collect() };
        for (bad, began) in [
            (&[false, false, true, true][..], Some(2)),
            (&[true, false, false, true, false, true], Some(3)),
            (&[false, false, false], None),
            (&[true, false, false], None),
            (&[], None),
        ] {
            assert_eq!(onset(&windows(bad)), began.map(UnixMillis), "{bad:?}");
        }
    }

    #[test]
    fn masks_cover_incidents_and_end_by_themselves() {
        let mut masks = Masks::default();
        masks.open(UnixMillis(10));
        assert!(masks.cover(UnixMillis(10)) && !masks.cover(UnixMillis(9)));
        masks.close(UnixMillis(20));
        assert!(masks.cover(UnixMillis(19)) && !masks.cover(UnixMillis(20)));
        masks.open(UnixMillis(30));
        masks.tick(UnixMillis(30 + MASK_LIMIT_MS + 1));
        assert!(!masks.cover(UnixMillis(31)));
    }
}
