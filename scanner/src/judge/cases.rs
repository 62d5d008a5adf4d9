//! Which verdict an object gets: by operation, by what is not known, by what a binding leads to.

use serde_json::json;

use super::*;
use crate::kinds::KINDS;

const NOW: &(dyn Fn() -> bool + Sync) = &|| false;

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
           "spec": {"containers": [{"name": "app", "image": "web:latest"}]}})
}

fn guardrail(operations: &[&str], validation: &str) -> Value {
    json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": operations}]},
        "validations": [{"expression": validation, "message": "not so"}],
    })
}

/// Rows and bindings that spoke, of one guardrail with these bindings, on a pod.
fn both(spec: &Value, bindings: &[(&str, Value)], annotations: &[(&str, &str)]) -> (Vec<Row>, Vec<Spoken>) {
    let bindings = bindings.iter().map(|(name, spec)| ((*name).to_owned(), spec.clone())).collect();
    let set = Set::new(vec![("g".into(), spec.clone())], bindings);
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let about = BTreeMap::from([("g".to_owned(), About::of(&annotations, spec))]);
    let kind = KINDS.iter().find(|kind| kind.kind == "Pod").unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": "web"}}});
    judge(&set, &about, Existing { kind, object: &pod(), namespace: Namespace::Known(&namespace) }, NOW)
}

fn rows(spec: &Value) -> Vec<Row> {
    both(spec, &[("b", denies())], &[]).0
}

fn denies() -> Value {
    json!({"policyName": "g", "validationActions": ["Deny"]})
}

fn verdicts(spec: &Value) -> Vec<Verdict> {
    rows(spec).into_iter().map(|row| row.verdict).collect()
}

#[test]
fn an_object_is_judged_as_its_creation_where_the_guardrail_speaks_of_that() {
    let seen = "request.operation == 'CREATE' && oldObject == null && request.userInfo.username == 'assent:executor'";
    assert_eq!(verdicts(&guardrail(&["CREATE", "UPDATE"], seen)), [Verdict::Pass]);
    assert_eq!(verdicts(&guardrail(&["CREATE"], seen)), [Verdict::Pass]);
    assert_eq!(verdicts(&guardrail(&["CREATE"], "false")), [Verdict::Fail]);
}

#[test]
fn else_as_an_update_that_changes_nothing() {
    assert_eq!(verdicts(&guardrail(&["UPDATE"], "request.operation == 'UPDATE'")), [Verdict::Pass]);
    // What leaves creations out by a condition speaks of updates.
    let mut conditional = guardrail(&["CREATE", "UPDATE"], "request.operation == 'UPDATE'");
    conditional["matchConditions"] = json!([{"name": "updates", "expression": "request.operation == 'UPDATE'"}]);
    assert_eq!(verdicts(&conditional), [Verdict::Pass]);
    assert_eq!(verdicts(&guardrail(&["DELETE"], "false")), []);
}

#[test]
fn what_a_scan_cannot_know_is_skipped_with_the_reason_and_never_passed() {
    let compares = rows(&guardrail(&["UPDATE"], "object.spec == oldObject.spec"));
    assert_eq!((compares[0].verdict, compares[0].message.contains("object before")), (Verdict::Skip, true), "{compares:?}");
    // A refusal even of no change is one.
    assert_eq!(verdicts(&guardrail(&["UPDATE"], "object.spec != oldObject.spec")), [Verdict::Fail]);
    let asks = rows(&guardrail(&["CREATE"], "authorizer.group('').resource('pods').check('delete').allowed()"));
    assert_eq!((asks[0].verdict, asks[0].message.contains("authorizer")), (Verdict::Skip, true), "{asks:?}");
    assert_eq!(verdicts(&guardrail(&["CREATE"], "true || authorizer.group('').resource('pods').check('delete').allowed()")), [Verdict::Pass]);
    let mut reads = guardrail(&["CREATE"], "true");
    reads["paramKind"] = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Facts"});
    let bound = json!({"policyName": "g", "validationActions": ["Deny"], "paramRef": {"name": "current", "parameterNotFoundAction": "Deny"}});
    let (read, spoken) = both(&reads, &[("b", bound.clone())], &[]);
    assert_eq!((read[0].verdict, read[0].message.contains("Facts"), read[0].binding.as_deref()), (Verdict::Skip, true, Some("b")), "{read:?}");
    assert_eq!(spoken.len(), 1);
    // Elsewhere it has nothing to say at all.
    let mut elsewhere = bound;
    elsewhere["matchResources"] = json!({"namespaceSelector": {"matchLabels": {"tier": "data"}}});
    assert_eq!(both(&reads, &[("b", elsewhere)], &[]).0, []);
}

