//! Follows what users suffer through the graph to whoever adds it: at each service, the time or the errors beyond the usual,
//! times its requests, is an amount per sample; an amount that comes and goes with the users' own, that is large enough to make it, and
//! that no callee of the service has already, was made there.

use std::collections::{BTreeMap, BTreeSet};

use super::recording::{Objective, Recording, Seconds, Series};
use super::robust;
use super::vocabulary::{Kind, kind};

/// Least part of the users' amount that a cause must carry.
const LEAST_SHARE: f64 = 0.15;
/// Least likeness of the two amounts over time.
const LEAST_LIKENESS: f64 = 0.7;
/// Fewest bad answers that are no chance.
const FEW_ERRORS: f64 = 3.0;
/// Fewest samples that teach what is usual.
const LEAST_TAUGHT: usize = 4;

/// A service and how much of what users suffer it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Which.
    pub service: String,
    /// Its amount as a part of the users'.
    pub share: f64,
    /// How alike the two run, 0 to 1.
    pub likeness: f64,
    /// The part of its amount that none of its callees has.
    pub own: f64,
    /// Answers late or answers with errors.
    pub objective: Objective,
    /// Whether all of it is beyond chance.
    pub clear: bool,
}

// === impl Source ===

impl Source {
    /// All of it in one number, 0 to 1.
    #[must_use]
    pub fn score(&self) -> f64 {
        let alike = self.likeness * self.likeness;
        self.share.min(1.0).sqrt() * alike * alike * self.own.sqrt()
    }
}

/// The sources of what users suffer, largest first. Nothing when the entry has no figures; an empty list when they are as usual.
#[must_use]
pub fn sources(recording: &Recording) -> Option<Vec<Source>> {
    let entry = recording.alert.entry.as_deref()?;
    let objectives = match recording.alert.objective {
        Some(objective) => vec![objective],
        None => vec![Objective::Latency, Objective::Availability],
    };
    let traced: Vec<Vec<Source>> = objectives.into_iter().filter_map(|objective| trace(recording, entry, objective)).collect();
    let best = |sources: &Vec<Source>| sources.first().map_or(0.0, Source::score);
    traced.into_iter().max_by(|a, b| best(a).total_cmp(&best(b)))
}

type Amounts = BTreeMap<Seconds, f64>;

fn trace(recording: &Recording, entry: &str, objective: Objective) -> Option<Vec<Source>> {
    let metric = metric(recording, entry, objective)?;
    let felt = amounts(recording, entry, &metric, objective)?;
    if !suffers(recording, entry, &metric, objective, &felt) {
        return Some(Vec::new());
    }
    let edges = recording.edges();
    let reached = below(&edges, entry);
    let mut carried: BTreeMap<&str, (f64, f64, Amounts)> = BTreeMap::new();
    for service in reached.iter().filter(|service| **service != entry && !appeared(recording, service, &metric)) {
        let Some(amounts) = amounts(recording, service, &metric, objective) else { continue };
        let (share, likeness) = (sum(&amounts) / sum(&felt).max(f64::MIN_POSITIVE), likeness(&amounts, &felt));
        carried.insert(service, (share, likeness, amounts));
    }
    // The entry itself may make it: what nobody below carries is its own.
    carried.insert(entry, (1.0, 1.0, felt));
    let mut sources: Vec<Source> = Vec::new();
    for (service, (share, likeness, amounts)) in &carried {
        if *share < LEAST_SHARE || *likeness < LEAST_LIKENESS || objective == Objective::Availability && sum(amounts) < FEW_ERRORS {
            continue;
        }
        let passed: f64 = edges
            .iter()
            .filter(|(caller, callee)| caller == service && callee != service)
            .filter_map(|(_, callee)| carried.get(callee))
            .filter(|(_, alike, _)| *alike >= LEAST_LIKENESS)
            .map(|(_, _, below)| sum(below))
            .sum();
        let own = (1.0 - passed / sum(amounts).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        let clear = objective == Objective::Latency || sum(amounts) >= 2.0 * FEW_ERRORS;
        sources.push(Source { service: (*service).to_owned(), share: *share, likeness: *likeness, own, objective, clear });
    }
    sources.sort_by(|a, b| b.score().total_cmp(&a.score()).then_with(|| a.service.cmp(&b.service)));
    Some(sources)
}

/// The metric that speaks of the objective at the entry: means before medians before tails.
fn metric(recording: &Recording, entry: &str, objective: Objective) -> Option<String> {
    let wanted = match objective {
        Objective::Latency => Kind::Latency,
        Objective::Availability => Kind::Availability,
    };
    let mut names: Vec<&str> =
        recording.series.iter().filter(|series| series.service == entry && kind(&series.metric) == wanted).map(|series| series.metric.as_str()).collect();
    let order = |name: &str| ["avg", "mean", "p50"].iter().position(|word| name.contains(word)).unwrap_or(3);
    names.sort_by_key(|name| (order(name), (*name).to_owned()));
    names.first().map(|name| (*name).to_owned())
}

fn series<'a>(all: &'a [Series], service: &str, metric: &str) -> Option<&'a Series> {
    all.iter().find(|series| series.service == service && series.metric == metric)
}

/// How many asked a service.
pub(super) fn requests<'a>(recording: &'a Recording, service: &str) -> Option<&'a Series> {
    recording.series.iter().find(|series| series.service == service && kind(&series.metric) == Kind::Requests)
}

