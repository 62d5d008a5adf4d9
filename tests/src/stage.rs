//! The whole loop as processes of their own: gate, director and executor, with four scripted seats that want whatever is reported
//! restarted. Each may be killed and started again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use assent_api::names::accounts;
use assent_core::ballot::Principal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::processes::{Component, DirectorPorts, Process, Setting};
use crate::scripted::{self, Says, Seats};
use crate::world::World;

/// Longest that a component takes to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Running components and seats; dropping it kills them.
#[derive(Debug)]
pub struct Stage {
    /// Where the director listens.
    pub ports: DirectorPorts,
    running: Vec<(Component, Option<Process>)>,
    _seats: Seats,
}

// === impl Stage ===

impl Stage {
    /// Starts everything in `world`, whose own gate is stopped; `files` keeps what outlives a process, `security` is the Alertmanager that
    /// hears of what is forbidden.
    pub async fn start(world: &World, files: &Path, security: Option<SocketAddr>) -> Self {
        Self::start_with(world, files, security, &[]).await
    }

    /// As [`Stage::start`], with a director that is told this too.
    pub async fn start_with(world: &World, files: &Path, security: Option<SocketAddr>, flags: &[String]) -> Self {
        let says = [
            ("network", Says::Healthy),
            ("compute", Says::Blames(Principal::Kubelet)),
            ("database", Says::Healthy),
            ("change", Says::Blames(Principal::ApiServer)),
        ];
        let mut voters = Vec::new();
        for (name, says) in says {
            voters.push((name, says, world.account(&accounts::seat(name)).await));
        }
        let seats = scripted::start(&world.authority, &world.roster.digest().unwrap(), voters).await;
        let [director_files, executor_files] = ["director", "executor"].map(|name| files.join(name));
        for folder in [&director_files, &executor_files] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let ports = DirectorPorts::free();
        let seat = |name: &str| seats.addresses.iter().find(|(seat, _)| seat == name).unwrap().1.to_string();
        let setting = Setting {
            director: ports.rpc.to_string(),
            network: seat("network"),
            compute: seat("compute"),
            soak_seconds: 2,
            apply_within_seconds: 200,
            verify_within_seconds: 200,
            approve_within_seconds: 3600,
        };
        let gate = Component::gate(world);
        let mut running = vec![(gate.clone(), Some(gate.start()))];
        let listening = async {
            while TcpStream::connect(world.gate_address()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.unwrap();
        let components =
            [Component::director(world, &director_files, ports, &seats.addresses, security).with(flags), Component::executor(world, &executor_files, &setting)];
        running.extend(components.into_iter().map(|component| (component.clone(), Some(component.start()))));
        Self { ports, running, _seats: seats }
    }

    /// SIGKILL for these, one after the other, each of which comes back at once.
    pub async fn restart(&mut self, victims: &[&str]) {
        for (component, process) in self.running.iter_mut().filter(|(component, _)| victims.contains(&component.name())) {
            process.take().unwrap().kill().await;
            *process = Some(component.start());
        }
    }

    /// Resident memory of each in KiB, by its program's name.
    #[must_use]
    pub fn memory(&self) -> Vec<(&'static str, u64)> {
        self.running.iter().filter_map(|(component, process)| Some((component.name(), process.as_ref()?.resident()))).collect()
    }

    /// Reports that `workload` is bad; the UID of its incident, which is none of `known`, and when the report was made that began it.
    pub async fn report(&self, world: &World, workload: &str, known: &BTreeSet<String>) -> (String, Instant) {
        let mut anomaly = scripted::anomaly(&world.admin, "network").await;
        workload.clone_into(&mut anomaly.service.name);
        // The director may not listen yet, or take it for the echo of the last incident; whoever saw something says it again.
        let since = Instant::now();
        loop {
            assert!(since.elapsed() < PATIENCE, "the director takes no report");
            let reported = Instant::now();
            match scripted::report(&world.authority, self.ports.rpc, "assent-seat-network", &anomaly).await {
                Ok(uid) if known.contains(&uid) => tokio::time::sleep(Duration::from_secs(1)).await,
                Ok(uid) => return (uid, reported),
                Err(status) if status.code() == tonic::Code::Unavailable => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(status) => panic!("{status}"),
            }
        }
    }

    /// The director's ledger, one entry a line.
    pub async fn ledger(&self) -> String {
        let since = Instant::now();
        loop {
            assert!(since.elapsed() < PATIENCE, "the director gives no ledger");
            match fetch(self.ports.ledger).await {
                Ok(ledger) => return ledger,
                // It was killed a moment ago.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Ends everything, and waits until it is gone: the next ones may listen at the same addresses.
    pub async fn stop(self) {
        for process in self.running.into_iter().filter_map(|(_, process)| process) {
            process.kill().await;
        }
    }
}

async fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // Version 1.0 is answered in one piece.
    stream.write_all(b"GET /v1/ledger HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    Ok(body.to_owned())
}
