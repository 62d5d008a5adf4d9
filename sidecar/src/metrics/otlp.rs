//! The same counts as OTLP metrics, under the names of OpenTelemetry's conventions where there are some.
//!
//! All are cumulative from the start of the process, so that one that is lost on its way is made good by the next.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum};

use super::{Counters, Direction, Flow, Key};
use crate::otlp::{attribute, nanoseconds};

/// The time that the counts are of.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    now: u64,
}

type Value64 = fn(&Flow) -> u64;

// === impl Counters ===

impl Counters {
    /// Everything counted since `start`.
    pub(crate) fn otlp(&self, start: SystemTime, now: SystemTime) -> Vec<Metric> {
        let span = Span { start: nanoseconds(start), now: nanoseconds(now) };
        let mut metrics = Vec::new();
        let flows = self.flows();
        for (direction, name) in [(Direction::Inbound, "http.server.request.duration"), (Direction::Outbound, "http.client.request.duration")] {
            let flows = flows.iter().filter(|(key, flow)| key.direction == direction && flow.requests.begun > 0);
            let points = flows.map(|(key, flow)| {
                let (buckets, sum) = flow.requests.duration.seconds();
                span.histogram(attributes(key), &buckets, sum)
            });
            metrics.extend(histogram(name, "From the first byte of a request to the last of its response", points.collect()));
        }
        let responses = flows.iter().flat_map(|(key, flow)| {
            flow.requests.statuses.iter().map(|(status, count)| {
                let mut attributes = directed(key);
                attributes.push(attribute("http.response.status_code", i64::from(*status)));
                span.number(attributes, *count)
            })
        });
        metrics.extend(sum("assent.http.responses", "{response}", true, responses.collect()));
        let tcp: [(&str, &str, bool, Value64); 4] = [
            ("assent.tcp.connections.opened", "{connection}", true, |flow| flow.opened),
            ("assent.tcp.connections.open", "{connection}", false, |flow| flow.opened.saturating_sub(flow.closed.iter().sum())),
            ("assent.tcp.sent", "By", true, |flow| flow.sent),
            ("assent.tcp.received", "By", true, |flow| flow.received),
        ];
        for (name, unit, monotonic, value) in tcp {
            let points = flows.iter().map(|(key, flow)| span.number(directed(key), value(flow)));
            metrics.extend(sum(name, unit, monotonic, points.collect()));
        }
        drop(flows);
        let durations = self.databases().durations();
        let durations = durations.into_iter().map(|(key, names, buckets, sum)| {
            let mut attributes = directed(&key);
            attributes.extend(names.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| attribute(name, value)));
            span.histogram(attributes, &buckets, sum)
        });
        metrics.extend(histogram("db.client.operation.duration", "From the first byte of a statement to the last of its answer", durations.collect()));
        let errors = self.causes.counts().into_iter().map(|((direction, cause), count)| {
            let words = [("error.type", cause.code), ("assent.hop", cause.hop.as_str()), ("assent.direction", direction.as_str())];
            span.number(words.map(|(name, value)| attribute(name, value.to_owned())).into(), count)
        });
        metrics.extend(sum("assent.sidecar.errors", "{error}", true, errors.collect()));
        let unmeshed = span.number(Vec::new(), self.unmeshed_start.load(Ordering::Relaxed));
        metrics.extend(sum("assent.sidecar.unmeshed_start", "1", false, vec![unmeshed]));
        metrics
    }
}

// === impl Span ===

impl Span {
    fn number(self, attributes: Vec<KeyValue>, value: u64) -> NumberDataPoint {
        let value = Some(Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX)));
        NumberDataPoint { attributes, start_time_unix_nano: self.start, time_unix_nano: self.now, value, ..Default::default() }
    }

    /// Of `buckets` by their upper bounds, the last of which is infinite.
    fn histogram(self, attributes: Vec<KeyValue>, buckets: &[(f64, u64)], sum: f64) -> HistogramDataPoint {
        let bounds = buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: Some(sum),
            explicit_bounds: bounds.collect(),
            bucket_counts: buckets.iter().map(|(_, count)| *count).collect(),
            ..Default::default()
        }
    }
}

fn histogram(name: &str, description: &str, data_points: Vec<HistogramDataPoint>) -> Option<Metric> {
    let temporality = AggregationTemporality::Cumulative.into();
    let data = Data::Histogram(Histogram { aggregation_temporality: temporality, data_points });
    metric(name, description, "s", data, |data| matches!(data, Data::Histogram(histogram) if histogram.data_points.is_empty()))
}

fn sum(name: &str, unit: &str, is_monotonic: bool, data_points: Vec<NumberDataPoint>) -> Option<Metric> {
    let data = Data::Sum(Sum { aggregation_temporality: AggregationTemporality::Cumulative.into(), is_monotonic, data_points });
    metric(name, "", unit, data, |data| matches!(data, Data::Sum(sum) if sum.data_points.is_empty()))
}

/// None without any point.
fn metric(name: &str, description: &str, unit: &str, data: Data, empty: impl Fn(&Data) -> bool) -> Option<Metric> {
    if empty(&data) {
        return None;
    }
    Some(Metric { name: name.to_owned(), description: description.to_owned(), unit: unit.to_owned(), data: Some(data), ..Default::default() })
}

fn directed(key: &Key) -> Vec<KeyValue> {
    let mut attributes = attributes(key);
    attributes.push(attribute("assent.direction", key.direction.as_str().to_owned()));
    attributes
}

fn attributes(key: &Key) -> Vec<KeyValue> {
    let (address, port) = key.destination.rsplit_once(':').unwrap_or((&key.destination, ""));
    let mut attributes = Vec::new();
    if !address.is_empty() {
        attributes.push(attribute("server.address", address.trim_matches(['[', ']']).to_owned()));
    }
    if let Ok(port) = port.parse::<u16>() {
        attributes.push(attribute("server.port", i64::from(port)));
    }
    if !key.peer.is_empty() {
        attributes.push(attribute("assent.peer", key.peer.to_string()));
    }
    attributes
}
