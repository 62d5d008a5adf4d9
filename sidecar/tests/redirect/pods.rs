//! Pods made of network namespaces: addresses, the real binaries, and sockets opened inside. Everything is removed again,
//! also what an aborted earlier run left behind.

mod linkerd;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::control::{ACCOUNT, Control};

const UID: u32 = 2102;

pub(crate) struct Pod {
    account: &'static str,
    number: u8,
    sidecar: Option<Child>,
    directory: tempfile::TempDir,
}

/// What a test server saw, one line per connection.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

pub(crate) fn lines(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().clone()
}

/// Whether this machine can make pods; otherwise says why not.
pub(crate) fn can_run() -> bool {
    let missing: Vec<&str> = ["ip", "nft", "nsenter"].into_iter().filter(|tool| Command::new(tool).arg("-V").output().is_err()).collect();
    let root = nix::unistd::geteuid().is_root();
    if !root || !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "CI tests the redirect; root: {root}, missing: {missing:?}");
        eprintln!("SKIPPED: the redirect is tested only as root (here: {root}) and with all of ip, nft and nsenter (missing: {missing:?})");
    }
    root && missing.is_empty()
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

// === impl Pod ===

impl Pod {
    /// A namespace joined to this one by a pair of interfaces.
    pub(crate) fn new(account: &'static str, number: u8) -> Self {
        let pod = Self { account, number, sidecar: None, directory: tempfile::tempdir().unwrap() };
        pod.remove();
        let (namespace, link) = (pod.namespace(), format!("asd{number}"));
        run("ip", &format!("netns add {namespace}"));
        run("ip", &format!("link add {link}n type veth peer name {link}p netns {namespace}"));
        run("ip", &format!("addr add 10.98.{number}.254/24 dev {link}n"));
        run("ip", &format!("link set {link}n up"));
        for command in [&format!("addr add 10.98.{number}.1/24 dev {link}p"), &format!("link set {link}p up"), "link set lo up"] {
            run("ip", &format!("-n {namespace} {command}"));
        }
        // As a node does it, whose probes come from the address of the gateway.
        run("ip", &format!("-n {namespace} route add default via 10.98.{number}.254"));
        // The sidecar's user looks into it.
        std::fs::set_permissions(pod.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        pod
    }

    /// Joins two pods directly, so that nothing is forwarded by this machine.
    pub(crate) fn join(one: &Self, two: &Self) {
        run("ip", &format!("-n {} link add asdpeer type veth peer name asdpeer netns {}", one.namespace(), two.namespace()));
        for pod in [one, two] {
            run("ip", &format!("-n {} addr add {}/24 dev asdpeer", pod.namespace(), pod.address()));
            // Without asking the link whether somebody has it: that takes a second.
            run("ip", &format!("-n {} -6 addr add {}/64 dev asdpeer nodad", pod.namespace(), pod.address_v6()));
            run("ip", &format!("-n {} link set asdpeer up", pod.namespace()));
        }
    }

    /// Where the other pod finds it.
    pub(crate) fn address(&self) -> IpAddr {
        Ipv4Addr::new(10, 98, 0, self.number).into()
    }

    /// The same over IPv6.
    pub(crate) fn address_v6(&self) -> IpAddr {
        Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, u16::from(self.number)).into()
    }

    /// Where this machine finds it.
    pub(crate) fn node_side_address(&self) -> IpAddr {
        Ipv4Addr::new(10, 98, self.number, 1).into()
    }

    pub(crate) fn redirect(&self) {
        run("nsenter", &format!("--net=/var/run/netns/{} {} --skip-outbound-ports=8081", self.namespace(), env!("CARGO_BIN_EXE_assent-redirect")));
    }

    pub(crate) fn rules(&self) -> String {
        ["ip", "ip6"].map(|family| run("nsenter", &format!("--net=/var/run/netns/{} nft list table {family} assent", self.namespace()))).concat()
    }

