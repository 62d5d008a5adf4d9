//! Looks at made-up files, and at the real kernel with sockets of this process.

use std::net::{SocketAddr, TcpListener, TcpStream};

use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::observe::flows::Direction;

/// A layout whose sidecar is nobody here: every socket of this process is an application's.
fn stranger() -> Layout {
    Layout { user: u32::MAX - 1, outbound_port: 1, inbound_port: 2, admin_port: 3, ..Layout::default() }
}

/// An address of this machine that is not loopback, and a listener there.
fn listener() -> TcpListener {
    // No packet is sent: the kernel only chooses a source address.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let ip = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|address| address.ip());
    TcpListener::bind((ip.unwrap_or([127, 0, 0, 1].into()), 0)).unwrap()
}

#[test]
fn reads_delay_and_survives_absence() {
    assert_eq!(run_delay("100 5000000 7\n"), Some(5000));
    let root = tempfile::tempdir().unwrap();
    let roots = Roots { proc: root.path().join("none"), cgroup: root.path().to_owned() };
    assert_eq!((roots.counters(), roots.pressure()), (Counters::default(), [None; 3]));
    assert_eq!(Counters::default().compute(&Counters::default(), [None; 3]), Compute::default());
}

#[test]
fn reads_a_pods_files_and_tells_what_changed() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let snmp = |resets: u32| format!("Tcp: AttemptFails RetransSegs OutRsts\nTcp: 1 2 {resets}\n");
    write("proc/self/net/snmp", &snmp(3));
    write("proc/self/schedstat", "1 2000000 3\n");
    write("proc/self/cgroup", "0::/\n");
    write("proc/pressure/memory", "some avg10=1.00 avg60=0.00\n");
    write("cgroup/cgroup.controllers", "cpu memory\n");
    write("cgroup/cpu.stat", "nr_throttled 3\nthrottled_usec 70\n");
    let roots = Roots { proc: root.path().join("proc"), cgroup: root.path().join("cgroup") };
    let mut signals = Signals::new(roots, stranger());
    write("proc/self/net/snmp", &snmp(10));
    write("proc/self/schedstat", "1 5000000 3\n");
    write("cgroup/cpu.stat", "nr_throttled 5\nthrottled_usec 100\n");
    write("cgroup/memory.current", "4096\n");
    let look = signals.look();
    assert_eq!(look.tcp, Some(proto::NamespaceTcp { resets_sent: 7, ..Default::default() }));
    let own = Compute { run_delay_us: 3000, throttled_us: 30, throttled_periods: 2, memory: 4096, ..Compute::default() };
    assert_eq!(look.compute, Compute { node_pressure: [None, Some(10_000), None], ..own });
}

#[test]
fn reads_this_machine() {
    let roots = Roots::system();
    let counters = roots.counters();
    assert!(counters.tcp.is_some_and(|tcp| tcp.opened > 0 && tcp.sockets > 0), "{counters:?}");
    assert!(counters.run_delay_us.is_some(), "{counters:?}");
    // A root cgroup has neither; where there is a figure it is one.
    assert!(counters.own.memory.is_none_or(|bytes| bytes > 0), "{counters:?}");
}

#[test]
fn a_bypassing_connection_is_counted_until_it_closes() {
    // Another host, as far as addresses tell: this machine's own is the pod's, so the two ends must differ.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let mut entries = Vec::new();
    sock_diag::dump(&mut |entry, _| entries.push(entry)).unwrap();
    let entry = entries.iter_mut().find(|entry| (entry.local, entry.remote) == (local, remote)).unwrap();
    // Loopback is no bypass; the same socket to elsewhere is.
    let port = remote.port();
    let way = |entry: sock_diag::Entry| {
        let (_, found) = Census::take(&stranger(), &[entry], &HashSet::new());
        Census::take(&stranger(), &[entry], &found).0
    };
    assert_eq!((way(*entry).local, way(*entry).bypass), (1, 0));
    entry.remote = SocketAddr::from(([192, 0, 2, 1], port));
    let census = way(*entry);
    assert_eq!((census.local, census.bypass, census.bypasses.get(&(Direction::Outbound, port))), (0, 1, Some(&1)));
}

#[test]
fn an_accept_queue_that_overflows_is_seen_at_its_listener_and_in_the_namespace() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut signals = Signals::new(Roots::system(), stranger());
    // Two wait; what comes then is dropped by the kernel, and not refused.
    let connections: Vec<Socket> = (0..4)
        .map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            // In progress, or there at once.
            drop(client.connect(&address.into()));
            client
        })
        .collect();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut overflows = 0;
    loop {
        let look = signals.look();
        overflows += look.tcp.unwrap().listen_overflows;
        let census = look.census.unwrap();
        // Only the fullest are kept, and tests beside this one listen too.
        let listener = census.listeners.iter().find(|listener| listener.address == address);
        if let Some(listener) = listener.filter(|listener| listener.is_full() && overflows > 0) {
            assert_eq!((listener.waiting, listener.limit, listener.own), (2, 1, false));
            break;
        }
        assert!(std::time::Instant::now() < until, "{listener:?}, {overflows} overflows");
        std::thread::yield_now();
    }
    drop(connections);
}

/// What a look costs a pod with thousands of sockets; printed, and bounded generously against an accident.
#[test]
fn thousands_of_sockets_are_read_in_milliseconds() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let server = listener();
    let address = server.local_addr().unwrap();
    let connections: Vec<(TcpStream, TcpStream)> = (0..2000)
        .map(|_| {
            let client = TcpStream::connect(address).unwrap();
            (client, server.accept().unwrap().0)
        })
        .collect();
    let own = Layout { user: nix::unistd::geteuid().as_raw(), ..stranger() };
    let mut signals = Signals::new(Roots::system(), own);
    let started = std::time::Instant::now();
    let look = signals.look();
    let took = started.elapsed();
    eprintln!("a look at {} sockets of our own took {took:?}", look.samples.len());
    assert!(look.samples.len() >= 2 * connections.len());
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,60}") {
        let _ = run_delay(&text);
    }
}
