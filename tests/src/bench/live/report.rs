//! The figures of a journal: rows for programs, a table for people.

use super::faults::{FAULTS, Fault};
use super::journal::{QUIET, Record};
use crate::bench::rows::{Figures, Row};

/// What must hold over all faults.
const DETECTED: f64 = 0.9;
const RIGHT_SERVICE: f64 = 0.8;
const RIGHT_REMEDY: f64 = 0.7;
const FALSE_ALARMS: f64 = 1.0;

/// A part of a record that is right or not.
type Part = (&'static str, fn(&Record) -> bool, Option<f64>);

const PARTS: [Part; 4] = [
    ("detected", |record| record.to_incident.is_some(), Some(DETECTED)),
    ("right_service", |record| record.right_service, Some(RIGHT_SERVICE)),
    ("right_domain", |record| record.right_domain, None),
    ("right_remedy", |record| record.right_remedy, Some(RIGHT_REMEDY)),
];

/// The rows of `target/bench/live.json`: over all faults, then for each.
#[must_use]
pub fn rows(records: &[Record]) -> Vec<Row> {
    let (quiet, suffered): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.fault == QUIET);
    let mut rows = Vec::new();
    for (name, is_right, floor) in PARTS {
        let row = share(name, &suffered, is_right);
        rows.push(if let Some(floor) = floor { row.at_least(floor) } else { row });
    }
    rows.push(Row::ours("to_incident", "s", &figures(&suffered, |record| record.to_incident)));
    rows.push(Row::ours("to_end", "s", &figures(&suffered, |record| record.to_end)));
    rows.push(sum("wrong_writes", "writes", &records.iter().collect::<Vec<_>>(), |record| record.wrong_writes).at_most(0.0));
    for fault in of(&suffered) {
        let own: Vec<&Record> = suffered.iter().copied().filter(|record| record.fault == fault.name).collect();
        for (name, is_right, _) in PARTS {
            rows.push(share(&format!("{}_{name}", fault.name), &own, is_right));
        }
        rows.push(Row::ours(&format!("{}_to_incident", fault.name), "s", &figures(&own, |record| record.to_incident)));
        rows.push(Row::ours(&format!("{}_to_end", fault.name), "s", &figures(&own, |record| record.to_end)));
    }
    if let Some(first) = quiet.first() {
        rows.push(sum("false_alarms", "incidents", &quiet, |record| record.incidents.len()).at_most(FALSE_ALARMS).noting(first.phase.clone()));
    }
    rows
}

/// The table in Markdown.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let suffered: Vec<&Record> = records.iter().filter(|record| record.fault != QUIET).collect();
    let mut lines = vec![
        "| fault | truth | runs | detected | service | domain | remedy | wrong writes | to incident, s | to end, s | said and done |".to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for fault in of(&suffered) {
        let own: Vec<&Record> = suffered.iter().copied().filter(|record| record.fault == fault.name).collect();
        let count = |is_right: fn(&Record) -> bool| own.iter().filter(|record| is_right(record)).count();
        let [detected, service, domain, remedy] = PARTS.map(|(_, is_right, _)| count(is_right));
        let seconds = |of: fn(&Record) -> Option<f64>| {
            let figures = figures(&own, of);
            figures.median().zip(figures.spread()).map_or_else(|| "–".to_owned(), |(median, spread)| format!("{median:.0} ±{spread:.0}"))
        };
        let mut said: Vec<String> = own.iter().map(|record| said(record)).collect();
        said.dedup();
        let wrong: usize = own.iter().map(|record| record.wrong_writes).sum();
        lines.push(format!(
            "| {} | {} | {} | {detected} | {service} | {domain} | {remedy} | {wrong} | {} | {} | {} |",
            fault.name,
            truth(fault),
            own.len(),
            seconds(|record| record.to_incident),
            seconds(|record| record.to_end),
            said.join("; ")
        ));
    }
    for quiet in records.iter().filter(|record| record.fault == QUIET) {
        lines.push(String::new());
        lines.push(format!("{} without a fault under changing load: {} false alarms.", quiet.phase, quiet.incidents.len()));
    }
    lines.join("\n") + "\n"
}

