//! What is usual and how far it strays, by medians: a few wild samples, a missing one or an onset that is wrong by a minute
//! must not change the answer.

use super::recording::{Alert, Seconds};

/// Fewest samples that teach what is usual.
pub(super) const LEAST_TAUGHT: usize = 6;

/// Part of the way from the usual to a level from which on a sample is nearly there.
const NEARLY: f64 = 2.0 / 3.0;

/// The usual value with a spread that is comparable to a standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The middle.
    pub median: f64,
    /// The spread, never under its floor.
    pub scale: f64,
}

/// The value at `share` of the sorted values; nothing without values.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
    let place = (sorted.len().saturating_sub(1) as f64 * share.clamp(0.0, 1.0)) as usize;
    sorted.get(place).copied()
}

/// As [`quantile`], but between two values where `share` lies between them: for few values.
#[must_use]
pub fn quantile_between(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a place in a short list")]
    let place = sorted.len().checked_sub(1)? as f64 * share.clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
    let low = sorted.get(place as usize).copied()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
    let high = sorted.get(place as usize + 1).copied().unwrap_or(low);
    Some(low + (high - low) * (place - place.floor()))
}

// === impl Usual ===

impl Usual {
    /// Learns from `values`, if they are at least [`LEAST_TAUGHT`]; the spread is at least a tenth of the median and at least `floor`.
    #[must_use]
    pub fn learn(values: &[f64], floor: f64) -> Option<Self> {
        if values.len() < LEAST_TAUGHT {
            return None;
        }
        let median = quantile(values, 0.5)?;
        let (low, high) = (median - quantile(values, 0.25)?, quantile(values, 0.75)? - median);
        // An earlier trouble that nobody knows of raises the upper half only. For a normal distribution a quartile is 0.674 standard
        // deviations from the median.
        let scale = ((low + high) * 0.741).min(low * 1.483).max(median.abs() * 0.1).max(floor).max(f64::MIN_POSITIVE);
        Some(Self { median, scale })
    }

    /// How many spreads `value` is above the median.
    #[must_use]
    pub fn above(&self, value: f64) -> f64 {
        (value - self.median) / self.scale
    }

    /// `value` as a multiple of the median, whose smallest size is `floor`.
    #[must_use]
    pub fn ratio(&self, value: f64, floor: f64) -> f64 {
        value / self.median.max(floor).max(f64::MIN_POSITIVE)
    }
}

/// What lies before the incident and what lies in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// Samples that teach.
    pub before: Vec<f64>,
    /// Samples that may be of the incident.
    pub during: Vec<f64>,
    /// The last sample before those, whether it teaches or not.
    pub last: Option<f64>,
}

/// Splits samples around the alert.
#[must_use]
pub fn split(alert: &Alert, points: &[(Seconds, f64)]) -> Split {
    let of = |keep: &dyn Fn(Seconds) -> bool| points.iter().filter(|(time, _)| keep(*time)).map(|(_, value)| *value).collect();
    let last = points.iter().rev().find(|(time, _)| alert.precedes(*time)).map(|(_, value)| *value);
    Split { before: of(&|time| alert.teaches(time)), during: of(&|time| alert.during(time)), last }
}

// === impl Split ===

impl Split {
    /// The level that has begun in the incident, or the usual where none has: held for two samples, not the rest of an earlier trouble,
    /// and no level that comes and goes.
    #[must_use]
    pub fn risen(&self, usual: f64) -> Option<f64> {
        let level = held(&self.during)?;
        let half = usual + (level - usual) / 2.0;
        let mut began = self.during.as_slice();
        // What goes on from before and then ends is the end of something else.
        if self.last.is_some_and(|last| last >= half) {
            let rest = began.iter().position(|value| *value < half);
            began = rest.and_then(|rest| began.get(rest..)).unwrap_or(began);
        }
        let level = held(began).unwrap_or(usual);
        Some(if level > usual && self.comes_and_goes(usual + (level - usual) * NEARLY) { usual } else { level })
    }

