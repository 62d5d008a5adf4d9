//! Counts and times of reviews and of guardrails. Every label is one of our own words, a rule's code, or the name of a
//! guardrail or binding, of which so many are told apart; the rest is `other`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assent_core::refusal::Refusal;
use assent_policies::spec::ValidationAction;
use assent_policies::{Decision, Evaluation, Outcome};
use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::metrics::gauge::Gauge;
use assent_runtime::metrics::metrics::histogram::Histogram;
use assent_runtime::metrics::registry::Registry;

use super::Passed;
use super::intake::Shed;

/// Pairs of guardrail and binding that have a label of their own, in the life of the process.
const MOST_PAIRS: usize = 512;
/// Label of all others.
const OTHER: &str = "other";
/// As the API server's histogram of `check_duration_seconds`, and a bucket between.
const CHECK_BUCKETS: [f64; 6] = [0.000_000_5, 0.001, 0.005, 0.01, 0.1, 1.0];
/// The API server gives up after five seconds.
const REVIEW_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0];

type Labels = Vec<(&'static str, String)>;

/// The gate's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    reviews: Family<Labels, Counter>,
    shed: Family<Labels, Counter>,
    unreadable: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    checks: Family<Labels, Counter>,
    check_seconds: Family<Labels, Histogram, fn() -> Histogram>,
    pairs: Arc<Mutex<BTreeSet<(String, String)>>>,
}

/// One review in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'m>(&'m Metrics, tokio::time::Instant);

fn check_histogram() -> Histogram {
    Histogram::new(CHECK_BUCKETS)
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reviews: Family::default(),
            shed: Family::default(),
            unreadable: Counter::default(),
            in_flight: Gauge::default(),
            seconds: Histogram::new(REVIEW_BUCKETS),
            checks: Family::default(),
            check_seconds: Family::new_with_constructor(check_histogram),
            pairs: Arc::default(),
        };
        registry.register("assent_gate_reviews", "Reviews by verdict: why admitted, or the rule that refused", metrics.reviews.clone());
        registry.register("assent_gate_shed", "Reviews answered at once with 429 because the gate had enough to do", metrics.shed.clone());
        registry.register("assent_gate_unreadable", "Bodies that were no review", metrics.unreadable.clone());
        registry.register("assent_gate_in_flight", "Reviews that have no answer yet", metrics.in_flight.clone());
        registry.register("assent_gate_review_seconds", "Time from a request's head to its answer", metrics.seconds.clone());
        registry.register(
            "assent_guardrail_check",
            "Guardrail checks by policy, binding, error and enforcement action, as apiserver_validating_admission_policy_check_total",
            metrics.checks.clone(),
        );
        registry.register(
            "assent_guardrail_check_duration_seconds",
            "Time of the guardrail evaluation that a check was part of",
            metrics.check_seconds.clone(),
        );
        metrics
    }

    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(self, tokio::time::Instant::now())
    }

    pub(super) fn count(&self, verdict: &Result<Passed, Refusal>) {
        let verdict = match verdict {
            Ok(passed) => passed.why.to_owned(),
            Err(refusal) => refusal.rule.code(),
        };
        self.reviews.get_or_create(&vec![("verdict", verdict)]).inc();
    }

    pub(super) fn shed(&self, shed: Shed) {
        self.shed.get_or_create(&vec![("reason", shed.reason().to_owned())]).inc();
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// What the guardrails said of one request, and how long all of them took together. Failures count as the API server
    /// counts them, once for each action; a guardrail without a failure counts as allowed, without a binding.
    pub(super) fn judged(&self, outcome: &Outcome, elapsed: Duration) {
        for decision in &outcome.decisions {
            let binding = decision.binding.as_deref().unwrap_or_default();
            for action in &decision.actions {
                let action = match action {
                    ValidationAction::Deny => "deny",
                    ValidationAction::Audit => "audit",
                    ValidationAction::Warn => "warn",
                };
                self.check(&decision.policy, binding, error_type(decision), action, elapsed);
            }
        }
        let failed = |policy: &str| outcome.decisions.iter().any(|decision| decision.policy == policy);
        for (policy, _) in outcome.costs.iter().filter(|(policy, _)| !failed(policy)) {
            self.check(policy, "", "no_error", "allow", elapsed);
        }
    }

    fn check(&self, policy: &str, binding: &str, error: &'static str, action: &'static str, elapsed: Duration) {
        let (policy, binding) = self.known(policy, binding);
        let labels = vec![("policy", policy), ("policy_binding", binding), ("error_type", error.to_owned()), ("enforcement_action", action.to_owned())];
        self.checks.get_or_create(&labels).inc();
        self.check_seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    fn known(&self, policy: &str, binding: &str) -> (String, String) {
        let pair = (policy.to_owned(), binding.to_owned());
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.contains(&pair) {
            return pair;
        }
        if pairs.len() >= MOST_PAIRS {
            return (OTHER.to_owned(), OTHER.to_owned());
        }
        pairs.insert(pair.clone());
        pair
    }
}

/// The API server's words for it, found as the API server finds them.
fn error_type(decision: &Decision) -> &'static str {
    match decision.evaluation {
        _ if decision.message.starts_with("compilation") => "compile_error",
        _ if decision.message.starts_with("validation failed due to running out of cost budget") => "out_of_budget",
        Evaluation::Deny | Evaluation::Error | Evaluation::Configuration => "invalid_error",
    }
}

