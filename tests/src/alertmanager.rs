//! An Alertmanager of this machine's packages.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running one that tells nobody else; it ends when dropped.
#[derive(Debug)]
pub struct Alertmanager {
    url: String,
    _process: Child,
    _files: TempDir,
}

// === impl Alertmanager ===

impl Alertmanager {
    /// One at `address` that is ready; nothing, aloud, where the package is missing and `CI` does not insist.
    pub async fn start(address: SocketAddr) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let config = files.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        let started = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", files.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(process) = started else {
            assert!(std::env::var_os("CI").is_none(), "prometheus-alertmanager is needed");
            eprintln!("SKIPPED: prometheus-alertmanager is not installed");
            return None;
        };
        let server = Self { url: format!("http://{address}"), _process: process, _files: files };
        let ready = async {
            while server.get("-/ready").await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap();
        Some(server)
    }

    /// The alerts that it holds, once there are so many.
    pub async fn alerts(&self, count: usize) -> Vec<Value> {
        let holds = async {
            loop {
                let body = self.get("api/v2/alerts").await.unwrap();
                let alerts: Vec<Value> = serde_json::from_str(&body).unwrap();
                if alerts.len() >= count {
                    return alerts;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), holds).await.expect("the alerts never came")
    }

    async fn get(&self, path: &str) -> Option<String> {
        reqwest::get(format!("{}/{path}", self.url)).await.ok()?.error_for_status().ok()?.text().await.ok()
    }
}
