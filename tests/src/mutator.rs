//! Somebody else's mutating webhook: a real one, served over TLS from this process, that patches every Deployment written.

use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::{CancellationToken, Limits};
use axum::{Json, Router, routing::post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Parser as _;
use serde_json::{Value, json};

use crate::world::{SHOP, World, apply, get, send};

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    serving: ServingArgs,
}

/// A running mutator; dropping it stops its server.
#[derive(Debug)]
pub struct Mutator {
    stop: CancellationToken,
    _files: tempfile::TempDir,
}

// === impl Mutator ===

impl Mutator {
    /// Serves, registers and waits until the API server asks it.
    pub async fn start(world: &World, patch: &Value) -> Self {
        let files = tempfile::tempdir().unwrap();
        let bundle = crate::world::write_authority(files.path());
        let path = |name: &str| files.path().join(name).display().to_string();
        let args =
            Args::parse_from(["mutator", "--serving-certificate-file", &path("ca.crt"), "--serving-key-file", &path("ca.key"), "--serving-mint", "localhost"]);
        let (certificate, upkeep) = serving::certificate(&args.serving).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let patch = BASE64.encode(serde_json::to_vec(patch).unwrap());
        let answer = move |Json(review): Json<Value>| async move {
            Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}}))
        };
        let router = Router::new().route("/", post(answer));
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = upkeep => {}
                served = serving::serve(listener, &certificate, Limits::default(), router, token) => served.unwrap(),
            }
        });
        let mut probe = world.deployment("probe", "registry.invalid/probe:1").await;
        // Its controller writes status meanwhile; without a version the probe never conflicts.
        probe["metadata"]["resourceVersion"] = Value::Null;
        apply(
            &world.admin,
            &json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "foreign"},
                "webhooks": [{"name": "foreign.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                    "clientConfig": {"url": format!("https://localhost:{port}/"), "caBundle": bundle},
                    "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}]}]
            }),
        )
        .await;
        let mutator = Self { stop, _files: files };
        for _ in 0..200 {
            let path = format!("/apis/apps/v1/namespaces/{SHOP}/deployments/probe?dryRun=All");
            let put = http::Request::put(path).header("Content-Type", "application/json").body(serde_json::to_vec(&probe).unwrap()).unwrap();
            if send(&world.admin, put).await.is_ok_and(|shown| shown.pointer("/spec/template") != probe.pointer("/spec/template")) {
                return mutator;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let live = get(&world.admin, "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/foreign").await;
        panic!("the foreign webhook was never asked: {live:?}");
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
