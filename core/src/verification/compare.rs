//! Before and after, window by window. Requests come in bursts, so they are no independent samples; windows nearly are, and
//! only their ranks count: one wild window changes little. Integers throughout.

use serde::{Deserialize, Serialize};

use super::Progress;
use crate::ids::UnixMillis;

/// Fewer windows than these on one side say nothing.
const LEAST_WINDOWS: usize = 8;
/// Squared distance, in hundredths, from what chance would give: 3.9 standard deviations, since neighbouring windows are alike.
const SIGNIFICANT: i128 = 1_521;
/// A shift of the median by less than this share of it is none, in hundredths.
const LEAST_SHARE: i64 = 20;
/// A shift of the latency by less is none, in microseconds.
const LEAST_LATENCY_US: i64 = 5_000;
/// A shift of the share of errors by less is none, in millionths.
const LEAST_ERRORS: i64 = 10_000;

/// One window of a service, as its sidecars counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// First moment of it.
    pub at: UnixMillis,
    /// Requests that were answered or given up.
    pub requests: u64,
    /// Those with a server error or no answer.
    pub errors: u64,
    /// Mean latency of the answered ones, microseconds.
    pub mean_us: u64,
}

/// How samples moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shift {
    /// Down.
    Lower,
    /// No further than chance takes them.
    Same,
    /// Up.
    Higher,
    /// Too few samples.
    Unknown,
}

/// What an action did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// The symptom is gone and stayed gone.
    Improved,
    /// It is as it was before.
    NoEffect,
    /// It is worse than before.
    Worse,
    /// Nobody can say.
    Unknown,
}

/// What it did to a service whose windows these are: from before the write to now, with the figures in a line. How it was between the
/// write and `settled` is how a change looks, and counts for neither.
#[must_use]
pub fn effect(progress: &Progress, windows: &[Window], applied_at: UnixMillis, settled: UnixMillis) -> (Effect, String) {
    let heard = |window: &&Window| window.requests > 0;
    let before: Vec<&Window> = windows.iter().filter(heard).filter(|window| window.at < applied_at).collect();
    let after: Vec<&Window> = windows.iter().filter(heard).filter(|window| window.at >= settled).collect();
    let (errors, latency) = (of(&before, &after, error_share), of(&before, &after, latency));
    let (errors_moved, latency_moved) = moved(&before, &after);
    let line = format!(
        "errors {} % -> {} %, latency {} ms -> {} ms in the median of {} windows before and {} after",
        percent(median(&errors.0)),
        percent(median(&errors.1)),
        median(&latency.0) / 1000,
        median(&latency.1) / 1000,
        before.len(),
        after.len(),
    );
    let effect = match (progress, errors_moved, latency_moved) {
        (Progress::Verified, ..) => Effect::Improved,
        // Whatever became of itself.
        (Progress::Harmed(_), ..) => Effect::Worse,
        // Who called before and calls no more was not answered, or went away: that is no health.
        (_, Shift::Unknown, _) | (_, _, Shift::Unknown) => Effect::Unknown,
        (_, errors, latency) if worse(errors, latency) => Effect::Worse,
        _ => Effect::NoEffect,
    };
    (effect, line)
}

/// Whether `after` is worse than `before`, further than chance takes it, in errors or in latency. Windows without a request say nothing.
#[must_use]
pub fn is_worse(before: &[Window], after: &[Window]) -> bool {
    let heard = |windows: &'_ [Window]| windows.iter().filter(|window| window.requests > 0).copied().collect::<Vec<Window>>();
    let (before, after) = (heard(before), heard(after));
    let (errors, latency) = moved(&before.iter().collect::<Vec<_>>(), &after.iter().collect::<Vec<_>>());
    worse(errors, latency)
}

/// Errors are quick, so that latency fell means nothing where they rose; and where they fell, answers that take longer are answers.
fn worse(errors: Shift, latency: Shift) -> bool {
    matches!((errors, latency), (Shift::Higher, _) | (Shift::Same, Shift::Higher))
}

/// How errors and latency moved.
fn moved(before: &[&Window], after: &[&Window]) -> (Shift, Shift) {
    let (errors, latency) = (of(before, after, error_share), of(before, after, latency));
    (shift(&errors.0, &errors.1, LEAST_ERRORS), shift(&latency.0, &latency.1, LEAST_LATENCY_US))
}

fn of(before: &[&Window], after: &[&Window], figure: fn(&Window) -> i64) -> (Vec<i64>, Vec<i64>) {
    let side = |windows: &[&Window]| windows.iter().map(|window| figure(window)).collect();
    (side(before), side(after))
}

fn error_share(window: &Window) -> i64 {
    i64::try_from(window.errors.saturating_mul(1_000_000) / window.requests.max(1)).unwrap_or(i64::MAX)
}

fn latency(window: &Window) -> i64 {
    i64::try_from(window.mean_us).unwrap_or(i64::MAX)
}

fn percent(millionths: i64) -> String {
    format!("{}.{}", millionths / 10_000, millionths / 1_000 % 10)
}

fn median(samples: &[i64]) -> i64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Whether `after` lies above or below `before`: by the sum of ranks (Mann and Whitney, with ties), further than chance takes
/// it, and by at least `least` and a fifth in the median.
#[must_use]
pub fn shift(before: &[i64], after: &[i64], least: i64) -> Shift {
    if before.len() < LEAST_WINDOWS || after.len() < LEAST_WINDOWS {
        return Shift::Unknown;
    }
    let (was, is) = (median(before), median(after));
    let moved = is.saturating_sub(was);
    if moved.saturating_abs() < least.max(was.saturating_abs() / 100 * LEAST_SHARE) || !is_unlikely(before, after) {
        return Shift::Same;
    }
    if moved > 0 { Shift::Higher } else { Shift::Lower }
}

