//! What labelled cases teach about counting ballots: how much each seat's word is worth in a domain, how likely a named cause is before
//! anybody spoke, and how sure is sure enough. Everything is shrunk towards the shipped values, and what few labels say is not
//! believed: too few, and the shipped values stay. People read the result and put it into the Roster; nothing learns by itself.

mod reliability;

use std::collections::{BTreeMap, BTreeSet};

use super::{TallyConfiguration, Weight, log_odds};
use crate::ids::{Domain, Millionths};

pub use reliability::{Bin, Reliability, reliability};

/// Labelled claims of a seat in a domain from which on its weight is learned.
pub const ENOUGH_CLAIMS: u32 = 20;
/// Labelled causes from which on the prior is learned.
pub const ENOUGH_CAUSES: u32 = 40;
/// The shipped weight as so many imagined claims.
const IMAGINED_CLAIMS: u64 = 20;
/// The shipped prior as so many imagined causes.
const IMAGINED_CAUSES: u64 = 200;
/// How often the word of a seat of weight one is right: ln(p / (1 - p)) = 1.
const USUAL: u64 = 731_059;
/// Largest weight of one seat.
const CAP: i64 = 3_000_000;
/// Precision that an action of low, medium and high risk needs.
const PRECISION: [u32; 3] = [900_000, 950_000, 970_000];
/// A threshold is never under an even chance.
const LOWEST: u32 = 500_000;
/// Thresholds are whole percents.
const STEP: u32 = 10_000;
/// What is tried beyond the shipped margin, in micro-nats. A smaller one is never learned: it is there for ties.
const WIDER: [u32; 5] = [0, 300_000, 600_000, 1_000_000, 1_500_000];
/// The square of the normal quantile of 95 %, in thousandths.
const SURE: u128 = 2_706;

/// How often something was said, and how often it was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Said.
    pub of: u32,
    /// Right.
    pub right: u32,
}

/// What became of one answer of the tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How sure it was of its first cause.
    pub confidence: Millionths,
    /// Distance in log-odds (micro-nats) to the first cause at another service; the largest number without one.
    pub lead: i64,
    /// Whether the first service was right. Where there was no fault, none is.
    pub right: bool,
}

/// What was counted over labelled cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Experience {
    /// By seat and domain: the causes that a seat supports first.
    pub claims: BTreeMap<(String, Domain), Count>,
    /// All causes that anybody named.
    pub causes: Count,
}

// === impl Count ===

impl Count {
    /// One more.
    pub fn add(&mut self, right: bool) {
        self.of = self.of.saturating_add(1);
        self.right = self.right.saturating_add(u32::from(right));
    }

