//! Reports come, say what is, are kept to that, and go.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Fixture, condition, until};

/// Most resident memory of an idle scanner, in kilobytes.
const IDLE: u64 = 30 * 1024;

#[tokio::test]
async fn what_breaks_a_guardrail_is_reported_until_it_is_mended_and_reports_go_with_the_guardrail() {
    let it = Fixture::start("scanner-reports").await;
    for namespace in ["shop", "zz", "quiet"] {
        it.namespace(namespace).await;
    }
    it.deployment("shop", "web", "web:latest").await;
    it.deployment("shop", "api", "api:1.2").await;
    it.library("no-latest-image").await;
    it.library("forbidden-kinds").await;
    let guardrails = it.guardrails();
    // It speaks of who may write, so it is not scanned as it ships; here it stands for one about objects in no namespace.
    until("a guardrail that is left out", &guardrails, "forbidden-kinds", |guardrail| condition(guardrail, "Reported").1 == "NotScanned").await;
    let scanned = json!({"metadata": {"annotations": {"assent.dev/background": null}}});
    guardrails.patch("forbidden-kinds", &PatchParams::default(), &Patch::Merge(&scanned)).await.unwrap();

    // Without the kinds of reports it counts, and says why nothing is written.
    let counted = until("a count", &guardrails, "no-latest-image", |guardrail| guardrail["status"]["failing"] == 1).await;
    assert_eq!(counted["status"]["matched"], 2, "{counted:#}");
    assert_eq!((condition(&counted, "Ready").0, condition(&counted, "Bound").0), ("True", "True"));
    assert_eq!((condition(&counted, "Reported").0, condition(&counted, "Reported").1), ("False", "NotServed"));
    assert!(it.metrics().await.contains("assent_scanner_reports_served 0"));

    it.serve_reports().await;
    until("guardrails that are reported", &guardrails, "no-latest-image", |guardrail| condition(guardrail, "Reported").1 == "Written").await;
    let (shop, name) = (it.reports("shop"), "assent-guardrails");
    let report = until("a report", &shop, name, |report| report["summary"]["fail"] == 1).await;
    let worst = &report["results"][0];
    assert_eq!((&report["source"], &report["summary"]["pass"], &worst["policy"]), (&json!("assent"), &json!(1), &json!("no-latest-image")));
    assert_eq!((&worst["result"], &worst["severity"], &worst["resources"][0]["name"]), (&json!("fail"), &json!("high"), &json!("web")));
    assert_eq!(worst["properties"]["binding"], "no-latest-image");
    assert!(
        worst["message"].as_str().unwrap().contains("app=web:latest") && worst["properties"]["would-pass"].as_str().unwrap().contains("a tag other than"),
        "{worst:#}"
    );
    // Namespaces are in none.
    let clusters = it.all("openreports.io", "v1alpha1", "ClusterReport");
    let cluster = until("a report of the cluster", &clusters, name, |report| !report.is_null()).await;
    assert_eq!((&cluster["results"][0]["policy"], &cluster["results"][0]["resources"][0]["kind"]), (&json!("forbidden-kinds"), &json!("Namespace")));

    // A report that says the same is not written again, others' reports are not touched, and our own are kept as they were.
    let foreign = json!({"apiVersion": "openreports.io/v1alpha1", "kind": "Report", "metadata": {"name": "foreign", "namespace": "shop"}, "source": "other", "summary": {}});
    it.apply(&shop, &foreign).await;
    it.deployment("zz", "late", "late").await;
    until("a report of a later namespace", &it.reports("zz"), name, |report| report["summary"]["fail"] == 1).await;
    let version = |report: &Value| report["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    assert_eq!(version(&json!(shop.get(name).await.unwrap())), version(&report));
    shop.patch(name, &PatchParams::default(), &Patch::Merge(json!({"summary": {"fail": 0}, "results": []}))).await.unwrap();
    until("the report as it was", &shop, name, |report| report["summary"]["fail"] == 1 && report["results"].as_array().is_some_and(|all| all.len() == 2)).await;
    assert!(it.reports("quiet").get_opt(name).await.unwrap().is_none(), "nothing is there to be reported");

    it.deployment("shop", "web", "web:2").await;
    until("a mended report", &shop, name, |report| report["summary"] == json!({"pass": 2, "fail": 0, "warn": 0, "error": 0, "skip": 0})).await;
    until("a mended count", &guardrails, "no-latest-image", |guardrail| guardrail["status"]["failing"] == 1 && guardrail["status"]["matched"] == 3).await;
    let resident = it.resident();
    eprintln!("resident when idle: {resident} kB");
    assert!(resident < IDLE, "{resident} kB are resident");

    guardrails.delete("no-latest-image", &DeleteParams::default()).await.unwrap();
    until("no report", &shop, name, Value::is_null).await;
    until("no report", &it.reports("zz"), name, Value::is_null).await;
    let bindings = it.all("assent.dev", "v1alpha1", "GuardrailBinding");
    until("a binding of nothing", &bindings, "no-latest-image", |binding| condition(binding, "Bound").1 == "NoGuardrail").await;
    assert!(clusters.get_opt(name).await.unwrap().is_some(), "the other guardrail still speaks");
    guardrails.delete("forbidden-kinds", &DeleteParams::default()).await.unwrap();
    until("no report of the cluster", &clusters, name, Value::is_null).await;
    assert!(shop.get_opt("foreign").await.unwrap().is_some());
    let unused = it.unused();
    assert!(unused.is_empty(), "granted and not used: {unused:?}");
}
