//! `kubectl assent mesh upgrade`: the sidecar of a living pod is exchanged, its application is not restarted, and anything but
//! the installed image is refused.

use std::time::Instant;

use serde_json::{Value, json};

use crate::field::{Field, IDLE, SHOP, by_digest, shell, status, within};

pub(crate) async fn living_pods_get_the_installed_sidecar(field: &Field) {
    field.account(SHOP, "steady").await;
    let script = format!(
        "while true; do /bin/busybox wget -q -O /dev/null http://web/ && read up idle </proc/uptime && echo ok $up; /bin/busybox sleep 0.1; done & {IDLE}"
    );
    field.pod(SHOP, "steady", json!({ "serviceAccountName": "steady", "terminationGracePeriodSeconds": 5, "containers": [shell("app", &script)] })).await;
    let before = field.ready(SHOP, "steady").await;
    field.called_by(SHOP, "web", "steady.shop").await;
    let [one, two] = [by_digest(&field.images.sidecars[0]), by_digest(&field.images.sidecars[1])];
    assert_eq!(before["spec"]["initContainers"][0]["image"], one);

    // The new version is installed; the one before may still stand in pods.
    field.install(&field.images.sidecars[1]).await;
    field.kubectl(&["-n", "assent-system", "scale", "deployment/assent-gate", "--replicas=0"]).await;
    let image = |image: &str| json!([{ "op": "replace", "path": "/spec/initContainers/0/image", "value": image }]).to_string();
    let patch = |image: String| async move { field.node.kubectl(&["-n", SHOP, "patch", "pod", "steady", "--type=json", "-p", &image]).await };
    // The policy is in force a moment after it was stored.
    within(async || field.assent(&["mesh", "upgrade", "-n", SHOP, "--dry-run", "steady"]).await.status.success().then_some(())).await;
    let evil = patch(image("localhost/assent-sidecar:one")).await.unwrap_err().to_string();
    assert!(evil.contains("runs localhost/assent-sidecar@"), "a tag is not what was installed: {evil}");
    let unchanged = serde_json::to_value(field.pods(SHOP).get("steady").await.unwrap()).unwrap();
    assert_eq!(unchanged["spec"]["initContainers"], before["spec"]["initContainers"], "a dry run changes nothing");

    let began = Instant::now();
    let output = field.assent(&["mesh", "upgrade", "-n", SHOP, "web", "steady"]).await;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("[2/2]") && said.contains("the new sidecar is ready"), "{said}");
    eprintln!("upgrade of two pods in {:.1} s:\n{said}", began.elapsed().as_secs_f64());
    let after = field.ready(SHOP, "steady").await;
    for container in [0, 1] {
        assert_eq!(after["spec"]["initContainers"][container]["image"], two);
    }
    assert_eq!(after["metadata"]["annotations"]["assent.dev/injected"], two);
    let sidecar = status(&after, "assent-sidecar");
    assert!(sidecar["imageID"].as_str().unwrap().contains(field.images.sidecars[1].digest()) || sidecar["image"] == two, "{sidecar}");
    assert_eq!(sidecar["restartCount"], 1, "{sidecar}");
    assert_eq!(sidecar["lastState"]["terminated"]["exitCode"], 0, "it drained and ended by itself: {sidecar}");
    same_application(&before, &after);
    let gone = gap(&field.logs(SHOP, "steady", "app").await);
    eprintln!(
        "longest time without an answer, seen by the application: {gone:.1} s; by the kubelet: {} to {}",
        sidecar["lastState"]["terminated"]["finishedAt"], sidecar["state"]["running"]["startedAt"]
    );
    // Generous: the machine is shared. The figure above is what is told.
    assert!(gone <= 40.0, "the application was without a network for {gone:.1} s");
    // It goes on by mutual TLS, under the certificate kept in memory or a new one.
    let count = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or_default();
    assert!(count(&field.called_by(SHOP, "web", "steady.shop").await) > 0.0);

    let again = field.assent(&["mesh", "upgrade", "-n", SHOP, "web", "steady"]).await;
    assert!(String::from_utf8_lossy(&again.stdout).contains("0 pods have another sidecar"));
    stops_at_an_image_that_cannot_be_had(field, &after).await;
}

fn same_application(before: &Value, after: &Value) {
    let (before, after) = (status(before, "app"), status(after, "app"));
    assert_eq!((&after["containerID"], &after["restartCount"]), (&before["containerID"], &json!(0)), "the application was restarted");
}

/// Longest time between two answers that the application got, in seconds.
fn gap(log: &str) -> f64 {
    let times: Vec<f64> = log.lines().filter_map(|line| line.strip_prefix("ok ")?.trim().parse().ok()).collect();
    assert!(times.len() > 2, "{log}");
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

/// Nothing is stopped before the image is on the node.
async fn stops_at_an_image_that_cannot_be_had(field: &Field, before: &Value) {
    let absent = "localhost/assent-sidecar@sha256:1111111111111111111111111111111111111111111111111111111111111111";
    let pinned =
        json!([{ "op": "replace", "path": "/spec/variables/0/expression", "value": json!([absent, by_digest(&field.images.sidecars[1])]).to_string() }]);
    field.kubectl(&["patch", "validatingadmissionpolicy", "assent-sidecar-image", "--type=json", "-p", &pinned.to_string()]).await;
    let output = field.assent(&["mesh", "upgrade", "-n", SHOP, "--timeout", "10", "steady"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("assent-sidecar@sha256:1111"), "{said}");
    let after = serde_json::to_value(field.pods(SHOP).get("steady").await.unwrap()).unwrap();
    assert_eq!(after["spec"]["initContainers"], before["spec"]["initContainers"]);
    assert_eq!(status(&after, "assent-sidecar")["containerID"], status(before, "assent-sidecar")["containerID"]);
    let left = field.kubectl(&["-n", SHOP, "get", "pods", "-l", "app.kubernetes.io/part-of=assent", "-o", "name"]).await;
    assert!(left.trim().is_empty(), "{left}");
    field.install(&field.images.sidecars[1]).await;
    field.kubectl(&["-n", "assent-system", "scale", "deployment/assent-gate", "--replicas=0"]).await;
}
