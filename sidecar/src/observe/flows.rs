//! The pod's flows of one window: a bounded table of counts, filled by connections and emptied by the reporter.
//!
//! Keys are peer, destination and route class. When the table is full, new keys share the peerless destination `other`, so
//! that memory and messages are bounded whatever the traffic. It holds sums, never samples, and decides nothing.

mod drain;
mod errno;
mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::histogram::{Histogram, Milliseconds};
use super::http1::{self, Route};
use super::{Side, exchange, statement};
use sessions::Sessions;

pub(crate) use drain::{Requests, Window};
pub(crate) use errno::Errno;

use crate::kernel::tcp_info::{Counts, Sample};

/// Flow keys of each kind per window; further ones share `other`.
const MAX_KEYS: usize = 256;
const OTHER: &str = "other";
/// A request unanswered for longer is stalled.
const STALLED: Duration = Duration::from_secs(1);
/// Different status codes told apart per flow.
const MAX_STATUSES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

/// Whom the pod talks to. The peer is a verified identity, or empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) direction: Direction,
    pub(crate) peer: Arc<str>,
    pub(crate) destination: Arc<str>,
}

/// One connection's place in the table; dropping it closes the connection there.
#[derive(Debug)]
pub(crate) struct Connection {
    key: Key,
    counters: Arc<Counters>,
    sockets: Arc<Mutex<Sockets>>,
    socket: Option<(SocketAddr, SocketAddr)>,
    errno: Errno,
}

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    closed: [AtomicU64; Errno::ALL.len()],
    connect_failed: AtomicU64,
    /// Bytes towards the application's server, and from it.
    sent: AtomicU64,
    received: AtomicU64,
    ended: Mutex<Readings>,
}

/// What the kernel says of several connections: maxima of what changes both ways, sums of changes of what only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Readings {
    connections: u32,
    worst: Sample,
}

/// Local and remote address of every proxied socket on the network side, for matching with the kernel's own counters.
type Sockets = HashMap<(SocketAddr, SocketAddr), Socket>;

#[derive(Debug)]
struct Socket {
    key: Key,
    last: Counts,
}

#[derive(Debug, Default)]
struct HttpFlow {
    begun: u64,
    classes: [u64; 5],
    statuses: BTreeMap<u16, u64>,
    no_response: u64,
    pending: Pending,
    /// Those whose response has begun.
    answering: Pending,
    latency: Histogram,
    milliseconds: Milliseconds,
    request_bytes: u64,
    response_bytes: u64,
}

#[derive(Debug, Default)]
struct DatabaseFlow {
    exchanges: u64,
    resets: u64,
    pending: Pending,
    turnaround: Histogram,
    sessions: Sessions,
}

/// When the requests not yet answered began.
#[derive(Debug, Default)]
struct Pending(BTreeMap<Instant, u32>);

/// Few keys, looked up twice per request: comparing one with another is quicker than hashing its names.
#[derive(Debug, Default)]
struct Tables {
    http: BTreeMap<(Key, Option<Route>), HttpFlow>,
    database: BTreeMap<Key, DatabaseFlow>,
    tcp: BTreeMap<Key, Arc<Counters>>,
    drained: Option<Instant>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    tables: Mutex<Tables>,
    sockets: Arc<Mutex<Sockets>>,
}

// === impl Direction ===

impl Direction {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

// === impl Key ===

impl Key {
    pub(crate) fn new(direction: Direction, peer: &str, destination: &str) -> Self {
        Self { direction, peer: peer.into(), destination: destination.into() }
    }

    fn other(direction: Direction) -> Self {
        Self::new(direction, "", OTHER)
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.destination.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }
}

// === impl Flows ===

impl Flows {
    /// A connection of `key` was opened; `socket` is its leg on the network, where one is to be watched.
    pub(crate) fn open(&self, key: Key, socket: Option<(SocketAddr, SocketAddr)>) -> Connection {
        let (key, counters) = self.counters(key);
        counters.opened.fetch_add(1, Ordering::Relaxed);
        if let Some(socket) = socket {
            lock(&self.sockets).insert(socket, Socket { key: key.clone(), last: Counts::default() });
        }
        Connection { key, counters, sockets: self.sockets.clone(), socket, errno: Errno::None }
    }

