//! Where to look on: services by how unlike before they are, whatever it means. It is an order and no cause: nothing is done by it, no
//! probability stands beside it, and it is never told first, since a step of the alert may put another one in front.

use std::collections::BTreeMap;

use super::recording::{Recording, Seconds, Side};
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

/// The services that are unlike before, most of all first.
#[must_use]
pub fn unlike_before(recording: &Recording) -> Vec<&str> {
    let figures = figures(recording);
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
    order.into_iter().map(|(_, service)| service).collect()
}

fn figures(recording: &Recording) -> Vec<Figure<'_>> {
    let references: BTreeMap<(&str, &str), &[(Seconds, f64)]> =
        recording.reference.iter().map(|series| ((series.service.as_str(), series.metric.as_str()), series.points.as_slice())).collect();
    let series = recording.series.iter().map(|series| {
        let reference = references.get(&(series.service.as_str(), series.metric.as_str()));
        Figure {
            service: &series.service,
            name: &series.metric,
            kind: kind(&series.metric),
            before: reference.map(|reference| reference.iter().map(|(_, value)| *value).collect()),
            split: split(&recording.alert, &series.points),
        }
    });
    let calls = recording.calls.iter().map(|call| Figure {
        service: &call.callee,
        name: if call.side == Side::Client { "calls as clients see them" } else { "calls as servers see them" },
        kind: if call.side == Side::Client { Kind::ClientLatency } else { Kind::Latency },
        before: None,
        split: split(&recording.alert, &call.points),
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
    use crate::diagnosis::{Alert, Series};

    fn series(service: &str, metric: &str, now: f64) -> Series {
        let points = (0..40).map(|n| (n * 60, if n >= 30 { now } else { 10.0 })).collect();
        Series { service: service.into(), metric: metric.into(), points }
    }

    fn recording(series: Vec<Series>) -> Recording {
        let edge = |caller: &str, callee: &str| (caller.to_owned(), callee.to_owned());
        Recording { alert: Alert { at: 1_800, step: 60, ..Alert::default() }, graph: [edge("web", "orders")].into(), series, ..Recording::default() }
    }

    #[test]
    fn who_is_most_unlike_before_comes_first_and_nobody_else_comes() {
        let recording = recording(vec![series("web", "cpu", 30.0), series("orders", "cpu", 90.0), series("stock", "cpu", 11.0)]);
        assert_eq!(unlike_before(&recording), ["orders", "web"]);
    }

    #[test]
    fn what_a_callee_has_as_well_weighs_less_in_its_caller() {
        let recording = recording(vec![series("web", "latency_p90", 90.0), series("orders", "latency_p90", 80.0)]);
        assert_eq!(unlike_before(&recording), ["orders", "web"]);
    }

    #[test]
    fn availability_falls_and_requests_go_either_way() {
        let recording = recording(vec![series("web", "availability", 90.0), series("orders", "availability", 2.0), series("stock", "requests", 1.0)]);
        assert_eq!(unlike_before(&recording), ["orders", "stock"]);
    }

    #[test]
    fn nothing_recorded_is_nothing_unlike() {
        assert!(unlike_before(&Recording::default()).is_empty());
    }
}
