//! The compute seat over a recording: a level and a ratio of processor and memory use against the service's own past.

use std::collections::BTreeMap;

use crate::ballot::Principal;
use crate::diagnosis::robust::{Usual, quantile, split};
use crate::diagnosis::vocabulary::{Kind, class, kind};
use crate::diagnosis::{Recording, Series, Suspicion, graded};
use crate::ids::{Domain, Millionths};

/// Share of what is allowed from which on a processor or memory is full, in percent.
const FULL: f64 = 85.0;
/// Multiple of the usual from which on use has grown.
const GREW: f64 = 2.0;
/// What this seat reads.
const READ: [Kind; 8] = [Kind::Cpu, Kind::CpuShare, Kind::Throttling, Kind::Memory, Kind::MemoryShare, Kind::Restarts, Kind::Node, Kind::Other];

/// Who it suspects. Nothing: no figures of its classes that can be judged.
#[must_use]
pub fn suspect(recording: &Recording) -> Option<Vec<Suspicion>> {
    let typical = typical(recording);
    let mut judged = false;
    let mut found: Vec<(Kind, &str, Suspicion)> = Vec::new();
    for series in &recording.series {
        let kind = kind(&series.metric);
        if !READ.contains(&kind) {
            continue;
        }
        let Some((usual, value)) = compare(recording, series, typical.get(series.metric.as_str()).copied().unwrap_or(0.0)) else { continue };
        judged = true;
        let Some((fault, probability)) = fault(kind, usual, value) else { continue };
        let suspicion = Suspicion {
            service: series.service.clone(),
            domain: Domain::Compute,
            fault: fault.into(),
            probability,
            source: (class(kind), Principal::MetricStore),
            grounds: vec![format!("{} reached {value:.4}, usual {:.4} ± {:.4}", series.metric, usual.0.median, usual.0.scale)],
        };
        found.push((kind, series.metric.as_str(), suspicion));
    }
    let mut best: BTreeMap<&str, &Suspicion> = BTreeMap::new();
    for (kind, metric, suspicion) in &found {
        // What nobody knows the meaning of and several services show is no one's own.
        let shared = *kind == Kind::Other && found.iter().any(|(_, other, theirs)| other == metric && theirs.service != suspicion.service);
        let kept = best.get(suspicion.service.as_str());
        if !shared && kept.is_none_or(|kept| suspicion.probability > kept.probability) {
            best.insert(&suspicion.service, suspicion);
        }
    }
    judged.then(|| best.into_values().cloned().collect())
}

/// The usual size of each metric over all services: under a fair part of it, nothing is worth a word.
fn typical(recording: &Recording) -> BTreeMap<&str, f64> {
    let mut medians: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for series in &recording.series {
        let values: Vec<f64> = series.points.iter().map(|(_, value)| *value).collect();
        if let Some(median) = quantile(&values, 0.5) {
            medians.entry(&series.metric).or_default().push(median);
        }
    }
    medians.into_iter().filter_map(|(metric, medians)| Some((metric, quantile(&medians, 0.5)?))).collect()
}

/// What is usual, with the floor of its multiples, and what was reached.
fn compare(recording: &Recording, series: &Series, typical: f64) -> Option<((Usual, f64), f64)> {
    let halves = split(&recording.alert, &series.points);
    let floor = typical.abs() / 4.0;
    let usual = Usual::learn(&halves.before, floor / 4.0).or_else(|| {
        let reference = recording.reference.iter().find(|other| other.service == series.service && other.metric == series.metric)?;
        Usual::learn(&reference.points.iter().map(|(_, value)| *value).collect::<Vec<f64>>(), floor / 4.0)
    })?;
    let value = halves.risen(usual.median)?;
    Some(((usual, floor), value))
}

fn fault(kind: Kind, (usual, floor): (Usual, f64), value: f64) -> Option<(&'static str, Millionths)> {
    let (ratio, above) = (usual.ratio(value, floor), usual.above(value));
    match kind {
        Kind::CpuShare => {
            let level = percent(value);
            let grew = ratio >= GREW && (above >= 6.0 && level >= 50.0 || above >= 2.0 && level >= FULL);
            let full = level >= FULL && ratio >= 1.35 && above >= 2.0;
            if grew {
                Some(("cpu-saturation", graded(level * ratio, (100.0, 400.0), (850, 985))))
            } else {
                full.then(|| ("cpu-saturation", Millionths::new(750_000)))
            }
        }
        Kind::Cpu => (ratio >= 1.5 * GREW && above >= 8.0).then(|| ("cpu-saturation", graded(ratio, (3.0, 10.0), (600, 900)))),
        Kind::Throttling => (ratio >= GREW && above >= 8.0).then(|| ("cpu-throttling", graded(ratio, (2.0, 10.0), (550, 800)))),
        Kind::MemoryShare => (percent(value) >= 90.0 && ratio >= 1.3 && above >= 6.0).then(|| ("memory-pressure", Millionths::new(350_000))),
        Kind::Memory => (ratio >= GREW && above >= 10.0).then(|| ("memory-pressure", graded(ratio, (2.0, 6.0), (300, 600)))),
        Kind::Restarts => (value >= usual.median + 1.0).then(|| ("restarts", Millionths::new(600_000))),
        // Nobody knows what it means, but something is unlike before.
        Kind::Other => (ratio >= 1.5 * GREW && above >= 8.0).then(|| ("unlike-before", graded(above, (8.0, 40.0), (150, 280)))),
        _ => None,
    }
}

/// A share as percent, whether it came as one or as a ratio.
fn percent(value: f64) -> f64 {
    if value <= 1.5 { value * 100.0 } else { value }
}
