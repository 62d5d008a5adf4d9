//! Counts of verdicts by rule.

use assent_core::refusal::Refusal;
use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::registry::Registry;

use super::Passed;

/// The gate's metrics. The label is one of our own words or a rule's code, so their number is bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    reviews: Family<Vec<(String, String)>, Counter>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("assent_gate_reviews", "Reviews by verdict: why admitted, or the rule that refused", metrics.reviews.clone());
        metrics
    }

    pub(super) fn count(&self, verdict: &Result<Passed, Refusal>) {
        let verdict = match verdict {
            Ok(passed) => passed.why.to_owned(),
            Err(refusal) => refusal.rule.code(),
        };
        self.reviews.get_or_create(&vec![("verdict".to_owned(), verdict)]).inc();
    }
}
