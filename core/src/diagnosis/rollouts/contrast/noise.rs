//! How much a track varies by itself: from while to while, from pod to pod, and in slow waves.

use std::collections::BTreeMap;

use super::super::fleet::{Fleet, Minute, Point, Track};
use super::Difference;
use crate::diagnosis::robust;

/// Whiles that a wave is seen in.
const WAVE: Minute = 5;
/// A median of normal noise varies this much more than a mean, squared.
const MEDIAN: f64 = 1.57;

/// The noise of a track, learnt from old pods before the rollout; from old pods at any time, if there is no before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Noise {
    /// The middle of the past; zero but for streams that were put together.
    pub(in super::super) usual: f64,
    /// From while to while.
    pub(in super::super) each: f64,
    /// From pod to pod.
    pub(in super::super) pods: f64,
    /// In slow waves of the whole service.
    pub(in super::super) waves: f64,
    /// Points and pods of the past.
    pub(in super::super) taught: (usize, usize),
}

// === impl Noise ===

impl Noise {
    pub(in super::super) fn of(fleet: &Fleet, track: &Track, began: Minute) -> Self {
        let old = |before: Minute| track.points.iter().copied().filter(|point| !fleet.is_new(point) && point.minute < before).collect::<Vec<Point>>();
        let past = old(began);
        let shown = if past.len() >= 8 { past.clone() } else { old(Minute::MAX) };
        let floor = track.measure.floor;
        let by_pod = medians(&shown, |point| i64::try_from(point.pod).unwrap_or(i64::MAX));
        let by_wave = medians(&past, |point| point.minute.div_euclid(WAVE));
        let of = |values: &[f64], fewest: usize, otherwise: f64| if values.len() >= fewest { spread(values) } else { otherwise };
        let each = spread(&shown.iter().map(|point| point.off).collect::<Vec<f64>>()).max(floor);
        let waves = of(&by_wave, 3, 0.0);
        // Medians of a few minutes differ by chance, too.
        let chance = MEDIAN * each * each * number(by_wave.len()) / number(past.len());
        Self {
            usual: robust::quantile_between(&past.iter().map(|point| point.off).collect::<Vec<f64>>(), 0.5).unwrap_or(0.0),
            each,
            pods: of(&by_pod, 3, each * 0.3).max(floor * 0.3),
            waves: (waves * waves - chance).max(0.0).sqrt().max(floor * 0.3),
            taught: (past.len(), medians(&past, |point| i64::try_from(point.pod).unwrap_or(i64::MAX)).len()),
        }
    }

    /// The standard error of the difference of two medians, each of so many points of so many pods.
    pub(in super::super) fn error(&self, one: (usize, usize), other: (usize, usize)) -> f64 {
        let part = |value: f64, count: usize| value * value / number(count);
        let points = MEDIAN * (part(self.each, one.0) + part(self.each, other.0));
        let pods = part(self.pods, one.1) + part(self.pods, other.1);
        // Two points are a poor median.
        (points + pods).sqrt() * (1.0 + 1.0 / number(one.0))
    }
}

/// Growth of new pods a while, beyond that of old pods in the past.
pub(super) fn growth(fleet: &Fleet, track: &Track, noise: &Noise, began: Minute) -> Difference {
    let of = |keep: &dyn Fn(&Point) -> bool| {
        let mut pods: BTreeMap<usize, Vec<Point>> = BTreeMap::new();
        for point in track.points.iter().filter(|point| keep(point)) {
            pods.entry(point.pod).or_default().push(*point);
        }
        pods.retain(|_, points| points.len() >= 4);
        pods
    };
    let new = of(&|point| fleet.settled(point));
    let old = of(&|point| !fleet.is_new(point) && point.minute < began);
    let slopes = |pods: &BTreeMap<usize, Vec<Point>>| pods.values().filter_map(|points| slope(points)).collect::<Vec<f64>>();
    let Some(size) = robust::quantile_between(&slopes(&new), 0.5) else { return Difference::default() };
    let usual = robust::quantile_between(&slopes(&old), 0.5).unwrap_or(0.0).max(0.0);
    // As of a straight line through each pod's points.
    let precision: f64 = new.values().map(|points| number(points.len()) * (number(points.len()) * number(points.len()) - 1.0) / 12.0).sum();
    let error = (MEDIAN * noise.each * noise.each / precision.max(f64::MIN_POSITIVE)).sqrt();
    let size = size - usual;
    Difference { size, sure: size / error.max(f64::MIN_POSITIVE), error, minutes: new.values().map(Vec::len).max().unwrap_or(0) }
}

/// The middle of the slopes between all pairs of a pod's points, of the last hundred.
fn slope(points: &[Point]) -> Option<f64> {
    let last = points.iter().rev().take(100);
    let mut slopes = Vec::new();
    for (place, one) in last.clone().enumerate() {
        for other in last.clone().skip(place + 1).filter(|other| other.minute != one.minute) {
            #[expect(clippy::cast_precision_loss, reason = "a number of minutes")]
            slopes.push((one.off - other.off) / (one.minute - other.minute) as f64);
        }
    }
    robust::quantile_between(&slopes, 0.5)
}

fn medians(points: &[Point], group: impl Fn(&Point) -> i64) -> Vec<f64> {
    let mut groups: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for point in points {
        groups.entry(group(point)).or_default().push(point.off);
    }
    groups.values().filter_map(|values| robust::quantile_between(values, 0.5)).collect()
}

/// For a normal distribution the inter-quartile range is 1.349 standard deviations.
fn spread(values: &[f64]) -> f64 {
    let at = |share: f64| robust::quantile_between(values, share).unwrap_or(0.0);
    (at(0.75) - at(0.25)) * 0.741
}

#[expect(clippy::cast_precision_loss, reason = "a count of samples")]
fn number(count: usize) -> f64 {
    count.max(1) as f64
}