/// Time or errors beyond the usual at each sample of the incident, times the requests.
fn amounts(recording: &Recording, service: &str, metric: &str, objective: Objective) -> Option<Amounts> {
    let measured = series(&recording.series, service, metric)?;
    let asked: BTreeMap<Seconds, f64> = requests(recording, service)?.points.iter().copied().collect();
    let during: Vec<(Seconds, f64)> = measured.points.iter().copied().filter(|(time, _)| recording.alert.during(*time)).collect();
    let values: Vec<f64> = during.iter().map(|(_, value)| *value).collect();
    let past = past(recording, measured);
    // What is best in the window itself bounds what is usual: other days may have been slower, and what was bad from the beginning
    // is no part of what has just begun.
    let best = robust::quantile(&values, if objective == Objective::Latency { 0.0 } else { 1.0 })?;
    let base = match objective {
        Objective::Latency => robust::quantile(&past, 0.5).map_or(best, |usual| usual.min(best)),
        // What fails as often as it usually does is no part of it either.
        Objective::Availability => robust::quantile(&past, 0.25).map_or(best, |usual| usual.min(best)),
    };
    let whole = whole(&values);
    let amount = |(time, value): (Seconds, f64)| {
        let asked = asked.get(&time).copied().unwrap_or(0.0).max(0.0);
        let beyond = match objective {
            Objective::Latency => value - base,
            Objective::Availability => (base - value) / whole,
        };
        (time, beyond.max(0.0) * asked)
    };
    let amounts: Amounts = during.into_iter().map(amount).collect();
    (!amounts.is_empty()).then_some(amounts)
}

/// What was measured before, or in a time without fault; nothing where that is too little to learn from.
fn past(recording: &Recording, measured: &Series) -> Vec<f64> {
    let before = robust::split(&recording.alert, &measured.points).before;
    if before.len() >= LEAST_TAUGHT {
        return before;
    }
    let reference = series(&recording.reference, &measured.service, &measured.metric);
    let values: Vec<f64> = reference.map(|series| series.points.iter().map(|(_, value)| *value).collect()).unwrap_or_default();
    if values.len() >= LEAST_TAUGHT { values } else { Vec::new() }
}

/// Percent or ratio: all good.
fn whole(values: &[f64]) -> f64 {
    if values.iter().any(|value| *value > 1.5) { 100.0 } else { 1.0 }
}

/// Whether users suffer beyond what is usual, beyond how far that strays, and beyond chance.
fn suffers(recording: &Recording, entry: &str, metric: &str, objective: Objective, felt: &Amounts) -> bool {
    let Some(measured) = series(&recording.series, entry, metric) else { return false };
    let during = robust::split(&recording.alert, &measured.points).during;
    let past = past(recording, measured);
    let quarter = |share: f64| robust::quantile(&past, share);
    let spread = quarter(0.75).zip(quarter(0.25)).map_or(0.0, |(high, low)| high - low);
    match objective {
        Objective::Availability => {
            let worst: Vec<f64> = during.iter().map(|value| -value).collect();
            let rare = quarter(0.25).zip(quarter(0.05)).map(|(low, rare)| rare.min(low - 1.5 * spread));
            let beyond = robust::reached(&worst).is_some_and(|worst| rare.is_none_or(|rare| -worst < rare));
            beyond && sum(felt) >= FEW_ERRORS
        }
        Objective::Latency => {
            let (Some(least), Some(reached)) = (robust::quantile(&during, 0.0), robust::reached(&during)) else { return false };
            let base = quarter(0.5).map_or(least, |usual| usual.min(least));
            reached >= base * 1.15 && reached >= base + 1.5 * spread
        }
    }
}

/// A service that is new: others have a past, it has none. Whoever calls it has changed.
fn appeared(recording: &Recording, service: &str, metric: &str) -> bool {
    let has_past = |service: &str| {
        recording.reference.iter().any(|series| series.service == service)
            || series(&recording.series, service, metric).is_some_and(|series| !robust::split(&recording.alert, &series.points).before.is_empty())
    };
    !recording.reference.is_empty() && !has_past(service)
}

fn sum(amounts: &Amounts) -> f64 {
    amounts.values().sum()
}

/// How alike two amounts run: the cosine between them, over the times of `felt`.
fn likeness(amounts: &Amounts, felt: &Amounts) -> f64 {
    let (mut both, mut one, mut other) = (0.0, 0.0, 0.0);
    let (least_one, least_other) = (least(amounts), least(felt));
    for (time, felt) in felt {
        let (a, b) = (amounts.get(time).copied().unwrap_or(least_one) - least_one, felt - least_other);
        both += a * b;
        one += a * a;
        other += b * b;
    }
    if one > 0.0 && other > 0.0 { both / (one.sqrt() * other.sqrt()) } else { 0.0 }
}

fn least(amounts: &Amounts) -> f64 {
    amounts.values().copied().fold(f64::INFINITY, f64::min)
}

fn below<'a>(edges: &BTreeSet<(&'a str, &'a str)>, entry: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from([entry]);
    let mut open = vec![entry];
    while let Some(caller) = open.pop() {
        for (_, callee) in edges.iter().filter(|(from, _)| *from == caller) {
            if reached.insert(callee) {
                open.push(callee);
            }
        }
    }
    reached
}