    /// Starts the sidecar as its own user, with a state directory that outlives it.
    pub(crate) fn start(&mut self, control: &Control, identity: u16, others: u16) {
        let path = self.directory.path();
        let (token, trust, state) = (path.join("token"), path.join("ca-bundle.pem"), path.join("state"));
        std::fs::write(&token, "token").unwrap();
        std::fs::write(&trust, control.authority().pem()).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        chown(&state, Some(UID), Some(UID)).unwrap();
        let node = format!("10.98.{}.254", self.number);
        // A copy that the sidecar's user can reach and execute, wherever the build directory is.
        let binary = path.join("assent-sidecar");
        if !binary.exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_assent-sidecar"), &binary).unwrap();
        }
        let child = Command::new("nsenter")
            .arg(format!("--net=/var/run/netns/{}", self.namespace()))
            .args([format!("--setuid={UID}"), format!("--setgid={UID}")])
            .arg(&binary)
            .args(["--workload-namespace=shop", "--window-ms=100", "--skip-outbound-ports=8081", "--discovery-wait-ms=3000", "--log=info,assent_sidecar=debug"])
            .arg(format!("--workload-service-account={}", self.account))
            .arg(format!("--identity-service={node}:{identity}"))
            .arg(format!("--discovery-service={node}:{others}"))
            .arg(format!("--discovery-account={ACCOUNT}"))
            .arg(format!("--network-seat={node}:{others}"))
            .arg(format!("--identity-token-file={}", token.display()))
            .arg(format!("--trust-bundle-file={}", trust.display()))
            .arg(format!("--identity-state-dir={}", state.display()))
            .stderr(File::options().create(true).append(true).open(path.join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.sidecar = Some(child);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut sidecar) = self.sidecar.take() {
            sidecar.kill().unwrap();
            sidecar.wait().unwrap();
        }
    }

    /// Polls the probe, as a kubelet does.
    pub(crate) async fn ready(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.try_admin("/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < until, "never ready:\n{}", std::fs::read_to_string(self.directory.path().join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        self.try_admin(path).unwrap()
    }

    fn try_admin(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((self.node_side_address(), 4191)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut got = String::new();
        stream.read_to_string(&mut got).ok()?;
        Some(got)
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.sidecar.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// A connection opened inside the pod by another user than the sidecar's.
    pub(crate) fn connect(&self, to: SocketAddr) -> TcpStream {
        self.try_connect(to).unwrap()
    }

    /// As [`Self::connect`]; a reset may arrive before the client even knows that it is connected.
    pub(crate) fn try_connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.inside(move || TcpStream::connect_timeout(&to, Duration::from_secs(10)))
    }

    /// An application in the pod that says hello and notes who asked.
    pub(crate) fn serve_http(&self, port: u16) -> Seen {
        let listener = self.inside(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
        let seen = Seen::default();
        let noted = seen.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                noted.lock().unwrap().push(from.ip().to_canonical().to_string());
                if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
                }
            }
        });
        seen
    }

    /// Takes the redirect away again, as another owner of the rules might.
    pub(crate) fn unredirect(&self) {
        run("nsenter", &format!("--net=/var/run/netns/{} nft delete table ip assent", self.namespace()));
    }

    /// Scrapes until `line` is on the page.
    pub(crate) async fn shows(&self, line: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let page = self.admin("/metrics");
            if page.lines().any(|other| other == line) {
                return;
            }
            assert!(Instant::now() < until, "`{line}` is not in\n{page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs `open` on a thread that has entered the pod; a socket stays in the namespace where it was made.
    fn inside<T: Send + 'static>(&self, open: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(format!("/var/run/netns/{}", self.namespace())).unwrap();
        let entered = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            open()
        });
        entered.join().unwrap()
    }

    fn namespace(&self) -> String {
        format!("assent-sidecar-{}", self.account)
    }

    fn remove(&self) {
        // Its interfaces, and their other ends here, go with it.
        let _ = Command::new("ip").args(["netns", "del", &self.namespace()]).output();
        let _ = Command::new("ip").args(["link", "del", &format!("asd{}n", self.number)]).output();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.account, std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
        }
        self.stop();
        self.remove();
    }
}
