//! A further gate beside the world's own, asked directly; and one whose API server answers with guardrails of another time.

use assent_api::names::{self, accounts};
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_runtime::CancellationToken;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};

use crate::world::{World, serve_gate, service_account_groups};

/// A gate. Dropping it stops it.
#[derive(Debug)]
pub struct Replica {
    client: reqwest::Client,
    url: String,
    stop: CancellationToken,
    _files: tempfile::TempDir,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
struct Stale {
    client: Client,
    guardrails: Value,
}

// === impl Replica ===

impl Replica {
    /// A gate of `world`. With `guardrails`, that list is what it is told whenever it lists them.
    pub async fn start(world: &World, guardrails: Option<Value>) -> Self {
        let user = names::account_user(accounts::GATE);
        let stop = CancellationToken::new();
        let kubeconfig = match guardrails {
            None => world.cluster.kubeconfig_as(&user, &service_account_groups()).unwrap(),
            Some(guardrails) => {
                let client = world.cluster.client_as(&user, &service_account_groups()).await.unwrap();
                through(Stale { client, guardrails }, &stop).await
            }
        };
        let files = tempfile::tempdir().unwrap();
        let (_, _, address) = serve_gate(&kubeconfig, files.path(), &stop).await;
        let authority = std::fs::read(files.path().join("ca.crt")).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()]).build().unwrap();
        Self { client, url: format!("https://localhost:{}/admit", address.port()), stop, _files: files }
    }

    /// Its answer to an AdmissionReview.
    pub async fn ask(&self, review: &Value) -> Value {
        let answer = self.client.post(&self.url).header("content-type", "application/json").body(review.to_string()).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

/// What the API server would ask about the voted write.
pub async fn review(world: &World, incident: &IncidentUid, proposal: &Proposal, material: &Value) -> Value {
    let (_, old) = world.object_of(proposal).await;
    let new = proposal.action.act().expected(&old, Some(material)).unwrap();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "0d1d5a4e-0000-4000-8000-000000000000",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "name": proposal.target.name, "namespace": proposal.target.namespace, "operation": "UPDATE",
        "userInfo": {"username": names::EXECUTOR_USER, "groups": ["system:authenticated"], "extra": {(names::INCIDENT): [incident.as_str()]}},
        "object": new, "oldObject": old, "dryRun": false,
        "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": names::FIELD_MANAGER},
    }})
}

/// A server before the API server; returns a kubeconfig for it.
async fn through(stale: Stale, stop: &CancellationToken) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(forward).with_state(stale);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move { axum::serve(listener, router).await.unwrap() }));
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "stale",
        "clusters": [{"name": "stale", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "stale", "user": {}}],
        "contexts": [{"name": "stale", "context": {"cluster": "stale", "user": "stale"}}],
    })
    .to_string()
}

async fn forward(State(stale): State<Stale>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let guardrails = parts.uri.path() == "/apis/assent.dev/v1alpha1/guardrails";
    let body = body.collect().await.unwrap().to_bytes();
    let mut onward = http::Request::builder().method(parts.method).uri(parts.uri.path_and_query().unwrap().as_str());
    if let Some(kind) = parts.headers.get(http::header::CONTENT_TYPE) {
        onward = onward.header(http::header::CONTENT_TYPE, kind);
    }
    let answer = stale.client.send(onward.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in [http::header::DATE, http::header::CONTENT_TYPE] {
        if let Some(value) = answer.headers().get(&name) {
            response = response.header(name, value);
        }
    }
    if guardrails {
        return response.body(Body::from(stale.guardrails.to_string())).unwrap();
    }
    response.body(Body::from(answer.into_body().collect().await.unwrap().to_bytes())).unwrap()
}
