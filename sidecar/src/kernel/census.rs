//! Which of the pod's connections pass the sidecar, and which do not: a pure function of the kernel's list of sockets.
//!
//! The redirect leaves a trace in addresses. Of an application's own connection the sidecar holds the other end, at its
//! outbound port and with the application's address as the remote one; of a connection to the application it holds exactly
//! the other end. Whatever else goes to another host either was left out by configuration or goes around the mesh. Only
//! sockets that some process holds are judged; a connection shorter than the time between two looks is not seen.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use super::sock_diag::{Entry, State};
use crate::observe::flows::Direction;

/// Ports that bypassing connections are told apart by, per look; further ones share the port 0.
pub(crate) const MAX_PORTS: usize = 16;
/// Listeners told apart.
pub(crate) const MAX_LISTENERS: usize = 32;
/// Bypassing connections remembered between two looks.
const MAX_KNOWN: usize = 4096;

/// What the redirect of this pod does, and whose sockets are the sidecar's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) user: u32,
    pub(crate) outbound_port: u16,
    pub(crate) inbound_port: u16,
    pub(crate) admin_port: u16,
    pub(crate) skip_inbound: Vec<u16>,
    pub(crate) skip_outbound: Vec<u16>,
}

/// How a connection of an application goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Through the sidecar.
    Proxied,
    /// To or from another host, around the sidecar, and nobody asked for that.
    Bypass,
    /// Around it, by a port that is left alone.
    Skipped,
    /// Within the pod.
    Local,
}

/// One listener of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Connections that wait to be accepted, and the limit above which further ones are dropped.
    pub(crate) waiting: u32,
    pub(crate) limit: u32,
    pub(crate) own: bool,
}

/// What one look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) proxied: u32,
    pub(crate) skipped: u32,
    pub(crate) local: u32,
    pub(crate) bypass: u32,
    /// Such that were not there, or not known to bypass, at the look before.
    pub(crate) unsettled: u32,
    /// By direction and by the server's port; 0 stands for all beyond [`MAX_PORTS`].
    pub(crate) bypasses: BTreeMap<(Direction, u16), u32>,
    /// The fullest first.
    pub(crate) listeners: Vec<Listener>,
    /// There were more sockets than are looked at.
    pub(crate) truncated: bool,
}

/// Both ends of a connection, the pod's first.
pub(crate) type Pair = (SocketAddr, SocketAddr);

// === impl Census ===

impl Census {
    /// Judges `entries`, and what bypasses by that: the kernel's list is no snapshot, and one end of a connection may be in
    /// it without the other. Only what bypassed also at the look before (`known`) is counted as such.
    pub(crate) fn take(layout: &Layout, entries: &[Entry], known: &HashSet<Pair>) -> (Self, HashSet<Pair>) {
        let (mut census, mut found) = (Self::default(), HashSet::new());
        let mut listening = HashSet::new();
        // The other end of what the sidecar holds, and the remote one of what was redirected to its outbound port.
        let (mut swapped, mut redirected) = (HashSet::new(), HashSet::new());
        for entry in entries {
            let own = layout.owns(entry);
            match entry.state {
                State::Listen => {
                    listening.insert(entry.local.port());
                    let (waiting, limit) = (entry.receive_queue, entry.send_queue);
                    census.listeners.push(Listener { address: entry.local, waiting, limit, own });
                }
                State::Established | State::Other if own => {
                    swapped.insert((entry.remote, entry.local));
                    if entry.local.port() == layout.outbound_port {
                        redirected.insert(entry.remote);
                    }
                }
                State::Established | State::Other => {}
            }
        }
        for entry in entries {
            if entry.state != State::Established || entry.inode == 0 || layout.owns(entry) {
                continue;
            }
            let pair = (entry.local, entry.remote);
            let direction = if listening.contains(&entry.local.port()) { Direction::Inbound } else { Direction::Outbound };
            let proxied = swapped.contains(&pair) || redirected.contains(&entry.local);
            match layout.way(direction, pair, proxied) {
                Way::Proxied => census.proxied += 1,
                Way::Skipped => census.skipped += 1,
                Way::Local => census.local += 1,
                Way::Bypass => {
                    if known.contains(&pair) {
                        census.bypass += 1;
                        census.place(direction, server_port(direction, pair));
                    } else {
                        census.unsettled += 1;
                    }
                    if found.len() < MAX_KNOWN {
                        found.insert(pair);
                    }
                }
            }
        }
        census.listeners.sort_by_key(|listener| (std::cmp::Reverse(listener.fullness()), listener.address));
        census.listeners.truncate(MAX_LISTENERS);
        (census, found)
    }

