//! The sidecar beside a plain relay: what a pair of each adds to a request, costs in processor time and memory, and carries.
//!
//! Proxies share one core, client and server the other, and the chains take turns, so that whatever the machine does
//! meanwhile befalls them alike. Streams and handshakes use both cores: there it is the machine's most that is looked for.

pub mod handshakes;
pub mod linkerd;
pub mod mesh;
pub mod traffic;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::task::block_in_place;

use super::load::Seen;
use super::process::{Server, allow_files, free_port, program};
use super::rows::{Figures, Row};
use super::{CONNECTIONS, RATE, RUNS, TIME};
use mesh::{Mesh, Services, Sidecar};
use traffic::{Exchange, Manner};

/// Idle connections held at a time.
const IDLE: usize = 10_000;
/// What a sidecar does without being asked comes again within this time.
const SETTLED: Duration = Duration::from_secs(6);
/// Redis's port, on an address where no server of the machine listens: the port chooses the decoder.
const REDIS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 94, 7, 1)), 6379);
/// What nobody reads a meaning into.
const RELAY: &str = "plain relay chain";

/// A client's end of a chain, and the proxies in it.
struct Chain<'a> {
    entry: SocketAddr,
    proxies: Vec<&'a Server>,
}

/// What one exchange cost over several runs.
#[derive(Default)]
struct Cost {
    p50: Figures,
    p99: Figures,
    /// Processor seconds of each proxy per thousand requests.
    processor: Figures,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Memory of a sidecar that has served nobody, which comes first always.
    Nobody,
    /// Requests at a fixed rate.
    Requests,
    /// The same beside linkerd2-proxy, if `LINKERD2_PROXY_BIN` names one.
    Linkerd,
    /// A database's protocol, decoded and not.
    Databases,
    /// Bytes a second.
    Streams,
    /// Connections a second.
    Handshakes,
    /// Memory of idle connections.
    Idle,
}

/// Runs `only` these parts, or all if there is none, with the sidecar at `binary` and this program at `myself`.
///
/// # Errors
/// If something does not start, breaks, or answers wrongly: then there is no figure.
pub async fn run(only: &[Part], binary: &Path, myself: &Path, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let files = allow_files()?;
    let mesh = Mesh::new(binary)?;
    let services = mesh.serve().await?;
    block_in_place(|| measured(only, &mesh, services, myself, files, say))
}

fn measured(only: &[Part], mesh: &Mesh, services: Services, myself: &Path, files: u64, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    // Told at once: what follows may fail.
    let mut tell = |more: Vec<Row>| {
        more.iter().for_each(|row| say(&row.line()));
        rows.extend(more);
    };
    say("memory of a sidecar that has served nobody");
    let cart = mesh.sidecar(services, "cart", None)?;
    // Until it has done all that it does by itself: how long it has lived is what counts here.
    std::thread::sleep(SETTLED);
    tell(vec![Row::ours("rss_idle_mb", "MB", &Figures(vec![cart.server.memory()?.0])).at_most(6.0)]);

    let wanted = |part| only.is_empty() || only.contains(&part);
    if wanted(Part::Requests) {
        say("requests at a fixed rate: direct, through two plain relays, through two sidecars");
        tell(latencies(mesh, services, &cart, myself, say)?);
    }
    if wanted(Part::Linkerd) {
        match linkerd::binary() {
            Some(binary) => {
                say("the same through network namespaces, beside linkerd2-proxy");
                tell(linkerd::rows(mesh, services, &binary)?);
            }
            None => say("SKIPPED: linkerd2-proxy as peer; LINKERD2_PROXY_BIN names no binary, and no package brings one"),
        }
    }
    if wanted(Part::Databases) {
        say("a database's protocol, decoded and not");
        tell(databases(mesh, services, &cart)?);
    }
    if wanted(Part::Streams) {
        say("streams of bytes, plain and over mTLS");
        tell(streams(mesh, services, &cart)?);
    }
    if wanted(Part::Handshakes) {
        say("handshakes, full and resumed");
        tell(handshakes::rows(mesh, &cart)?);
    }
    if wanted(Part::Idle) {
        say("idle connections");
        tell(idle(mesh, services, &cart, myself, files)?);
    }
    Ok(rows)
}

