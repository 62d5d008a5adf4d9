//! What baselines see: each series as what is usual and what came after the alert.

use std::collections::BTreeMap;

use assent_core::diagnosis::vocabulary::{Kind, kind};
use assent_core::diagnosis::{Recording, Seconds, Series};

/// What is read, as by the published implementations: with more series, all of them only do worse.
const READ: [Kind; 7] = [Kind::Cpu, Kind::CpuShare, Kind::Memory, Kind::MemoryShare, Kind::Latency, Kind::Availability, Kind::Errors];

/// One series in two parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Column {
    pub(crate) service: String,
    /// Of the fault-free reference where there is one, else from before the alert.
    pub(crate) usual: Vec<f64>,
    /// From a step before the alert on, which may be late by as much.
    pub(crate) after: Vec<f64>,
}

/// The series of services. An entry that nothing calls or is called by is where users come in, and nobody's fault.
pub(crate) fn columns(recording: &Recording) -> Vec<Column> {
    let edges = recording.edges();
    let outside =
        recording.alert.entry.as_deref().filter(|entry| !edges.is_empty() && !edges.iter().any(|(caller, callee)| caller == entry || callee == entry));
    let reference: BTreeMap<(&str, &str), &Series> =
        recording.reference.iter().map(|series| ((series.service.as_str(), series.metric.as_str()), series)).collect();
    let onset = recording.alert.at.saturating_sub(recording.alert.step);
    let column = |series: &Series| {
        let free = reference.get(&(series.service.as_str(), series.metric.as_str()));
        // Points are in the order of their times.
        let (before, after) = series.points.split_at(series.points.partition_point(|(time, _)| *time < onset));
        let values = |points: &[(Seconds, f64)]| points.iter().map(|(_, value)| *value).collect();
        Column { service: series.service.clone(), usual: values(free.map_or(before, |free| &free.points)), after: values(after) }
    };
    let read = recording.series.iter().filter(|series| READ.contains(&kind(&series.metric)) && Some(series.service.as_str()) != outside);
    read.map(column).collect()
}

/// Services by the largest `score` of their series; what cannot be scored comes last.
pub(crate) fn scores(recording: &Recording, score: impl Fn(&Column) -> Option<f64>) -> BTreeMap<String, f64> {
    let mut scores = BTreeMap::new();
    for column in columns(recording) {
        let own = score(&column).filter(|score| score.is_finite()).unwrap_or(0.0);
        let most: &mut f64 = scores.entry(column.service).or_default();
        *most = most.max(own);
    }
    scores
}

/// Services, largest score first; of equals, by name.
pub(crate) fn ranked(scores: BTreeMap<String, f64>) -> Vec<String> {
    let mut scores: Vec<(String, f64)> = scores.into_iter().collect();
    scores.sort_by(|(a, score_a), (b, score_b)| score_b.total_cmp(score_a).then_with(|| a.cmp(b)));
    scores.into_iter().map(|(service, _)| service).collect()
}

/// The value at `share` of the sorted values, between two neighbours where it falls between them.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "a place in a short list")]
    let place = last as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    let (low_value, high_value) = (*sorted.get(low)?, *sorted.get(high)?);
    Some(low_value + (high_value - low_value) * place.fract())
}

#[cfg(test)]
pub(crate) mod tests {
    use assent_core::diagnosis::Alert;

    use super::*;

    /// A chain `web` → `cart` → `store`; the last two stray after the alert at 600, the store by more.
    pub(crate) fn chain() -> Recording {
        let series = |service: &str, strays: f64| Series {
            service: service.into(),
            metric: "latency".into(),
            points: (0..20_i64).map(|n| (n * 60, f64::from(u8::try_from(n % 3).unwrap()) + if n >= 10 { strays } else { 0.0 })).collect(),
        };
        Recording {
            alert: Alert { at: 600, step: 60, entry: Some("web".into()), ..Alert::default() },
            graph: [("web".to_owned(), "cart".to_owned()), ("cart".to_owned(), "store".to_owned())].into(),
            series: vec![series("web", 0.0), series("cart", 20.0), series("store", 50.0)],
            ..Recording::default()
        }
    }

    #[test]
    fn a_reference_is_what_is_usual_where_there_is_one() {
        let mut recording = chain();
        assert_eq!(columns(&recording)[0].usual.len(), 9);
        recording.reference = vec![Series { service: "web".into(), metric: "latency".into(), points: vec![(0, 7.0)] }];
        assert_eq!(columns(&recording)[0].usual, [7.0]);
        assert_eq!(columns(&recording)[0].after.len(), 11);
    }

    #[test]
    fn an_entry_outside_of_the_graph_is_no_candidate() {
        let mut recording = chain();
        recording.alert.entry = Some("cart".into());
        assert_eq!(columns(&recording).len(), 3);
        recording.graph = [("web".to_owned(), "store".to_owned())].into();
        assert_eq!(columns(&recording).len(), 2);
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[5.0], 0.25), Some(5.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
