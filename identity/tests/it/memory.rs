//! Both processes as they are shipped, started for real: they become ready, and stay small.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::fixture::{Fixture, SYSTEM, eventually, issue, kubeconfig};

/// Resident memory of an idle process in a debug build, in KiB.
const IDLE_KIB: u64 = 40 << 10;

/// A started process; killed when dropped.
struct Started {
    child: Child,
    admin: String,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Started {
    fn new(program: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .env_clear()
            .envs(variables.iter().copied())
            .envs([("ASSENT_LISTEN", "127.0.0.1:0"), ("ASSENT_ADMIN_ADDRESS", "127.0.0.1:0")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| Some(line.unwrap()).filter(|line| line.contains("admin port is open"))).unwrap();
        let admin = line.split_once("address=").unwrap().1.trim().to_owned();
        // Keeps the pipe from filling up; ends with the process.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, admin }
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    async fn ready(&self) {
        eventually("readiness", async || self.get("/readyz")).await;
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_processes_become_ready_and_stay_small() {
    let fixture = Fixture::start("memory").await;
    let directory = fixture.directory.path().to_owned();
    let config = |kube: assent_runtime::kube::KubeArgs| kube.kubeconfig.unwrap().to_str().unwrap().to_owned();
    let kube = config(kubeconfig(&fixture.cluster, &fixture.client, directory.clone(), "assent-identity").await);
    // A second replica: it loads the issuer that the first one made.
    let identity = Started::new(env!("CARGO_BIN_EXE_assent-identity"), &[("ASSENT_KUBECONFIG", &kube)]);
    identity.ready().await;
    assert!(identity.get("/metrics").unwrap().contains("assent_identity_issuer_expiry_seconds"));

    let pod = fixture.pod_in(SYSTEM, "assent-discovery-1", "assent-discovery").await;
    let token = issue(&fixture.client, SYSTEM, "assent-discovery", Some("identity.assent.dev"), Some(&pod)).await;
    let workload = fixture.workload(SYSTEM, "assent-discovery", &token).await;
    let kube = config(kubeconfig(&fixture.cluster, &fixture.client, directory, "assent-discovery").await);
    let discovery = Started::new(
        env!("CARGO_BIN_EXE_assent-discovery"),
        &[
            ("ASSENT_KUBECONFIG", &kube),
            ("ASSENT_IDENTITY_SERVICE", &workload.identity_service),
            ("ASSENT_IDENTITY_TOKEN_FILE", workload.identity_token_file.to_str().unwrap()),
            ("ASSENT_TRUST_BUNDLE_FILE", workload.trust_bundle_file.to_str().unwrap()),
            ("ASSENT_WORKLOAD_NAMESPACE", SYSTEM),
            ("ASSENT_WORKLOAD_SERVICE_ACCOUNT", "assent-discovery"),
        ],
    );
    discovery.ready().await;
    // An annotation that lets in nobody because it makes no sense is shown.
    let shows = async |count| {
        let line = format!("assent_discovery_malformed_annotations{{kind=\"namespace\"}} {count}\n");
        eventually("the count of malformed annotations", async || discovery.get("/metrics").filter(|metrics| metrics.contains(&line))).await
    };
    drop(shows(0).await);
    let nonsense = json!({"metadata": {"annotations": {"assent.dev/inbound-identities": "shop/cart, everybody"}}});
    Api::<Namespace>::all(fixture.client.clone()).patch("shop", &PatchParams::default(), &Patch::Merge(&nonsense)).await.unwrap();
    drop(shows(1).await);
    for (name, process) in [("identity", &identity), ("discovery", &discovery)] {
        let resident = process.resident_kib();
        assert!(resident < IDLE_KIB, "{name} holds {resident} KiB");
        eprintln!("{name}: {resident} KiB resident");
    }
    fixture.stop().await;
}
