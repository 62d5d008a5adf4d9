//! A cluster with a node: pods run and find each other, nothing gets out, and nothing is left behind, not even by a
//! killed run. Needs root.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use assent_cluster::{Image, Node, attach, cleanup, image, node, up};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{Api, api::PostParams};
use serde_json::json;

/// Whether this run may start nodes; says so loudly when not, and fails where skipping would hide something.
fn skipped(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return false;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs root");
    eprintln!("SKIPPED: {test}: a node needs root");
    true
}

/// A shell, a web server and a client in one program, from Debian, with its libraries.
async fn toolbox() -> anyhow::Result<Image> {
    let script = "#!/bin/busybox sh\necho serving as $(/bin/busybox hostname)\n\
                  /bin/busybox mkdir -p /tmp/www && echo hello >/tmp/www/index.html\n\
                  exec /bin/busybox httpd -f -v -p 8080 -h /tmp/www\n";
    let image =
        image::Builder::new("toolbox", "1").package("busybox").bytes("/serve", 0o755, script).entrypoint(&["/serve"]).user("65534:65534").build().await?;
    Ok(image)
}

/// Two replicas of the toolbox's web server behind Service `web`, ready.
async fn deploy(node: &Node) -> anyhow::Result<Service> {
    let image = toolbox().await?;
    node.load(&image).await?;
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "web",
                        "image": image.name(),
                        "imagePullPolicy": "Never",
                        "readinessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 },
                        "securityContext": {
                            "runAsNonRoot": true,
                            "allowPrivilegeEscalation": false,
                            "capabilities": { "drop": ["ALL"] },
                            "seccompProfile": { "type": "RuntimeDefault" },
                        },
                    }],
                },
            },
        },
    }))?;
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    }))?;
    let client = node.client().await?;
    let created = Api::namespaced(client.clone(), "default").create(&PostParams::default(), &service).await?;
    Api::namespaced(client, "default").create(&PostParams::default(), &deployment).await?;
    node.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).await?;
    Ok(created)
}

/// What a cluster of this name would leave: namespace, control groups, mounts, processes.
fn remains(name: &str) -> anyhow::Result<Vec<String>> {
    let full = format!("assent-{name}");
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    found.extend(mounts.lines().filter(|line| line.contains(&format!("/{name}/"))).map(str::to_owned));
    let mut places = vec![Path::new("/run/netns").join(&full)];
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
        places.push(hierarchy?.path().join(&full));
    }
    found.extend(places.iter().filter(|place| place.exists()).map(|place| place.display().to_string()));
    for process in std::fs::read_dir("/proc")?.flatten() {
        // A process that ends while it is looked at has no command line.
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&format!("/{name}/containerd")) || line.contains(&format!("/{name}/kubelet")) {
            found.push(line);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn pods_serve_find_each_other_by_name_and_reach_nothing_outside() -> anyhow::Result<()> {
    if skipped("pods_serve_find_each_other_by_name_and_reach_nothing_outside") {
        return Ok(());
    }
    let node = node("serve").await?;
    let service = deploy(&node).await?;

    let address = service.spec.and_then(|spec| spec.cluster_ip).context("no cluster address")?;
    let answer = http_get(&address).await?;
    anyhow::ensure!(answer.ends_with("hello\n"), "from the machine: {answer:?}");

    let exec = ["exec", "deployment/web", "--", "/bin/busybox"];
    let wget = |url: &str| [&exec[..], &["wget", "-q", "-O", "-", url]].concat().join(" ");
    for host in [address.as_str(), "web", "web.default.svc.cluster.local"] {
        let line = wget(&format!("http://{host}"));
        let answer = node.kubectl(&line.split(' ').collect::<Vec<_>>()).await?;
        anyhow::ensure!(answer == "hello\n", "{host}: {answer:?}");
    }
    let line = wget("http://203.0.113.1");
    let outside = node.kubectl(&line.split(' ').collect::<Vec<_>>()).await;
    let refusal = outside.expect_err("a pod reached an address outside").to_string();
    anyhow::ensure!(refusal.contains("unreachable"), "{refusal}");

    let logs = node.kubectl(&["logs", "deployment/web"]).await?;
    anyhow::ensure!(logs.contains("serving as web-"), "{logs}");
    let stats = format!("/api/v1/nodes/{}/proxy/stats/summary", node.node_name());
    anyhow::ensure!(node.kubectl(&["get", "--raw", &stats]).await?.contains("\"name\": \"web\""));

    drop(node);
    let left = remains("serve")?;
    anyhow::ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}

#[tokio::test]
async fn two_nodes_run_side_by_side() -> anyhow::Result<()> {
    if skipped("two_nodes_run_side_by_side") {
        return Ok(());
    }
    let (one, two) = (node("side-one").await?, node("side-two").await?);
    anyhow::ensure!(one.address() != two.address() && one.url() != two.url());
    anyhow::ensure!(matches!(node("side-one").await, Err(assent_cluster::Error::InUse { .. })));
    for node in [&one, &two] {
        let service = deploy(node).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("no cluster address")?;
        anyhow::ensure!(http_get(&address).await?.ends_with("hello\n"));
    }
    // The one's end must not take the other's pods along.
    drop(one);
    anyhow::ensure!(remains("side-one")?.is_empty());
    two.kubectl(&["rollout", "restart", "deployment/web"]).await?;
    two.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).await?;
    Ok(())
}

