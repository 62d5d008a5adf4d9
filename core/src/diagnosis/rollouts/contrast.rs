//! How a rollout's new pods differ: from the old pods at the same minutes, and from the service's own past beyond what drifts in
//! other services. Both must be seen where both can be; each is held against the noise of the service itself.

mod noise;

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, Minute, Point, Rollout, Side, Track};
use super::measure::{Aspect, squared_share};
use crate::diagnosis::robust;
pub(super) use noise::Noise;

/// Deviations from chance at which a difference is half believed.
const HALF_SURE: f64 = 3.5;
/// Deviations at which it is half believed that old pods beside new ones are spared.
const HALF_SPARED: f64 = 1.8;
/// Minutes right before a rollout that must be as usual.
const JUST_BEFORE: Minute = 5;

/// A difference and what it is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// Its size.
    pub(super) size: f64,
    /// Standard deviations from chance.
    pub(super) sure: f64,
    /// Its own uncertainty.
    pub(super) error: f64,
    /// From how many minutes.
    pub(super) minutes: usize,
}

/// What one track says about a rollout.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) service: String,
    pub(super) signal: String,
    pub(super) aspect: Aspect,
    pub(super) side: Side,
    /// How much it speaks against the rollout, 0 to 1.
    pub(super) score: f64,
    /// How clear the change is, whosever doing.
    pub(super) clear: f64,
    /// How much the whole service changed with the rollout, old pods and new alike.
    pub(super) shared: f64,
    /// New against old pods at the same minutes.
    pub(super) beside: Option<Difference>,
    /// New pods against the past.
    pub(super) since: Option<Difference>,
    /// How fast it grows in new pods beyond old ones, a while.
    pub(super) growth: f64,
    /// In the signal's unit, or as a share of failures: new pods, old pods beside them, the past.
    pub(super) levels: (f64, Option<f64>, Option<f64>),
    /// The whiles that were looked at.
    pub(super) window: (Minute, Minute),
}

// === impl Finding ===

impl Finding {
    /// Whether old pods, at the same minutes, do show that it is the version.
    pub(super) fn is_clean(&self) -> bool {
        self.beside.is_some_and(|beside| beside.minutes >= 2 && beside.sure >= 3.0)
    }
}

/// All findings of all candidates that were rolled out.
pub(super) fn findings(fleet: &Fleet) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &fleet.candidates {
        let Some(rollout) = fleet.rollouts.get(service) else { continue };
        findings.extend(fleet.tracks.iter().filter(|track| track.service == *service).filter_map(|track| versions(fleet, track, rollout)));
        findings.extend(fleet.tracks.iter().filter(|track| track.side == Side::To(service.clone())).filter_map(|track| asked(fleet, track, rollout, service)));
    }
    findings
}

/// What a track of the service itself says: as a whole, and later. What goes away again was a start, and no fault.
fn versions(fleet: &Fleet, track: &Track, rollout: &Rollout) -> Option<Finding> {
    let new: BTreeSet<Minute> = track.points.iter().filter(|point| fleet.settled(point)).map(|point| point.minute).collect();
    let (first, last) = (*new.first()?, *new.last()?);
    let middle = first + (last - first) / 2;
    let noise = Noise::of(fleet, track, rollout.began);
    let (beside, old) = beside(fleet, track, &noise, (first, last));
    let whole = look(fleet, track, rollout, &noise, (beside, beside, old), (first, last))?;
    let (later, old) = self::beside(fleet, track, &noise, (middle, last));
    // A last old pod or two say less than what was seen before.
    let later = later.filter(|later| later.minutes >= 3);
    let Some(late) = look(fleet, track, rollout, &noise, (later, beside, old), (middle, last)) else { return Some(whole) };
    let goes_on = if new.range(middle..).count() >= 4 { late.score } else { late.score.max(whole.score) };
    let mut best = if late.score > whole.score { late } else { whole };
    best.score = (best.score + goes_on) / 2.0;
    Some(best)
}

