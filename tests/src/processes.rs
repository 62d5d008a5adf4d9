//! Components as processes of their own, with their account's credentials and a certificate kept in their state directory:
//! started as a pod would start them, and killed with SIGKILL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use assent_api::names::{SYSTEM_NAMESPACE, account_user, accounts};
use assent_runtime::workload::{Name, pem, request};
use tokio::process::{Child, Command};

use crate::addresses;
use crate::images::program;
use crate::world::World;

/// A component, not running yet: its program and what it is told.
#[derive(Clone, Debug)]
pub struct Component {
    name: &'static str,
    arguments: Vec<String>,
}

/// A running component; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

/// Where the executor finds what it talks to, and how long things take.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The ledger.
    pub director: String,
    /// A seat with a live word.
    pub network: String,
    /// Another one.
    pub compute: String,
    /// How long the target must stay well.
    pub soak_seconds: u32,
    /// How long a plan may wait for its write.
    pub apply_within_seconds: u32,
    /// How long it may take until the target is well.
    pub verify_within_seconds: u32,
    /// How long people have to agree.
    pub approve_within_seconds: u32,
}

/// The ports of a director that is killed and comes back at the same place.
#[derive(Clone, Copy, Debug)]
pub struct DirectorPorts {
    /// Alerts.
    pub intake: SocketAddr,
    /// gRPC.
    pub rpc: SocketAddr,
    /// The ledger.
    pub ledger: SocketAddr,
    /// Slack's buttons, where it is on.
    pub slack: SocketAddr,
}

// === impl DirectorPorts ===

impl DirectorPorts {
    /// Free loopback ports.
    #[must_use]
    pub fn free() -> Self {
        Self { intake: addresses::free(), rpc: addresses::free(), ledger: addresses::free(), slack: addresses::free() }
    }
}

// === impl Component ===

impl Component {
    /// The executor; `files` is its own folder.
    #[must_use]
    pub fn executor(world: &World, files: &Path, setting: &Setting) -> Self {
        let mut arguments = credentials(world, files, accounts::EXECUTOR);
        let seconds = |flag: &str, value: u32| format!("--{flag}={value}");
        arguments.extend([
            format!("--director={}", setting.director),
            format!("--seat-network={}", setting.network),
            format!("--seat-compute={}", setting.compute),
            seconds("soak-seconds", setting.soak_seconds),
            seconds("apply-within-seconds", setting.apply_within_seconds),
            seconds("verify-within-seconds", setting.verify_within_seconds),
            seconds("approve-within-seconds", setting.approve_within_seconds),
            "--log=info,assent_executor=debug,kube_client=off".into(),
        ]);
        Self { name: "assent-executor", arguments }
    }

    /// The director; `files` is its own folder, `seats` are NAME and address, `security` is an Alertmanager.
    #[must_use]
    pub fn director(world: &World, files: &Path, ports: DirectorPorts, seats: &[(String, SocketAddr)], security: Option<SocketAddr>) -> Self {
        std::fs::write(files.join("token"), crate::INTAKE_SECRET).unwrap();
        let seats: Vec<String> = seats.iter().map(|(name, address)| format!("{name}={address}")).collect();
        let mut arguments = credentials(world, files, accounts::DIRECTOR);
        arguments.extend([
            format!("--store={}", files.join("store").display()),
            format!("--intake-token-file={}", files.join("token").display()),
            format!("--intake-address={}", ports.intake),
            format!("--listen={}", ports.rpc),
            format!("--ledger-address={}", ports.ledger),
            format!("--slack-address={}", ports.slack),
            format!("--seat-addresses={}", seats.join(",")),
            "--log=info,kube_client=off".into(),
        ]);
        arguments.extend(security.map(|address| format!("--security-alertmanager-url=http://{address}")));
        Self { name: "assent-director", arguments }
    }

    /// The gate, where `world`'s own one was: stop that first.
    #[must_use]
    pub fn gate(world: &World) -> Self {
        let mut arguments = crate::world::gate_arguments(world.files(), world.gate_address());
        arguments.push("--log=info,kube_client=off".into());
        Self { name: "assent-gate", arguments }
    }

    /// Told this too.
    #[must_use]
    pub fn with(mut self, flags: &[String]) -> Self {
        self.arguments.extend_from_slice(flags);
        self
    }

    /// Its program's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Starts it.
    #[must_use]
    pub fn start(&self) -> Process {
        let child = Command::new(program(self.name)).args(&self.arguments).stdin(Stdio::null()).kill_on_drop(true).spawn();
        Process { child: child.unwrap_or_else(|error| panic!("start {}: {error}; `cargo build --workspace` makes it", self.name)) }
    }
}

// === impl Process ===

impl Process {
    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Resident memory in KiB.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Writes kubeconfig, trust bundle and certificate of `account` as a pod would find them; the flags that say so.
fn credentials(world: &World, files: &Path, account: &str) -> Vec<String> {
    let kubeconfig = world.cluster.kubeconfig_as(&account_user(account), &["system:serviceaccounts:assent-system"]).unwrap();
    std::fs::write(files.join("kubeconfig"), kubeconfig).unwrap();
    std::fs::write(files.join("roots.pem"), world.authority.pem()).unwrap();
    let name = Name::new(SYSTEM_NAMESPACE, account, SYSTEM_NAMESPACE, "cluster.local").unwrap();
    let (key, _) = request(&name).unwrap();
    let leaf = world.authority.sign(&name, &key, Duration::from_secs(3600));
    std::fs::write(files.join("identity.pem"), format!("{}{}", key.serialize_pem(), pem(&leaf))).unwrap();
    let path = |name: &str| -> PathBuf { files.join(name) };
    vec![
        "--admin-address=127.0.0.1:0".into(),
        format!("--workload-namespace={SYSTEM_NAMESPACE}"),
        format!("--workload-service-account={account}"),
        format!("--kubeconfig={}", path("kubeconfig").display()),
        format!("--trust-bundle-file={}", path("roots.pem").display()),
        format!("--identity-state-dir={}", files.display()),
        // Nobody listens there: the kept certificate must do.
        "--identity-service=127.0.0.1:1".into(),
        format!("--identity-token-file={}", path("none").display()),
    ]
}
