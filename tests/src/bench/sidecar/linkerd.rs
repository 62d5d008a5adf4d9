//! A pair of ours beside a pair of linkerd2-proxies, where `LINKERD2_PROXY_BIN` names the binary. It asks the kernel where a
//! connection was going, so that both pairs stand in network namespaces with the redirect of a pod; what those cost befalls both.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use assent_runtime::workload::testing::linkerd::Linkerd;
use nix::sched::{CloneFlags, setns};

use super::Cost;
use super::mesh::{DISCOVERY, IDENTITY, Mesh, NAMESPACE, Services};
use super::traffic::{self, Exchange, Manner};
use crate::bench::process::{Server, is_ready, program};
use crate::bench::rows::{Figures, Row};
use crate::bench::{CONNECTIONS, RATE, RUNS, TIME};

const PEER: &str = "linkerd2-proxy";
const NOTE: &str = "through network namespaces with a redirect, both";
const UID: u32 = 2102;
const PORT: u16 = 8080;

/// A network namespace with a proxy.
struct Pod {
    account: String,
    number: u8,
    files: tempfile::TempDir,
    proxy: Option<Server>,
}

/// Whose proxy.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Ours,
    Theirs(&'a Path),
}

/// The binary, if there is one.
#[must_use]
pub fn binary() -> Option<PathBuf> {
    std::env::var_os("LINKERD2_PROXY_BIN").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Requests at a fixed rate through each pair in turn.
///
/// # Errors
/// If a namespace or a proxy cannot be made, or answers wrongly.
pub fn rows(mesh: &Mesh, services: Services, binary: &Path) -> anyhow::Result<Vec<Row>> {
    let exchange = Exchange::http();
    let pairs = [pair(mesh, services, Kind::Ours, 1)?, pair(mesh, services, Kind::Theirs(binary), 3)?];
    let idle = pairs.each_ref().map(memory);
    let mut targets = Vec::new();
    for [_, cart] in &pairs {
        let (at, serving) = (SocketAddr::new(cart.address(), PORT), exchange.clone());
        targets.push(cart.inside(move || traffic::serve(at, Manner::Answer(serving)))?);
        mesh.mesh(at, SocketAddr::new(cart.address(), 4143), &cart.account);
    }
    let mut costs = [Cost::default(), Cost::default()];
    for run in 0..=RUNS {
        for (([web, cart], target), cost) in pairs.iter().zip(&targets).zip(&mut costs) {
            let (target, asking) = (*target, exchange.clone());
            let processor = || -> anyhow::Result<f64> { Ok(web.proxy()?.processor()? + cart.proxy()?.processor()?) };
            let before = processor()?;
            let seen = web.inside(move || traffic::ask(target, &asking, RATE, CONNECTIONS, TIME))?;
            // The first run warms up.
            if run > 0 {
                cost.p50.0.push(seen.quantile(0.5));
                cost.p99.0.push(seen.quantile(0.99));
                cost.processor.0.push((processor()? - before) / 2.0 / TIME.as_secs_f64() * 1000.0 / RATE);
            }
        }
    }
    let busy = pairs.each_ref().map(memory);
    let [ours, theirs] = costs;
    let ([idle, their_idle], [busy, their_busy]) = (idle, busy);
    Ok(vec![
        Row::ours("linkerd_total_p50_ms", "ms", &ours.p50).beside(PEER, &theirs.p50).noting(NOTE),
        Row::ours("linkerd_total_p99_ms", "ms", &ours.p99).beside(PEER, &theirs.p99).noting(NOTE),
        Row::ours("linkerd_cpu_cores_per_1k_rps", "core", &ours.processor).beside(PEER, &theirs.processor),
        Row::ours("linkerd_rss_idle_mb", "MB", &idle?).beside(PEER, &their_idle?),
        Row::ours("linkerd_rss_1k_mb", "MB", &busy?).beside(PEER, &their_busy?),
    ])
}

fn memory([web, cart]: &[Pod; 2]) -> anyhow::Result<Figures> {
    [web, cart].into_iter().map(|pod| pod.proxy()?.memory().map(|(now, _)| now)).collect::<anyhow::Result<Vec<_>>>().map(Figures)
}

/// A client's pod and a server's, joined.
fn pair(mesh: &Mesh, services: Services, kind: Kind<'_>, number: u8) -> anyhow::Result<[Pod; 2]> {
    let pods = [Pod::new(format!("web-{number}"), number)?, Pod::new(format!("cart-{number}"), number + 1)?];
    let [web, cart] = &pods;
    let link = format!("asbp{number}");
    run(&format!("ip -n {} link add {link} type veth peer name {link} netns {}", web.namespace(), cart.namespace()))?;
    for pod in &pods {
        run(&format!("ip -n {} addr add {}/24 dev {link}", pod.namespace(), pod.address()))?;
        run(&format!("ip -n {} link set {link} up", pod.namespace()))?;
        let redirect = mesh.binary().with_file_name("assent-redirect");
        run(&format!("nsenter --net=/var/run/netns/{} {}", pod.namespace(), redirect.display()))?;
    }
    let [web, cart] = pods;
    Ok([web.started(mesh, services, kind)?, cart.started(mesh, services, kind)?])
}

fn run(line: &str) -> anyhow::Result<()> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output().with_context(|| format!("start `{line}`"))?;
    ensure!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

// === impl Pod ===

impl Pod {
    fn new(account: String, number: u8) -> anyhow::Result<Self> {
        let pod = Self { account, number, files: tempfile::tempdir()?, proxy: None };
        pod.remove();
        let (namespace, link) = (pod.namespace(), format!("asb{number}"));
        for line in [
            format!("ip netns add {namespace}"),
            format!("ip link add {link}n type veth peer name {link}p netns {namespace}"),
            format!("ip addr add 10.97.{number}.254/24 dev {link}n"),
            format!("ip link set {link}n up"),
            format!("ip -n {namespace} addr add 10.97.{number}.1/24 dev {link}p"),
            format!("ip -n {namespace} link set {link}p up"),
            format!("ip -n {namespace} link set lo up"),
            format!("ip -n {namespace} route add default via 10.97.{number}.254"),
        ] {
            run(&line)?;
        }
        // The proxy's user looks into it.
        std::fs::set_permissions(pod.files.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(pod)
    }

    /// With its proxy, ready.
    fn started(mut self, mesh: &Mesh, services: Services, kind: Kind<'_>) -> anyhow::Result<Self> {
        let folder = self.files.path();
        let at = |service: SocketAddr| SocketAddr::new([10, 97, self.number, 254].into(), service.port());
        let (identity, discovery) = (at(services.identity), at(services.discovery));
        // A copy that the proxy's user can reach and execute.
        let copy = folder.join("proxy");
        let binary = match kind {
            Kind::Ours => mesh.binary(),
            Kind::Theirs(binary) => binary,
        };
        std::fs::copy(binary, &copy).with_context(|| format!("copy `{}`", binary.display()))?;
        let mut command = program(Path::new("nsenter"));
        command.arg(format!("--net=/var/run/netns/{}", self.namespace())).args([format!("--setuid={UID}"), format!("--setgid={UID}")]).arg(copy);
        let name = mesh.name(&self.account);
        match kind {
            Kind::Ours => {
                let (token, roots) = (folder.join("token"), folder.join("roots.pem"));
                std::fs::write(&token, "anybody")?;
                std::fs::write(&roots, mesh.authority().pem())?;
                command
                    .arg(format!("--identity-service={identity}"))
                    .arg(format!("--discovery-service={discovery}"))
                    .arg(format!("--identity-token-file={}", token.display()))
                    .arg(format!("--trust-bundle-file={}", roots.display()))
                    .arg(format!("--workload-namespace={NAMESPACE}"))
                    .arg(format!("--workload-service-account={}", self.account))
                    .args(["--workers=1", "--discovery-wait-ms=5000"]);
            }
            Kind::Theirs(_) => {
                let linkerd =
                    Linkerd { name: &name, address: self.address(), ports: &[PORT], identity: (identity, IDENTITY), discovery: (discovery, DISCOVERY) };
                command.envs(linkerd.configure(mesh.authority(), folder)).env("LINKERD2_PROXY_CORES", "1");
            }
        }
        let mut proxy = Server::start(&mut command, &folder.join("log"))?;
        let admin = SocketAddr::from(([10, 97, self.number, 1], 4191));
        proxy.until("ready", Duration::from_secs(20), || is_ready(admin, "/ready")).with_context(|| format!("proxy of {}", self.account))?;
        self.proxy = Some(proxy);
        Ok(self)
    }

    fn proxy(&self) -> anyhow::Result<&Server> {
        self.proxy.as_ref().context("no proxy was started")
    }

    fn address(&self) -> IpAddr {
        Ipv4Addr::new(10, 97, 0, self.number).into()
    }

    fn namespace(&self) -> String {
        format!("assent-bench-{}", self.number)
    }

    /// On a thread in the pod; those that it starts are there too.
    fn inside<T: Send + 'static>(&self, act: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
        let namespace = File::open(format!("/var/run/netns/{}", self.namespace()))?;
        let acting = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            act()
        });
        acting.join().map_err(|_| anyhow::anyhow!("a thread in a pod panicked"))?
    }

    fn remove(&self) {
        // Both fail where nothing was left behind.
        let _gone = run(&format!("ip netns del {}", self.namespace()));
        let _gone = run(&format!("ip link del asb{}n", self.number));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.proxy = None;
        self.remove();
    }
}
