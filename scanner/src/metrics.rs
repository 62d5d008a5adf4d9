//! Metrics. Labels are verdicts, plurals of the table of kinds, and a few words, so their number is bounded.

use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::metrics::gauge::Gauge;
use assent_runtime::metrics::registry::Registry;
use std::sync::atomic::AtomicU64;

use crate::known::{Known, Rules};
use crate::row::Verdict;
use crate::scan::{Done, objects};
use crate::status::Reporting;

type Labelled<M> = Family<Vec<(&'static str, &'static str)>, M>;

/// All of them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    scans: Labelled<Counter>,
    seconds: Gauge<f64, AtomicU64>,
    finished: Gauge,
    objects: Labelled<Gauge>,
    results: Labelled<Gauge>,
    guardrails: Labelled<Gauge>,
    reports: Labelled<Counter>,
    served: Gauge,
    unread: Gauge,
    statuses: Labelled<Counter>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("assent_scanner_scans", "Scans, by outcome", metrics.scans.clone());
        registry.register("assent_scanner_scan_seconds", "How long the last scan took", metrics.seconds.clone());
        registry.register("assent_scanner_finished_timestamp_seconds", "When the last scan ended that did not fail", metrics.finished.clone());
        registry.register("assent_scanner_objects", "Objects that the last scan judged, by resource", metrics.objects.clone());
        registry.register("assent_scanner_results", "Results of the last scan, by result", metrics.results.clone());
        registry.register("assent_scanner_guardrails", "Guardrails, by state", metrics.guardrails.clone());
        registry.register("assent_scanner_reports", "Reports written or deleted, by outcome", metrics.reports.clone());
        registry.register(
            "assent_scanner_reports_served",
            "Whether the API server serves the kinds of reports (1), or they are off or not served (0)",
            metrics.served.clone(),
        );
        registry.register("assent_scanner_unread_resources", "Resources that the last scan could not list: not served or not granted", metrics.unread.clone());
        registry.register("assent_scanner_statuses", "Statuses of guardrails and bindings written, by outcome", metrics.statuses.clone());
        metrics
    }

    pub(crate) fn scanned(&self, done: &Done, seconds: f64, now: i64) {
        self.scans.get_or_create(&vec![("outcome", "done")]).inc();
        self.seconds.set(seconds);
        self.finished.set(now);
        for (resource, count) in objects(done) {
            self.objects.get_or_create(&vec![("resource", resource)]).set(number(count));
        }
        for verdict in Verdict::ALL {
            let count = done.scanned.tallies.verdicts.get(&verdict).copied().unwrap_or_default();
            self.results.get_or_create(&vec![("result", verdict.name())]).set(number(count));
        }
        self.reports.get_or_create(&vec![("outcome", "done")]).inc_by(done.changed);
        self.reports.get_or_create(&vec![("outcome", "failed")]).inc_by(done.failed);
        self.served.set(i64::from(matches!(done.scanned.reporting, Reporting::Written | Reporting::Failed)));
        self.unread.set(i64::try_from(done.unread.len()).unwrap_or(i64::MAX));
    }

    pub(crate) fn failed(&self) {
        self.scans.get_or_create(&vec![("outcome", "failed")]).inc();
    }

    pub(crate) fn rules(&self, known: &Known, rules: &Rules) {
        let unbound = known.guardrails.keys().filter(|name| !known.is_bound(name)).count();
        for (state, count) in [("known", known.guardrails.len()), ("unbound", unbound), ("broken", rules.set.broken().count())] {
            self.guardrails.get_or_create(&vec![("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn status(&self, written: bool) {
        self.statuses.get_or_create(&vec![("outcome", if written { "done" } else { "failed" })]).inc();
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
