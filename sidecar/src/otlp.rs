//! Metrics and spans for a collector, over OTLP/gRPC; off unless an endpoint is given.
//!
//! Nothing waits for the collector but the two tasks here, on the control thread. Metrics are cumulative, so one that is not
//! taken is not sent again; spans wait in a bounded queue that drops its oldest. Both losses are counted.

pub(crate) mod spans;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use assent_runtime::backoff::Backoff;
use assent_runtime::metrics::collector::Collector;
use assent_runtime::metrics::encoding::DescriptorEncoder;
use assent_runtime::metrics::metrics::MetricType;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use tokio::time::MissedTickBehavior;
use tonic::transport::{Channel, Endpoint};

use crate::Args;
use crate::metrics::{Counters, count};
use spans::Spans;

const CONNECT: Duration = Duration::from_secs(5);
/// For one export; what a collector does not take by then is lost.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends to one collector.
#[derive(Debug)]
pub(crate) struct Exporter {
    channel: Channel,
    resource: Resource,
    interval: Duration,
    counters: Arc<Counters>,
    pub(crate) spans: Arc<Spans>,
    /// Exports of metrics and of spans, taken and not taken.
    exports: [[AtomicU64; 2]; 2],
}

#[derive(Clone, Copy)]
enum Signal {
    Metrics,
    Spans,
}

// === impl Exporter ===

impl Exporter {
    /// For the collector that `args` name, if they do.
    pub(crate) fn new(args: &Args, counters: Arc<Counters>) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(endpoint) = &args.otlp_endpoint else { return Ok(None) };
        anyhow::ensure!(endpoint.starts_with("http://"), "the otlp endpoint `{endpoint}` is not http://host:port");
        let channel = Endpoint::from_shared(endpoint.clone()).context("read the otlp endpoint")?;
        let channel = channel.connect_timeout(CONNECT).timeout(TIMEOUT).connect_lazy();
        let named = [
            ("service.name", &args.workload.workload_service_account),
            ("service.namespace", &args.workload.workload_namespace),
            ("service.instance.id", &args.pod_name),
            ("k8s.namespace.name", &args.workload.workload_namespace),
            ("k8s.pod.name", &args.pod_name),
        ];
        let attributes = named.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| attribute(name, value.clone()));
        let resource = Resource { attributes: attributes.collect(), ..Default::default() };
        let spans = Arc::new(Spans::new(args.otlp_spans_per_second));
        let interval = Duration::from_millis(args.otlp_interval_ms);
        Ok(Some(Arc::new(Self { channel, resource, interval, counters, spans, exports: Default::default() })))
    }

    /// Sends metrics every interval, for ever.
    pub(crate) async fn send_metrics(&self) {
        let start = SystemTime::now();
        let mut client = MetricsServiceClient::new(self.channel.clone());
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let metrics = self.counters.otlp(start, SystemTime::now());
            let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..Default::default() }];
            let resource_metrics = vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, ..Default::default() }];
            let sent = client.export(ExportMetricsServiceRequest { resource_metrics }).await;
            self.exported(Signal::Metrics, sent.err());
        }
    }

    /// Sends spans as they come, for ever.
    pub(crate) async fn send_spans(&self) {
        let mut client = TraceServiceClient::new(self.channel.clone());
        let mut retry = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), 0.5);
        loop {
            let (sequence, spans) = self.spans.waiting().await;
            let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..Default::default() }];
            let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans, ..Default::default() }];
            let sent = client.export(ExportTraceServiceRequest { resource_spans }).await;
            let failed = sent.is_err();
            self.exported(Signal::Spans, sent.err());
            if failed {
                retry.wait().await;
            } else {
                self.spans.taken(sequence);
                retry.reset();
            }
        }
    }

    fn exported(&self, signal: Signal, error: Option<tonic::Status>) {
        let [taken, lost] = match signal {
            Signal::Metrics => &self.exports[0],
            Signal::Spans => &self.exports[1],
        };
        let counter = if error.is_none() { taken } else { lost };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(status) = error {
            tracing::debug!(code = ?status.code(), "the collector took no export");
        }
    }
}

impl Collector for Exporter {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor("assent_otlp_exports", "Exports to the collector", None, MetricType::Counter)?;
        for (signal, counters) in ["metrics", "spans"].iter().zip(&self.exports) {
            for (outcome, counter) in ["taken", "failed"].iter().zip(counters) {
                let labels = vec![("signal", (*signal).to_owned()), ("outcome", (*outcome).to_owned())];
                count(&mut family, &labels, counter.load(Ordering::Relaxed))?;
            }
        }
        let help = "Spans that were not sent: more than may be made in a second, or the oldest of a full queue";
        let mut family = encoder.encode_descriptor("assent_otlp_dropped_spans", help, None, MetricType::Counter)?;
        for (reason, dropped) in self.spans.dropped() {
            count(&mut family, &vec![("reason", reason.to_owned())], dropped)?;
        }
        Ok(())
    }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "assent-sidecar".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() })
}

/// What an attribute may hold.
pub(crate) trait Attribute {
    fn value(self) -> any_value::Value;
}

impl Attribute for String {
    fn value(self) -> any_value::Value {
        any_value::Value::StringValue(self)
    }
}

impl Attribute for i64 {
    fn value(self) -> any_value::Value {
        any_value::Value::IntValue(self)
    }
}

pub(crate) fn attribute(name: &str, value: impl Attribute) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value.value()) }), ..Default::default() }
}

/// Of the Unix epoch.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
