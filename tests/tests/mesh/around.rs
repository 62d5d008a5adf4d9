//! What surrounds injection: namespaces that permit less, pods that cannot be meshed, and parts of ours that are away.

use serde_json::{Value, json};

use crate::field::{Field, IDLE, SHOP, init, shell, status, within};
use crate::lives::{job, server};

const STRICT: &str = "strict";

/// The shop is labelled only here, and the pod that was there before is found.
pub(crate) async fn a_pod_from_before_the_label_is_reported(field: &Field) {
    field.create("v1", "Namespace", "", json!({ "metadata": { "name": SHOP } })).await;
    within(async || field.node.kubectl(&["-n", SHOP, "get", "serviceaccount", "default"]).await.ok()).await;
    let pod = field.pod(SHOP, "early", json!({ "containers": [shell("app", IDLE)] })).await;
    assert!(init(&pod).is_empty());
    // The label's time is told in seconds.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    field.kubectl(&["label", "namespace", SHOP, "assent.dev/inject=enabled"]).await;
    field.trusted(SHOP).await;
    field.event(SHOP, "early", "Unmeshed", "before its namespace was labelled").await;
    let listed = check(field, SHOP).await;
    assert_eq!(reason(&listed, "early"), "early", "{listed}");
    field.kubectl(&["-n", SHOP, "delete", "pod", "early", "--grace-period=0", "--force"]).await;
    // The label takes a moment to reach the admission's own view of namespaces.
    within(async || {
        let probe = json!({ "metadata": { "generateName": "probe-" }, "spec": { "containers": [shell("app", IDLE)] } });
        let params = kube::api::PostParams { dry_run: true, field_manager: None };
        let pod = field.pods(SHOP).create(&params, &serde_json::from_value(probe).unwrap()).await.ok()?;
        (!init(&serde_json::to_value(pod).unwrap()).is_empty()).then_some(())
    })
    .await;
}

pub(crate) async fn what_cannot_be_meshed_is_left_alone_with_an_event(field: &Field) {
    let containers = json!([shell("app", IDLE)]);
    let mut same_user = json!({ "terminationGracePeriodSeconds": 1, "containers": containers });
    same_user["securityContext"] = json!({ "runAsUser": 2102 });
    let host = json!({ "terminationGracePeriodSeconds": 1, "hostNetwork": true, "containers": containers });
    let cases = [("clash", same_user, "same_user", "runs as the sidecar's user 2102"), ("host", host, "host_network", "the node's network")];
    for (name, spec, ..) in &cases {
        let pod = field.pod(SHOP, name, spec.clone()).await;
        assert!(init(&pod).is_empty(), "{pod}");
    }
    let listed = {
        for (name, _, _, words) in &cases {
            field.ready(SHOP, name).await;
            field.event(SHOP, name, "Unmeshed", words).await;
        }
        check(field, SHOP).await
    };
    for (name, _, expected, _) in &cases {
        assert_eq!(reason(&listed, name), *expected, "{listed}");
        field.kubectl(&["-n", SHOP, "delete", "pod", name, "--wait=false"]).await;
    }
}