fn latencies(mesh: &Mesh, services: Services, cart: &Sidecar, myself: &Path, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let http = Exchange::http();
    let server = traffic::serve(loopback()?, Manner::Answer(http.clone()))?;
    mesh.mesh(server, cart.inbound, "cart");
    let web = mesh.sidecar(services, "web", Some(server))?;
    let second = relay(myself, server)?;
    let first = relay(myself, second.1)?;
    let direct = Chain { entry: server, proxies: Vec::new() };
    let relays = Chain { entry: first.1, proxies: vec![&first.0, &second.0] };
    let pair = Chain { entry: web.outbound, proxies: vec![&web.server, &cart.server] };
    let [direct, relays, pair] = interleaved(&http, [&direct, &relays, &pair])?;
    let memory: Vec<f64> = [&web.server, &cart.server].into_iter().map(|server| server.memory().map(|(now, _)| now)).collect::<Result<_, _>>()?;

    say("the same bytes in no protocol");
    let opaque = Exchange::opaque();
    let server = traffic::serve(loopback()?, Manner::Answer(opaque.clone()))?;
    mesh.mesh(server, cart.inbound, "cart");
    let web = mesh.sidecar(services, "web-opaque", Some(server))?;
    let chain = Chain { entry: web.outbound, proxies: vec![&web.server, &cart.server] };
    let [unread] = interleaved(&opaque, [&chain])?;

    let more = |with: &Figures, without: &Figures| with.0.iter().zip(&without.0).map(|(with, without)| with - without).collect::<Figures>();
    Ok(vec![
        Row::ours("added_p50_ms", "ms", &more(&pair.p50, &direct.p50)).beside(RELAY, &more(&relays.p50, &direct.p50)).at_most(0.12),
        Row::ours("added_p99_ms", "ms", &more(&pair.p99, &direct.p99)).beside(RELAY, &more(&relays.p99, &direct.p99)).at_most(0.30),
        Row::ours("total_p50_ms", "ms", &pair.p50).beside(RELAY, &relays.p50),
        Row::ours("total_p99_ms", "ms", &pair.p99).beside(RELAY, &relays.p99),
        Row::ours("total_p50_over_relay", "", &pair.p50.over(&relays.p50)).at_most(1.15),
        Row::ours("total_p99_over_relay", "", &pair.p99.over(&relays.p99)).at_most(1.3),
        Row::ours("cpu_cores_per_1k_rps", "core", &pair.processor).beside(RELAY, &relays.processor).at_most(0.15),
        Row::ours("cpu_cores_per_1k_rps_opaque", "core", &unread.processor).beside(RELAY, &relays.processor).at_most(0.06),
        Row::ours("rss_1k_mb", "MB", &Figures(memory)).at_most(12.0).noting("runs are the two proxies of the pair"),
    ])
}

/// Redis's commands decoded, beside the same bytes on a port that stands for nothing.
fn databases(mesh: &Mesh, services: Services, cart: &Sidecar) -> anyhow::Result<Vec<Row>> {
    let redis = Exchange::redis();
    let mut webs = Vec::new();
    for (address, account) in [(REDIS, "web-redis"), (loopback()?, "web-bytes")] {
        let server = traffic::serve(address, Manner::Answer(redis.clone()))?;
        mesh.mesh(server, cart.inbound, "cart");
        webs.push(mesh.sidecar(services, account, Some(server))?);
    }
    let [decoded, bytes] = webs.as_slice() else { anyhow::bail!("two sidecars were started") };
    let decoded = Chain { entry: decoded.outbound, proxies: vec![&decoded.server, &cart.server] };
    let bytes = Chain { entry: bytes.outbound, proxies: vec![&bytes.server, &cart.server] };
    let [decoded, bytes] = interleaved(&redis, [&decoded, &bytes])?;
    let name = "not decoded";
    Ok(vec![
        Row::ours("db_total_p50_ms", "ms", &decoded.p50).beside(name, &bytes.p50),
        Row::ours("db_total_p99_ms", "ms", &decoded.p99).beside(name, &bytes.p99),
        Row::ours("db_cpu_cores_per_1k_rps", "core", &decoded.processor).beside(name, &bytes.processor),
        Row::ours("db_total_p50_over_undecoded", "", &decoded.p50.over(&bytes.p50)).at_most(1.1),
    ])
}

