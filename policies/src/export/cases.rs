//! Cases of the export: the objects are the specs, and what no API server could hold is named.

use super::*;

fn spec(extra: Value) -> PolicySpec {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}]},
        "validations": [{"expression": "object.spec.replicas <= 5", "reason": "Forbidden"}],
    });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn binding(policy: &str, extra: Value) -> BindingSpec {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

#[test]
fn objects_are_the_specs() {
    let plain = spec(json!({}));
    let export = export(&[("cap".into(), plain.clone())], &[("cap".into(), binding("cap", json!({})))], None);
    assert_eq!(export.left, []);
    assert_eq!(export.objects.len(), 2);
    assert_eq!(serde_json::from_value::<PolicySpec>(export.objects[0]["spec"].clone()).unwrap(), plain);
    assert_eq!(export.objects[1]["kind"], "ValidatingAdmissionPolicyBinding");
    assert_eq!(export.objects[1]["spec"], json!({"policyName": "cap", "validationActions": ["Deny"]}));
}

#[test]
fn a_guardrail_is_exported_for_our_writes_only() {
    let export = export(&[("cap".into(), spec(json!({})))], &[], Some("assent:executor"));
    let condition = &export.objects[0]["spec"]["matchConditions"][0];
    assert_eq!(condition["expression"], r#"request.userInfo.username == "assent:executor""#);
}

#[test]
fn what_no_server_could_hold_is_named() {
    let facts = |group: &str| spec(json!({"paramKind": {"apiVersion": format!("{group}/v1alpha1"), "kind": "Facts"}}));
    let policies = [
        ("facts".to_owned(), facts("assent.dev")),
        ("foreign".to_owned(), facts("example.com")),
        ("two-lines".to_owned(), spec(json!({"validations": [{"expression": "true", "message": "a\nb"}]}))),
    ];
    let twice = binding("foreign", json!({"validationActions": ["Deny", "Warn"]}));
    let export = export(&policies, &[("facts".into(), binding("facts", json!({}))), ("twice".into(), twice)], None);
    let left: Vec<&str> = export.left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["facts", "two-lines", "facts", "twice"]);
    assert!(export.left[0].1.contains("kind Facts of assent.dev/v1alpha1"), "{:?}", export.left);
    assert_eq!(export.objects.len(), 1);
}