/// The API server itself refuses every container there that could do more than ours.
pub(crate) async fn a_restricted_namespace_is_meshed_without_any_capability(field: &Field) {
    field.namespace(STRICT, json!({ "assent.dev/inject": "enabled", "pod-security.kubernetes.io/enforce": "restricted" })).await;
    for account in ["plain", "caller"] {
        field.account(STRICT, account).await;
    }
    field.account(SHOP, "visitor").await;
    field
        .create(
            "v1",
            "Service",
            STRICT,
            json!({ "metadata": { "name": "plain" }, "spec": { "selector": { "app": "plain" }, "ports": [{ "port": 80, "targetPort": 8080 }] } }),
        )
        .await;
    let pod = field.pod(STRICT, "plain", server("plain")).await;
    assert_eq!(init(&pod), ["assent-sidecar"]);
    let said = pod["metadata"]["annotations"]["assent.dev/added"].as_str().unwrap();
    assert!(said.contains("no redirect") && said.contains("plain"), "{said}");
    field.ready(STRICT, "plain").await;

    // A meshed pod elsewhere arrives by mutual TLS, at the sidecar's own port. It calls again and again: the first call to a
    // destination does not wait for discovery for long.
    let visit = shell("app", &format!("while true; do /bin/busybox wget -q -O - http://plain.{STRICT}/; /bin/busybox sleep 0.5; done & {IDLE}"));
    field.pod(SHOP, "visitor", json!({ "serviceAccountName": "visitor", "terminationGracePeriodSeconds": 5, "containers": [visit] })).await;
    field.called_by(STRICT, "plain", "visitor.shop").await;

    // Its own way out by mutual TLS is the port that it dials itself, and for the one target that it names.
    let web = field.kubectl(&["-n", SHOP, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).await;
    let call = shell("app", &format!("while true; do /bin/busybox wget -q -O - http://127.0.0.1:4140/; /bin/busybox sleep 0.5; done & {IDLE}"));
    let annotations = json!({ "assent.dev/outbound-target": format!("{web}:80") });
    let spec = json!({ "serviceAccountName": "caller", "terminationGracePeriodSeconds": 5, "containers": [call] });
    field.create("v1", "Pod", STRICT, json!({ "metadata": { "name": "caller", "annotations": annotations }, "spec": spec })).await;
    field.called_by(SHOP, "web", "caller.strict").await;

    let listed = check(field, STRICT).await;
    assert_eq!(reason(&listed, "plain"), "explicit", "{listed}");
    let debug =
        ["-n", STRICT, "debug", "plain", "--image=localhost/mesh-app:1", "--profile=restricted", "--container=assent-redirect", "--", "/bin/busybox", "true"];
    let refusal = field.node.kubectl(&debug).await.unwrap_err().to_string();
    assert!(refusal.contains("an ephemeral container is not called"), "{refusal}");
    field.kubectl(&["-n", SHOP, "delete", "pod", "visitor", "--wait=false"]).await;
    field.kubectl(&["delete", "namespace", STRICT, "--wait=false"]).await;
}

/// A LimitRange that the usual sidecar does not fit refuses the pod; annotations make it fit.
pub(crate) async fn limits_of_a_namespace_are_met_by_annotations(field: &Field) {
    field.namespace("tight", json!({ "assent.dev/inject": "enabled" })).await;
    let limit = json!({ "type": "Container", "max": { "memory": "100Mi" }, "default": { "cpu": "100m", "memory": "50Mi" }, "defaultRequest": { "cpu": "10m", "memory": "10Mi" } });
    field.create("v1", "LimitRange", "tight", json!({ "metadata": { "name": "small" }, "spec": { "limits": [limit] } })).await;
    let quota = json!({ "requests.cpu": "1", "limits.cpu": "1", "requests.memory": "1Gi", "limits.memory": "1Gi" });
    field.create("v1", "ResourceQuota", "tight", json!({ "metadata": { "name": "all" }, "spec": { "hard": quota } })).await;
    let pod = |annotations: Value| json!({ "metadata": { "name": "small", "annotations": annotations }, "spec": { "terminationGracePeriodSeconds": 1, "containers": [shell("app", IDLE)] } });
    // Both take a moment to be in force.
    let refusal = within(async || match field.try_create("v1", "Pod", "tight", pod(json!({}))).await {
        Ok(_) => {
            field.kubectl(&["-n", "tight", "delete", "pod", "small", "--grace-period=0", "--force"]).await;
            None
        }
        Err(error) => Some(error.to_string()).filter(|text| text.contains("100Mi")),
    })
    .await;
    assert!(refusal.contains("maximum memory usage per Container"), "{refusal}");
    let annotations = json!({ "assent.dev/sidecar-memory-limit": "64Mi" });
    within(async || field.try_create("v1", "Pod", "tight", pod(annotations.clone())).await.ok()).await;
    let pod = field.ready("tight", "small").await;
    let limits = &pod["spec"]["initContainers"][0]["resources"]["limits"];
    assert_eq!((&limits["memory"], &limits["cpu"]), (&json!("64Mi"), &json!("100m")), "the quota's own default fills in what the sidecar leaves open");
    field.kubectl(&["delete", "namespace", "tight", "--wait=false"]).await;
}

/// A pod that may start only once: its sidecar becomes ready after ten seconds without a certificate, and never fails.
pub(crate) async fn without_the_control_plane_jobs_end_unmeshed(field: &Field) {
    for part in ["identity", "discovery"] {
        field.kubectl(&["-n", "assent-system", "scale", &format!("deployment/assent-{part}"), "--replicas=0"]).await;
        let gone = ["-n", "assent-system", "wait", "pod", "-l", &format!("app.kubernetes.io/name=assent-{part}"), "--for=delete", "--timeout=120s"];
        field.kubectl(&gone).await;
    }
    field.create("batch/v1", "Job", SHOP, json!({ "metadata": { "name": "alone" }, "spec": job() })).await;
    field.kubectl(&["-n", SHOP, "wait", "job/alone", "--for=condition=Complete", "--timeout=180s"]).await;
    let pods = field.kubectl(&["-n", SHOP, "get", "pods", "-l", "job-name=alone", "-o", "json"]).await;
    let pods: Value = serde_json::from_str(&pods).unwrap();
    assert_eq!(pods["items"].as_array().unwrap().len(), 1, "one attempt");
    assert_eq!(status(&pods["items"][0], "assent-sidecar")["restartCount"], 0);
    for part in ["identity", "discovery"] {
        field.kubectl(&["-n", "assent-system", "scale", &format!("deployment/assent-{part}"), "--replicas=1"]).await;
    }
}

pub(crate) async fn without_the_injector_pods_start_and_are_found(field: &Field) {
    field.kubectl(&["-n", "assent-system", "scale", "deployment/assent-injector", "--replicas=0"]).await;
    field.kubectl(&["-n", "assent-system", "wait", "pod", "-l", "app.kubernetes.io/name=assent-injector", "--for=delete", "--timeout=120s"]).await;
    let pod = field.pod(SHOP, "orphan", json!({ "terminationGracePeriodSeconds": 1, "containers": [shell("app", IDLE)] })).await;
    assert!(init(&pod).is_empty());
    field.ready(SHOP, "orphan").await;
    let listed = check(field, SHOP).await;
    assert_eq!(reason(&listed, "orphan"), "missed", "{listed}");
    assert!(listed["findings"].to_string().contains("no injector is ready"), "{listed}");
    field.kubectl(&["-n", "assent-system", "scale", "deployment/assent-injector", "--replicas=2"]).await;
    field.event(SHOP, "orphan", "Unmeshed", "while no injector answered").await;
}

/// What `mesh check` says of a namespace where there is something to do.
async fn check(field: &Field, namespace: &str) -> Value {
    let output = field.assent(&["mesh", "check", "-n", namespace, "-o", "json"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let listed: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let to_do = listed["findings"] != json!([]) || listed["pods"].as_array().unwrap().iter().any(|pod| pod["toDo"] == true);
    assert_eq!(output.status.code(), Some(if to_do { 1 } else { 0 }), "{listed}");
    listed
}

fn reason<'a>(listed: &'a Value, pod: &str) -> &'a str {
    let of_pod = listed["pods"].as_array().unwrap().iter().find(|remark| remark["pod"] == pod);
    of_pod.and_then(|remark| remark["reason"].as_str()).unwrap_or("nothing")
}