    /// Whether most of the past is at `level`, or more of it than a few samples beside the longest time that was: that one may have been
    /// an incident that nobody knows of.
    fn comes_and_goes(&self, level: f64) -> bool {
        let (mut high, mut now, mut longest) = (0_usize, 0_usize, 0_usize);
        for value in &self.before {
            now = if *value >= level { now + 1 } else { 0 };
            high += usize::from(now > 0);
            longest = longest.max(now);
        }
        let few = (self.before.len() / 20).max(1);
        high > longest + few || quantile(&self.before, 0.5).is_some_and(|median| median >= level)
    }
}

/// The highest level that two samples on end reach: neither one wild sample nor another one later is a level. The only sample, if there
/// is but one.
#[must_use]
pub fn held(values: &[f64]) -> Option<f64> {
    let pairs = values.iter().zip(values.iter().skip(1)).map(|(one, next)| one.min(*next));
    pairs.max_by(f64::total_cmp).or_else(|| values.first().copied())
}

/// The second largest of `values`: a level that was reached more than once. The only one, if there is but one.
#[must_use]
pub fn reached(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.get(1).or_else(|| sorted.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wild_sample_neither_moves_what_is_usual_nor_is_a_level() {
        let usual = Usual::learn(&[10.0, 11.0, 9.0, 10.0, 5_000.0, 10.0, 9.0], 0.0).unwrap();
        assert!((usual.median - 10.0).abs() < f64::EPSILON && usual.scale <= 1.0, "{usual:?}");
        assert_eq!(reached(&[1.0, 90.0, 2.0]), Some(2.0));
        assert_eq!(reached(&[90.0]), Some(90.0));
        assert_eq!(reached(&[]), None);
        assert_eq!((held(&[1.0, 90.0, 80.0, 2.0, 95.0]), held(&[90.0]), held(&[])), (Some(80.0), Some(90.0), None));
    }

    #[test]
    fn five_samples_teach_nothing() {
        assert_eq!(Usual::learn(&[1.0; 5], 0.0), None);
    }

    #[test]
    fn an_earlier_trouble_widens_no_spread() {
        let (calm, troubled) = ([9.0, 10.0, 11.0, 9.0, 10.0, 11.0, 10.0], [9.0, 10.0, 11.0, 9.0, 90.0, 90.0, 90.0, 10.0, 11.0, 10.0]);
        let (calm, troubled) = (Usual::learn(&calm, 0.0).unwrap(), Usual::learn(&troubled, 0.0).unwrap());
        assert!(troubled.scale <= calm.scale * 2.0, "{calm:?} {troubled:?}");
    }

    fn risen(before: &[f64], last: f64, during: &[f64]) -> Option<f64> {
        Split { before: before.to_vec(), during: during.to_vec(), last: Some(last) }.risen(10.0)
    }

    #[test]
    fn a_level_has_risen_when_it_is_held_and_new() {
        let calm = [10.0; 12];
        assert_eq!(risen(&calm, 10.0, &[10.0, 10.0, 90.0, 80.0, 95.0, 10.0]), Some(80.0));
        assert_eq!(risen(&calm, 10.0, &[10.0, 90.0, 10.0, 90.0, 10.0]), Some(10.0), "two wild samples");
        assert_eq!(risen(&calm, 90.0, &[90.0, 90.0, 10.0, 10.0]), Some(10.0), "the end of something else");
        assert_eq!(risen(&calm, 90.0, &[90.0, 90.0, 90.0]), Some(90.0), "it goes on");
        assert_eq!(risen(&[90.0, 90.0], 10.0, &[90.0, 90.0]), Some(10.0), "it was always so");
        assert_eq!(risen(&[], 10.0, &[90.0, 90.0]), Some(90.0));
        assert_eq!(risen(&calm, 10.0, &[]), None);
    }

    #[test]
    fn what_comes_and_goes_is_no_news_and_one_earlier_trouble_is() {
        let now = [10.0, 80.0, 80.0];
        assert_eq!(risen(&[10.0, 90.0, 10.0, 70.0, 10.0, 10.0, 10.0, 85.0, 10.0], 10.0, &now), Some(10.0));
        assert_eq!(risen(&[10.0, 10.0, 10.0, 90.0, 90.0, 90.0, 10.0, 10.0, 10.0], 10.0, &now), Some(80.0));
    }
}