/// What callers of the service feel from the minute on in which its first new pod was ready: they cannot tell versions apart.
fn asked(fleet: &Fleet, track: &Track, rollout: &Rollout, service: &str) -> Option<Finding> {
    let window = (rollout.ready, rollout.ready.saturating_add(2 * JUST_BEFORE));
    let after: Vec<Point> = track.points.iter().copied().filter(|point| within(point, window)).collect();
    let since = since(fleet, track, rollout, &Noise::of(fleet, track, rollout.began), Drift::of(fleet, track, window), &after)?;
    let shared = track.measure.weight * track.measure.matters(since.size) * squared_share(since.sure / HALF_SURE);
    let level = |off: f64| if track.measure.absolute { off + track.usual } else { (off + 1.0) * track.usual };
    Some(Finding {
        service: service.to_owned(),
        signal: track.signal.clone(),
        aspect: track.measure.aspect,
        side: Side::From(track.service.clone()),
        score: 0.0,
        clear: shared,
        shared,
        beside: None,
        since: Some(since),
        growth: 0.0,
        levels: (level(median(&after)?), None, Some(level(0.0))),
        window,
    })
}

/// New against old beside them in the window, the same over the whole time, and the level of the old.
type Beside = (Option<Difference>, Option<Difference>, Option<f64>);

fn look(fleet: &Fleet, track: &Track, rollout: &Rollout, noise: &Noise, (beside, ever, old): Beside, window: (Minute, Minute)) -> Option<Finding> {
    let new: Vec<Point> = track.points.iter().copied().filter(|point| fleet.settled(point) && within(point, window)).collect();
    let since = since(fleet, track, rollout, noise, Drift::of(fleet, track, window), &new);
    let measure = track.measure;
    let (size, sure, mut sided) = match (beside, since) {
        (Some(beside), Some(since)) => {
            let sure = (beside.sure.clamp(0.0, 30.0) + since.sure.clamp(0.0, 30.0)) / 2.0_f64.sqrt();
            let part = part(track, beside, since);
            (since.size * part, sure, spared(beside, part))
        }
        (Some(beside), None) => (beside.size, beside.sure, 0.85),
        (None, Some(since)) => match ever {
            Some(ever) => {
                let part = part(track, ever, since);
                (since.size * part, since.sure, 0.95 * spared(ever, part))
            }
            None => (since.size, since.sure, 0.85 * prompt(fleet, track, rollout, since.size)),
        },
        (None, None) => return None,
    };
    let (mut ahead, mut grows, mut growth) = (size, 1.0, 0.0);
    if measure.aspect == Aspect::Memory {
        let grown = noise::growth(fleet, track, noise, rollout.began);
        growth = grown.size;
        // A version may need more memory; one that needs ever more is at fault, before its level is far off.
        ahead = size.max((growth * 10.0).min(3.0 * size));
        grows = 0.45 + 0.55 * squared_share(grown.sure / HALF_SURE);
        sided = sided.max(0.85 * squared_share(grown.sure / HALF_SURE));
    }
    let score = measure.weight * sided * grows * squared_share(sure / HALF_SURE) * measure.matters(ahead);
    let clear = since.or(beside).map_or(0.0, |found| measure.matters(found.size) * squared_share(found.sure / HALF_SURE));
    let shared = since.map_or(0.0, |since| {
        let risen = since.size.min(jump(fleet, track, rollout));
        measure.weight * measure.matters(risen) * squared_share(since.sure / HALF_SURE)
    });
    let level = |off: f64| if measure.absolute { off + track.usual } else { (off + 1.0) * track.usual };
    let levels = (level(median(&new)?), old.map(level), since.map(|_| level(noise.usual)));
    let (service, signal, side) = (track.service.clone(), track.signal.clone(), track.side.clone());
    Some(Finding { service, signal, aspect: measure.aspect, side, score, clear, shared, beside, since, growth, levels, window })
}

