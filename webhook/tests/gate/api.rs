//! A stand-in for the API server: every list is empty, and it can stop answering.

use std::path::Path;

use axum::Router;
use axum::extract::State;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The stand-in; it ends with the process.
pub(super) struct Api(watch::Sender<bool>);

impl Api {
    /// Starts it, and writes a kubeconfig that points to it.
    pub(super) async fn start(files: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(files.join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let (answers, listens) = watch::channel(true);
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(listens)).await.unwrap() });
        Self(answers)
    }

    /// Whether it answers. What is asked while it does not is answered when it does again.
    pub(super) fn answers(&self, answers: bool) {
        self.0.send_replace(answers);
    }
}

async fn answer(State(mut answers): State<watch::Receiver<bool>>) -> axum::Json<Value> {
    answers.wait_for(|answers| *answers).await.unwrap();
    axum::Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}))
}
