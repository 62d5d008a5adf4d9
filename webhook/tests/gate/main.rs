//! The gate as a server: what it does with strange bodies, with too many of them, and while its certificate changes. The API
//! server behind it is a stand-in that answers, or does not. What the gate decides is tested against a real one, elsewhere.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod api;
mod blueprints;
mod bodies;
mod client;
mod memory;
mod overload;
mod pressed;
mod rotation;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use assent_runtime::CancellationToken;
use clap::Parser as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gate in this process.
struct Gate {
    address: SocketAddr,
    admin: SocketAddr,
    files: tempfile::TempDir,
    api: api::Api,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Gate {
    /// A gate that mints its certificates.
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = client::Authority::new();
        authority.write(files.path());
        Self::with(files, &["--serving-mint=localhost"]).await
    }

    async fn with(files: tempfile::TempDir, more: &[&str]) -> Self {
        let api = api::Api::start(files.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin = free_address().await;
        let args = arguments(files.path(), address, admin, more);
        let stop = CancellationToken::new();
        let task = tokio::spawn(assent_webhook::gate::serve(assent_webhook::gate::Args::parse_from(args), listener, stop.clone()));
        Self { address, admin, files, api, stop, task }
    }

    async fn connect(&self) -> client::Client {
        client::Client::connect(self.address, &client::roots(self.files.path())).await.unwrap()
    }

    /// The value of a metric, all labels together.
    async fn metric(&self, name: &str) -> f64 {
        let text = client::get(self.admin, "/metrics").await;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn arguments(files: &Path, listen: SocketAddr, admin: SocketAddr, more: &[&str]) -> Vec<String> {
    let path = |flag: &str, name: &str| format!("--{flag}={}", files.join(name).display());
    let mut arguments = vec![
        "assent-gate".to_owned(),
        format!("--listen={listen}"),
        format!("--admin-address={admin}"),
        path("kubeconfig", "kubeconfig"),
        path("serving-certificate-file", "tls.crt"),
        path("serving-key-file", "tls.key"),
    ];
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    arguments
}

/// An address that was free a moment ago.
async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A person writes a guardrail; the gate reads the API server to answer.
fn review(uid: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": {"group": "assent.dev", "version": "v1alpha1", "kind": "Guardrail"},
            "resource": {"group": "assent.dev", "version": "v1alpha1", "resource": "guardrails"},
            "name": "g", "operation": "UPDATE",
            "userInfo": {"username": "ann", "groups": ["system:authenticated"]},
            "object": object, "oldObject": guardrail(), "dryRun": false, "options": null,
        },
    })
}

fn guardrail() -> Value {
    json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": "g", "managedFields": [{"manager": "kubectl", "operation": "Update", "time": "2026-01-02T03:04:05Z"}]},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}]},
            "validations": [{"expression": "object.spec.replicas > 0"}],
        },
    })
}