// === impl InFlight ===

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
        self.0.seconds.observe(self.1.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use assent_policies::{Request, Set};
    use serde_json::{Value, json};

    use super::*;

    fn outcome(policies: usize, validation: &str, actions: &Value) -> Outcome {
        let spec = json!({
            "matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]},
            "validations": [{"expression": validation, "message": "no"}],
        });
        let binding = |at: usize| json!({"policyName": format!("p{at}"), "validationActions": actions});
        let policies: Vec<_> = (0..policies).collect();
        let set = Set::new(
            policies.iter().map(|at| (format!("p{at}"), spec.clone())).collect(),
            policies.iter().map(|at| (format!("b{at}"), binding(*at))).collect(),
        );
        let object = json!({"n": 1});
        set.evaluate(&Request { object: &object, ..Request::default() })
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        assent_runtime::metrics::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn checks_carry_the_api_servers_labels() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let elapsed = Duration::from_millis(2);
        metrics.judged(&outcome(1, "object.n == 2", &json!(["Warn", "Audit"])), elapsed);
        metrics.judged(&outcome(1, "object.n == 1", &json!(["Deny"])), elapsed);
        metrics.judged(&outcome(1, "object.n ==", &json!(["Deny"])), elapsed);
        metrics.judged(&outcome(1, "object.absent == 1", &json!(["Deny"])), elapsed);
        let text = text(&registry);
        for line in [
            r#"assent_guardrail_check_total{policy="p0",policy_binding="b0",error_type="invalid_error",enforcement_action="warn"} 1"#,
            r#"assent_guardrail_check_total{policy="p0",policy_binding="b0",error_type="invalid_error",enforcement_action="audit"} 1"#,
            r#"assent_guardrail_check_total{policy="p0",policy_binding="",error_type="no_error",enforcement_action="allow"} 1"#,
            r#"error_type="invalid_error",enforcement_action="deny"} 1"#,
            r#"assent_guardrail_check_duration_seconds_bucket{le="0.005",policy="p0",policy_binding="",error_type="no_error",enforcement_action="allow"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.contains(r#"error_type="compile_error",enforcement_action="deny"} 1"#), "{text}");
    }

    #[test]
    fn names_beyond_the_bound_share_a_label() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let many = outcome(MOST_PAIRS + 100, "object.n == 1", &json!(["Deny"]));
        metrics.judged(&many, Duration::from_micros(10));
        metrics.judged(&many, Duration::from_micros(10));
        let text = text(&registry);
        let lines = text.lines().filter(|line| line.starts_with("assent_guardrail_check_total{")).count();
        assert_eq!(lines, MOST_PAIRS + 1);
        assert!(text.contains(r#"check_total{policy="other",policy_binding="other",error_type="no_error",enforcement_action="allow"} 200"#), "{text}");
    }

    #[test]
    fn what_is_in_flight_ends_with_its_guard() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let one = metrics.begin();
        metrics.shed(Shed::Queue);
        assert!(text(&registry).contains("assent_gate_in_flight 1\n"));
        drop(one);
        let text = text(&registry);
        for line in ["assent_gate_in_flight 0\n", "assent_gate_review_seconds_count 1\n", "assent_gate_shed_total{reason=\"queue\"} 1\n"] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