#[test]
fn what_cannot_be_evaluated_is_an_error() {
    let failed = rows(&guardrail(&["CREATE"], "object.spec.nothing == 1"));
    assert_eq!(failed[0].verdict, Verdict::Error, "{failed:?}");
    assert!(failed[0].message.contains("no such key: nothing"), "{failed:?}");
    assert_eq!(verdicts(&guardrail(&["CREATE"], "object.spec.")), [Verdict::Error]);
    let late = || true;
    let set = Set::new(vec![("g".into(), guardrail(&["CREATE"], "true"))], vec![("b".into(), denies())]);
    let kind = KINDS.iter().find(|kind| kind.kind == "Pod").unwrap();
    let (rows, _) = judge(&set, &BTreeMap::new(), Existing { kind, object: &pod(), namespace: Namespace::Missing }, &late);
    assert_eq!(rows[0].verdict, Verdict::Error);
}

#[test]
fn what_only_warns_or_records_is_a_warning_and_the_worst_binding_speaks() {
    let warns = json!({"policyName": "g", "validationActions": ["Warn", "Audit"]});
    let (rows, _) = both(&guardrail(&["CREATE"], "false"), &[("a", warns.clone())], &[]);
    assert_eq!((rows[0].verdict, rows[0].message.as_str()), (Verdict::Warn, "not so"));
    let (rows, spoken) = both(&guardrail(&["CREATE"], "false"), &[("a", warns), ("b", denies())], &[]);
    assert_eq!((rows.len(), rows[0].verdict, rows[0].binding.as_deref()), (1, Verdict::Fail, Some("b")));
    assert_eq!(spoken.iter().map(|one| one.verdict).collect::<Vec<_>>(), [Verdict::Warn, Verdict::Fail]);
}

#[test]
fn a_row_says_how_bad_it_is_which_validation_and_what_would_pass() {
    let spec = guardrail(&["CREATE"], "!object.spec.containers.exists(c, c.image.endsWith(':latest'))");
    let annotations = [("assent.dev/severity", "high"), ("assent.dev/category", "Images"), ("assent.dev/would-pass", "a version"), ("other", "x")];
    let (rows, _) = both(&spec, &[("b", denies())], &annotations);
    let row = &rows[0];
    assert_eq!((row.severity, row.category.as_str(), row.would_pass.as_deref()), (Some(Severity::High), "Images", Some("a version")));
    assert!(row.validation.as_deref().unwrap().starts_with("validations[0]: !object.spec.containers"), "{row:?}");
    assert_eq!((row.subject.kind, row.subject.name.as_str(), row.subject.uid.as_str()), ("Pod", "web", "u1"));
    let (unsaid, _) = both(&spec, &[("b", denies())], &[("assent.dev/severity", "awful")]);
    assert_eq!((unsaid[0].severity, unsaid[0].would_pass.is_some()), (None, true), "{unsaid:?}");
}

#[test]
fn a_guardrail_that_is_not_for_scans_says_nothing() {
    assert_eq!(both(&guardrail(&["CREATE"], "false"), &[("b", denies())], &[(BACKGROUND, "false")]), (Vec::new(), Vec::new()));
}
