//! The certificate changes under load: no request fails, on kept connections or on new ones, and new ones see the new one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::client::{Authority, Client, trusting};
use super::{Gate, PATIENCE, guardrail, review};

const CHANGES: usize = 4;
const CLIENTS: usize = 6;

/// Clients that ask until they are told to stop; the last of them connects anew for each request.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Load {
    async fn start(gate: &Gate, roots: &RootCertStore) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for at in 0..=CLIENTS {
            let (stop, asked, roots, address) = (stop.clone(), asked.clone(), roots.clone(), gate.address);
            let mut client = Client::connect(address, &roots).await.unwrap();
            tasks.push(tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(10));
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    if at == CLIENTS {
                        client = Client::connect(address, &roots).await?;
                    }
                    let (status, answer) = client.post(review("u", &guardrail()).to_string()).await?;
                    anyhow::ensure!(status == 200 && answer["response"]["allowed"] == json!(true), "{status} {answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        Self { stop, asked, tasks }
    }

    /// How many requests there were; none failed.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
        }
        self.asked.load(Ordering::Relaxed)
    }
}

/// Connects until the certificate satisfies `wanted`, and through at least `requests` more requests of the load.
async fn served(gate: &Gate, roots: &RootCertStore, load: &Load, wanted: impl Fn(&CertificateDer<'_>) -> bool) -> CertificateDer<'static> {
    let before = load.asked.load(Ordering::Relaxed);
    let waiting = async {
        loop {
            if let Ok(client) = Client::connect(gate.address, roots).await
                && wanted(&client.served)
                && load.asked.load(Ordering::Relaxed) >= before + 20
            {
                return client.served;
            }
            // Files are looked at once a second, and nothing tells.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

fn all(authorities: &[Authority]) -> RootCertStore {
    trusting(&authorities.iter().map(Authority::certificate).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_certificate_files_change() {
    let files = tempfile::tempdir().unwrap();
    let authorities: Vec<Authority> = (0..=CHANGES).map(|_| Authority::new()).collect();
    authorities.first().unwrap().write_leaf(files.path());
    let gate = Gate::with(files, &[]).await;
    let load = Load::start(&gate, &all(&authorities)).await;
    for authority in authorities.iter().skip(1) {
        let leaf = authority.write_leaf(gate.files.path());
        served(&gate, &trusting(&[authority.certificate()]), &load, |served| *served == leaf).await;
        spoil(gate.files.path());
    }
    let asked = load.end().await;
    assert!(asked > 100, "only {asked} requests");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_minted_leaves_follow_their_authority() {
    let files = tempfile::tempdir().unwrap();
    let authorities: Vec<Authority> = (0..=CHANGES).map(|_| Authority::new()).collect();
    authorities.first().unwrap().write(files.path());
    let gate = Gate::with(files, &["--serving-mint=localhost"]).await;
    let load = Load::start(&gate, &all(&authorities)).await;
    let mut leaves = Vec::new();
    for authority in authorities.iter().skip(1) {
        authority.write(gate.files.path());
        // Only a leaf that this very authority vouches for passes the handshake.
        leaves.push(served(&gate, &trusting(&[authority.certificate()]), &load, |_| true).await);
    }
    leaves.dedup();
    assert_eq!(leaves.len(), CHANGES, "each authority minted its own");
    let asked = load.end().await;
    assert!(asked > 100, "only {asked} requests");
    gate.stop().await;
}

/// Half-written files keep the last good certificate.
fn spoil(files: &Path) {
    std::fs::write(files.join("tls.crt"), "-----BEGIN CERT").unwrap();
}