    /// A connection of `key` could not be made.
    pub(crate) fn connect_failed(&self, key: Key) {
        self.counters(key).1.connect_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Something happened to a request on `connection`.
    pub(crate) fn http(&self, connection: &Connection, event: http1::Event) {
        use http1::Event;
        let (route, ends) = match event {
            Event::Traced(_) => return,
            Event::Begin { route, .. } | Event::Informational { route } => (route, None),
            Event::End { route, started, .. }
            | Event::NoResponse { route, started }
            | Event::Forget { route, started }
            | Event::Answering { route, started } => (route, Some(started)),
        };
        let mut tables = lock(&self.tables);
        let key = (connection.key.clone(), Some(route));
        let other = || (Key::other(connection.key.direction), None);
        let flow = entry(&mut tables.http, key, other, ends.map(|started| move |flow: &HttpFlow| flow.waits(started)));
        match event {
            Event::Begin { started, .. } => {
                flow.begun += 1;
                flow.pending.add(started);
            }
            Event::Informational { .. } => flow.classes[0] += 1,
            Event::Traced(_) => {}
            Event::Answering { started, .. } => {
                if flow.pending.remove(started) {
                    flow.answering.add(started);
                }
            }
            Event::End { started, status, latency, request_bytes, response_bytes, .. } => {
                flow.over(started);
                if let Some(class) = flow.classes.get_mut(usize::from(status / 100).saturating_sub(1)) {
                    *class += 1;
                }
                let status = if flow.statuses.len() < MAX_STATUSES || flow.statuses.contains_key(&status) { status } else { 0 };
                *flow.statuses.entry(status).or_default() += 1;
                flow.latency.record(latency);
                flow.milliseconds.record(latency);
                flow.request_bytes += request_bytes;
                flow.response_bytes += response_bytes;
            }
            Event::NoResponse { started, .. } => {
                flow.over(started);
                flow.no_response += 1;
            }
            Event::Forget { started, .. } => flow.over(started),
        }
    }

    /// Something happened on a database `connection`.
    pub(crate) fn database(&self, connection: &Connection, event: exchange::Event) {
        let mut tables = lock(&self.tables);
        let ends = match event {
            exchange::Event::Answered { asked, .. } | exchange::Event::Unanswered(asked) => Some(asked),
            exchange::Event::Asked(_) | exchange::Event::Reset => None,
        };
        let other = || Key::other(connection.key.direction);
        let pending = ends.map(|asked| move |flow: &DatabaseFlow| flow.pending.has(asked));
        let flow = entry(&mut tables.database, connection.key.clone(), other, pending);
        match event {
            exchange::Event::Asked(started) => flow.pending.add(started),
            exchange::Event::Answered { asked, turnaround } => {
                flow.pending.remove(asked);
                flow.exchanges += 1;
                flow.turnaround.record(turnaround);
            }
            exchange::Event::Unanswered(asked) => {
                flow.pending.remove(asked);
            }
            exchange::Event::Reset => flow.resets += 1,
        }
    }

    /// A decoder understood something on a database `connection`.
    pub(crate) fn session(&self, connection: &Connection, event: statement::Event) {
        let mut tables = lock(&self.tables);
        let other = || Key::other(connection.key.direction);
        entry(&mut tables.database, connection.key.clone(), other, None::<fn(&DatabaseFlow) -> bool>).sessions.tell(event);
    }

    fn counters(&self, key: Key) -> (Key, Arc<Counters>) {
        let mut tables = lock(&self.tables);
        let full = tables.tcp.len() >= MAX_KEYS;
        let key = if !full || tables.tcp.contains_key(&key) { key } else { Key::other(key.direction) };
        let counters = tables.tcp.entry(key.clone()).or_default().clone();
        (key, counters)
    }
}

// === impl HttpFlow ===

impl HttpFlow {
    fn waits(&self, started: Instant) -> bool {
        self.pending.has(started) || self.answering.has(started)
    }

    fn over(&mut self, started: Instant) {
        if !self.pending.remove(started) {
            self.answering.remove(started);
        }
    }
}

// === impl Connection ===

impl Connection {
    /// It will have closed with this error.
    pub(crate) fn broke(&mut self, error: &std::io::Error) {
        self.errno = Errno::of(error.kind());
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn count(&self, from: Side, bytes: usize) {
        let counter = match from {
            Side::Client => &self.counters.sent,
            Side::Server => &self.counters.received,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It is about to close; `sample` tells what the kernel knows of its side towards the client or the server.
    pub(crate) fn last(&self, sample: impl FnOnce(Side) -> Option<Sample>) {
        let Some(socket) = &self.socket else { return };
        let network = match self.key.direction {
            Direction::Inbound => Side::Client,
            Direction::Outbound => Side::Server,
        };
        let Some(sample) = sample(network) else { return };
        if let Some(socket) = lock(&self.sockets).get_mut(socket) {
            lock(&self.counters.ended).add(sample, &mut socket.last);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(closed) = self.counters.closed.get(self.errno as usize) {
            closed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(socket) = self.socket {
            lock(&self.sockets).remove(&socket);
        }
    }
}

// === impl Readings ===

impl Readings {
    /// Adds what changed on one connection since its `last` reading.
    fn add(&mut self, sample: Sample, last: &mut Counts) {
        self.worst.join(&Sample { counts: sample.counts.since(last), ..sample });
        self.connections = self.connections.saturating_add(1);
        *last = sample.counts;
    }
}

// === impl Pending ===

impl Pending {
    fn add(&mut self, started: Instant) {
        *self.0.entry(started).or_default() += 1;
    }

    /// Whether there was one.
    fn remove(&mut self, started: Instant) -> bool {
        let Some(count) = self.0.get_mut(&started) else { return false };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&started);
        }
        true
    }

    fn has(&self, started: Instant) -> bool {
        self.0.contains_key(&started)
    }

    fn all(&self) -> u32 {
        self.0.values().sum()
    }

    fn stalled(&self, now: Instant) -> u32 {
        self.0.iter().take_while(|(started, _)| now.saturating_duration_since(**started) > STALLED).map(|(_, count)| count).sum()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The entry of `key`, or of `other` when the table is full. What began under `other` also ends there, even if `key` has
/// found a place since; `pending` says of what ends whether an entry waits for it.
fn entry<K: Ord, V: Default>(table: &mut BTreeMap<K, V>, key: K, other: impl FnOnce() -> K, pending: Option<impl Fn(&V) -> bool>) -> &mut V {
    let known = table.get(&key);
    if known.is_some_and(|flow| pending.as_ref().is_none_or(|waits| waits(flow))) {
        return table.entry(key).or_default();
    }
    let (full, other) = (known.is_none() && table.len() >= MAX_KEYS, other());
    let elsewhere = pending.is_some_and(|waits| table.get(&other).is_some_and(waits));
    table.entry(if full || elsewhere { other } else { key }).or_default()
}

/// A panic elsewhere leaves sums that are still sums.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
