//! Tables of recorded data, by their headers. A cell that is empty or no number is a missing sample; a missing column is an error.

use std::collections::BTreeSet;

use anyhow::Context as _;
use assent_core::diagnosis::recording::Side;
use assent_core::diagnosis::{CallSeries, Operation, Series};

/// Most columns of a table.
const MAX_COLUMNS: usize = 20_000;
/// Most rows of a table.
const MAX_ROWS: usize = 1_000_000;

/// Caller and callee.
pub(super) fn graph(text: &str) -> anyhow::Result<BTreeSet<(String, String)>> {
    let (mut reader, at) = open(text, &["caller", "callee"])?;
    let mut edges = BTreeSet::new();
    each(&mut reader, |row| {
        edges.insert((cell(row, at[0]).to_owned(), cell(row, at[1]).to_owned()));
    })?;
    Ok(edges)
}

/// `time` and a column for each `service|metric`.
pub(super) fn wide(text: &str) -> anyhow::Result<Vec<Series>> {
    let (mut reader, at) = open(text, &["time"])?;
    let headers = reader.headers()?.clone();
    anyhow::ensure!(headers.len() <= MAX_COLUMNS, "more than {MAX_COLUMNS} columns");
    let named = |(place, header): (usize, &str)| {
        let (service, metric) = header.rsplit_once('|')?;
        Some((place, Series { service: service.to_owned(), metric: metric.to_owned(), points: Vec::new() }))
    };
    let mut columns: Vec<(usize, Series)> = headers.iter().enumerate().filter_map(named).collect();
    each(&mut reader, |row| {
        let Some(time) = seconds(cell(row, at[0])) else { return };
        for (place, series) in &mut columns {
            if let Some(value) = number(cell(row, *place)) {
                series.points.push((time, value));
            }
        }
    })?;
    let sorted = |(_, mut series): (usize, Series)| {
        series.points.sort_by_key(|(time, _)| *time);
        series
    };
    Ok(columns.into_iter().map(sorted).collect())
}

/// `time,caller,callee,side,p50_s`.
pub(super) fn calls(text: &str) -> anyhow::Result<Vec<CallSeries>> {
    let (mut reader, at) = open(text, &["time", "caller", "callee", "side", "p50_s"])?;
    let mut calls: std::collections::BTreeMap<(String, String, Side), Vec<(i64, f64)>> = std::collections::BTreeMap::new();
    each(&mut reader, |row| {
        let side = match cell(row, at[3]) {
            "source" | "client" => Side::Client,
            "destination" | "server" => Side::Server,
            _ => return,
        };
        if let (Some(time), Some(value)) = (seconds(cell(row, at[0])), number(cell(row, at[4]))) {
            calls.entry((cell(row, at[1]).to_owned(), cell(row, at[2]).to_owned(), side)).or_default().push((time, value));
        }
    })?;
    let series = |((caller, callee, side), mut points): ((String, String, Side), Vec<(i64, f64)>)| {
        points.sort_by_key(|(time, _)| *time);
        CallSeries { caller, callee, side, points }
    };
    Ok(calls.into_iter().map(series).collect())
}

/// Sums of spans per while, caller, service and operation.
pub(super) fn operations(text: &str) -> anyhow::Result<Vec<Operation>> {
    let (mut reader, at) = open(text, &["time", "caller", "service", "operation", "peer", "n", "mean_ms", "self_mean_ms"])?;
    let mut operations = Vec::new();
    each(&mut reader, |row| {
        let (Some(time), Some(count)) = (seconds(cell(row, at[0])), number(cell(row, at[5]))) else { return };
        operations.push(Operation {
            time,
            caller: cell(row, at[1]).to_owned(),
            service: cell(row, at[2]).to_owned(),
            operation: cell(row, at[3]).to_owned(),
            peer: cell(row, at[4]).to_owned(),
            count: count.max(0.0),
            mean_ms: number(cell(row, at[6])).unwrap_or(0.0),
            self_ms: number(cell(row, at[7])).unwrap_or(0.0),
        });
    })?;
    Ok(operations)
}

/// A reader and the places of the columns that must be there.
fn open<'a>(text: &'a str, wanted: &[&str]) -> anyhow::Result<(csv::Reader<&'a [u8]>, Vec<usize>)> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let headers = reader.headers().context("read the header")?.clone();
    let place = |name: &&str| headers.iter().position(|header| header.trim() == *name).with_context(|| format!("there is no column `{name}`"));
    let places = wanted.iter().map(place).collect::<anyhow::Result<Vec<usize>>>()?;
    Ok((reader, places))
}

fn each(reader: &mut csv::Reader<&[u8]>, mut take: impl FnMut(&csv::StringRecord)) -> anyhow::Result<()> {
    let mut row = csv::StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut row).context("read a row")? {
        rows += 1;
        anyhow::ensure!(rows <= MAX_ROWS, "more than {MAX_ROWS} rows");
        take(&row);
    }
    Ok(())
}

fn cell(row: &csv::StringRecord, place: usize) -> &str {
    row.get(place).unwrap_or_default().trim()
}

fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Whole seconds of Unix time; fractions are dropped.
fn seconds(cell: &str) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a time of day, bounded above")]
    cell.parse::<i64>().ok().or_else(|| number(cell).filter(|value| value.abs() < 1e15).map(|value| value as i64))
}
