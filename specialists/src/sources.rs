//! Evidence from elsewhere: stores of metrics and of logs that are asked when a seat is asked, and traces that were sent to it.
//! All are off unless they are named. A source that is missing, late or lying gives no evidence, or is one voice more; it takes
//! nothing away from what the seat sees by itself.
//!
//! | module | does |
//! |---|---|
//! | `prometheus` | range queries from a table, for every seat its own |
//! | `otlp` | receives spans and sums them up, for network and change |
//! | `logs` | counts lines by template, for change |
//! | `names` | whose series or span it is |

mod logs;
mod names;
mod otlp;
mod prometheus;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use assent_core::diagnosis::{Alert, Objective, Recording};
use assent_core::ids::UnixMillis;
use assent_core::incident::{Context, Symptom};
use assent_runtime::shutdown::Tasks;
use assent_runtime::telemetry::chain;
use kube::Client;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::args::{Args, SeatName};
use crate::held::now;
use crate::metrics::Metrics;
use crate::pods::Pods;
use logs::Logs;
use names::Names;
use otlp::Receiver;
use prometheus::Prometheus;

/// Distance of what traces are summed up in, in seconds.
const TRACES_STEP_S: i64 = 20;
/// Half of a minute, by which lines are counted.
const LOGS_STEP_S: i64 = 30;
/// Time for all sources together: seats have others to answer too.
const PATIENCE: Duration = Duration::from_secs(4);

/// The sources of one seat.
#[derive(Debug)]
pub(crate) struct Sources {
    prometheus: Option<Prometheus>,
    traces: Option<Arc<Receiver>>,
    logs: Option<Logs>,
    pods: Pods,
    metrics: Metrics,
}

// === impl Sources ===

impl Sources {
    /// The sources that `args` name; what is sent to us is taken from here on.
    pub(crate) async fn open(args: &Args, client: &Client, pods: Pods, metrics: Metrics, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let prometheus = Prometheus::new(&args.sources.prometheus, args.seat.name())?;
        let traces = match args.sources.otlp_listen {
            None => None,
            Some(address) => {
                anyhow::ensure!(matches!(args.seat, SeatName::Network | SeatName::Change), "the {} seat judges by no traces", args.seat.name());
                let listener = TcpListener::bind(address).await.context("bind the port for traces")?;
                tracing::info!(address = %listener.local_addr()?, "traces are taken");
                let receiver = Receiver::new(metrics.clone());
                tasks.spawn("traces", receiver.clone().serve(listener, tasks.token()));
                Some(receiver)
            }
        };
        let logs = Logs::new(&args.sources.logs, client)?;
        anyhow::ensure!(logs.is_none() || args.seat == SeatName::Change, "the {} seat judges by no logs", args.seat.name());
        Ok(Self { prometheus, traces, logs, pods, metrics })
    }

    /// How long the sources may take when a seat is asked; nothing where there are none.
    pub(crate) fn patience(&self) -> Duration {
        if self.prometheus.is_some() || self.logs.is_some() { PATIENCE } else { Duration::ZERO }
    }

    /// What the sources hold of the time around the onset, as far as they answer before `until`. `None`: there is none to ask.
    pub(crate) async fn gather(&self, context: &Context, until: UnixMillis) -> Option<Recording> {
        if self.prometheus.is_none() && self.traces.is_none() && self.logs.is_none() {
            return None;
        }
        let names = Names::of(context, &self.pods)?;
        let left = Duration::from_millis(u64::try_from(until.since(now())).unwrap_or(0));
        let until = Instant::now() + left.min(self.patience());
        let mut recording = Recording { alert: alert(context, self.step()), ..Recording::default() };
        if let Some(traces) = &self.traces {
            recording.operations = traces.operations(&names);
            if !recording.operations.iter().any(|operation| recording.alert.during(operation.time)) {
                self.failed(context, "traces", "nothing came since the onset");
            }
        }
        let metrics = async {
            match &self.prometheus {
                Some(prometheus) => Some(prometheus.read(&names, context.since, now(), until).await),
                None => None,
            }
        };
        let lines = async {
            match &self.logs {
                Some(logs) => Some((logs.source(), logs.read(&names, &context.service.name, context.since, now(), until).await)),
                None => None,
            }
        };
        let (metrics, lines) = tokio::join!(metrics, lines);
        if let Some(read) = metrics {
            if let Some(error) = read.failure {
                self.failed(context, "prometheus", &chain(&error));
            } else if !read.series.iter().flat_map(|series| &series.points).any(|(time, _)| recording.alert.during(*time)) {
                self.failed(context, "prometheus", "it has nothing since the onset");
            }
            recording.series = read.series;
            recording.reference = read.reference;
        }
        if let Some((source, (series, failure))) = lines {
            failure.iter().for_each(|reason| self.failed(context, source, reason));
            recording.series.extend(series);
        }
        Some(recording)
    }

    /// Distance of samples in a recording, in seconds: that of its coarsest source, since onsets are looked for from two of it before.
    fn step(&self) -> i64 {
        let metrics = self.prometheus.as_ref().map_or(0, Prometheus::step);
        metrics.max(if self.logs.is_some() { LOGS_STEP_S } else { TRACES_STEP_S })
    }

    fn failed(&self, context: &Context, source: &'static str, reason: &str) {
        tracing::warn!(incident.id = %context.incident, source, reason, "a source gave no evidence, or not all");
        self.metrics.source_failed(source);
    }
}

/// The question, as the rules over recordings know it.
fn alert(context: &Context, step: i64) -> Alert {
    Alert {
        at: context.since.0.div_euclid(1_000),
        step,
        entry: Some(context.service.name.clone()),
        objective: match context.symptom {
            Symptom::Errors => Some(Objective::Availability),
            Symptom::Latency => Some(Objective::Latency),
            Symptom::NoResponse | Symptom::Unspecified | Symptom::Demand => None,
        },
        known: Vec::new(),
    }
}
