//! What is usual and how far it strays, by medians: a few wild samples, a missing one or an onset that is wrong by a minute
//! must not change the answer.

use super::recording::{Alert, Seconds};

/// Fewest samples that teach what is usual.
const LEAST_TAUGHT: usize = 4;

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
        let range = quantile(values, 0.75)? - quantile(values, 0.25)?;
        // For a normal distribution the inter-quartile range is 1.349 standard deviations.
        let scale = (range * 0.741).max(median.abs() * 0.1).max(floor).max(f64::MIN_POSITIVE);
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
    /// How many of them lie before the alert.
    pub early: usize,
}

/// Splits samples around the alert. Where known incidents leave too little to learn from, what lies in them teaches too: medians bear it.
#[must_use]
pub fn split(alert: &Alert, points: &[(Seconds, f64)]) -> Split {
    let of = |keep: &dyn Fn(Seconds) -> bool| -> Vec<f64> { points.iter().filter(|(time, _)| keep(*time)).map(|(_, value)| *value).collect() };
    let (taught, earlier) = (of(&|time| alert.teaches(time)), of(&|time| alert.precedes(time)));
    let last = earlier.last().copied();
    let early = of(&|time| alert.during(time) && time < alert.at).len();
    Split { before: if taught.len() < LEAST_TAUGHT { earlier } else { taught }, during: of(&|time| alert.during(time)), last, early }
}

// === impl Split ===

impl Split {
    /// The level that has begun in the incident: reached twice, and no news of an earlier trouble. The usual, if none has.
    #[must_use]
    pub fn risen(&self, usual: f64) -> Option<f64> {
        let mut began = self.during.as_slice();
        let level = reached(began)?;
        let half = usual + (level - usual) / 2.0;
        // What goes on from before and is over when the alert comes is the end of something else.
        if self.last.is_some_and(|last| last >= half) {
            let carried = began.iter().take_while(|value| **value >= half).count();
            if carried <= self.early {
                began = began.get(carried..).unwrap_or_default();
            }
        }
        let level = reached(began).unwrap_or(usual);
        Some(if level > usual && self.common(usual + (level - usual) / 2.0) { usual } else { level })
    }

    /// Whether `level` is nothing new: most of the past is as high, or it was so high more than once. Once may have been an incident
    /// that nobody knows of.
    fn common(&self, level: f64) -> bool {
        let high = |value: &f64| *value >= level;
        let often = quantile(&self.before, 0.5).is_some_and(|median| median >= level);
        let begins = self.before.iter().skip(1).zip(&self.before).filter(|(value, previous)| high(value) && !high(previous)).count();
        often || begins + usize::from(self.before.first().is_some_and(high)) > 1
    }
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
        let usual = Usual::learn(&[10.0, 11.0, 9.0, 10.0, 5_000.0], 0.0).unwrap();
        assert!((usual.median - 10.0).abs() < f64::EPSILON && usual.scale <= 1.0, "{usual:?}");
        assert_eq!(reached(&[1.0, 90.0, 2.0]), Some(2.0));
        assert_eq!(reached(&[90.0]), Some(90.0));
        assert_eq!(reached(&[]), None);
    }

    #[test]
    fn three_samples_teach_nothing() {
        assert_eq!(Usual::learn(&[1.0, 1.0, 1.0], 0.0), None);
    }
}
