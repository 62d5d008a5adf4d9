//! Where to look when nobody knows: services by how unlike before they are, whatever it means. It is an order and no cause: nothing is
//! done by it, and no probability stands beside it.

use std::collections::BTreeMap;

use super::recording::{Alert, Recording, Side};
use super::robust::{Split, Usual, held, quantile, split};
use super::vocabulary::{Kind, kind};

/// Spreads from the usual under which nothing is unlike before.
const LEAST: f64 = 4.0;
/// Spreads from the usual that count half of what any number of them does.
const HALF: f64 = 12.0;
/// Part of the typical size of a metric under which a change is too small to see.
const SMALL: f64 = 0.1;
/// What remains of a caller's lateness or errors that its callee has as well.
const EXPLAINED: f64 = 0.25;

/// How unlike before the first must be to be told first, and how much more than the next one.
const CLEAR: f64 = 0.6;
const AHEAD: f64 = 1.5;

/// Which way a figure goes when something is wrong, and how much that says.
fn direction(kind: Kind) -> (bool, bool, f64) {
    match kind {
        Kind::Availability => (false, true, 1.0),
        Kind::Requests | Kind::Traffic => (true, true, 0.4),
        Kind::Other | Kind::Node => (true, false, 0.3),
        _ => (true, false, 1.0),
    }
}

/// Kinds that callers suffer from their callees.
fn is_suffered(kind: Kind) -> bool {
    matches!(kind, Kind::Latency | Kind::ClientLatency | Kind::Errors | Kind::Availability)
}

/// One figure of one service.
struct Figure<'a> {
    service: &'a str,
    name: &'a str,
    kind: Kind,
    before: Option<Vec<f64>>,
    split: Split,
}

/// The services that are unlike before, most of all first; with how much they are.
#[must_use]
pub fn unlike_before(recording: &Recording) -> Vec<(&str, f64)> {
    order(recording, &recording.alert)
}

/// The service that stands out as unlike before wherever within two steps the alert lies, and whatever earlier trouble is known.
#[must_use]
pub fn stands_out(recording: &Recording) -> Option<&str> {
    let mut first = None;
    for steps in -2..=2_i64 {
        let at = recording.alert.at.saturating_add(steps.saturating_mul(recording.alert.step.max(1)));
        for known in [recording.alert.known.clone(), Vec::new()] {
            let order = order(recording, &Alert { at, known, ..recording.alert.clone() });
            let (service, score) = *order.first()?;
            let next = order.get(1).map_or(0.0, |(_, score)| *score);
            if score < CLEAR || score < next * AHEAD || first.is_some_and(|first| first != service) {
                return None;
            }
            first = Some(service);
        }
    }
    first
}

fn order<'a>(recording: &'a Recording, alert: &Alert) -> Vec<(&'a str, f64)> {
    let figures = figures(recording, alert);
    let typical = typical(&figures);
    let mut scores: BTreeMap<&str, BTreeMap<Kind, f64>> = BTreeMap::new();
    for figure in &figures {
        let floor = typical.get(figure.name).copied().unwrap_or(0.0) * SMALL;
        if let Some(score) = figure.score(floor) {
            let kept = scores.entry(figure.service).or_default().entry(figure.kind).or_insert(0.0);
            *kept = kept.max(score);
        }
    }
    let mut callees: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (caller, callee) in recording.edges() {
        callees.entry(caller).or_default().push(callee);
    }
    let own = |service: &str, kind: Kind, score: f64| {
        let theirs = |callee: &&str| scores.get(callee).and_then(|kinds| kinds.get(&kind)).copied().unwrap_or(0.0);
        let explained = is_suffered(kind) && callees.get(service).is_some_and(|callees| callees.iter().any(|callee| theirs(callee) >= score / 2.0));
        if explained { score * EXPLAINED } else { score }
    };
    let sum = |service: &str, kinds: &BTreeMap<Kind, f64>| kinds.iter().map(|(kind, score)| own(service, *kind, *score)).sum::<f64>();
    let mut order: Vec<(f64, &str)> = scores.iter().map(|(service, kinds)| (sum(service, kinds), *service)).collect();
    order.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    order.into_iter().map(|(score, service)| (service, score)).collect()
}

