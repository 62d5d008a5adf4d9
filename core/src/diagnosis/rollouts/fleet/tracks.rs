//! Tracks: one signal of one service on one side, each point as its distance from the usual of that very stream, so that streams of
//! different callers can be put together.

use std::collections::BTreeMap;

use super::super::measure::{Aspect, Measure};
use super::super::{Rollouts, Sample};
use super::{Clock, Fleet, Minute};
use crate::diagnosis::robust;

/// Fewest points that teach what is usual.
const LEAST_TAUGHT: usize = 4;
/// Sizes beyond it are cut, so that no sum of them overflows.
const MOST: f64 = 1e9;

/// Which side of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Side {
    /// The pod itself, or all its callers together.
    Whole,
    /// What this one asks of it.
    From(String),
    /// What it asks of this one.
    To(String),
}

/// One pod's while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Point {
    pub(in super::super) minute: Minute,
    /// Place among the fleet's pods.
    pub(in super::super) pod: usize,
    /// Distance from the usual: a share of it, or a difference. More is worse.
    pub(in super::super) off: f64,
}

/// One signal of one service.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Track {
    pub(in super::super) service: String,
    pub(in super::super) signal: String,
    pub(in super::super) measure: Measure,
    pub(in super::super) side: Side,
    /// By minute, then pod.
    pub(in super::super) points: Vec<Point>,
    /// What `off` zero is, in the signal's unit.
    pub(in super::super) usual: f64,
}

type Cells = BTreeMap<(Minute, usize), (f64, f64)>;

/// All tracks of the fleet's samples.
pub(super) fn tracks(fleet: &Fleet, rollouts: &Rollouts, clock: &Clock, places: &[usize]) -> Vec<Track> {
    let mut tracks = Vec::new();
    for (column, signal) in rollouts.signals.iter().enumerate() {
        let values: Vec<f64> = rollouts.samples.iter().filter_map(|sample| value(sample, column)).collect();
        let Some(measure) = Measure::of(signal, &values) else { continue };
        let mut streams: BTreeMap<(&str, Side), Cells> = BTreeMap::new();
        for (sample, pod) in rollouts.samples.iter().zip(places) {
            let Some(value) = value(sample, column) else { continue };
            let side = if measure.aspect.is_felt() { side(sample) } else { Side::Whole };
            let cell = streams.entry((&sample.service, side)).or_default().entry((clock.minute(sample.time), *pod)).or_insert((0.0, 0.0));
            cell.0 += measure.badness(value);
            cell.1 += 1.0;
        }
        let usuals: Vec<f64> = streams.values().filter_map(|cells| usual(fleet, cells)).collect();
        let least = robust::quantile(&usuals, 0.5).unwrap_or(0.0).abs() * 0.25;
        let mut whole: BTreeMap<&str, Vec<Track>> = BTreeMap::new();
        for ((service, side), cells) in streams {
            let Some(track) = track(fleet, service, signal, measure, side, &cells, least) else { continue };
            whole.entry(service).or_default().push(track);
        }
        for own in whole.into_values() {
            tracks.extend(together(&own));
            tracks.extend(own);
        }
    }
    tracks
}

fn value(sample: &Sample, column: usize) -> Option<f64> {
    sample.values.get(column).copied().flatten().filter(|value| value.is_finite()).map(|value| value.clamp(-MOST, MOST))
}

fn side(sample: &Sample) -> Side {
    match () {
        () if sample.callee == sample.service && !sample.caller.is_empty() => Side::From(sample.caller.clone()),
        () if sample.caller == sample.service && !sample.callee.is_empty() => Side::To(sample.callee.clone()),
        () => Side::Whole,
    }
}

/// What is usual on a stream: before the service's rollout, and without one before any; else what old pods do.
fn usual(fleet: &Fleet, cells: &Cells) -> Option<f64> {
    let old = |keep: &dyn Fn(&Minute, &str) -> bool| -> Vec<f64> {
        let of = |((minute, pod), (sum, count)): (&(Minute, usize), &(f64, f64))| {
            let pod = fleet.pods.get(*pod).filter(|pod| !pod.new)?;
            keep(minute, &pod.service).then_some(sum / count)
        };
        cells.iter().filter_map(of).collect()
    };
    let began = |service: &str| fleet.rollouts.get(service).map_or(fleet.began(), |rollout| rollout.began);
    let past = old(&|minute, service| *minute < began(service));
    let taught = if past.len() >= LEAST_TAUGHT { past } else { old(&|_, _| true) };
    if taught.is_empty() { None } else { robust::quantile(&taught, 0.5) }
}

fn track(fleet: &Fleet, service: &str, signal: &str, measure: Measure, side: Side, cells: &Cells, least: f64) -> Option<Track> {
    let mut usual = usual(fleet, cells)?;
    if !measure.absolute {
        usual = usual.max(least);
        if usual <= 0.0 {
            return None;
        }
    }
    let off = |value: f64| if measure.absolute { value - usual } else { value / usual - 1.0 };
    let point = |((minute, pod), (sum, count)): (&(Minute, usize), &(f64, f64))| Point { minute: *minute, pod: *pod, off: off(sum / count).clamp(-MOST, MOST) };
    Some(Track { service: service.to_owned(), signal: signal.to_owned(), measure, side, points: cells.iter().map(point).collect(), usual })
}

/// All callers of a pod together, where there are several.
fn together(own: &[Track]) -> Option<Track> {
    let asked: Vec<&Track> = own.iter().filter(|track| matches!(track.side, Side::From(_))).collect();
    let first = asked.first().filter(|track| asked.len() > 1 && track.measure.aspect != Aspect::Node)?;
    let mut cells: Cells = BTreeMap::new();
    for point in asked.iter().flat_map(|track| &track.points) {
        let cell = cells.entry((point.minute, point.pod)).or_insert((0.0, 0.0));
        cell.0 += point.off;
        cell.1 += 1.0;
    }
    let points = cells.iter().map(|((minute, pod), (sum, count))| Point { minute: *minute, pod: *pod, off: sum / count }).collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of callers")]
    let usual = asked.iter().map(|track| track.usual).sum::<f64>() / asked.len() as f64;
    Some(Track { side: Side::Whole, points, usual, ..(*first).clone() })
}
