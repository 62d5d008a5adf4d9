//! When and how far each series left its usual level.

use super::{Incident, Series};
use crate::diagnosis::robust::quantile;

/// Fewest samples that say something.
const FEWEST: usize = 6;
/// Samples in a row that make a shift; two are a blip.
const ROW: usize = 3;

/// One series that left its usual level for a while.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shift<'a> {
    pub(super) service: &'a str,
    pub(super) metric: &'a str,
    /// First sample off its level.
    pub(super) onset: i64,
    /// Whether it rose.
    pub(super) rose: bool,
    /// Whether it crept instead of leaping.
    pub(super) crept: bool,
    /// 0 to 1, by how many tolerances it is off.
    pub(super) strength: f64,
    /// For people.
    pub(super) figures: (f64, f64),
}

/// Every shift, in the order of service and metric.
pub(super) fn shifts(incident: &Incident) -> Vec<Shift<'_>> {
    let mut all: Vec<Shift<'_>> = incident.series.iter().filter_map(|series| shift(series, incident.alert.at)).collect();
    all.sort_by(|a, b| (a.service, a.metric, a.onset).cmp(&(b.service, b.metric, b.onset)));
    all
}

fn shift(series: &Series, alert: Option<i64>) -> Option<Shift<'_>> {
    let mut samples: Vec<(i64, f64)> = series.samples.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let known = samples.iter().filter(|(at, _)| alert.is_none_or(|alert| *at <= alert)).count();
    // The beginning only: what creeps must not teach that creeping is usual.
    let learned = (known / 6).clamp(FEWEST, 60);
    let values: Vec<f64> = samples.iter().take(learned).map(|(_, value)| *value).collect();
    if values.len() < FEWEST || samples.len() < learned + ROW {
        return None;
    }
    let median = quantile(&values, 0.5)?;
    let range = quantile(&values, 0.9)? - quantile(&values, 0.1)?;
    let share = super::words::begins(&super::words::words(series.metric.as_str()), "ratio");
    let floor = if share { 0.01 } else { 1e-9 };
    let tolerance = (range * 2.0).max(median.abs() * 0.2).max(floor);
    let run = longest_run(&samples, median, tolerance, alert)?;
    let off: Vec<f64> = run.iter().map(|(_, value)| (value - median).abs() / tolerance).collect();
    let size = quantile(&off, 0.75)?;
    let level = quantile(&run.iter().map(|(_, value)| *value).collect::<Vec<_>>(), 0.5)?;
    let quarter = run.len() / 4;
    let early = quantile(off.get(..quarter.max(1))?, 0.5)?;
    let late = quantile(off.get(run.len() - quarter.max(1)..)?, 0.5)?;
    Some(Shift {
        service: &series.service,
        metric: &series.metric,
        onset: run.first()?.0,
        rose: level > median,
        crept: run.len() >= 12 && late > early * 2.0,
        strength: finite(size / (size + 1.5)),
        figures: (finite(median), finite(level)),
    })
}

/// The longest time that samples were off to the same side, of those that began before the alert was two minutes old.
fn longest_run(samples: &[(i64, f64)], median: f64, tolerance: f64, alert: Option<i64>) -> Option<&[(i64, f64)]> {
    let side = |value: f64| {
        if value > median + tolerance {
            1_i8
        } else if value < median - tolerance {
            -1
        } else {
            0
        }
    };
    samples
        .chunk_by(|a, b| side(a.1) == side(b.1))
        .filter(|run| {
            run.len() >= ROW && run.first().is_some_and(|(at, value)| side(*value) != 0 && alert.is_none_or(|alert| *at <= alert.saturating_add(120)))
        })
        .reduce(|best, run| if run.len() > best.len() { run } else { best })
}

/// Numbers that overflowed are large, not unknown.
fn finite(value: f64) -> f64 {
    if value.is_nan() { 1.0 } else { value.clamp(-1e300, 1e300) }
}