/// Which part of the rise old pods were spared. What few minutes measured badly may be larger than it seems, up to its error.
fn part(track: &Track, beside: Difference, since: Difference) -> f64 {
    if since.size <= 0.0 {
        return 0.0;
    }
    let more = (beside.size + beside.error).max(0.0);
    let spared = if track.measure.absolute { more } else { (1.0 + since.size) * more / (1.0 + more) };
    (spared / since.size).min(1.0)
}

/// How far it is believed that it is the version: old pods are surely spared, and from most of it.
fn spared(beside: Difference, part: f64) -> f64 {
    let sure = beside.sure.max(0.0) / HALF_SPARED;
    squared_share(sure * sure) * squared_share(3.0 * part) / squared_share(3.0)
}

/// Without old pods beside the new ones: how much of the difference was there in their first minutes.
fn prompt(fleet: &Fleet, track: &Track, rollout: &Rollout, size: f64) -> f64 {
    let early = of(track, |point| fleet.settled(point) && point.minute <= rollout.ready.saturating_add(JUST_BEFORE));
    let early = robust::quantile_between(&early, 0.5).map_or(size, |early| apart(track, early, just_before(fleet, track, rollout)));
    0.3 + 0.7 * squared_share(3.0 * early / size.max(f64::MIN_POSITIVE))
}

/// New pods against old ones, minute by minute, so that whatever happened to both is gone; and the level of the old ones.
fn beside(fleet: &Fleet, track: &Track, noise: &Noise, window: (Minute, Minute)) -> (Option<Difference>, Option<f64>) {
    let mut minutes: BTreeMap<Minute, [Vec<f64>; 2]> = BTreeMap::new();
    for point in track.points.iter().filter(|point| within(point, window) && (fleet.settled(point) || !fleet.is_new(point))) {
        let [new, old] = minutes.entry(point.minute).or_default();
        if fleet.is_new(point) { new.push(point.off) } else { old.push(point.off) }
    }
    minutes.retain(|_, [new, old]| !new.is_empty() && !old.is_empty());
    let differences: Vec<f64> = minutes.values().map(|[new, old]| apart(track, mean(new), mean(old))).collect();
    let Some(size) = robust::quantile_between(&differences, 0.5) else { return (None, None) };
    let count = |side: usize| minutes.values().filter_map(|sides| sides.get(side)).map(Vec::len).sum::<usize>();
    let pods = |new: bool| {
        let of = |point: &&Point| minutes.contains_key(&point.minute) && fleet.is_new(point) == new;
        track.points.iter().filter(of).map(|point| point.pod).collect::<BTreeSet<usize>>().len()
    };
    let error = noise.error((count(0), pods(true)), (count(1), pods(false)));
    let olds: Vec<f64> = minutes.values().map(|[_, old]| mean(old)).collect();
    (Some(Difference { size, sure: size / error, error, minutes: minutes.len() }), robust::quantile_between(&olds, 0.5))
}

/// New pods against the past: what was so right before the rollout, or drifts in other services too, is none of its doing.
fn since(fleet: &Fleet, track: &Track, rollout: &Rollout, noise: &Noise, drift: Drift, new: &[Point]) -> Option<Difference> {
    if noise.taught.0 < 4 {
        return None;
    }
    let now = median(new)?;
    let size = apart(track, now, just_before(fleet, track, rollout).max(drift.size).max(noise.usual));
    let pods = new.iter().map(|point| point.pod).collect::<BTreeSet<usize>>().len();
    let error = noise.error((new.len(), pods), noise.taught);
    let error = (error * error + noise.waves * noise.waves + drift.spread * drift.spread).sqrt();
    let minutes = new.iter().map(|point| point.minute).collect::<BTreeSet<Minute>>().len();
    Some(Difference { size, sure: size / error, error, minutes })
}

