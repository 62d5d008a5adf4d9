//! What guardrails said of a plan, as the ledger keeps it: every decision and not only the first, with what each of them saw,
//! so that `kubectl assent explain` can tell it long after the objects are gone. Bounded; what is secret was masked where the
//! explanation was made.

use assent_policies::Outcome;
use serde_json::{Map, Value, json};

/// Longest that is kept of everything, in bytes of JSON. The director takes bodies of 64 KiB.
const MAX_RECORD: usize = 32 * 1024;
/// Longest Facts that are kept, in bytes of JSON.
const MAX_FACTS: usize = 8 * 1024;
/// Deepest nesting of them.
const MAX_DEPTH: usize = 16;

/// The record of what was judged: each request by a word for what it is (`write`, `plan`), and the Facts that it was judged
/// with, if there were any.
pub(crate) fn record(said: &[(&str, &Outcome)], facts: Option<&Value>) -> Value {
    let facts = facts.map(|facts| match plain(facts, 0) {
        small if small.to_string().len() <= MAX_FACTS => small,
        large => json!({"omitted": format!("{} bytes of facts are more than are kept", large.to_string().len())}),
    });
    let left = MAX_RECORD.saturating_sub(facts.as_ref().map_or(0, |facts| facts.to_string().len()));
    let share = left / said.len().max(1);
    let mut record: Map<String, Value> = said.iter().map(|(of, outcome)| ((*of).to_owned(), kept(outcome, share))).collect();
    record.extend(facts.map(|facts| ("facts".to_owned(), facts)));
    Value::Object(record)
}

fn kept(outcome: &Outcome, most: usize) -> Value {
    // Its fields are texts and whole numbers, which always have a JSON form.
    serde_json::to_value(outcome.kept(most)).unwrap_or(Value::Null)
}

/// The ledger holds integers only and is not nested deeply; a record of a refusal must never fail by what is in it.
fn plain(value: &Value, depth: usize) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => Value::String("...".into()),
        Value::Array(items) => items.iter().map(|item| plain(item, depth + 1)).collect(),
        Value::Object(fields) => Value::Object(fields.iter().map(|(name, value)| (name.clone(), plain(value, depth + 1))).collect()),
        Value::Number(number) if number.is_f64() => Value::String(number.to_string()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use assent_core::canonical;
    use assent_policies::spec::ValidationAction;
    use assent_policies::{Decision, Evaluation};

    use super::*;

    #[test]
    fn every_denial_is_kept_within_what_the_ledger_takes() {
        let decision = |number: usize| Decision {
            policy: format!("guardrail-{number}"),
            binding: Some("b".into()),
            param: None,
            actions: vec![ValidationAction::Deny],
            evaluation: Evaluation::Deny,
            index: Some(0),
            reason: "Invalid".into(),
            message: "m".repeat(8_000),
            explanation: None,
        };
        let write = Outcome { decisions: (0..100).map(decision).collect(), ..Outcome::default() };
        let plan = Outcome { decisions: vec![decision(100)], ..Outcome::default() };
        let facts = json!({"now": "2026-01-01T00:00:00Z", "share": 0.5, "deep": (0..100).fold(json!(1), |inner, _| json!([inner]))});
        let record = record(&[("write", &write), ("plan", &plan)], Some(&facts));
        let text = canonical::text(&record).unwrap();
        assert!(text.len() <= MAX_RECORD + 1024, "{}", text.len());
        let read = |of: &str| serde_json::from_value::<Outcome>(record[of].clone()).unwrap();
        let (write, plan) = (read("write"), read("plan"));
        assert!(write.decisions.len() > 3 && write.decisions.len() + write.omitted == 100, "{}", write.decisions.len());
        assert_eq!((plan.decisions.len(), plan.omitted, &record["facts"]["share"]), (1, 0, &json!("0.5")));
        let large = json!({"text": "x".repeat(MAX_FACTS)});
        assert!(super::record(&[], Some(&large))["facts"]["omitted"].as_str().unwrap().contains("more than are kept"));
    }
}
