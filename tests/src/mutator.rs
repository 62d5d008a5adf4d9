//! Somebody else's mutating webhook: a real one, served over TLS from this process, that patches every Deployment written.

use axum::{Json, Router, routing::post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::hook::{self, Hook};
use crate::world::{SHOP, World, apply, get, send};

/// A running mutator; dropping it stops its server.
#[derive(Debug)]
pub struct Mutator {
    _hook: Hook,
}

// === impl Mutator ===

impl Mutator {
    /// Serves, registers and waits until the API server asks it.
    pub async fn start(world: &World, patch: &Value) -> Self {
        let patch = BASE64.encode(serde_json::to_vec(patch).unwrap());
        let answer = move |Json(review): Json<Value>| async move {
            Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}}))
        };
        let (hook, client_config) = hook::serve(Router::new().route("/", post(answer))).await;
        let mut probe = world.deployment("probe", "registry.invalid/probe:1").await;
        // Its controller writes status meanwhile; without a version the probe never conflicts.
        probe["metadata"]["resourceVersion"] = Value::Null;
        apply(
            &world.admin,
            &json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "foreign"},
                "webhooks": [{"name": "foreign.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                    "clientConfig": client_config,
                    "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}]}]
            }),
        )
        .await;
        let mutator = Self { _hook: hook };
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
