//! What a seat counts. Labels are fixed words; nothing is labelled by pod, workload or error text.

use std::collections::BTreeMap;

use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::metrics::gauge::Gauge;
use assent_runtime::metrics::registry::Registry;

type Outcome = [(&'static str, &'static str); 1];

/// The counters of one seat. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    windows: Family<Outcome, Counter>,
    streams_refused: Counter,
    ballots: Family<Outcome, Counter>,
    anomalies: Family<Outcome, Counter>,
    kubelet_rounds: Family<Outcome, Counter>,
    sources: Family<Outcome, Counter>,
    spans: Family<Outcome, Counter>,
    exports: Family<Outcome, Counter>,
    demand: Family<Outcome, Gauge>,
    pods: Gauge,
    healthy_templates: Gauge,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(root: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Times that a source gave no evidence when a seat was asked, or not all";
        root.register("assent_specialist_source_failures", help, metrics.sources.clone());
        let registry = root.sub_registry_with_prefix("assent_seat");
        registry.register("spans", "Spans that were sent to us by outcome", metrics.spans.clone());
        registry.register("trace_exports", "Exports of traces by outcome", metrics.exports.clone());
        registry.register("windows", "Windows from sidecars by outcome", metrics.windows.clone());
        registry.register("streams_refused", "Streams whose speaker was not proven", metrics.streams_refused.clone());
        registry.register("ballots", "Ballots by outcome", metrics.ballots.clone());
        registry.register("anomalies", "Anomalies reported by outcome", metrics.anomalies.clone());
        registry.register("kubelet_readings", "Readings of kubelets by outcome", metrics.kubelet_rounds.clone());
        registry.register("demand", "Services whose load is followed by how they stand", metrics.demand.clone());
        registry.register("pods", "Pods that are known", metrics.pods.clone());
        registry.register("healthy_templates", "Pod templates that could be gone back to", metrics.healthy_templates.clone());
        metrics
    }

    fn count(family: &Family<Outcome, Counter>, outcome: &'static str) {
        family.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn window_taken(&self) {
        Self::count(&self.windows, "taken");
    }

    pub(crate) fn window_repeated(&self) {
        Self::count(&self.windows, "repeated");
    }

    pub(crate) fn window_unowned(&self) {
        Self::count(&self.windows, "unowned");
    }

    pub(crate) fn stream_refused(&self) {
        self.streams_refused.inc();
    }

    pub(crate) fn ballot(&self, outcome: &'static str) {
        Self::count(&self.ballots, outcome);
    }

    pub(crate) fn anomaly(&self, delivered: bool) {
        Self::count(&self.anomalies, if delivered { "delivered" } else { "undelivered" });
    }

    /// How each followed service stands.
    pub(crate) fn demand(&self, standings: impl Iterator<Item = &'static str>) {
        let mut counts: BTreeMap<&'static str, i64> = BTreeMap::new();
        for standing in standings {
            *counts.entry(standing).or_default() += 1;
        }
        self.demand.clear();
        for (standing, count) in counts {
            self.demand.get_or_create(&[("standing", standing)]).set(count);
        }
    }

    pub(crate) fn kubelet(&self, read: bool) {
        Self::count(&self.kubelet_rounds, if read { "read" } else { "failed" });
    }

    pub(crate) fn source_failed(&self, source: &'static str) {
        self.sources.get_or_create(&[("source", source)]).inc();
    }

    pub(crate) fn spans(&self, taken: u64, dropped: u64) {
        for (outcome, count) in [("taken", taken), ("dropped", dropped)].into_iter().filter(|(_, count)| *count > 0) {
            self.spans.get_or_create(&[("outcome", outcome)]).inc_by(count);
        }
    }

    pub(crate) fn export(&self, taken: bool) {
        Self::count(&self.exports, if taken { "taken" } else { "refused" });
    }

    pub(crate) fn pods(&self, known: usize) {
        self.pods.set(i64::try_from(known).unwrap_or(i64::MAX));
    }

    pub(crate) fn healthy_templates(&self, known: usize) {
        self.healthy_templates.set(i64::try_from(known).unwrap_or(i64::MAX));
    }
}
