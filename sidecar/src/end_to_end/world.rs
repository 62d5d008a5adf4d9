//! Sidecars in this process under the tests' control plane, and the servers and clients around them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use assent_runtime::CancellationToken;
use assent_runtime::shutdown::Tasks;
use assent_runtime::workload::Workload;
use clap::Parser as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::control::{ACCOUNT, Control};
use crate::serve::{Running, start};

pub(super) struct World {
    pub(super) control: Control,
    /// Of the identity service and the seats, the first of which is also discovery.
    pub(super) addresses: [SocketAddr; 4],
}

pub(super) struct Sidecar {
    pub(super) running: Running,
    pub(super) stop: CancellationToken,
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: crate::Args,
}

// === impl World ===

impl World {
    pub(super) async fn start() -> Self {
        let control = Control::new();
        let addresses = control.serve("127.0.0.1").await;
        Self { control, addresses }
    }

    /// A sidecar of `account` in namespace `shop`; `target` is where its application's connections go.
    pub(super) async fn sidecar(&self, account: &str, target: Option<SocketAddr>) -> Sidecar {
        self.sidecar_with(account, target, &["network"]).await
    }

    /// As [`Self::sidecar`], reporting to `seats` only.
    pub(super) async fn sidecar_with(&self, account: &str, target: Option<SocketAddr>, seats: &[&str]) -> Sidecar {
        self.launch(account, target, seats, &[]).await
    }

    /// As [`Self::sidecar`], with a directory that outlives it.
    pub(super) async fn sidecar_keeping(&self, account: &str, target: SocketAddr, state: &Path) -> Sidecar {
        self.launch(account, Some(target), &["network"], &[format!("--identity-state-dir={}", state.display())]).await
    }

    /// With `more` flags, which replace the usual ones.
    pub(super) async fn launch(&self, account: &str, target: Option<SocketAddr>, seats: &[&str], more: &[String]) -> Sidecar {
        self.launch_as(self.control.member("shop", account), target, seats, more).await
    }

    /// As [`Self::launch`], for an identity of the caller's making.
    pub(super) async fn launch_as(&self, workload: Workload, target: Option<SocketAddr>, seats: &[&str], more: &[String]) -> Sidecar {
        let [_, network, database, compute] = self.addresses;
        let mut flags = vec![
            "sidecar",
            "--workload-namespace=shop",
            "--inbound-address=127.0.0.1:0",
            "--outbound-address=127.0.0.1:0",
            "--admin-address=127.0.0.1:0",
            "--window-ms=100",
            // A busy machine must not turn "learned in time" into chance.
            "--discovery-wait-ms=3000",
            "--workers=1",
            "--drain-seconds=20",
        ];
        let named = [
            format!("--workload-service-account={}", workload.own_name().account()),
            format!("--discovery-service={network}"),
            format!("--discovery-account={ACCOUNT}"),
        ];
        flags.extend(named.iter().map(String::as_str));
        let all = [("network", network), ("database", database), ("compute", compute)];
        let told = all.iter().filter(|(seat, _)| seats.contains(seat));
        let seats: Vec<String> = told.map(|(seat, address)| format!("--{seat}-seat={address}")).collect();
        flags.extend(seats.iter().map(String::as_str));
        let target = target.map(|target| format!("--outbound-target={target}"));
        flags.extend(target.as_deref());
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        flags.retain(|flag| !more.iter().any(|more| name(more) == name(flag)));
        flags.extend(more.iter().map(String::as_str));
        let args = Command::try_parse_from(flags).unwrap().args;
        let stop = CancellationToken::new();
        let running = start(args, workload, Tasks::new(stop.clone())).await.unwrap();
        Sidecar { running, stop }
    }
}

impl Sidecar {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.running.finish().await.unwrap();
    }
}

/// A server that gives every connection one `answer` to its first bytes.
pub(super) async fn answer(answer: &'static str) -> SocketAddr {
    serve(move |mut stream| async move {
        let read = stream.read(&mut [0; 4096]).await.unwrap_or(0);
        if read > 0 {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

/// A server that begins an answer and resets the connection.
pub(super) async fn reset() -> SocketAddr {
    serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf").await;
        let _ = stream.set_zero_linger();
    })
    .await
}

/// A server that sends back what it gets.
pub(super) async fn echo() -> SocketAddr {
    serve(|stream| async move {
        let (mut reader, mut writer) = stream.into_split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

async fn serve<F: Future<Output = ()> + Send + 'static>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr {
    serve_on("127.0.0.1:0", each).await
}

/// A server at `address` that hands every connection to `each`.
pub(super) async fn serve_on<F>(address: &str, each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

/// One request over a new connection; everything that came back.
pub(super) async fn get(address: SocketAddr) -> String {
    ask(address, "GET", "/metrics", "").await
}

/// As [`get`], with another method, path and body.
pub(super) async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    got
}

/// Polls, because counters have no event to wait for.
pub(super) async fn eventually(holds: impl Fn() -> bool) {
    comes_true(async || holds()).await;
}

/// As [`eventually`], for what takes a request to see.
pub(super) async fn comes_true(holds: impl AsyncFn() -> bool) {
    let polling = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), polling).await.expect("it never came true");
}
