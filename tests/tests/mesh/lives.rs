//! The life of meshed pods: they start, call each other, are probed, debugged, stopped, and end.

use serde_json::{Value, json};

use crate::field::{Field, IDLE, SHOP, init, is_ready, shell, status, within};

const WGET: &str = "/bin/busybox wget -q -O -";

/// A server that says who called, with the probes of a usual one.
pub(crate) fn server(account: &str) -> Value {
    let mut web = shell("web", "/bin/busybox mkdir -p /tmp/www && echo hello >/tmp/www/index.html && exec /bin/busybox httpd -f -vv -p 8080 -h /tmp/www");
    web["ports"] = json!([{ "containerPort": 8080 }]);
    web["readinessProbe"] = json!({ "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 });
    web["livenessProbe"] = json!({ "exec": { "command": ["/bin/busybox", "test", "-f", "/tmp/www/index.html"] }, "periodSeconds": 2 });
    json!({ "serviceAccountName": account, "terminationGracePeriodSeconds": 5, "containers": [web] })
}

pub(crate) async fn the_web_server_serves(field: &Field) {
    field.account(SHOP, "web").await;
    field
        .create(
            "v1",
            "Service",
            SHOP,
            json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] } }),
        )
        .await;
    let pod = field.pod(SHOP, "web", server("web")).await;
    assert_eq!(init(&pod), ["assent-sidecar", "assent-redirect"]);
    field.ready(SHOP, "web").await;
}

/// The init container behind ours calls a Service, by mutual TLS; the application finds its sidecar ready.
pub(crate) async fn init_containers_reach_services_through_the_mesh(field: &Field) {
    field.account(SHOP, "init").await;
    let app = shell("app", &format!("{WGET} http://127.0.0.1:4191/ready && echo sidecar-was-ready; {IDLE}"));
    let first = shell("first", &format!("for i in 1 2 3 4 5 6 7 8 9 10; do {WGET} http://web/ || exit 1; /bin/busybox sleep 0.3; done"));
    field.pod(SHOP, "init", json!({ "serviceAccountName": "init", "initContainers": [first], "containers": [app] })).await;
    let pod = field.ready(SHOP, "init").await;
    assert_eq!(init(&pod), ["assent-sidecar", "assent-redirect", "first"]);
    assert!(field.logs(SHOP, "init", "first").await.contains("hello"));
    field.called_by(SHOP, "web", "init.shop").await;
    within(async || field.logs(SHOP, "init", "app").await.contains("sidecar-was-ready").then_some(())).await;
    let (sidecar, app) = (status(&pod, "assent-sidecar"), status(&pod, "app"));
    let started = |status: &Value| status["state"]["running"]["startedAt"].as_str().unwrap().to_owned();
    assert!(started(sidecar) <= started(app), "{sidecar} {app}");
}

/// Its pod succeeds and the sidecar is gone with it.
pub(crate) async fn jobs_end(field: &Field) {
    field.create("batch/v1", "Job", SHOP, json!({ "metadata": { "name": "once" }, "spec": job() })).await;
    ended(field, "once").await;
}

pub(crate) fn job() -> Value {
    let call = shell("work", &format!("{WGET} http://web/ && echo done"));
    json!({ "backoffLimit": 0, "template": { "metadata": { "labels": { "of": "job" } }, "spec": { "restartPolicy": "Never", "containers": [call] } } })
}

async fn ended(field: &Field, job: &str) {
    field.kubectl(&["-n", SHOP, "wait", &format!("job/{job}"), "--for=condition=Complete", "--timeout=180s"]).await;
    let name = field.kubectl(&["-n", SHOP, "get", "pods", "-l", &format!("job-name={job}"), "-o", "jsonpath={.items[0].metadata.name}"]).await;
    let pod = field.until(SHOP, &name, "over", |pod| pod["status"]["phase"] == "Succeeded").await;
    let sidecar = status(&pod, "assent-sidecar");
    assert_eq!(sidecar["state"]["terminated"]["exitCode"], 0, "{sidecar}");
}

pub(crate) async fn cron_job(field: &Field) {
    let spec = json!({ "schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": { "spec": job() } });
    field.create("batch/v1", "CronJob", SHOP, json!({ "metadata": { "name": "nightly" }, "spec": spec })).await;
}

/// One that the controller made after the label was there.
pub(crate) async fn the_cron_jobs_job_ends(field: &Field) {
    let name = within(async || {
        let jobs: Value = serde_json::from_str(&field.node.kubectl(&["-n", SHOP, "get", "jobs", "-o", "json"]).await.unwrap()).unwrap();
        let mut made = jobs["items"].as_array().unwrap().iter().filter(|job| job["metadata"]["ownerReferences"][0]["kind"] == "CronJob");
        made.next_back().and_then(|job| job["metadata"]["name"].as_str()).map(str::to_owned)
    })
    .await;
    ended(field, &name).await;
    field.kubectl(&["-n", SHOP, "delete", "cronjob", "nightly", "--wait=false"]).await;
}

