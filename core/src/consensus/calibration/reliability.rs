//! Whether "eight times in ten" comes true eight times in ten: the expected calibration error in ten bins, and what a perfectly calibrated
//! tally with the same confidences would stay under by chance alone. Draws come from a fixed seed, so everybody gets the same figures.

use crate::ids::Millionths;

/// Bins of a tenth each.
const BINS: usize = 10;
/// How often chance is tried.
const DRAWS: usize = 2_000;
/// Where it begins.
const SEED: u64 = 7;

/// Answers of like confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// How many.
    pub answers: u32,
    /// How many were right.
    pub right: u32,
    /// Sum of their confidences, in millionths.
    confidences: u64,
    /// Between which shares of right ones a perfectly calibrated tally stays in 95 % of draws.
    pub chance: (Millionths, Millionths),
}

/// How confidence and outcome go together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reliability {
    /// By tenths of confidence, lowest first.
    pub bins: [Bin; BINS],
    /// Answers.
    pub answers: u32,
    /// The expected calibration error; nothing without answers.
    pub error: Option<Millionths>,
    /// What a perfectly calibrated tally would stay under in 95 % of draws.
    pub band: Option<Millionths>,
}

// === impl Bin ===

impl Bin {
    /// Mean confidence.
    #[must_use]
    pub fn confidence(&self) -> Millionths {
        share(self.confidences, self.answers)
    }

    /// The share that was right.
    #[must_use]
    pub fn accuracy(&self) -> Millionths {
        share(u64::from(self.right) * 1_000_000, self.answers)
    }

    fn off(&self) -> u64 {
        self.confidences.abs_diff(u64::from(self.right) * 1_000_000)
    }
}

fn share(sum: u64, of: u32) -> Millionths {
    Millionths::new(u32::try_from(sum / u64::from(of.max(1))).unwrap_or(u32::MAX))
}

/// Judges confidences with what became of them.
#[must_use]
pub fn reliability(outcomes: &[(Millionths, bool)]) -> Reliability {
    if outcomes.is_empty() {
        return Reliability::default();
    }
    let mut bins = binned(outcomes.iter().copied());
    let mut draw = Draw(SEED);
    let mut errors = Vec::with_capacity(DRAWS);
    let mut shares: [Vec<Millionths>; BINS] = Default::default();
    for _ in 0..DRAWS {
        let chance = binned(outcomes.iter().map(|(confidence, _)| (*confidence, draw.below(1_000_000) < u64::from(confidence.get()))));
        errors.push(error(&chance));
        for (shares, bin) in shares.iter_mut().zip(&chance) {
            shares.push(bin.accuracy());
        }
    }
    errors.sort_unstable();
    for (bin, shares) in bins.iter_mut().zip(&mut shares) {
        shares.sort_unstable();
        let at = |place: usize| shares.get(place).copied().unwrap_or_default();
        bin.chance = (at(DRAWS / 40), at(DRAWS - 1 - DRAWS / 40));
    }
    let answers = u32::try_from(outcomes.len()).unwrap_or(u32::MAX);
    Reliability { bins, answers, error: Some(error(&bins)), band: errors.get(DRAWS / 20 * 19).copied() }
}

fn binned(outcomes: impl Iterator<Item = (Millionths, bool)>) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for (confidence, right) in outcomes {
        let place = usize::try_from(confidence.get()).unwrap_or(usize::MAX) / (1_000_000 / BINS);
        if let Some(bin) = bins.get_mut(place.min(BINS - 1)) {
            bin.answers = bin.answers.saturating_add(1);
            bin.right = bin.right.saturating_add(u32::from(right));
            bin.confidences = bin.confidences.saturating_add(u64::from(confidence.get()));
        }
    }
    bins
}

fn error(bins: &[Bin]) -> Millionths {
    let answers = bins.iter().map(|bin| bin.answers).fold(0_u32, u32::saturating_add);
    share(bins.iter().map(Bin::off).sum(), answers)
}

/// SplitMix64: small, seeded, the same everywhere.
struct Draw(u64);

// === impl Draw ===

impl Draw {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The bound is far below 2^64, so that no number is noticeably likelier.
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(groups: &[(u32, usize, usize)]) -> Vec<(Millionths, bool)> {
        let group = |(percent, right, wrong): &(u32, usize, usize)| {
            let confidence = Millionths::new(percent * 10_000);
            std::iter::repeat_n((confidence, true), *right).chain(std::iter::repeat_n((confidence, false), *wrong))
        };
        groups.iter().flat_map(group).collect()
    }

    #[test]
    fn who_says_eight_of_ten_and_is_right_so_often_has_no_error() {
        let found = reliability(&outcomes(&[(80, 8, 2), (60, 6, 4)]));
        assert_eq!(found.error, Some(Millionths::new(0)));
        assert_eq!((found.bins[8].answers, found.bins[8].right, found.bins[8].accuracy().get(), found.bins[8].confidence().get()), (10, 8, 800_000, 800_000));
    }

    #[test]
    fn who_is_too_sure_leaves_the_band() {
        let found = reliability(&outcomes(&[(95, 50, 50)]));
        assert_eq!(found.error, Some(Millionths::new(450_000)));
        assert!(found.band.unwrap() < Millionths::new(60_000), "{:?}", found.band);
        assert!(found.bins[9].accuracy() < found.bins[9].chance.0);
    }

    #[test]
    fn the_band_is_wide_for_few_answers_and_narrows_with_more() {
        let band = |times| reliability(&outcomes(&[(75, 3 * times, times)])).band.unwrap();
        let (few, many) = (band(3), band(300));
        assert!(few > Millionths::new(150_000) && many < Millionths::new(40_000), "{few} {many}");
    }

    #[test]
    fn certainty_is_in_the_last_bin_and_nothing_is_no_figure() {
        let found = reliability(&outcomes(&[(100, 1, 0)]));
        assert_eq!((found.bins[9].answers, found.error), (1, Some(Millionths::new(0))));
        assert_eq!(reliability(&[]), Reliability::default());
    }
}