#[tokio::test]
async fn next_start_removes_what_a_killed_run_left() -> anyhow::Result<()> {
    if skipped("next_start_removes_what_a_killed_run_left") {
        return Ok(());
    }
    let mut holder = Command::new(env!("CARGO_BIN_EXE_assent-cluster")).args(["run", "--name", "killed"]).stdout(Stdio::piped()).spawn()?;
    // Kept to the end of the test: the holder must not write into a closed pipe.
    let mut lines = BufReader::new(holder.stdout.take().context("no output")?).lines();
    let kubeconfig = lines.by_ref().find_map(|line| {
        let line = line.ok()?;
        Some(PathBuf::from(line.trim().strip_prefix("kubeconfig")?.trim()))
    });
    let kubeconfig = kubeconfig.context("the holder ended before its cluster was up")?;
    // Something is mounted and a shim runs: a pod with a token volume. The namespace's own account comes with the node.
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"stays"},"spec":{"containers":[{"name":"c","image":"localhost/pause:1","imagePullPolicy":"Never"}]}}"#;
    let manifest = kubeconfig.with_file_name("pod.json");
    std::fs::write(&manifest, pod)?;
    let binary = assent_cluster::binary()?;
    let kubectl = |arguments: &[&str]| Command::new(&binary).arg("kubectl").arg("--kubeconfig").arg(&kubeconfig).args(arguments).status();
    anyhow::ensure!(kubectl(&["apply", "-f", &manifest.display().to_string()])?.success());
    anyhow::ensure!(kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"])?.success());
    holder.kill()?;
    holder.wait()?;
    anyhow::ensure!(!remains("killed")?.is_empty(), "a killed run leaves something, or this test shows nothing");

    let node = node("killed").await?;
    let pods = node.kubectl(&["get", "pods", "--output=name"]).await?;
    anyhow::ensure!(pods.is_empty(), "the new cluster begins empty: {pods}");
    drop(node);
    let left = remains("killed")?;
    anyhow::ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}

#[tokio::test]
async fn cluster_that_was_left_up_can_be_found_and_taken_down() -> anyhow::Result<()> {
    if skipped("cluster_that_was_left_up_can_be_found_and_taken_down") {
        return Ok(());
    }
    cleanup("stays").await?;
    drop(up("stays").await?);
    let found = attach("stays").await?;
    anyhow::ensure!(found.kubectl(&["get", "nodes", "--output=name"]).await? == "node/assent-stays\n");
    // Its authority came back too, so new users can be made.
    let who = found.client_as("jane", &[]).await?.apiserver_version().await?;
    anyhow::ensure!(who.git_version == assent_cluster::KUBERNETES_VERSION);
    drop(found);
    anyhow::ensure!(matches!(node("stays").await, Err(assent_cluster::Error::InUse { .. })));
    anyhow::ensure!(cleanup("stays").await?);
    anyhow::ensure!(matches!(attach("stays").await, Err(assent_cluster::Error::Absent { .. })));
    let left = remains("stays")?;
    anyhow::ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}

/// One request over a bare connection: what comes back, head and body.
async fn http_get(host: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect((host, 80)).await.context("connect")?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