fn figures<'a>(recording: &'a Recording, alert: &Alert) -> Vec<Figure<'a>> {
    let series = recording.series.iter().map(|series| {
        let reference = recording.reference.iter().find(|other| other.service == series.service && other.metric == series.metric);
        Figure {
            service: &series.service,
            name: &series.metric,
            kind: kind(&series.metric),
            before: reference.map(|reference| reference.points.iter().map(|(_, value)| *value).collect()),
            split: split(alert, &series.points),
        }
    });
    let calls = recording.calls.iter().map(|call| Figure {
        service: &call.callee,
        name: if call.side == Side::Client { "calls as clients see them" } else { "calls as servers see them" },
        kind: if call.side == Side::Client { Kind::ClientLatency } else { Kind::Latency },
        before: None,
        split: split(alert, &call.points),
    });
    series.chain(calls).collect()
}

/// The usual size of each figure over all services.
fn typical<'a>(figures: &[Figure<'a>]) -> BTreeMap<&'a str, f64> {
    let mut medians: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for figure in figures {
        if let Some(median) = quantile(figure.past(), 0.5) {
            medians.entry(figure.name).or_default().push(median.abs());
        }
    }
    medians.into_iter().filter_map(|(name, medians)| Some((name, quantile(&medians, 0.5)?))).collect()
}

// === impl Figure ===

impl Figure<'_> {
    fn past(&self) -> &[f64] {
        match &self.before {
            Some(reference) if self.split.before.len() < super::robust::LEAST_TAUGHT => reference,
            _ => &self.split.before,
        }
    }

    /// How far it went, between nothing and one; nothing when it is as usual.
    fn score(&self, floor: f64) -> Option<f64> {
        let usual = Usual::learn(self.past(), floor)?;
        let (rises, falls, weight) = direction(self.kind);
        let turned: Vec<f64> = self.split.during.iter().map(|value| -value).collect();
        let up = held(&self.split.during).filter(|_| rises).map(|level| (level - usual.median) / usual.scale);
        let down = held(&turned).filter(|_| falls).map(|level| (level + usual.median) / usual.scale);
        let far = up.into_iter().chain(down).filter(|far| far.is_finite() && *far >= LEAST).max_by(f64::total_cmp)?;
        Some(weight * far / (far + HALF))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Series;

    fn series(service: &str, metric: &str, now: f64) -> Series {
        let points = (0..40).map(|n| (n * 60, if n >= 30 { now } else { 10.0 })).collect();
        Series { service: service.into(), metric: metric.into(), points }
    }

    fn recording(series: Vec<Series>) -> Recording {
        let edge = |caller: &str, callee: &str| (caller.to_owned(), callee.to_owned());
        Recording { alert: Alert { at: 1_800, step: 60, ..Alert::default() }, graph: [edge("web", "orders")].into(), series, ..Recording::default() }
    }

    fn names(recording: &Recording) -> Vec<&str> {
        unlike_before(recording).into_iter().map(|(service, _)| service).collect()
    }

    #[test]
    fn who_is_most_unlike_before_comes_first_and_nobody_else_comes() {
        let recording = recording(vec![series("web", "cpu", 30.0), series("orders", "cpu", 90.0), series("stock", "cpu", 11.0)]);
        assert_eq!(names(&recording), ["orders", "web"]);
    }

    #[test]
    fn what_a_callee_has_as_well_weighs_less_in_its_caller() {
        let recording = recording(vec![series("web", "latency_p90", 90.0), series("orders", "latency_p90", 80.0)]);
        assert_eq!(names(&recording), ["orders", "web"]);
    }

    #[test]
    fn availability_falls_and_requests_go_either_way() {
        let recording = recording(vec![series("web", "availability", 90.0), series("orders", "availability", 2.0), series("stock", "requests", 1.0)]);
        assert_eq!(names(&recording), ["orders", "stock"]);
    }

    #[test]
    fn the_first_stands_out_or_nobody_does() {
        let told = |series: Vec<Series>| stands_out(&recording(series)).map(str::to_owned);
        let far = |service: &str| vec![series(service, "cpu", 900.0), series(service, "latency_p90", 900.0)];
        assert_eq!(told(far("orders")), Some("orders".to_owned()));
        assert_eq!(told([far("orders"), far("stock")].concat()), None);
        assert_eq!(told(vec![series("orders", "cpu", 16.0)]), None);
        assert_eq!(told(vec![]), None);
    }

    #[test]
    fn nothing_recorded_is_nothing_unlike() {
        assert!(unlike_before(&Recording::default()).is_empty());
    }
}