pub(crate) async fn a_stateful_set_rolls_out(field: &Field) {
    let labels = json!({ "app": "db" });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "terminationGracePeriodSeconds": 5, "containers": [shell("db", IDLE)] } });
    let spec = json!({ "serviceName": "db", "replicas": 1, "selector": { "matchLabels": labels }, "template": template });
    field.create("apps/v1", "StatefulSet", SHOP, json!({ "metadata": { "name": "db" }, "spec": spec })).await;
    field.kubectl(&["-n", SHOP, "rollout", "status", "statefulset/db", "--timeout=180s"]).await;
    field.kubectl(&["-n", SHOP, "rollout", "restart", "statefulset/db"]).await;
    field.kubectl(&["-n", SHOP, "rollout", "status", "statefulset/db", "--timeout=180s"]).await;
    let pod = field.ready(SHOP, "db-0").await;
    assert_eq!(init(&pod), ["assent-sidecar", "assent-redirect"]);
}

/// HTTP and exec probes are the web server's; a tcpSocket probe succeeds where somebody listens and fails where nobody does.
pub(crate) async fn probes_tell_the_truth(field: &Field) {
    let probed = |script: &str| {
        let mut app = shell("app", script);
        app["readinessProbe"] = json!({ "tcpSocket": { "port": 9000 }, "periodSeconds": 1 });
        json!({ "terminationGracePeriodSeconds": 5, "containers": [app] })
    };
    field.pod(SHOP, "open", probed("/bin/busybox mkdir -p /tmp/www; exec /bin/busybox httpd -f -p 9000 -h /tmp/www")).await;
    field.pod(SHOP, "closed", probed(IDLE)).await;
    field.ready(SHOP, "open").await;
    field.event(SHOP, "closed", "Unhealthy", "connection refused").await;
    let closed = serde_json::to_value(field.pods(SHOP).get("closed").await.unwrap()).unwrap();
    assert!(!is_ready(&closed), "nobody listens, and the probe succeeded: {closed}");
    let web = serde_json::to_value(field.pods(SHOP).get("web").await.unwrap()).unwrap();
    assert_eq!(status(&web, "web")["restartCount"], 0, "its liveness probe failed");
    field.kubectl(&["-n", SHOP, "delete", "pod", "open", "closed", "--wait=false"]).await;
}

/// Its preStop hook and its end still reach others, and the sidecar ends by itself within the pod's time.
pub(crate) async fn the_sidecar_outlives_the_application(field: &Field) {
    field.account(SHOP, "leaving").await;
    let script = format!("trap '{WGET} http://web/from-term; exit 0' TERM; while true; do {WGET} http://web/; /bin/busybox sleep 0.2; done");
    let mut app = shell("app", &script);
    app["lifecycle"] =
        json!({ "preStop": { "exec": { "command": ["/bin/busybox", "sh", "-c", format!("/bin/busybox sleep 2; {WGET} http://web/from-hook; true")] } } });
    field.pod(SHOP, "leaving", json!({ "serviceAccountName": "leaving", "terminationGracePeriodSeconds": 60, "containers": [app] })).await;
    field.ready(SHOP, "leaving").await;
    let began = std::time::Instant::now();
    field.kubectl(&["-n", SHOP, "delete", "pod", "leaving", "--timeout=120s"]).await;
    let took = began.elapsed();
    for path in ["/from-hook", "/from-term"] {
        within(async || field.logs(SHOP, "web", "web").await.contains(path).then_some(())).await;
    }
    field.called_by(SHOP, "web", "leaving.shop").await;
    assert!(took.as_secs() < 50, "it took {took:?}: somebody was killed at the end of its time");
}

pub(crate) async fn a_debug_container_joins_a_meshed_pod(field: &Field) {
    let before = field.ready(SHOP, "web").await;
    let debug = ["-n", SHOP, "debug", "web", "--image=localhost/mesh-app:1", "--image-pull-policy=Never", "--container=look", "--", "/bin/busybox", "true"];
    field.kubectl(&debug).await;
    let after = field.until(SHOP, "web", "debugged", |pod| !status(pod, "look")["state"]["terminated"].is_null()).await;
    assert_eq!(status(&after, "look")["state"]["terminated"]["exitCode"], 0);
    for container in ["assent-sidecar", "web"] {
        assert_eq!(status(&after, container)["containerID"], status(&before, container)["containerID"], "{container}");
    }
}
