//! The status of guardrails and bindings as values: whether they load, whether they have an effect, and what the last scan
//! counted.

use assent_api::resources::{Condition, ExpressionWarning, GuardrailBindingStatus, GuardrailStatus, TypeChecking};
use assent_policies::{Part, Problem};
use serde_json::Value;

use crate::known::{Item, Known, Rules, policy_name};
use crate::row;
use crate::tally::{Tallies, Tally};

/// Most problems that one condition tells.
const MAX_PROBLEMS: usize = 4;
/// Most warnings of one guardrail.
const MAX_WARNINGS: usize = 64;

/// What became of the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// They are written.
    Written,
    /// Nobody wants them.
    Off,
    /// The API server does not serve their kinds.
    NotServed,
    /// Some could not be written; they are tried again.
    Failed,
}

/// What the last scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Counts.
    pub tallies: Tallies,
    /// What became of the reports.
    pub reporting: Reporting,
}

/// Warnings of a checker about the guardrail of this name.
pub type Warnings<'w> = &'w [ExpressionWarning];

/// The status that guardrail `name` should have. `now` is RFC 3339.
#[must_use]
pub fn guardrail(known: &Known, name: &str, item: &Item, rules: &Rules, scanned: Option<&Scanned>, warnings: Warnings<'_>, now: &str) -> GuardrailStatus {
    let mut status: GuardrailStatus = stored(&item.status);
    status.observed_generation = item.generation;
    let condition = |kind: &str, (holds, reason, message): Told| condition(item, now, kind, holds, reason, message);
    condition("Ready", ready(rules, Part::Policy, name)).set_in(&mut status.conditions);
    let bound = if known.is_bound(name) {
        (true, "Bound", "a binding puts it in force".to_owned())
    } else {
        (false, "Unbound", "no GuardrailBinding names it, so it has no effect".to_owned())
    };
    condition("Bound", bound).set_in(&mut status.conditions);
    if let Some(scanned) = scanned {
        condition("Reported", reported(scanned.reporting, rules.about.get(name).is_none_or(|about| about.background))).set_in(&mut status.conditions);
        let tally = scanned.tallies.guardrails.get(name).copied().unwrap_or_default();
        (status.matched, status.failing) = counted(tally);
    }
    let warnings: Vec<ExpressionWarning> = warnings.iter().take(MAX_WARNINGS).cloned().collect();
    status.type_checking = (!warnings.is_empty()).then_some(TypeChecking { expression_warnings: warnings });
    status
}

/// The status that binding `name` should have. `now` is RFC 3339.
#[must_use]
pub fn binding(known: &Known, name: &str, item: &Item, rules: &Rules, scanned: Option<&Scanned>, now: &str) -> GuardrailBindingStatus {
    let mut status: GuardrailBindingStatus = stored(&item.status);
    status.observed_generation = item.generation;
    let condition = |kind: &str, (holds, reason, message): Told| condition(item, now, kind, holds, reason, message);
    condition("Ready", ready(rules, Part::Binding, name)).set_in(&mut status.conditions);
    let policy = policy_name(&item.spec);
    let bound = if known.guardrails.contains_key(policy) {
        (true, "Bound", format!("guardrail `{policy:.253}` exists"))
    } else {
        (false, "NoGuardrail", format!("there is no guardrail `{policy:.253}`, so it has no effect"))
    };
    condition("Bound", bound).set_in(&mut status.conditions);
    if let Some(scanned) = scanned {
        let tally = scanned.tallies.bindings.get(name).copied().unwrap_or_default();
        (status.matched, status.failing) = counted(tally);
    }
    status
}

/// Whether a condition holds, its reason, and a message.
type Told = (bool, &'static str, String);

fn ready(rules: &Rules, part: Part, name: &str) -> Told {
    let problems: Vec<&Problem> = rules.set.problems().iter().filter(|problem| problem.part == part && problem.name == name).collect();
    let words = |fatal: bool| -> String {
        let told: Vec<String> =
            problems.iter().filter(|problem| problem.fatal == fatal).take(MAX_PROBLEMS).map(|one| format!("{}: {}", one.place, one.reason)).collect();
        row::message(&told.join("; "))
    };
    if !problems.iter().any(|problem| problem.fatal) {
        let message = if problems.is_empty() { "it loads".to_owned() } else { format!("it loads, and an API server would not store it: {}", words(false)) };
        return (true, "Loads", message);
    }
    if problems.iter().any(|problem| problem.kept) {
        return (false, "LastGoodVersionInForce", format!("{}; its last good version stays in force", words(true)));
    }
    (false, "DoesNotLoad", format!("{}; what it speaks of cannot be judged", words(true)))
}

fn reported(reporting: Reporting, background: bool) -> Told {
    match reporting {
        _ if !background => (false, "NotScanned", "annotation `assent.dev/background: \"false\"` takes it out of scans".to_owned()),
        Reporting::Written => (true, "Written", "results stand in the reports".to_owned()),
        Reporting::Off => (false, "Off", "the scanner writes no reports; it counts".to_owned()),
        Reporting::NotServed => (false, "NotServed", "the API server serves no kinds of reports; install their definitions".to_owned()),
        Reporting::Failed => (false, "Failed", "some reports could not be written; it is tried again".to_owned()),
    }
}

fn condition(item: &Item, now: &str, kind: &str, holds: bool, reason: &str, message: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: now.to_owned(),
        observed_generation: item.generation,
    }
}

fn counted(tally: Tally) -> (Option<u64>, Option<u64>) {
    (Some(tally.matched), Some(tally.failing))
}

/// What stands in the cluster; what cannot be read is written anew.
fn stored<T: serde::de::DeserializeOwned + Default>(status: &Value) -> T {
    serde_json::from_value(status.clone()).unwrap_or_default()
}

#[cfg(test)]
mod cases;
