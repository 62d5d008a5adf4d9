//! A stand-in for the API server: every list is empty, it can stop answering, and it counts what it is asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The stand-in; it ends with the process.
pub(super) struct Api {
    answers: watch::Sender<bool>,
    asked: Arc<AtomicUsize>,
}

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
        let asked = Arc::new(AtomicUsize::new(0));
        let state = (listens, asked.clone());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(state)).await.unwrap() });
        Self { answers, asked }
    }

    /// Whether it answers. What is asked while it does not is answered when it does again.
    pub(super) fn answers(&self, answers: bool) {
        self.answers.send_replace(answers);
    }

    /// How often it was asked so far.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(State((mut answers, asked)): State<(watch::Receiver<bool>, Arc<AtomicUsize>)>) -> axum::Json<Value> {
    asked.fetch_add(1, Ordering::Relaxed);
    answers.wait_for(|answers| *answers).await.unwrap();
    axum::Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}))
}
