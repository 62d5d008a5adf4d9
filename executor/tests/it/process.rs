//! The executor as a process of its own, with the account's own credentials and a certificate kept in its state directory.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use assent_api::names::{SYSTEM_NAMESPACE, account_user, accounts};
use assent_runtime::workload::{Name, pem, request};
use assent_tests::world::World;
use tokio::process::{Child, Command};

/// A running executor; dropping it kills it.
pub(crate) struct Process {
    child: Child,
}

/// Where it finds what it talks to, and how long things take.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) director: String,
    pub(crate) network: String,
    pub(crate) compute: String,
    pub(crate) soak_seconds: u32,
    pub(crate) apply_within_seconds: u32,
    pub(crate) verify_within_seconds: u32,
}

/// Writes kubeconfig, trust bundle and certificate as a pod would find them.
pub(crate) fn prepare(world: &World, files: &Path) {
    let kubeconfig = world.cluster.kubeconfig_as(&account_user(accounts::EXECUTOR), &["system:serviceaccounts:assent-system"]).unwrap();
    std::fs::write(files.join("kubeconfig"), kubeconfig).unwrap();
    std::fs::write(files.join("roots.pem"), world.authority.pem()).unwrap();
    let name = Name::new(SYSTEM_NAMESPACE, accounts::EXECUTOR, SYSTEM_NAMESPACE, "cluster.local").unwrap();
    let (key, _) = request(&name).unwrap();
    let leaf = world.authority.sign(&name, &key, Duration::from_secs(3600));
    std::fs::write(files.join("identity.pem"), format!("{}{}", key.serialize_pem(), pem(&leaf))).unwrap();
}

// === impl Process ===

impl Process {
    pub(crate) fn start(files: &Path, setting: &Setting) -> Self {
        let path = |name: &str| files.join(name).display().to_string();
        let (soak, apply, verify) = (setting.soak_seconds, setting.apply_within_seconds, setting.verify_within_seconds);
        let child = Command::new(env!("CARGO_BIN_EXE_assent-executor"))
            .args(["--admin-address", "127.0.0.1:0", "--workload-namespace", SYSTEM_NAMESPACE, "--workload-service-account", accounts::EXECUTOR])
            .args(["--kubeconfig", &path("kubeconfig"), "--trust-bundle-file", &path("roots.pem"), "--identity-state-dir", &path("")])
            // Nobody listens there: the kept certificate must do.
            .args(["--identity-service", "127.0.0.1:1", "--identity-token-file", &path("none")])
            .args(["--director", &setting.director, "--seat-network", &setting.network, "--seat-compute", &setting.compute])
            .args(["--soak-seconds", &soak.to_string(), "--apply-within-seconds", &apply.to_string(), "--verify-within-seconds", &verify.to_string()])
            .args(["--log", "info,assent_executor=debug,kube_client=off"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}
