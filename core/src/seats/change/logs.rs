//! The change seat over counts of log lines: a template of an error that comes up with the trouble, where the service wrote before
//! too. It is the applications' own word, so it suggests and never more.

use std::collections::{BTreeMap, BTreeSet};

use crate::ballot::{EvidenceClass, Principal};
use crate::diagnosis::{Alert, Recording, Series, Suspicion, graded};
use crate::ids::Domain;

/// Counts of all lines of a service.
const LINES: &str = "log_lines";
/// Begins the counts of a template of an error; a digest follows.
const ERROR: &str = "log_error_";
/// Fewest lines that tell what is usual.
const LEAST_TAUGHT: f64 = 20.0;
/// Fewest lines of an error that are no chance.
const LEAST_SEEN: f64 = 5.0;
/// Multiple of its usual share of the lines from which on an error has risen.
const ROSE: f64 = 8.0;

/// Who it suspects.
pub(in crate::seats) fn suspect(recording: &Recording) -> Vec<Suspicion> {
    let alert = &recording.alert;
    let mut worst: BTreeMap<&str, (f64, &str, f64)> = BTreeMap::new();
    for lines in recording.series.iter().filter(|series| series.metric == LINES) {
        let (lines_before, lines_during) = counts(alert, lines);
        if lines_before < LEAST_TAUGHT || lines_during <= 0.0 {
            continue;
        }
        for error in recording.series.iter().filter(|series| series.service == lines.service && series.metric.starts_with(ERROR)) {
            let (before, during) = counts(alert, error);
            let usual = before / lines_before * lines_during;
            if during >= LEAST_SEEN && during >= usual * ROSE && worst.get(lines.service.as_str()).is_none_or(|(most, ..)| during > *most) {
                worst.insert(&lines.service, (during, &error.metric, usual));
            }
        }
    }
    let edges = recording.edges();
    let ill: BTreeSet<&str> = worst.keys().copied().collect();
    let suspicion = |(service, (seen, metric, usual)): (&&str, &(f64, &str, f64))| {
        // A caller complains of its callee.
        let explained = edges.iter().any(|(caller, callee)| caller == service && ill.contains(callee));
        Suspicion {
            service: (*service).to_owned(),
            domain: Domain::Application,
            fault: "new-errors".into(),
            probability: graded(*seen, (LEAST_SEEN, 60.0), if explained { (200, 260) } else { (300, 600) }),
            source: (EvidenceClass::Requests, Principal::LogStore),
            grounds: vec![format!("{metric} was written {seen:.0} times, usual {usual:.1}")],
        }
    };
    worst.iter().map(suspicion).collect()
}

fn counts(alert: &Alert, series: &Series) -> (f64, f64) {
    let sum = |keep: &dyn Fn(i64) -> bool| series.points.iter().filter(|(time, _)| keep(*time)).map(|(_, count)| *count).sum();
    (sum(&|time| alert.teaches(time)), sum(&|time| alert.during(time)))
}

#[cfg(test)]
mod cases {
    use super::*;

    const AT: i64 = 1_700_000_000;

    fn series(service: &str, metric: &str, before: f64, during: f64) -> Series {
        Series { service: service.into(), metric: metric.into(), points: vec![(AT - 600, before), (AT - 300, before), (AT, during)] }
    }

    fn said(series: Vec<Series>, edges: &[(&str, &str)]) -> Vec<(String, u32)> {
        let graph = edges.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let recording = Recording { alert: Alert { at: AT, step: 30, ..Alert::default() }, graph, series, ..Recording::default() };
        suspect(&recording).into_iter().map(|suspicion| (suspicion.service, suspicion.probability.get() / 10_000)).collect()
    }

    #[test]
    fn an_error_that_comes_up_is_suspect() {
        assert_eq!(said(vec![series("orders", LINES, 50.0, 100.0), series("orders", "log_error_1", 0.0, 60.0)], &[]), [("orders".to_owned(), 60)]);
    }

    #[test]
    fn more_load_few_lines_or_no_past_are_not() {
        for (lines, error) in [
            (series("orders", LINES, 50.0, 500.0), series("orders", "log_error_1", 5.0, 60.0)),
            (series("orders", LINES, 50.0, 100.0), series("orders", "log_error_1", 0.0, 4.0)),
            (series("orders", LINES, 2.0, 100.0), series("orders", "log_error_1", 0.0, 60.0)),
            (series("orders", LINES, 50.0, 100.0), series("orders", "log_warning_1", 0.0, 60.0)),
        ] {
            assert_eq!(said(vec![lines, error], &[]), []);
        }
    }

    #[test]
    fn a_caller_complains_of_its_callee() {
        let all = ["front", "orders"].into_iter().flat_map(|name| [series(name, LINES, 50.0, 100.0), series(name, "log_error_1", 0.0, 60.0)]).collect();
        assert_eq!(said(all, &[("front", "orders")]), [("front".to_owned(), 26), ("orders".to_owned(), 60)]);
    }
}
