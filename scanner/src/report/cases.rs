//! How rows become objects.

use serde_json::json;

use super::*;
use crate::row::{Severity, Subject};

fn bundle() -> Bundle {
    let mut bundle = Bundle::default();
    let subject = Subject { api_version: "apps/v1".into(), kind: "Deployment", namespace: "shop".into(), name: "web".into(), uid: "u1".into() };
    let row = Row {
        policy: "no-latest".into(),
        verdict: Verdict::Pass,
        severity: None,
        category: "Guardrails".into(),
        message: String::new(),
        binding: Some("b".into()),
        validation: None,
        would_pass: None,
        subject,
    };
    bundle.push(row.clone());
    let failed = Row {
        verdict: Verdict::Fail,
        severity: Some(Severity::High),
        message: "not so".into(),
        validation: Some("validations[1]: a == b".into()),
        would_pass: Some("a version".into()),
        ..row
    };
    bundle.push(failed);
    bundle
}

#[test]
fn a_report_has_the_fields_of_the_interface() {
    let written = report(Format::Openreports, Some("shop"), &bundle(), 1_700_000_000).unwrap();
    let digest = written.digest;
    let resource = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "u1"}]);
    let timestamp = json!({"seconds": 1_700_000_000, "nanos": 0});
    let expected = json!({
        "apiVersion": "openreports.io/v1alpha1", "kind": "Report",
        "metadata": {
            "name": "assent-guardrails", "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "assent-scanner", "app.kubernetes.io/part-of": "assent"},
            "annotations": {"assent.dev/digest": digest},
        },
        "source": "assent",
        "scope": {"apiVersion": "v1", "kind": "Namespace", "name": "shop"},
        "summary": {"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0},
        "results": [
            {"source": "assent", "policy": "no-latest", "rule": "validations[1]", "category": "Guardrails", "severity": "high", "timestamp": timestamp,
             "result": "fail", "scored": true, "resources": resource, "message": "not so",
             "properties": {"binding": "b", "validation": "validations[1]: a == b", "would-pass": "a version"}},
            {"source": "assent", "policy": "no-latest", "category": "Guardrails", "timestamp": timestamp, "result": "pass", "scored": true,
             "resources": resource, "properties": {"binding": "b"}},
        ],
    });
    assert_eq!(written.object, expected);
}

#[test]
fn the_older_interface_has_other_names_and_no_source_of_a_report() {
    let written = report(Format::Wgpolicyk8s, None, &bundle(), 0).unwrap();
    assert_eq!(
        (written.namespace, &written.object["kind"], written.object.get("source"), written.object.get("scope")),
        (None, &json!("ClusterPolicyReport"), None, None)
    );
    assert_eq!(written.object["apiVersion"], "wgpolicyk8s.io/v1alpha2");
    assert_eq!(report(Format::Wgpolicyk8s, Some("shop"), &bundle(), 0).unwrap().object["kind"], "PolicyReport");
    assert_eq!(report(Format::None, Some("shop"), &bundle(), 0), None);
    assert_eq!(report(Format::Openreports, Some("shop"), &Bundle::default(), 0), None);
}

#[test]
fn the_digest_names_what_a_report_says_and_not_when() {
    let one = report(Format::Openreports, Some("shop"), &bundle(), 1).unwrap();
    let later = report(Format::Openreports, Some("shop"), &bundle(), 2).unwrap();
    assert_eq!(one.digest, later.digest);
    let mut more = bundle();
    let row = more.rows().next().unwrap().clone();
    more.push(row);
    assert_ne!(report(Format::Openreports, Some("shop"), &more, 1).unwrap().digest, one.digest);
}