    /// The share that was right, with `imagined` more of which `usual` millionths were.
    fn shrunk(self, imagined: u64, usual: u64) -> Millionths {
        let right = u64::from(self.right) * 1_000_000 + imagined * usual;
        let share = right / (u64::from(self.of) + imagined).max(1);
        Millionths::new(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Whether it is shown, and no luck of few, that `wanted` millionths are right: the lower end of Wilson's interval, one-sided at 95 %,
    /// is no less. (right / of - wanted)² ≥ z² · wanted · (1 - wanted) / of, in whole numbers.
    fn shows(self, wanted: u32) -> bool {
        let (of, wanted) = (u128::from(self.of), u128::from(wanted));
        let Some(above) = (u128::from(self.right) * 1_000_000).checked_sub(of * wanted) else { return false };
        of > 0 && above * above * 1_000 >= SURE * wanted * 1_000_000_u128.saturating_sub(wanted) * of
    }
}

/// The weight of a seat whose claims were right so often: log(p / (1 - p)), shrunk, at least 0 and at most 3. Nothing for few claims.
#[must_use]
pub fn weight(claims: Count) -> Option<u32> {
    if claims.of < ENOUGH_CLAIMS {
        return None;
    }
    let learned = log_odds::of(claims.shrunk(IMAGINED_CLAIMS, USUAL)).clamp(0, CAP);
    u32::try_from(learned).ok()
}

/// `base` with the prior and the weights that were learned.
#[must_use]
pub fn weighted(base: &TallyConfiguration, experience: &Experience) -> TallyConfiguration {
    let learned = |((seat, domain), claims): (&(String, Domain), &Count)| Some(Weight { seat: seat.clone(), domain: *domain, weight: weight(*claims)? });
    let prior = if experience.causes.of < ENOUGH_CAUSES { base.prior } else { experience.causes.shrunk(IMAGINED_CAUSES, u64::from(base.prior.get())) };
    TallyConfiguration { prior, weights: experience.claims.iter().filter_map(learned).collect(), ..base.clone() }
}

/// `base` with the thresholds and the margin at which most answers are acted on and enough of those are right. What cannot be shown
/// keeps its shipped value, or the one of the smaller risk if that is larger.
#[must_use]
pub fn bounded(base: &TallyConfiguration, answers: &[Answer]) -> TallyConfiguration {
    let [low_precision, medium_precision, high_precision] = PRECISION;
    let mut best: Option<(u32, u32, u32)> = None;
    // The smallest first: a wider one must be better to replace it.
    for margin in WIDER.map(|wider| base.margin.saturating_add(wider)) {
        let Some((threshold, right)) = threshold(answers, margin, low_precision) else { continue };
        if best.is_none_or(|(_, _, most)| right > most) {
            best = Some((threshold, margin, right));
        }
    }
    let (low, margin) = best.map_or((base.threshold_low.get(), base.margin), |(threshold, margin, _)| (threshold, margin));
    let next = |precision: u32, shipped: Millionths, least: u32| threshold(answers, margin, precision).map_or(shipped.get(), |(found, _)| found).max(least);
    let medium = next(medium_precision, base.threshold_medium, low);
    let high = next(high_precision, base.threshold_high, medium);
    TallyConfiguration {
        threshold_low: Millionths::new(low),
        threshold_medium: Millionths::new(medium),
        threshold_high: Millionths::new(high),
        margin,
        ..base.clone()
    }
}

/// The lowest confidence among `answers` from which on it is shown that enough of them are right, and at every higher one that has
/// answers enough to show it; and how many right ones are acted on. Where nothing was answered, nothing was shown, so a threshold never
/// lies there.
fn threshold(answers: &[Answer], margin: u32, precision: u32) -> Option<(u32, u32)> {
    let clear: Vec<&Answer> = answers.iter().filter(|answer| answer.lead >= i64::from(margin)).collect();
    let seen: BTreeSet<u32> = clear.iter().map(|answer| answer.confidence.get() / STEP * STEP).collect();
    let mut found = None;
    for threshold in seen.into_iter().rev().take_while(|threshold| *threshold >= LOWEST) {
        let mut count = Count::default();
        for answer in clear.iter().filter(|answer| answer.confidence.get() >= threshold) {
            count.add(answer.right);
        }
        if count.shows(precision) {
            found = Some((threshold, count.right));
        } else if found.is_some() {
            break;
        }
    }
    found
}

/// How far the answers were from the truth: the mean square of confidence less outcome, in millionths (Brier).
#[must_use]
pub fn brier(answers: &[Answer]) -> u32 {
    let square = |answer: &Answer| {
        let off = u64::from(answer.confidence.get().abs_diff(if answer.right { 1_000_000 } else { 0 }));
        off * off / 1_000_000
    };
    let sum: u64 = answers.iter().map(square).sum();
    u32::try_from(sum / u64::try_from(answers.len()).unwrap_or(u64::MAX).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(of: u32, right: u32) -> Count {
        Count { of, right }
    }

    fn answers(groups: &[(u32, u32, u32)]) -> Vec<Answer> {
        let group = |(percent, right, wrong): &(u32, u32, u32)| {
            let answer = |right| Answer { confidence: Millionths::new(percent * 10_000), lead: i64::MAX, right };
            let right = std::iter::repeat_n(answer(true), usize::try_from(*right).unwrap());
            right.chain(std::iter::repeat_n(answer(false), usize::try_from(*wrong).unwrap()))
        };
        groups.iter().flat_map(group).collect()
    }

    #[test]
    fn a_weight_is_the_log_odds_of_being_right_within_its_bounds() {
        // As often right as is usual: the shipped weight.
        assert!(weight(count(1_000, 731)).unwrap().abs_diff(1_000_000) < 2_000);
        // 9 of 10 over many claims: ln 9 is 2.197, and a little less.
        assert!((2_100_000..2_197_000).contains(&weight(count(1_000, 900)).unwrap()));
        assert_eq!(weight(count(100_000, 99_990)), Some(3_000_000));
    }

    #[test]
    fn a_seat_below_chance_counts_nothing() {
        assert_eq!(weight(count(100, 30)), Some(0));
        assert_eq!(weight(count(100_000, 0)), Some(0));
    }

    #[test]
    fn few_claims_are_not_believed_and_more_claims_move_further() {
        assert_eq!(weight(count(ENOUGH_CLAIMS - 1, ENOUGH_CLAIMS - 1)), None);
        let (some, many) = (weight(count(20, 20)).unwrap(), weight(count(200, 200)).unwrap());
        assert!(some > 1_000_000 && many > some, "{some} {many}");
    }

    #[test]
    fn few_labels_give_the_shipped_configuration() {
        let shipped = TallyConfiguration::shipped();
        let mut experience = Experience { causes: count(ENOUGH_CAUSES - 1, 30), ..Experience::default() };
        experience.claims.insert(("network".into(), Domain::Network), count(5, 0));
        assert_eq!(weighted(&shipped, &experience), shipped);
        assert_eq!(bounded(&shipped, &answers(&[(99, 10, 0), (60, 14, 0)])), shipped);
        assert_eq!(bounded(&shipped, &[]), shipped);
    }

    #[test]
    fn the_prior_moves_from_the_shipped_one_towards_what_was_seen() {
        let shipped = TallyConfiguration::shipped();
        let seen = Experience { causes: count(200, 80), ..Experience::default() };
        assert_eq!(weighted(&shipped, &seen).prior, Millionths::new(300_000));
    }

    #[test]
    fn thresholds_are_the_lowest_at_which_enough_is_right() {
        let shipped = TallyConfiguration::shipped();
        // All of the sure ones are right, nine of ten of the less sure, one of two of the rest.
        let found = bounded(&shipped, &answers(&[(95, 100, 0), (80, 93, 7), (60, 20, 20)]));
        assert_eq!((found.threshold_low.get(), found.threshold_medium.get(), found.threshold_high.get()), (800_000, 950_000, 950_000));
    }

    #[test]
    fn what_cannot_be_shown_keeps_its_shipped_value() {
        let shipped = TallyConfiguration::shipped();
        let found = bounded(&shipped, &answers(&[(95, 40, 40)]));
        assert_eq!(found, shipped);
    }

    #[test]
    fn a_larger_margin_must_be_worth_it() {
        let shipped = TallyConfiguration::shipped();
        let with = |lead, right| Answer { confidence: Millionths::new(900_000), lead, right };
        // What leads by little is a coin's toss, what leads by much is right.
        let mut all: Vec<Answer> = std::iter::repeat_n(with(2_000_000, true), 60).collect();
        assert_eq!(bounded(&shipped, &all).margin, shipped.margin);
        all.extend((0..40).map(|n| with(800_000, n % 2 == 0)));
        assert_eq!(bounded(&shipped, &all).margin, 1_000_000);
    }

    #[test]
    fn a_precision_is_shown_by_enough_right_ones() {
        for (of, right, wanted, expected) in [
            (24, 24, 900_000, false),
            (25, 25, 900_000, true),
            (51, 51, 950_000, false),
            (52, 52, 950_000, true),
            (88, 88, 970_000, true),
            // As many as wanted, but by luck as likely as not.
            (100, 90, 900_000, false),
            (100, 95, 900_000, true),
            (10_000, 9_050, 900_000, true),
            (0, 0, 900_000, false),
            (10, 0, 900_000, false),
        ] {
            assert_eq!(count(of, right).shows(wanted), expected, "{right} of {of}");
        }
    }

    #[test]
    fn the_distance_from_the_truth_is_that_of_brier() {
        assert_eq!(brier(&answers(&[(80, 1, 0)])), 40_000);
        assert_eq!(brier(&answers(&[(80, 1, 1)])), 340_000);
        assert_eq!(brier(&[]), 0);
    }
}