/// How much the service as a whole rose when the first new pod was ready.
fn jump(fleet: &Fleet, track: &Track, rollout: &Rollout) -> f64 {
    let after = of(track, |point| (rollout.ready..=rollout.ready.saturating_add(2 * JUST_BEFORE)).contains(&point.minute));
    robust::quantile_between(&after, 0.5).map_or(0.0, |after| apart(track, after, just_before(fleet, track, rollout)))
}

fn just_before(fleet: &Fleet, track: &Track, rollout: &Rollout) -> f64 {
    let before = of(track, |point| !fleet.is_new(point) && (rollout.began.saturating_sub(JUST_BEFORE)..rollout.began).contains(&point.minute));
    robust::quantile_between(&before, 0.5).unwrap_or(0.0)
}

/// What the same signal did in other services at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Drift {
    /// Common to most of them; never less than nothing.
    pub(super) size: f64,
    /// How differently they do.
    pub(super) spread: f64,
}

// === impl Drift ===

impl Drift {
    /// Whoever calls the service, near or far, suffers with it and says nothing; the lower of the others say what is common.
    pub(super) fn of(fleet: &Fleet, track: &Track, window: (Minute, Minute)) -> Self {
        let above = fleet.above(&track.service);
        let strangers = |other: &&Track| other.signal == track.signal && other.service != track.service && !above.contains(other.service.as_str());
        let mut shifts: BTreeMap<&str, f64> = BTreeMap::new();
        for other in fleet.tracks.iter().filter(strangers) {
            if let Some(shift) = robust::quantile_between(&of(other, |point| within(point, window)), 0.5) {
                shifts.entry(&other.service).or_insert(shift);
            }
        }
        let shifts: Vec<f64> = shifts.into_values().collect();
        let at = |share: f64| robust::quantile_between(&shifts, share).unwrap_or(0.0);
        if shifts.len() < 2 { Self::default() } else { Self { size: at(0.33).max(0.0), spread: (at(0.5) - at(0.25)) * 1.48 } }
    }
}

/// How anomalous a service is as its callers feel it, rollouts or none, 0 to 1.
pub(super) fn felt(fleet: &Fleet, service: &str, window: (Minute, Minute)) -> f64 {
    let own = |track: &&Track| track.service == service && !matches!(track.side, Side::To(_));
    let asked = |track: &&Track| track.side == Side::To(service.to_owned());
    let score = |track: &Track| {
        let Some(now) = robust::quantile_between(&of(track, |point| within(point, window)), 0.5) else { return 0.0 };
        let noise = Noise::of(fleet, track, fleet.began().min(window.0));
        let drift = Drift::of(fleet, track, window);
        let size = apart(track, now, drift.size.max(0.0));
        let error = noise.error((noise.taught.0.min(9), noise.taught.1), noise.taught);
        let error = (error * error + noise.waves * noise.waves + drift.spread * drift.spread).sqrt();
        track.measure.matters(size) * squared_share(size / error / HALF_SURE)
    };
    let felt = || fleet.tracks.iter().filter(|track| track.measure.aspect.is_felt());
    let best = |scores: Vec<f64>| scores.into_iter().fold(0.0, f64::max);
    let own = best(felt().filter(own).map(score).collect());
    if own > 0.0 { own } else { best(felt().filter(asked).map(score).collect()) }
}

/// The difference of two distances from the usual.
fn apart(track: &Track, one: f64, other: f64) -> f64 {
    if track.measure.absolute { one - other } else { (1.0 + one) / (1.0 + other).max(0.05) - 1.0 }
}

fn within(point: &Point, (first, last): (Minute, Minute)) -> bool {
    (first..=last).contains(&point.minute)
}

fn of(track: &Track, keep: impl Fn(&Point) -> bool) -> Vec<f64> {
    track.points.iter().filter(|point| keep(point)).map(|point| point.off).collect()
}

fn median(points: &[Point]) -> Option<f64> {
    robust::quantile_between(&points.iter().map(|point| point.off).collect::<Vec<f64>>(), 0.5)
}

#[expect(clippy::cast_precision_loss, reason = "a number of pods")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