fn streams(mesh: &Mesh, services: Services, cart: &Sidecar) -> anyhow::Result<Vec<Row>> {
    let count = Arc::new(AtomicU64::new(0));
    let server = traffic::serve(loopback()?, Manner::Swallow(Arc::clone(&count)))?;
    // Nobody is known to be meshed behind this one, so it passes through both in plain.
    let last = mesh.sidecar(services, "plain-last", Some(server))?;
    let first = mesh.sidecar(services, "plain-first", Some(last.outbound))?;
    let meshed = traffic::serve(loopback()?, Manner::Swallow(Arc::clone(&count)))?;
    mesh.mesh(meshed, cart.inbound, "cart");
    let web = mesh.sidecar(services, "web-stream", Some(meshed))?;
    for sidecar in [&last, &first, &web, cart] {
        sidecar.server.unpin()?;
    }
    let (mut plain, mut secured, mut bare) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..RUNS {
        bare.0.push(apart(server, &count)?);
        plain.0.push(apart(first.outbound, &count)?);
        secured.0.push(apart(web.outbound, &count)?);
    }
    Ok(vec![
        Row::ours("mtls_gbit_s", "Gb/s", &secured).beside("no proxy at all", &bare).at_least(5.0),
        Row::ours("plaintext_gbit_s", "Gb/s", &plain),
        Row::ours("mtls_over_plaintext", "", &secured.over(&plain)).at_least(0.6),
    ])
}

/// On a thread of its own, which is pinned nowhere.
fn apart(address: SocketAddr, count: &Arc<AtomicU64>) -> anyhow::Result<f64> {
    let count = Arc::clone(count);
    let streaming = std::thread::spawn(move || {
        super::process::unpin_thread()?;
        traffic::stream(address, &count, TIME)
    });
    streaming.join().map_err(|_| anyhow::anyhow!("the streaming thread panicked"))?
}

fn idle(mesh: &Mesh, services: Services, cart: &Sidecar, myself: &Path, files: u64) -> anyhow::Result<Vec<Row>> {
    // Each connection is two files of a proxy; the rest is for itself.
    let number = IDLE.min(usize::try_from(files.saturating_sub(200) / 2)?);
    let (_keeper, server) = beside(myself, "keep", &[])?;
    mesh.mesh(server, cart.inbound, "cart");
    let web = mesh.sidecar(services, "web-idle", Some(server))?;
    let before = [web.server.memory()?.0, cart.server.memory()?.0];
    let held = traffic::hold(web.outbound, number)?;
    let after = [web.server.memory()?.0, cart.server.memory()?.0];
    let each: Figures = before.iter().zip(after).map(|(before, after)| (after - before) * 1e3 / number as f64).collect();
    let open = Row::ours("idle_connections_held", "", &Figures(vec![traffic::open(&held) as f64])).at_least(IDLE as f64);
    let open = if number < IDLE { open.noting(format!("a process may have {files} files here; {number} were opened")) } else { open };
    Ok(vec![Row::ours("kb_per_connection", "kB", &each).at_most(20.0).noting("runs are the two proxies of the pair"), open])
}

/// Each chain in its turn, [`RUNS`] times.
fn interleaved<const N: usize>(exchange: &Exchange, chains: [&Chain<'_>; N]) -> anyhow::Result<[Cost; N]> {
    let mut costs: [Cost; N] = std::array::from_fn(|_| Cost::default());
    for run in 0..=RUNS {
        for (chain, cost) in chains.iter().zip(&mut costs) {
            let before = chain.processor()?;
            let seen: Seen = traffic::ask(chain.entry, exchange, RATE, CONNECTIONS, TIME)?;
            let spent = chain.processor()? - before;
            // The first run warms up.
            if run > 0 {
                cost.p50.0.push(seen.quantile(0.5));
                cost.p99.0.push(seen.quantile(0.99));
                cost.processor.0.push(spent / chain.proxies.len().max(1) as f64 / TIME.as_secs_f64() * 1000.0 / RATE);
            }
        }
    }
    Ok(costs)
}

fn loopback() -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)))
}

/// A plain relay to `target`.
fn relay(myself: &Path, target: SocketAddr) -> anyhow::Result<(Server, SocketAddr)> {
    beside(myself, "relay", &["--target", &target.to_string()])
}

/// This program again, as what `command` says.
fn beside(myself: &Path, command: &str, arguments: &[&str]) -> anyhow::Result<(Server, SocketAddr)> {
    let listen = loopback()?;
    let log = std::env::temp_dir().join(format!("assent-bench-{command}-{}.log", listen.port()));
    let mut program = program(myself);
    program.args([command, "--listen", &listen.to_string()]).args(arguments);
    let mut server = Server::start(&mut program, &log)?;
    server.until("listening", Duration::from_secs(5), || std::net::TcpStream::connect(listen).is_ok())?;
    Ok((server, listen))
}

// === impl Chain ===

impl Chain<'_> {
    /// Processor seconds of its proxies since they started.
    fn processor(&self) -> anyhow::Result<f64> {
        self.proxies.iter().map(|server| server.processor()).sum()
    }
}
