//! What people read on a guardrail.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

const NOW: &str = "2026-01-02T03:04:05Z";

fn item(spec: Value) -> Item {
    Item { generation: Some(3), annotations: BTreeMap::new(), spec, status: Value::Null }
}

fn spec(validation: &str) -> Value {
    json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]},
        "validations": [{"expression": validation}],
    })
}

fn known(validation: &str) -> Known {
    let binding = item(json!({"policyName": "g", "validationActions": ["Deny"]}));
    Known { guardrails: BTreeMap::from([("g".to_owned(), item(spec(validation)))]), bindings: BTreeMap::from([("b".to_owned(), binding)]) }
}

fn of<'c>(conditions: &'c [Condition], kind: &str) -> (&'c str, &'c str, &'c str) {
    let condition = conditions.iter().find(|condition| condition.kind == kind).unwrap();
    (&condition.status, &condition.reason, &condition.message)
}

#[test]
fn what_loads_and_is_bound_says_so_and_what_the_scan_counted() {
    let known = known("true");
    let rules = known.rules(None);
    let mut tallies = Tallies::default();
    tallies.guardrails.insert("g".into(), Tally { matched: 7, failing: 2 });
    tallies.bindings.insert("b".into(), Tally { matched: 6, failing: 1 });
    let scanned = Scanned { tallies, reporting: Reporting::Written };
    let status = guardrail(&known, "g", &known.guardrails["g"], &rules, Some(&scanned), &[], NOW);
    assert_eq!((status.observed_generation, status.matched, status.failing, status.type_checking), (Some(3), Some(7), Some(2), None));
    assert_eq!(of(&status.conditions, "Ready"), ("True", "Loads", "it loads"));
    assert_eq!(of(&status.conditions, "Bound").0, "True");
    assert_eq!(of(&status.conditions, "Reported").1, "Written");
    let status = binding(&known, "b", &known.bindings["b"], &rules, Some(&scanned), NOW);
    assert_eq!((of(&status.conditions, "Bound").0, status.matched, status.failing), ("True", Some(6), Some(1)));
}

#[test]
fn what_does_not_load_says_where_and_why_and_whether_the_last_good_version_stays() {
    let good = known("object.spec.replicas == 1");
    let rules = good.rules(None);
    let bad = known("object.spec.replicas = 1");
    let kept = bad.rules(Some(&rules));
    let status = guardrail(&bad, "g", &bad.guardrails["g"], &kept, None, &[], NOW);
    let (holds, reason, message) = of(&status.conditions, "Ready");
    assert_eq!((holds, reason), ("False", "LastGoodVersionInForce"));
    assert!(message.starts_with("validations[0].expression: ") && message.ends_with("stays in force"), "{message}");
    let fresh = bad.rules(None);
    let status = guardrail(&bad, "g", &bad.guardrails["g"], &fresh, None, &[], NOW);
    assert_eq!(of(&status.conditions, "Ready").1, "DoesNotLoad");
    assert_eq!((status.matched, status.conditions.len()), (None, 2));
}

#[test]
fn what_nothing_binds_and_a_binding_of_nothing_say_so() {
    let mut lonely = known("true");
    lonely.bindings.clear();
    let rules = lonely.rules(None);
    let status = guardrail(&lonely, "g", &lonely.guardrails["g"], &rules, None, &[], NOW);
    assert_eq!(of(&status.conditions, "Bound").1, "Unbound");
    assert!(!rules.any);
    let mut dangling = known("true");
    dangling.guardrails.clear();
    let rules = dangling.rules(None);
    let status = binding(&dangling, "b", &dangling.bindings["b"], &rules, None, NOW);
    assert_eq!(of(&status.conditions, "Bound").1, "NoGuardrail");
}

#[test]
fn a_status_that_says_the_same_is_the_same_and_keeps_its_times() {
    let mut known = known("true");
    let rules = known.rules(None);
    let first = guardrail(&known, "g", &known.guardrails["g"], &rules, None, &[], NOW);
    known.guardrails.get_mut("g").unwrap().status = json!(first);
    let again = guardrail(&known, "g", &known.guardrails["g"], &rules, None, &[], "2027-01-01T00:00:00Z");
    assert_eq!(again, first);
}

#[test]
fn warnings_of_a_checker_stand_as_upstream_writes_them() {
    let known = known("true");
    let rules = known.rules(None);
    let warning = ExpressionWarning { field_ref: "spec.validations[0].expression".into(), warning: "undefined field".into() };
    let status = guardrail(&known, "g", &known.guardrails["g"], &rules, None, &[warning], NOW);
    let expected = json!({"expressionWarnings": [{"fieldRef": "spec.validations[0].expression", "warning": "undefined field"}]});
    assert_eq!(json!(status.type_checking), expected);
}

#[test]
fn an_ignored_error_is_still_an_error_for_a_report() {
    let mut known = known("object.spec.nothing");
    known.guardrails.get_mut("g").unwrap().spec["failurePolicy"] = json!("Ignore");
    let rules = known.rules(None);
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}, "spec": {}});
    let kind = crate::kinds::KINDS.iter().find(|kind| kind.kind == "Pod").unwrap();
    let existing = crate::judge::Existing { kind, object: &object, namespace: assent_policies::Namespace::NotGiven };
    let (rows, _) = crate::judge::judge(&rules.set, &rules.about, existing, &|| false);
    assert_eq!(rows[0].verdict, crate::row::Verdict::Error);
}