    fn place(&mut self, direction: Direction, port: u16) {
        let known = self.bypasses.len() < MAX_PORTS || self.bypasses.contains_key(&(direction, port));
        *self.bypasses.entry((direction, if known { port } else { 0 })).or_default() += 1;
    }
}

// === impl Layout ===

impl Layout {
    /// Whether the sidecar holds `entry`, or will: before it is accepted nobody's name is on it, but the port is.
    fn owns(&self, entry: &Entry) -> bool {
        let port = entry.local.port();
        (entry.user == self.user && entry.inode != 0) || [self.outbound_port, self.inbound_port, self.admin_port].contains(&port)
    }

    fn way(&self, direction: Direction, (local, remote): Pair, proxied: bool) -> Way {
        let port = server_port(direction, (local, remote));
        let skipped = match direction {
            Direction::Inbound => self.skip_inbound.contains(&port),
            Direction::Outbound => self.skip_outbound.contains(&port),
        };
        match () {
            () if proxied => Way::Proxied,
            () if remote.ip().is_loopback() || remote.ip() == local.ip() => Way::Local,
            () if skipped => Way::Skipped,
            () => Way::Bypass,
        }
    }
}

// === impl Listener ===

impl Listener {
    /// The kernel drops what comes while more than the limit wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting > self.limit
    }

    fn fullness(&self) -> u64 {
        u64::from(self.waiting) * 1000 / u64::from(self.limit).max(1)
    }
}

