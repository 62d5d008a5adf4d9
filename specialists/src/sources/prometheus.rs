//! Range queries to a store of metrics around an onset, and around the same hour of earlier days.

mod answer;
mod queries;

use std::collections::BTreeMap;

use assent_core::diagnosis::{Seconds, Series};
use assent_core::ids::UnixMillis;
use assent_runtime::store::{Error, Store};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::names::Names;
use crate::args::PrometheusArgs;
use answer::Found;
use queries::{Combine, ERRORS, Query, REQUESTS, SECONDS};

/// What is looked at before the onset, and after it at most.
const BEFORE_S: Seconds = 30 * 60;
const AFTER_S: Seconds = 15 * 60;
/// A rate needs samples that lie two steps apart, also where one is missing.
const STEPS_IN_RATE: Seconds = 3;
/// Earlier days that tell what is usual at this hour.
const DAYS: [Seconds; 2] = [1, 7];
const DAY_S: Seconds = 24 * 60 * 60;
const AT_ONCE: usize = 4;
const MAX_ANSWER: usize = 4 << 20;

/// A store of metrics as one seat asks it.
#[derive(Debug)]
pub(crate) struct Prometheus {
    store: Store,
    queries: Vec<Query>,
    step: Seconds,
}

/// What the store gave.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) series: Vec<Series>,
    pub(crate) reference: Vec<Series>,
    /// The first question about the incident itself that was not answered.
    pub(crate) failure: Option<Error>,
}

/// A stretch of time that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: Seconds,
    end: Seconds,
    step: Seconds,
    is_reference: bool,
}

// === impl Prometheus ===

impl Prometheus {
    /// None if no store is named, or this seat has nothing to ask it.
    pub(crate) fn new(args: &PrometheusArgs, seat: &str) -> anyhow::Result<Option<Self>> {
        let queries = queries::queries(seat);
        let Some(url) = args.prometheus_url.as_ref().filter(|_| !queries.is_empty()) else { return Ok(None) };
        let store = Store::new(url, args.prometheus_token_file.as_deref(), args.prometheus_ca_file.as_deref())?;
        Ok(Some(Self { store, queries, step: Seconds::from(args.prometheus_step_seconds) }))
    }

    /// Distance of samples.
    pub(crate) fn step(&self) -> Seconds {
        self.step
    }

    /// Everything that was answered until `until`. What was not is missing, which says nothing.
    pub(crate) async fn read(&self, names: &Names, onset: UnixMillis, now: UnixMillis, until: Instant) -> Read {
        let ranges = ranges(onset.0.div_euclid(1_000), now.0.div_euclid(1_000), self.step);
        let mut asked = Vec::new();
        for range in ranges {
            asked.extend(self.queries.iter().map(|query| self.answered(query, range, names.namespace(), until)));
        }
        let answers: Vec<_> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
        let mut read = Read::default();
        let mut found: [Vec<Series>; 1 + DAYS.len()] = Default::default();
        for (query, range, answer) in answers {
            match answer {
                Ok(answer) => {
                    let slot = ranges.iter().position(|other| *other == range).and_then(|slot| found.get_mut(slot));
                    slot.into_iter().for_each(|slot| slot.extend(by_workload(query, &answer, names)));
                }
                Err(error) => {
                    tracing::debug!(metric = query.metric, range.is_reference, error = assent_runtime::telemetry::chain(&error), "query not answered");
                    if !range.is_reference {
                        read.failure.get_or_insert(error);
                    }
                }
            }
        }
        let [series, days @ ..] = found.map(derived);
        read.series = series;
        for day in days {
            extend(&mut read.reference, day);
        }
        read
    }

