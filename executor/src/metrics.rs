//! Counts of how plans ended and why there were none.

use assent_api::resources::RemediationPhase;
use assent_core::refusal::Refusal;
use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::registry::Registry;

/// The labels are phases and rule codes, so their number is bounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    finished: Family<Vec<(String, String)>, Counter>,
    refused: Family<Vec<(String, String)>, Counter>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("assent_executor_plans", "Plans carried to their end, by final phase", metrics.finished.clone());
        registry.register("assent_executor_refusals", "Decisions that came to no plan, by rule", metrics.refused.clone());
        metrics
    }

    pub(crate) fn finished(&self, phase: RemediationPhase) {
        self.finished.get_or_create(&vec![("phase".to_owned(), format!("{phase:?}").to_lowercase())]).inc();
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refused.get_or_create(&vec![("rule".to_owned(), refusal.rule.code())]).inc();
    }
}
