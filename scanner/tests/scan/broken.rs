//! A guardrail that stops to load.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Fixture, condition, until};

#[tokio::test]
async fn a_broken_guardrail_keeps_its_last_good_version_and_says_so() {
    let it = Fixture::start("scanner-broken").await;
    it.serve_reports().await;
    it.namespace("shop").await;
    it.deployment("shop", "web", "web:latest").await;
    it.library("no-latest-image").await;
    let (guardrails, shop, name) = (it.guardrails(), it.reports("shop"), "no-latest-image");
    let fails = |report: &Value| report["summary"]["fail"] == 1;
    until("a report", &shop, "assent-guardrails", fails).await;
    let edit = async |validation: &str| {
        let spec = json!({"spec": {"validations": [{"expression": validation}]}});
        guardrails.patch(name, &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    };
    edit("variables.moving.size() = 0").await;
    let broken = until("a broken guardrail", &guardrails, name, |guardrail| condition(guardrail, "Ready").0 == "False").await;
    let (_, reason, message) = condition(&broken, "Ready");
    assert_eq!((reason, broken["status"]["observedGeneration"].as_i64()), ("LastGoodVersionInForce", broken["metadata"]["generation"].as_i64()));
    assert!(message.starts_with("validations[0].expression: ") && message.ends_with("its last good version stays in force"), "{message}");
    // Another object that only the last good version objects to.
    it.deployment("shop", "late", "late").await;
    until("a judgement by the last good version", &shop, "assent-guardrails", |report| report["summary"]["fail"] == 2).await;
    // What the API server's type checker would list stands in the status, for each kind that it is wrong for.
    edit("object.spec.replica == 1").await;
    let listed = |guardrail: &Value| {
        guardrail["status"]["typeChecking"]["expressionWarnings"][0]["warning"].as_str().is_some_and(|text| text.contains("undefined field 'replica'"))
    };
    let misspelt = until("type warnings", &guardrails, name, listed).await;
    assert_eq!(misspelt["status"]["typeChecking"]["expressionWarnings"][0]["fieldRef"], "spec.validations[0].expression");
    edit("true").await;
    until("a repaired guardrail", &guardrails, name, |guardrail| condition(guardrail, "Ready") == ("True", "Loads", "it loads")).await;
    until("no failures", &shop, "assent-guardrails", |report| report["summary"]["pass"] == 2 && report["summary"]["fail"] == 0).await;
}