fn server_port(direction: Direction, (local, remote): Pair) -> u16 {
    match direction {
        Direction::Inbound => local.port(),
        Direction::Outbound => remote.port(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APP: u32 = 1000;
    const SIDECAR: u32 = 2102;

    fn layout() -> Layout {
        Layout { user: SIDECAR, outbound_port: 4140, inbound_port: 4143, admin_port: 4191, skip_inbound: vec![9100], skip_outbound: vec![3306] }
    }

    fn entry(user: u32, local: &str, remote: &str) -> Entry {
        let state = if remote.ends_with(":0") { State::Listen } else { State::Established };
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Entry { state, local, remote, receive_queue: 0, send_queue: 128, user, inode: 7 }
    }

    /// What a second look at the same sockets says.
    fn settled(entries: &[Entry]) -> Census {
        let (first, found) = Census::take(&layout(), entries, &HashSet::new());
        assert_eq!((first.bypass, first.unsettled as usize), (0, found.len()));
        Census::take(&layout(), entries, &found).0
    }

    /// The ways of all sockets: proxied, bypass, skipped, local.
    fn ways(entries: &[Entry]) -> [u32; 4] {
        let census = settled(entries);
        [census.proxied, census.bypass, census.skipped, census.local]
    }

    #[test]
    fn tells_ways_by_the_traces_of_the_redirect() {
        let dialled = entry(APP, "10.0.0.9:50000", "10.0.0.2:80");
        let listener = entry(APP, "0.0.0.0:8080", "0.0.0.0:0");
        let served = entry(APP, "10.0.0.9:8080", "10.0.0.9:40000");
        let cases: [(&str, Vec<Entry>, [u32; 4]); 12] = [
            ("redirected", vec![dialled, entry(SIDECAR, "127.0.0.1:4140", "10.0.0.9:50000")], [1, 0, 0, 0]),
            ("redirected and not accepted yet", vec![dialled, Entry { user: 0, inode: 0, ..entry(0, "127.0.0.1:4140", "10.0.0.9:50000") }], [1, 0, 0, 0]),
            ("around", vec![dialled], [0, 1, 0, 0]),
            ("redirected is another one", vec![dialled, entry(SIDECAR, "127.0.0.1:4140", "10.0.0.9:50001")], [0, 1, 0, 0]),
            ("the sidecar dials the same server", vec![dialled, entry(SIDECAR, "10.0.0.9:50001", "10.0.0.2:80")], [0, 1, 0, 0]),
            ("somebody else's is no proof", vec![listener, served, entry(APP, "10.0.0.9:40000", "10.0.0.9:8080")], [0, 0, 0, 2]),
            ("delivered", vec![listener, served, entry(SIDECAR, "10.0.0.9:40000", "10.0.0.9:8080")], [1, 0, 0, 0]),
            ("from another host", vec![listener, entry(APP, "10.0.0.9:8080", "10.0.0.3:40000")], [0, 1, 0, 0]),
            ("a port left alone, in", vec![entry(APP, "[::]:9100", "[::]:0"), entry(APP, "10.0.0.9:9100", "10.0.0.3:40000")], [0, 0, 1, 0]),
            ("a port left alone, out", vec![entry(APP, "10.0.0.9:50000", "10.0.0.2:3306")], [0, 0, 1, 0]),
            ("within the pod", vec![entry(APP, "127.0.0.1:50000", "127.0.0.1:80"), entry(APP, "[::1]:50000", "[::1]:80")], [0, 0, 0, 2]),
            ("over IPv6", vec![entry(APP, "[fd00::9]:50000", "[fd00::2]:80"), entry(SIDECAR, "[::1]:4140", "[fd00::9]:50000")], [1, 0, 0, 0]),
        ];
        for (what, mut entries, expected) in cases {
            assert_eq!(ways(&entries), expected, "{what}");
            entries.reverse();
            assert_eq!(ways(&entries), expected, "{what}, reversed");
        }
    }

    #[test]
    fn judges_only_open_connections_that_a_process_holds() {
        let open = entry(APP, "10.0.0.9:50000", "10.0.0.2:80");
        assert_eq!(ways(&[Entry { inode: 0, ..open }, Entry { state: State::Other, ..open }, entry(SIDECAR, "10.0.0.9:50000", "10.0.0.2:80")]), [0; 4]);
    }

    #[test]
    fn bypasses_are_listed_by_server_port_and_bounded() {
        let entries: Vec<Entry> = (1..=100u16)
            .flat_map(|port| [port, port])
            .zip(50_000..)
            .map(|(port, local)| entry(APP, &format!("10.0.0.9:{local}"), &format!("10.0.0.2:{port}")))
            .collect();
        let census = settled(&entries);
        assert_eq!((census.bypass, census.bypasses.len()), (200, MAX_PORTS + 1));
        assert_eq!((census.bypasses[&(Direction::Outbound, 1)], census.bypasses.values().sum::<u32>()), (2, 200));
        assert_eq!(census.bypasses[&(Direction::Outbound, 0)], 200 - 2 * MAX_PORTS as u32);
    }

    #[test]
    fn the_fullest_listeners_are_kept() {
        let entries: Vec<Entry> = (1..100u32)
            .map(|n| Entry { receive_queue: n, send_queue: 50, ..entry(if n == 99 { SIDECAR } else { APP }, &format!("0.0.0.0:{n}"), "0.0.0.0:0") })
            .collect();
        let census = settled(&entries);
        assert_eq!(census.listeners.len(), MAX_LISTENERS);
        let first = census.listeners[0];
        assert!(first.own && first.is_full() && first.waiting == 99 && first.limit == 50);
        assert!(!Listener { waiting: 50, ..first }.is_full(), "one more than the limit may wait");
    }

    #[test]
    fn one_look_is_not_enough() {
        let (one, other) = (entry(APP, "10.0.0.9:50000", "10.0.0.2:80"), entry(APP, "10.0.0.9:50001", "10.0.0.2:80"));
        let (_, found) = Census::take(&layout(), &[one], &HashSet::new());
        let (census, found) = Census::take(&layout(), &[one, other], &found);
        assert_eq!((census.bypass, census.unsettled, found.len()), (1, 1, 2));
        // It closed, and the other one was redirected after all.
        let redirected = [other, entry(SIDECAR, "127.0.0.1:4140", "10.0.0.9:50001")];
        let (census, found) = Census::take(&layout(), &redirected, &found);
        assert_eq!((census.proxied, census.bypass, census.unsettled, found.len()), (1, 0, 0, 0));
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let address = (0u8..4, 4138u16..4144).prop_map(|(host, port)| SocketAddr::from(([10, 0, 0, host], port)));
        let state = prop_oneof![Just(State::Established), Just(State::Listen), Just(State::Other)];
        (state, address.clone(), address, any::<u32>(), any::<u32>(), prop_oneof![Just(SIDECAR), Just(APP)], 0u32..3)
            .prop_map(|(state, local, remote, receive_queue, send_queue, user, inode)| Entry { state, local, remote, receive_queue, send_queue, user, inode })
    }

    proptest! {
        #[test]
        fn every_connection_has_one_way(
            entries in proptest::collection::vec(any_entry(), 0..40),
            known in proptest::collection::vec(any_entry().prop_map(|entry| (entry.local, entry.remote)), 0..40),
        ) {
            let layout = layout();
            let (census, _) = Census::take(&layout, &entries, &HashSet::from_iter(known));
            let judged = entries.iter().filter(|entry| entry.state == State::Established && entry.inode != 0 && !layout.owns(entry)).count();
            prop_assert_eq!(census.proxied + census.bypass + census.unsettled + census.skipped + census.local, judged as u32);
            prop_assert_eq!(census.bypasses.values().sum::<u32>(), census.bypass);
        }
    }
}