/// One run in a line.
#[must_use]
pub fn line(record: &Record) -> String {
    let word = |is_right: bool| if is_right { "right" } else { "WRONG" };
    let (service, domain, remedy) = (word(record.right_service), word(record.right_domain), word(record.right_remedy));
    format!("{} {}: {}; service {service}, domain {domain}, remedy {remedy}, {} wrong writes", record.fault, record.run, said(record), record.wrong_writes)
}

fn said(record: &Record) -> String {
    let cause =
        record.service.as_deref().zip(record.domain.as_deref()).map_or_else(|| "no cause".to_owned(), |(service, domain)| format!("{service} {domain}"));
    let actions = if record.actions.is_empty() { "nothing done".to_owned() } else { record.actions.join(", ") };
    format!("{}: {cause}, {actions}", record.phase)
}

fn truth(fault: &Fault) -> String {
    let truth = &fault.truth;
    let domains: Vec<String> = truth.domains.iter().map(ToString::to_string).collect();
    let mut remedies = truth.remedies.to_vec();
    remedies.extend(truth.or_none.then_some("a person"));
    format!("{} {}, {}", truth.service, domains.join(" or "), remedies.join(" or "))
}

/// The faults that there are records of, in the catalogue's order.
fn of(records: &[&Record]) -> Vec<&'static Fault> {
    FAULTS.iter().filter(|fault| records.iter().any(|record| record.fault == fault.name)).collect()
}

fn figures(records: &[&Record], of: fn(&Record) -> Option<f64>) -> Figures {
    records.iter().filter_map(|record| of(record)).collect()
}

/// The share is of all runs and has no spread.
fn share(name: &str, records: &[&Record], is_right: fn(&Record) -> bool) -> Row {
    let right = records.iter().filter(|record| is_right(record)).count();
    let share = if records.is_empty() { Figures::default() } else { Figures(vec![right as f64 / records.len() as f64]) };
    Row { runs: records.len(), ..Row::ours(name, "share", &share) }
}

fn sum(name: &str, unit: &'static str, records: &[&Record], of: fn(&Record) -> usize) -> Row {
    let sum: usize = records.iter().map(|record| of(record)).sum();
    let sum = if records.is_empty() { Figures::default() } else { Figures(vec![sum as f64]) };
    Row { runs: records.len(), ..Row::ours(name, unit, &sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fault: &str, run: usize, right: bool) -> Record {
        Record {
            fault: fault.into(),
            run,
            phase: "Resolved".into(),
            right_service: right,
            right_domain: right,
            right_remedy: right,
            to_incident: right.then_some(10.0 * run as f64),
            wrong_writes: usize::from(!right),
            ..Record::default()
        }
    }

    #[test]
    fn shares_are_of_all_runs_and_seconds_are_medians() {
        let quiet = Record { fault: QUIET.into(), phase: "20 minutes".into(), incidents: vec!["u-1".into()], ..Record::default() };
        let records = [record("wedge", 1, true), record("wedge", 2, true), record("cpu-hog", 1, false), record("wedge", 3, true), quiet];
        let rows = rows(&records);
        let ours = |name: &str| rows.iter().find(|row| row.metric == name).and_then(|row| row.ours);
        assert_eq!((ours("detected"), ours("right_service"), ours("wedge_detected"), ours("cpu-hog_detected")), (Some(0.75), Some(0.75), Some(1.0), Some(0.0)));
        assert_eq!((ours("to_incident"), ours("wrong_writes"), ours("false_alarms")), (Some(20.0), Some(1.0), Some(1.0)));
        let table = table(&records);
        assert!(table.contains("| wedge | shop/orders compute or application, RestartWorkload | 3 | 3 | 3 | 3 | 3 | 0 | 20 ±20 | – |"), "{table}");
        assert!(table.contains("20 minutes without a fault under changing load: 1 false alarms."), "{table}");
    }

    #[test]
    fn nothing_measured_has_no_figure() {
        assert!(rows(&[]).iter().all(|row| row.ours.is_none()));
    }
}
