//! `kubectl assent blueprint test` against a real Prometheus: what a Blueprint would have decided about a day's load is what the engine
//! decides about such load.

use std::path::Path;
use std::process::Output;

use assent_tests::images;
use assent_tests::prometheus::{EVERY_S, Prometheus, Samples};
use serde_json::Value;
use tokio::process::Command;

const UNTIL: &str = "2026-03-01T12:00:00Z";
const HOUR_S: i64 = 3_600;
const FILE: &str = "
apiVersion: assent.dev/v1alpha1
kind: Blueprint
metadata: {name: orders, namespace: shop}
spec:
  target: {kind: Deployment, name: orders}
  mode: autonomous
  limits: {minReplicas: 2, maxReplicas: 4, containers: [{name: app, memory: {max: 1Gi}}]}
  scaling: {weights: {cpu: 100}}
  tuning: {window: 1h}
  operations: {allowed: [ScaleWorkload, AdjustResources]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec:
  template:
    spec:
      containers:
        - {name: app, resources: {requests: {cpu: 100m, memory: 64Mi}}}
        - {name: assent-sidecar, resources: {requests: {cpu: 10m}}}
";

/// Three hours of two pods: half an hour in the middle is busy. A stranger of nearly the same name and the sidecar use much all the time.
fn used() -> Vec<Samples> {
    let end = UNTIL.parse::<jiff::Timestamp>().unwrap().as_second();
    let times = || (0..=3 * HOUR_S / EVERY_S).map(move |step| end - 3 * HOUR_S + step * EVERY_S);
    let busy = |at: i64| (end - 2 * HOUR_S..end - 2 * HOUR_S + HOUR_S / 2).contains(&at);
    let spent = |low: f64, high: f64| {
        let mut total = 0.0;
        let points = times().map(move |at| {
            total += f64::from(i32::try_from(EVERY_S).unwrap()) * if busy(at) { high } else { low };
            (at, total)
        });
        points.collect::<Vec<_>>()
    };
    let of = |pod: &str, container: &str| format!(r#"namespace="shop",pod="{pod}",container="{container}""#);
    let pods = ["orders-7d9f4c6b8-x2x4p", "orders-7d9f4c6b8-k9k2m"];
    let mut samples = Vec::new();
    for pod in pods {
        samples.push(Samples { name: "container_cpu_usage_seconds_total", labels: of(pod, "app"), points: spent(0.050, 0.130) });
        samples.push(Samples { name: "container_cpu_usage_seconds_total", labels: of(pod, "assent-sidecar"), points: spent(2.0, 2.0) });
    }
    samples.push(Samples { name: "container_cpu_usage_seconds_total", labels: of("orders-worker-7d9f4c6b8-x2x4p", "app"), points: spent(2.0, 2.0) });
    for (pod, container) in pods.map(|pod| (pod, "app")).into_iter().chain([("orders-worker-7d9f4c6b8-x2x4p", "app")]) {
        let points = times().map(|at| (at, 40.0 * 1_048_576.0)).collect();
        samples.push(Samples { name: "container_memory_working_set_bytes", labels: of(pod, container), points });
    }
    samples
}

async fn test(file: &Path, url: &str, more: &[&str]) -> Output {
    let mut command = Command::new(images::program("kubectl-assent"));
    command.args(["blueprint", "test", "--prometheus-url", url, "--until", UNTIL, "--hours", "3", "-f"]).arg(file).args(more);
    command.env("KUBECONFIG", "/nonexistent").output().await.unwrap()
}

#[tokio::test]
async fn what_a_blueprint_would_have_decided_about_load_that_was() {
    let Some(prometheus) = Prometheus::start(&used()).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.yaml");
    std::fs::write(&file, FILE).unwrap();
    let output = test(&file, &prometheus.url, &["-o", "json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let decisions = outcome["decisions"].as_array().unwrap();
    let what: Vec<&str> = decisions.iter().map(|decided| decided["what"].as_str().unwrap()).collect();
    // 260m of all together in the busy half hour, at 100m each and 70 %: four. Half an hour later two do again.
    assert_eq!(what.first(), Some(&"2 → 4 replicas"), "{outcome:#}");
    assert!(what.last().unwrap().ends_with("→ 2 replicas"), "{what:?}");
    assert!(what.iter().all(|what| what.ends_with("replicas")), "40 of 64 MiB are neither too many nor too few: {what:?}");
    assert!(decisions.iter().all(|decided| decided["tier"] == "allowed"), "{outcome:#}");
    assert_eq!((outcome["fewest"].as_u64(), outcome["most"].as_u64()), (Some(2), Some(4)));
    assert!(outcome["held"]["inBand"].as_u64() > Some(100), "{outcome:#}");

    let told = test(&file, &prometheus.url, &[]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("2 → 4 replicas") && told.contains("nothing, since inBand"), "{told}");

    // What is wrong is told with what to do.
    for (from, to, words) in [
        ("scaling: {weights: {cpu: 100}}", "priority: low", "it needs `scaling`"),
        ("namespace: shop", "namespace: elsewhere", "does it scrape"),
        ("namespace: shop", "namespace: 'x\"} or vector(1)'", "not named as objects are"),
        ("kind: Deployment\nmetadata", "kind: StatefulSet\nmetadata", "a file with it would do as well"),
        ("mode: autonomous", "mode: sometimes", "spec.mode"),
    ] {
        assert!(FILE.contains(from), "{from}");
        std::fs::write(&file, FILE.replace(from, to)).unwrap();
        let output = test(&file, &prometheus.url, &[]).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && (told.contains(words) || words.starts_with("a file") && told.contains("kubeconfig")), "{to}: {told}");
    }
    std::fs::write(&file, FILE).unwrap();
    let away = test(&file, "http://127.0.0.1:1", &[]).await;
    assert!(!away.status.success() && String::from_utf8_lossy(&away.stderr).contains("ask Prometheus"), "{away:?}");
}
