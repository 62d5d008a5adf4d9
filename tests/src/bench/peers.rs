//! Other admission webhooks, built from their Go modules and asked as ours is: directly, over kept connections, with the same
//! requests and the same policies in the words that they recommend.

mod gatekeeper;
mod kyverno;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::ground::Ground;
use super::guardrails::Direct;
use super::load::{Load, Question};
use super::process::Server;
use super::rows::{Figures, Row};
use super::{CONNECTIONS, RATE, RUNS, TIME};

/// Share of a peer's highest rate that it is asked at when it does not sustain ours.
const SHARE: f64 = 0.7;
/// A webhook's own warm-up: caches that fill, collectors that settle.
const SETTLING: Duration = Duration::from_secs(3);

/// A peer, built or not.
#[derive(Debug)]
pub struct Peer {
    /// Name, version and kind of policies.
    pub name: &'static str,
    kind: Kind,
    program: anyhow::Result<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Gatekeeper,
    Kyverno,
}

/// A peer that serves.
struct Running {
    server: Server,
    /// Seconds until it was ready, with its policies there.
    ready: f64,
    /// The good pod, and the hostile one.
    questions: (Question, Question),
}

/// Builds the peers whose names begin with `which`, once (many minutes from nothing).
pub fn build(say: &dyn Fn(&str), which: &str) -> Vec<Peer> {
    let parts = [(gatekeeper::NAME, Kind::Gatekeeper), (kyverno::NAME, Kind::Kyverno)];
    let build = |(name, kind)| {
        say(&format!("{name}: building"));
        let program = match kind {
            Kind::Gatekeeper => gatekeeper::build(),
            Kind::Kyverno => kyverno::build(),
        };
        Peer { name, kind, program }
    };
    parts.into_iter().filter(|(name, _)| name.starts_with(which)).map(build).collect()
}

/// A peer's rows; one with the reason when it cannot be measured.
pub async fn measure(ground: &Ground, peer: Peer, ours: &Direct, say: &dyn Fn(&str)) -> Vec<Row> {
    match measured(ground, &peer, ours, say).await {
        Ok(rows) => rows,
        Err(error) => {
            let reason = format!("not measured: {error:#}");
            say(&reason);
            vec![Row::ours("p99_ms", "ms", &ours.p99).beside(peer.name, &Figures::default()).noting(format!("{reason:.600}"))]
        }
    }
}

async fn measured(ground: &Ground, peer: &Peer, ours: &Direct, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let program = peer.program.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let running = match peer.kind {
        Kind::Gatekeeper => gatekeeper::start(ground, program).await,
        Kind::Kyverno => kyverno::start(ground, program).await,
    }
    .context("start")?;
    let Running { server, ready, questions: (good, hostile) } = running;
    let (said_good, said_hostile) = (super::must_say(&good), super::must_say(&hostile));
    said_good.and(said_hostile).with_context(|| format!("its log ends: {}", server.tail()))?;
    tokio::time::sleep(SETTLING).await;
    let idle = Figures(vec![server.memory()?.0]);
    let most = super::most(&good)?;
    let highest = most.median().context("a rate")?;
    say(&format!("ready after {ready:.1} s, {:.0} MB idle, at most {highest:.0} requests a second", idle.median().unwrap_or_default()));
    let rate = if highest * SHARE < RATE { highest * SHARE } else { RATE };
    let seen = super::several(&good, Load { rate: Some(rate), connections: CONNECTIONS, time: TIME }, RUNS)?;
    let loaded = Figures(vec![server.memory()?.1]);
    let (p50, p99): (Figures, Figures) = (seen.iter().map(|seen| seen.quantile(0.5)).collect(), seen.iter().map(|seen| seen.quantile(0.99)).collect());
    say(&format!("p50 {:?} p99 {:?} ms at {rate:.0} requests a second", p50.0, p99.0));
    let note = if rate < RATE {
        format!("the peer at {rate:.0} requests a second, {SHARE} of the most that it answers; ours at {RATE}")
    } else {
        format!("both at {RATE} requests a second")
    };
    let ready_ms: Figures = ours.ready.0.iter().map(|seconds| seconds * 1e3).collect();
    Ok(vec![
        Row::ours("p50_ms", "ms", &ours.p50).beside(peer.name, &p50).noting(note.clone()),
        Row::ours("p99_ms", "ms", &ours.p99).beside(peer.name, &p99).noting(note),
        Row::ours("most_per_s", "1/s", &ours.most).beside(peer.name, &most).noting("more is better; eight connections without a pause, one core"),
        Row::ours("rss_idle_mb", "MB", &ours.idle).beside(peer.name, &idle),
        Row::ours("rss_load_mb", "MB", &ours.loaded).beside(peer.name, &loaded),
        Row::ours("ready_ms", "ms", &ready_ms).beside(peer.name, &Figures(vec![ready * 1e3])).noting("the peer once"),
    ])
}

/// A webhook's URL as an address and a path.
fn place(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let rest = url.strip_prefix("https://").with_context(|| format!("`{url}` is not https"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((host.replace("localhost", "127.0.0.1").parse().with_context(|| format!("`{host}` is no address"))?, format!("/{path}")))
}

/// Where the sources of a Go module lie, by `go list`.
fn module_folder(peer: &str, module: &str) -> anyhow::Result<PathBuf> {
    let folder = crate::images::root().join("tests/peers").join(peer);
    let output = std::process::Command::new("go").current_dir(folder).args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]).output()?;
    anyhow::ensure!(output.status.success(), "go list: {}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Writes `tls.crt` and `tls.key` for `localhost`, by the serving CA, into `folder`.
fn certificate(ground: &Ground, folder: &std::path::Path) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(ground.files().join("ca.key"))?)?;
    let issuer = rcgen::Issuer::from_ca_cert_pem(&String::from_utf8(ground.authority()?)?, key)?;
    let own = rcgen::KeyPair::generate()?;
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?.signed_by(&own, &issuer)?;
    std::fs::write(folder.join("tls.crt"), leaf.pem())?;
    std::fs::write(folder.join("tls.key"), own.serialize_pem())?;
    Ok(())
}
