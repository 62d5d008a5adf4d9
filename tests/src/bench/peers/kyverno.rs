//! Kyverno's admission controller, judging by ValidatingPolicies: the CEL kind that it recommends since 1.14.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::super::ground::Ground;
use super::super::load::{self, Question};
use super::super::policies;
use super::super::process::{self, Server, free_port};
use super::{Running, module_folder, place};

pub(super) const NAME: &str = "Kyverno v1.19.1 (ValidatingPolicy)";
const MODULE: &str = "github.com/kyverno/kyverno";
const SOURCES: [(&str, &str); 2] = [("go.mod", include_str!("../../../peers/kyverno/go.mod")), ("go.sum", include_str!("../../../peers/kyverno/go.sum"))];
const STARTING: Duration = Duration::from_secs(150);
const NAMESPACE: &str = "kyverno";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kyverno-resource-validating-webhook-cfg";

pub(super) fn build() -> anyhow::Result<PathBuf> {
    Ok(assent_cluster::program("kyverno", &SOURCES, &format!("{MODULE}/cmd/kyverno"))?)
}

pub(super) async fn start(ground: &Ground, program: &Path) -> anyhow::Result<Running> {
    let definitions = module_folder("kyverno", MODULE)?.join("config/crds");
    ground.cluster.kubectl(&["apply", "--server-side", "-R", "-f", &definitions.display().to_string()]).await?;
    ground.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await?;
    for name in ["kyverno", "kyverno-metrics"] {
        ground.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}})).await?;
    }
    let policies: Vec<Value> = policies::pod_security().iter().map(policies::Policy::kyverno).collect();
    let served = "/apis/policies.kyverno.io/v1/validatingpolicies";
    ground.eventually("validating policies are served", async || ground.list(served).await.is_ok()).await?;
    ground.apply_all(&policies).await?;
    // The first start makes certificates and the webhook configuration; the second finds everything there, as after a restart.
    let port = free_port()?;
    let first = launch(ground, program, port)?;
    let questions = registered(ground, first).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut server = launch(ground, program, port)?;
    let ready = block_in_place(|| server.until("judging", STARTING, || load::once(&questions.1).is_ok_and(|(_, body)| body.contains(questions.1.good))))?;
    // Nothing that it asks for afterwards is for these measurements, but its configurations must not stop other writes.
    Ok(Running { server, ready, questions })
}

/// What it has registered for pods, once it judges by all policies; ends that process.
async fn registered(ground: &Ground, mut server: Server) -> anyhow::Result<(Question, Question)> {
    let started = std::time::Instant::now();
    loop {
        if let Some(questions) = ground.list(WEBHOOKS).await.ok().as_ref().and_then(|found| asked(found).transpose()).transpose()?
            && block_in_place(|| load::once(&questions.1)).is_ok_and(|(_, body)| body.contains(questions.1.good))
        {
            return Ok(questions);
        }
        if started.elapsed() > STARTING {
            bail!("it has registered no webhook for its validating policies within {} s: {}", STARTING.as_secs(), server.tail());
        }
        block_in_place(|| server.until("alive", STARTING * 2, || true))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn asked(configuration: &Value) -> anyhow::Result<Option<(Question, Question)>> {
    let webhooks = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let url = |webhook: &Value| webhook["clientConfig"]["url"].as_str().map(str::to_owned);
    let Some((webhook, url)) = webhooks.iter().filter_map(|webhook| Some((webhook, url(webhook)?))).find(|(_, url)| url.contains("/vpol")) else {
        return Ok(None);
    };
    let bundle = webhook["clientConfig"]["caBundle"].as_str().context("a caBundle")?;
    let tls = load::tls(&base64::engine::general_purpose::STANDARD.decode(bundle)?, None)?;
    let (address, path) = place(&url)?;
    let question = |pod: &Value, good| Question {
        address,
        name: "kyverno-svc.kyverno.svc".into(),
        path: path.clone(),
        tls: tls.clone(),
        body: policies::review(pod, "pods"),
        good,
    };
    Ok(Some((question(&policies::good_pod(), "\"allowed\":true"), question(&policies::hostile_pod(), "\"allowed\":false"))))
}

fn launch(ground: &Ground, program: &Path, port: u16) -> anyhow::Result<Server> {
    let mut command = process::program(program);
    let environment = [
        ("KYVERNO_NAMESPACE", NAMESPACE),
        ("KYVERNO_SERVICEACCOUNT_NAME", "kyverno-admission-controller"),
        ("KYVERNO_ROLE_NAME", "kyverno:admission-controller"),
        ("KYVERNO_DEPLOYMENT", "kyverno-admission-controller"),
        ("KYVERNO_POD_NAME", "kyverno-admission-controller"),
        ("INIT_CONFIG", "kyverno"),
        ("METRICS_CONFIG", "kyverno-metrics"),
    ];
    command.envs(environment).env("HOME", ground.files()).current_dir(ground.files());
    command.args(["--caSecretName=kyverno-svc.kyverno.svc.kyverno-tls-ca", "--tlsSecretName=kyverno-svc.kyverno.svc.kyverno-tls-pair"]);
    // Outside of a pod; without its reports, events and metrics, which cost more than they judge.
    command.args([
        "--admissionReports=false",
        "--disableMetrics=true",
        "--controllerRuntimeMetricsAddress=0",
        "--omitEvents=PolicyViolation,PolicyApplied,PolicyError,PolicySkipped",
    ]);
    command.args([format!("--serverIP=127.0.0.1:{port}"), "--webhookServerHost=127.0.0.1".to_owned(), format!("--webhookServerPort={port}")]);
    command.arg(format!("--kubeconfig={}", ground.files().join("kubeconfig").display()));
    Server::start(&mut command, &ground.log("kyverno"))
}
