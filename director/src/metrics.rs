//! What is counted. Label values come from closed lists, so their number does not grow with incidents or senders.

use assent_core::consensus::Verdict;
use assent_core::incident::{AlertSource, Phase};
use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::registry::Registry;

use crate::store::Received;

/// Counters of the director. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    alerts: Family<[(&'static str, &'static str); 2], Counter>,
    phases: Family<[(&'static str, &'static str); 1], Counter>,
    verdicts: Family<[(&'static str, String); 2], Counter>,
    failures: Counter,
    turned_away: Counter,
    proposals: Family<[(&'static str, String); 1], Counter>,
    alarms: Counter,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("assent_director");
        registry.register("alerts", "Alerts received, by what became of them", self.alerts.clone());
        registry.register("phases_entered", "Phases that incidents entered", self.phases.clone());
        registry.register("decisions", "Tallies, by verdict and by the rule that held", self.verdicts.clone());
        registry.register("effect_failures", "Effects that failed and will be tried again", self.failures.clone());
        registry.register("deliveries_turned_away", "Deliveries that were answered with 503, to come again", self.turned_away.clone());
        registry.register("proposals", "Proposed operations that were answered, by tier", self.proposals.clone());
        registry.register("security_alerts", "Proposals and decisions for what is forbidden", self.alarms.clone());
    }

    pub(crate) fn received(&self, source: AlertSource, what: &Received) {
        let source = match source {
            AlertSource::Seat => "seat",
            AlertSource::Alertmanager => "alertmanager",
            AlertSource::GoAlert => "goalert",
        };
        let became = match what {
            Received::Opened(_) => "opened",
            Received::Joined(_) => "joined",
            Received::Known(_) => "known",
            Received::Kept => "kept",
        };
        self.alerts.get_or_create(&[("source", source), ("became", became)]).inc();
    }

    pub(crate) fn entered(&self, phase: Phase) {
        self.phases.get_or_create(&[("phase", phase.as_str())]).inc();
    }

    pub(crate) fn decided(&self, verdict: &Verdict) {
        let (verdict, rule) = match verdict {
            Verdict::Act { .. } => ("act", String::new()),
            // A rule's code is one of a closed list.
            Verdict::Hold { rule, .. } => ("hold", rule.code()),
        };
        self.verdicts.get_or_create(&[("verdict", verdict.to_owned()), ("rule", rule)]).inc();
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// A tier is one of three.
    pub(crate) fn proposed(&self, tier: &str) {
        self.proposals.get_or_create(&[("tier", tier.to_owned())]).inc();
    }

    pub(crate) fn alarmed(&self) {
        self.alarms.inc();
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }
}
