//! Cases of the first form: matching, conditions, variables, messages, and that what cannot be judged denies.

use serde_json::json;

use super::*;
use crate::Set;

fn deployment(replicas: u32) -> Value {
    json!({"metadata": {"name": "orders", "namespace": "shop", "labels": {"a.b/c": "x"}}, "spec": {"replicas": replicas}})
}

fn judge_one(spec: Value, old: &Value, new: &Value) -> Option<String> {
    let set = Set::new(vec![("g".into(), spec)]);
    let request = Request {
        group: "apps",
        version: "v1",
        resource: "deployments",
        subresource: "scale",
        operation: "UPDATE",
        namespace: "shop",
        name: "orders",
        username: "assent:executor",
        dry_run: false,
        object: new,
        old_object: old,
    };
    set.evaluate(&request).map(|refusal| refusal.reason)
}

fn scale_rule(validations: &Value) -> Value {
    json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}]},
        "validations": validations
    })
}

#[test]
fn a_validation_denies_with_its_message() {
    let rule = scale_rule(&json!([{"expression": "object.spec.replicas <= 5", "messageExpression": "'at most 5, not ' + string(object.spec.replicas)"}]));
    assert_eq!(judge_one(rule.clone(), &deployment(1), &deployment(5)), None);
    assert_eq!(judge_one(rule, &deployment(1), &deployment(9)).unwrap(), "guardrail `g`: at most 5, not 9");
}

#[test]
fn old_object_variables_and_conditions_are_seen() {
    let mut rule = scale_rule(&json!([{"expression": "variables.step <= 2", "message": "one step at a time"}]));
    rule["variables"] = json!([{"name": "step", "expression": "object.spec.replicas - oldObject.spec.replicas"}]);
    assert_eq!(judge_one(rule.clone(), &deployment(1), &deployment(3)), None);
    assert!(judge_one(rule.clone(), &deployment(1), &deployment(4)).unwrap().contains("one step"));
    rule["matchConditions"] = json!([{"name": "others", "expression": "request.userInfo.username != 'assent:executor'"}]);
    assert_eq!(judge_one(rule, &deployment(1), &deployment(4)), None);
}

#[test]
fn other_resources_do_not_match() {
    let mut rule = scale_rule(&json!([{"expression": "false"}]));
    assert!(judge_one(rule.clone(), &deployment(1), &deployment(1)).is_some());
    rule["matchConstraints"]["resourceRules"][0]["resources"] = json!(["deployments"]);
    assert_eq!(judge_one(rule.clone(), &deployment(1), &deployment(1)), None);
    rule["matchConstraints"]["resourceRules"][0]["resources"] = json!(["*/*"]);
    assert!(judge_one(rule, &deployment(1), &deployment(1)).is_some());
}

#[test]
fn what_cannot_be_judged_denies() {
    let error = scale_rule(&json!([{"expression": "object.spec.absent > 1"}]));
    assert!(judge_one(error.clone(), &deployment(1), &deployment(1)).unwrap().contains("could not be evaluated"));
    let mut ignore = error;
    ignore["failurePolicy"] = json!("Ignore");
    assert_eq!(judge_one(ignore, &deployment(1), &deployment(1)), None);
    let unsupported = json!({"paramKind": {"kind": "ConfigMap"}, "validations": [{"expression": "true"}]});
    assert!(judge_one(unsupported, &deployment(1), &deployment(1)).unwrap().contains("unsupported"));
    assert!(judge_one(scale_rule(&json!([{"expression": "1 +"}])), &deployment(1), &deployment(1)).is_some());
    let long = format!("true {}", "|| true ".repeat(1000));
    assert!(judge_one(scale_rule(&json!([{"expression": long}])), &deployment(1), &deployment(1)).unwrap().contains("longer"));
}

#[test]
fn the_digest_is_of_the_set_and_not_of_its_order() {
    let (a, b) = (json!({"validations": []}), json!({"validations": [{"expression": "true"}]}));
    let left = Set::new(vec![("a".into(), a.clone()), ("b".into(), b.clone())]);
    let right = Set::new(vec![("b".into(), b.clone()), ("a".into(), a.clone())]);
    assert_eq!(left.digest(), right.digest());
    assert_ne!(left.digest(), Set::new(vec![("a".into(), b), ("b".into(), a)]).digest());
}
