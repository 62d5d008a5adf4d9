//! Gatekeeper with its webhook alone, judging by K8sNativeValidation: the CEL that its library gives first.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::super::ground::Ground;
use super::super::load::{self, Question};
use super::super::policies;
use super::super::process::{self, Server, free_port, is_ready};
use super::{Running, module_folder};

pub(super) const NAME: &str = "Gatekeeper v3.23.1 (K8sNativeValidation)";
const MODULE: &str = "github.com/open-policy-agent/gatekeeper/v3";
const SOURCES: [(&str, &str); 2] = [("go.mod", include_str!("../../../peers/gatekeeper/go.mod")), ("go.sum", include_str!("../../../peers/gatekeeper/go.sum"))];
const STARTING: Duration = Duration::from_secs(120);

pub(super) fn build() -> anyhow::Result<PathBuf> {
    Ok(assent_cluster::program("gatekeeper", &SOURCES, MODULE)?)
}

pub(super) async fn start(ground: &Ground, program: &Path) -> anyhow::Result<Running> {
    let definitions = module_folder("gatekeeper", MODULE)?.join("charts/gatekeeper/crds");
    ground.cluster.kubectl(&["apply", "--server-side", "-f", &definitions.display().to_string()]).await?;
    ground.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gatekeeper-system"}})).await?;
    let served = "/apis/templates.gatekeeper.sh/v1/constrainttemplates";
    ground.eventually("constraint templates are served", async || ground.list(served).await.is_ok()).await?;
    let (templates, constraints): (Vec<Value>, Vec<Value>) = policies::pod_security().iter().map(policies::Policy::gatekeeper).unzip();
    for template in &templates {
        ground.apply(template).await?;
    }
    // The first start makes the definitions of the constraints; the second finds everything there, as after a restart.
    let first = block_in_place(|| launch(ground, program))?;
    let file = ground.files().join("constraints.json");
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": constraints}).to_string())?;
    let file = file.display().to_string();
    ground.eventually("the constraints are stored", async || ground.cluster.kubectl(&["apply", "--server-side", "-f", &file]).await.is_ok()).await?;
    drop(first);
    let (server, ready, address) = block_in_place(|| launch(ground, program))?;
    let question = |pod: &Value, good| -> anyhow::Result<Question> {
        Ok(Question {
            address,
            name: "localhost".into(),
            path: "/v1/admit".into(),
            tls: load::tls(&ground.authority()?, None)?,
            body: policies::review(pod, "pods"),
            good,
        })
    };
    let questions = (question(&policies::good_pod(), "\"allowed\":true")?, question(&policies::hostile_pod(), "\"allowed\":false")?);
    Ok(Running { server, ready, questions })
}

fn launch(ground: &Ground, program: &Path) -> anyhow::Result<(Server, f64, SocketAddr)> {
    let certificates = ground.files().join("gatekeeper");
    std::fs::create_dir_all(&certificates)?;
    super::certificate(ground, &certificates)?;
    let (port, health, metrics) = (free_port()?, free_port()?, free_port()?);
    let mut command = process::program(program);
    command.env("KUBECONFIG", ground.files().join("kubeconfig")).env("POD_NAMESPACE", "gatekeeper-system").env("POD_NAME", "gatekeeper");
    // What its chart sets, and what a process outside of a pod needs.
    command.args([
        "--operation=webhook",
        "--operation=generate",
        "--disable-cert-rotation",
        "--debug-use-fake-pod",
        "--host=127.0.0.1",
        "--enable-external-data=false",
    ]);
    command.args(["--exempt-namespace=gatekeeper-system", "--log-denies=false", "--log-level=INFO"]);
    command.args([format!("--port={port}"), format!("--health-addr=127.0.0.1:{health}"), format!("--prometheus-port={metrics}")]);
    command.arg(format!("--cert-dir={}", certificates.display()));
    let mut server = Server::start(&mut command, &ground.log("gatekeeper"))?;
    let health = SocketAddr::from(([127, 0, 0, 1], health));
    let ready = server.until("ready", STARTING, || is_ready(health, "/readyz"))?;
    Ok((server, ready, SocketAddr::from(([127, 0, 0, 1], port))))
}
