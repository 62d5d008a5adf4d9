//! What was recorded around one incident, by whomever: series of metrics, calls, operations of traces, the graph.

use std::collections::BTreeSet;

use super::changes::Finding;
use super::rollouts::Rollouts;

/// Unix time in seconds. Diagnosis compares times with each other only.
pub type Seconds = i64;

/// What is known when the question is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alert {
    /// When the alert was given. The onset lies near it, and on either side.
    pub at: Seconds,
    /// Distance of samples.
    pub step: Seconds,
    /// Where users come in, or who alerts.
    pub entry: Option<String>,
    /// Which objective broke, where that is known.
    pub objective: Option<Objective>,
    /// Earlier incidents that are known: what lies in them teaches nothing.
    pub known: Vec<Seconds>,
}

/// What users were promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Answers in time.
    Latency,
    /// Answers without errors.
    Availability,
}

/// One metric of one service over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Whose.
    pub service: String,
    /// The metric as its source names it.
    pub metric: String,
    /// Samples, oldest first; a missing one is left out. Values are finite.
    pub points: Vec<(Seconds, f64)>,
}

/// Who measured a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The caller.
    Client,
    /// The callee.
    Server,
}

/// How long calls between two services took, as one side measured it.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSeries {
    /// Who calls.
    pub caller: String,
    /// Who is called.
    pub callee: String,
    /// Who measured.
    pub side: Side,
    /// Seconds, typically the median of each step.
    pub points: Vec<(Seconds, f64)>,
}

/// Spans of one operation in one short while, summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Operation {
    /// Begin of the while.
    pub time: Seconds,
    /// The service of the parent span; empty at the root.
    pub caller: String,
    /// The service that did it.
    pub service: String,
    /// Its name.
    pub operation: String,
    /// For a span on the client's side: who is called.
    pub peer: String,
    /// How many.
    pub count: f64,
    /// Mean time in it, milliseconds.
    pub mean_ms: f64,
    /// Mean time in it and in none of its children. Of a client's span that is the way between the two services.
    pub self_ms: f64,
}

/// Everything. Any part may be empty: what is missing says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The question.
    pub alert: Alert,
    /// Caller and callee.
    pub graph: BTreeSet<(String, String)>,
    /// Metrics around the alert.
    pub series: Vec<Series>,
    /// Metrics of a time without fault; its clock may lie far away.
    pub reference: Vec<Series>,
    /// Calls around the alert.
    pub calls: Vec<CallSeries>,
    /// Traces around the alert.
    pub operations: Vec<Operation>,
    /// Traces of a time without fault.
    pub reference_operations: Vec<Operation>,
    /// What the surroundings say: commits, deployments, switches with the figures around them, judged once for all seats.
    pub surroundings: Option<Finding>,
    /// Rollouts of the time and what their pods did.
    pub rollouts: Option<Rollouts>,
}

// === impl Recording ===

impl Recording {
    /// Every service that anything was recorded of, and the entry.
    #[must_use]
    pub fn services(&self) -> BTreeSet<&str> {
        let measured = self.series.iter().map(|series| series.service.as_str());
        let called = self.graph.iter().flat_map(|(caller, callee)| [caller.as_str(), callee.as_str()]);
        let talking = self.calls.iter().flat_map(|call| [call.caller.as_str(), call.callee.as_str()]);
        let traced = self.operations.iter().flat_map(|operation| [operation.caller.as_str(), operation.service.as_str(), operation.peer.as_str()]);
        let entry = self.alert.entry.as_deref();
        measured.chain(called).chain(talking).chain(traced).chain(entry).filter(|service| !service.is_empty()).collect()
    }

    /// The graph with what calls and traces add to it.
    #[must_use]
    pub fn edges(&self) -> BTreeSet<(&str, &str)> {
        let known = self.graph.iter().map(|(caller, callee)| (caller.as_str(), callee.as_str()));
        let talking = self.calls.iter().map(|call| (call.caller.as_str(), call.callee.as_str()));
        let traced = self.operations.iter().flat_map(|operation| {
            let into = (operation.caller.as_str(), operation.service.as_str());
            let out = (operation.service.as_str(), operation.peer.as_str());
            [into, out]
        });
        let edges = known.chain(talking).chain(traced);
        edges.filter(|(caller, callee)| !caller.is_empty() && !callee.is_empty() && caller != callee).collect()
    }
}

// === impl Alert ===

impl Alert {
    /// Whether a sample at `time` may be of the incident. Alerts come late and are rounded, so it begins two steps early.
    #[must_use]
    pub fn during(&self, time: Seconds) -> bool {
        let step = self.step.max(1);
        time >= self.at.saturating_sub(step.saturating_mul(2)) && time <= self.at.saturating_add(step.saturating_mul(5).max(300))
    }

    /// Whether a sample at `time` teaches what is usual: well before the incident, and in no known one.
    #[must_use]
    pub fn teaches(&self, time: Seconds) -> bool {
        let step = self.step.max(1);
        let masked = |known: &Seconds| time >= known.saturating_sub(step) && time < known.saturating_add(300.max(step.saturating_mul(2)));
        self.precedes(time) && !self.known.iter().any(masked)
    }

    /// Whether a sample at `time` is from well before the incident.
    #[must_use]
    pub fn precedes(&self, time: Seconds) -> bool {
        time < self.at.saturating_sub(self.step.max(1).saturating_mul(2))
    }
}