    async fn answered<'a>(&self, query: &'a Query, range: Range, namespace: &str, until: Instant) -> (&'a Query, Range, Result<Vec<Found>, Error>) {
        let answer = tokio::time::timeout_at(until, self.ask(query, range, namespace)).await.unwrap_or(Err(Error::Late));
        (query, range, answer)
    }

    async fn ask(&self, query: &Query, range: Range, namespace: &str) -> Result<Vec<Found>, Error> {
        let step = range.step.to_string();
        let window = format!("{}s", range.step.saturating_mul(STEPS_IN_RATE));
        let expression = query.expression.replace("$namespace", namespace).replace("$window", &window).replace("$step", &step);
        let (start, end) = (range.start.to_string(), range.end.to_string());
        let question = [("query", expression.as_str()), ("start", &start), ("end", &end), ("step", &step), ("timeout", "3s")];
        let body = self.store.get("api/v1/query_range", &question, MAX_ANSWER).await?;
        answer::parse(&body).map_err(Error::Answer)
    }
}

/// The incident first, then the same hour of earlier days. Samples of all lie on one grid.
fn ranges(onset: Seconds, now: Seconds, step: Seconds) -> [Range; 1 + DAYS.len()] {
    let grid = |time: Seconds| time.div_euclid(step).saturating_mul(step);
    let start = grid(onset.saturating_sub(BEFORE_S));
    let incident = Range { start, end: now.min(onset.saturating_add(AFTER_S)).max(start), step, is_reference: false };
    let day = |days: Seconds| {
        let middle = onset.saturating_sub(days.saturating_mul(DAY_S));
        Range { start: grid(middle.saturating_sub(BEFORE_S)), end: middle.saturating_add(BEFORE_S), step, is_reference: true }
    };
    let [one, two] = DAYS.map(day);
    [incident, one, two]
}

/// The series of workloads, put together of those of their pods.
fn by_workload(query: &Query, answer: &[Found], names: &Names) -> Vec<Series> {
    let mut points: BTreeMap<&str, BTreeMap<Seconds, f64>> = BTreeMap::new();
    for found in answer {
        let Some(workload) = names.workload(&found.deployment).or_else(|| names.pod(&found.pod)) else { continue };
        let known = points.entry(workload).or_default();
        for (time, value) in &found.points {
            let sum = known.entry(*time).or_insert(if query.combine == Combine::Sum { 0.0 } else { f64::NEG_INFINITY });
            *sum = match query.combine {
                Combine::Sum => *sum + value,
                Combine::Max => sum.max(*value),
            };
        }
    }
    let finite = |points: BTreeMap<Seconds, f64>| points.into_iter().filter(|(_, value)| value.is_finite()).collect();
    points.into_iter().map(|(workload, points)| Series { service: workload.to_owned(), metric: query.metric.to_owned(), points: finite(points) }).collect()
}

/// What a user feels of requests: their mean time, and the share of good answers.
fn derived(mut series: Vec<Series>) -> Vec<Series> {
    let of = |metric: &str, service: &str| -> BTreeMap<Seconds, f64> {
        let found = series.iter().find(|series| series.metric == metric && series.service == service);
        found.map(|found| found.points.iter().copied().collect()).unwrap_or_default()
    };
    let mut more = Vec::new();
    for requests in series.iter().filter(|series| series.metric == REQUESTS) {
        let (errors, seconds) = (of(ERRORS, &requests.service), of(SECONDS, &requests.service));
        let mut add = |metric: &str, points: Vec<(Seconds, f64)>| {
            if !points.is_empty() {
                more.push(Series { service: requests.service.clone(), metric: metric.to_owned(), points });
            }
        };
        let asked = || requests.points.iter().copied().filter(|(_, count)| *count > 0.0);
        add("latency_mean", asked().filter_map(|(time, count)| Some((time, seconds.get(&time)? / count))).collect());
        // A counter of bad answers exists from the first one on: without it there were none.
        add("availability_ratio", asked().map(|(time, count)| (time, 1.0 - (errors.get(&time).copied().unwrap_or(0.0) / count).clamp(0.0, 1.0))).collect());
    }
    series.retain(|series| series.metric != SECONDS);
    series.extend(more);
    series
}

/// Several days are one reference.
fn extend(reference: &mut Vec<Series>, day: Vec<Series>) {
    for series in day {
        match reference.iter_mut().find(|known| known.service == series.service && known.metric == series.metric) {
            Some(known) => known.points.extend(series.points),
            None => reference.push(series),
        }
    }
    reference.iter_mut().for_each(|series| series.points.sort_by_key(|(time, _)| *time));
}

#[cfg(test)]
mod tests;