fn is_unlikely(before: &[i64], after: &[i64]) -> bool {
    let mut all: Vec<(i64, bool)> = before.iter().map(|value| (*value, false)).chain(after.iter().map(|value| (*value, true))).collect();
    all.sort_unstable();
    let count = |n: usize| i128::try_from(n).unwrap_or(i128::MAX);
    let (n, m, all_of_them) = (count(before.len()), count(after.len()), count(all.len()));
    let (mut twice_ranks, mut ties, mut rank) = (0_i128, 0_i128, 0_i128);
    for group in all.chunk_by(|one, other| one.0 == other.0) {
        let size = count(group.len());
        // All of a group share the mean of the ranks that they take.
        let twice_mean = 2 * rank + size + 1;
        twice_ranks += twice_mean * count(group.iter().filter(|(_, is_after)| *is_after).count());
        ties += size * size * size - size;
        rank += size;
    }
    // Twice the distance of U from its mean, and twelve times its variance with the ties taken off, over `all - 1`.
    let distance = twice_ranks - m * (m + 1) - n * m;
    let spread = n * m * ((all_of_them + 1) * all_of_them * (all_of_them - 1) - ties);
    if spread <= 0 {
        return false;
    }
    // distance² / 4 over spread / (12 · all · (all - 1)), in hundredths.
    distance * distance * 300 * all_of_them * (all_of_them - 1) >= SIGNIFICANT * spread
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that every run sees the same.
    struct Random(u64);

    impl Random {
        fn below(&mut self, most: i64) -> i64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(self.0 >> 33).unwrap() % most
        }
    }

    fn windows(random: &mut Random, from: i64, count: i64, error_share: i64, mean_us: i64) -> Vec<Window> {
        let one = |n: i64| {
            let requests = 20 + random.below(20);
            let errors = (0..requests).filter(|_| random.below(1_000_000) < error_share).count();
            // Latency is skewed: now and then a window is slow.
            let slow = if random.below(10) == 0 { 3 } else { 1 };
            let mean = mean_us * (90 + random.below(21)) / 100 * slow;
            Window { at: UnixMillis(from + 2000 * n), requests: requests as u64, errors: errors as u64, mean_us: mean as u64 }
        };
        (0..count).map(one).collect()
    }

    fn said(before: (i64, i64), after: (i64, i64), seed: u64) -> Effect {
        let mut random = Random(seed);
        let mut all = windows(&mut random, -60_000, 30, before.0, before.1);
        all.extend(windows(&mut random, 10_000, 30, after.0, after.1));
        effect(&Progress::Failed(String::new()), &all, UnixMillis(0), UnixMillis(10_000)).0
    }

    #[test]
    fn what_did_nothing_is_called_worse_less_than_once_in_two_hundred() {
        let runs = 2_000;
        for (errors, mean) in [(0, 3_000), (20_000, 8_000), (300_000, 2_000), (500_000, 400_000)] {
            let worse = (0..runs).filter(|seed| said((errors, mean), (errors, mean), *seed) == Effect::Worse).count();
            println!("{errors} millionths of errors, {mean} us: worse by mistake {worse} of {runs}");
            assert!(worse * 200 < usize::try_from(runs).unwrap(), "{errors} {mean}: {worse}");
        }
    }

    #[test]
    fn what_did_harm_is_called_worse_nearly_always() {
        for (before, after) in [((10_000, 3_000), (200_000, 3_000)), ((0, 10_000), (0, 40_000)), ((200_000, 5_000), (600_000, 2_000))] {
            let worse = (0..500).filter(|seed| said(before, after, *seed) == Effect::Worse).count();
            assert!(worse >= 490, "{before:?} {after:?}: {worse} of 500");
        }
    }

    #[test]
    fn fewer_errors_are_no_harm_though_answers_take_longer_than_refusals() {
        for seed in 0..200 {
            assert_eq!(said((800_000, 1_000), (100_000, 30_000), seed), Effect::NoEffect);
        }
    }

    #[test]
    fn silence_is_no_health_and_order_does_not_matter() {
        let mut random = Random(1);
        let before = windows(&mut random, -60_000, 30, 0, 3_000);
        let failed = Progress::Failed(String::new());
        assert_eq!(effect(&failed, &before, UnixMillis(0), UnixMillis(10_000)).0, Effect::Unknown);
        assert_eq!(effect(&failed, &[], UnixMillis(0), UnixMillis(0)).0, Effect::Unknown);
        assert_eq!(effect(&Progress::Verified, &[], UnixMillis(0), UnixMillis(0)).0, Effect::Improved);
        let mut all = before;
        all.extend(windows(&mut random, 10_000, 30, 400_000, 3_000));
        let forward = effect(&failed, &all, UnixMillis(0), UnixMillis(10_000));
        all.reverse();
        assert_eq!(effect(&failed, &all, UnixMillis(0), UnixMillis(10_000)), forward);
        assert_eq!(forward.0, Effect::Worse);
    }

    #[test]
    fn extremes_overflow_nothing() {
        let wild = [i64::MIN, i64::MAX, 0, -1, 1, i64::MAX, i64::MIN, 7, 7, 7];
        for least in [i64::MIN, 0, i64::MAX] {
            let _ = shift(&wild, &wild, least);
            assert_eq!(shift(&[5; 100], &[5; 100], least), Shift::Same);
        }
        let window = Window { at: UnixMillis(i64::MAX), requests: u64::MAX, errors: u64::MAX, mean_us: u64::MAX };
        let _ = effect(&Progress::Watching, &[window; 40], UnixMillis(i64::MIN), UnixMillis(i64::MAX));
    }
}
