//! The network seat: requests between identities and the health of the connections under them.
//!
//! It names the deepest service whose own answers are bad, says by the shape of the trouble of which kind it is, and signs
//! the calls that it saw. Errors over healthy connections are the application's; requests taken and not answered are a
//! stalled process; late answers under an undiminished load are saturation; lost segments and refused connections are the
//! network's. It knows no processor, no database and no rollout.

mod demand;
mod judge;
mod links;
mod near;
mod pods;
pub mod recorded;
mod vote;

use std::collections::{BTreeMap, BTreeSet};

use super::baseline::Masks;
use super::histogram::Histogram;
use super::window::{Ring, newest_closed};
use super::{Asked, Entry, Finding, Indicator, Position, Put, Seat, Settings};
use crate::ballot::{Edge, Opinion};
use crate::ids::{Domain, UnixMillis};
use crate::target::Service;

pub use pods::Pod;

/// Its line in the table of seats.
pub const ENTRY: Entry = Entry { name: "network", domain: Domain::Network, rules: "network/1" };

/// Services that are told apart; further ones are not judged.
const MAX_SERVICES: usize = 256;
/// Calls that are told apart.
const MAX_EDGES: usize = 1024;
/// A call not seen for this long is forgotten.
const EDGE_LIFE_MS: i64 = 10 * 60 * 1000;

/// What one sidecar saw in one window. Peers are workloads, resolved from verified identities by the shell.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The workload that the speaking pod belongs to.
    pub speaker: Service,
    /// That pod; none once it is to go, since what it owes then is let down by nobody's fault.
    pub pod: Option<Pod>,
    /// When the window began, by the sidecar's clock.
    pub start: UnixMillis,
    /// Its length.
    pub length_ms: u32,
    /// Requests.
    pub requests: Vec<Requests>,
    /// Connections.
    pub connections: Vec<Connections>,
}

/// Requests between the speaker and one peer.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Whether the peer proved an identity, known workload or not.
    pub identified: bool,
    /// Whether the peer called the speaker.
    pub inbound: bool,
    /// The peer, if it is known.
    pub peer: Option<Service>,
    /// What became of them.
    pub counts: Counts,
}

/// What became of requests in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Begun.
    pub requests: u64,
    /// Answered with a status below 500.
    pub success: u64,
    /// Answered with a status of 500 and above.
    pub server_error: u64,
    /// Never answered: the connection ended.
    pub no_response: u64,
    /// Unanswered for more than a second at the end of the window.
    pub stalled: u64,
    /// Time to the end of the answer.
    pub latency: Histogram,
}

/// Connections between the speaker and one peer.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Whether the peer called the speaker.
    pub inbound: bool,
    /// The peer, if it is known.
    pub peer: Option<Service>,
    /// The application's port.
    pub port: u16,
    /// What became of them.
    pub counts: Link,
}

/// What became of connections in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Link {
    /// The application's port.
    pub port: u16,
    /// Opened.
    pub opened: u64,
    /// Could not be opened.
    pub connect_failed: u64,
    /// Bytes towards the callee.
    pub sent: u64,
    /// Bytes from the callee.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Longest smoothed round-trip time.
    pub rtt_us: u64,
}

/// Who told of a call first when, and when anybody told of it last.
#[derive(Clone, Copy, Debug)]
struct Met {
    by_caller: Option<UnixMillis>,
    by_callee: Option<UnixMillis>,
    last: UnixMillis,
}

/// Everything that the network seat holds.
#[derive(Debug, Default)]
pub struct View {
    settings: Settings,
    /// By the callee's own sidecar.
    told_by_callee: BTreeMap<Service, Ring<Counts>>,
    /// By its callers' sidecars, for callees that have none or whose sidecar is silent.
    told_by_callers: BTreeMap<Service, Ring<Counts>>,
    /// By the application's port: one that nobody listens at must not hide behind one that works.
    links: BTreeMap<(Edge, u16), Ring<Link>>,
    edges: BTreeMap<Edge, Met>,
    pods: pods::Pods,
    masks: Masks,
}

// === impl Counts ===

impl Counts {
    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.success = self.success.saturating_add(other.success);
        self.server_error = self.server_error.saturating_add(other.server_error);
        self.no_response = self.no_response.saturating_add(other.no_response);
        self.stalled = self.stalled.saturating_add(other.stalled);
        self.latency.merge(&other.latency);
    }

    fn answered(&self) -> u64 {
        self.success.saturating_add(self.server_error)
    }

    fn unanswered(&self) -> u64 {
        self.no_response.saturating_add(self.stalled)
    }
}

// === impl Link ===

impl Link {
    fn merge(&mut self, other: &Self) {
        self.port = other.port;
        self.opened = self.opened.saturating_add(other.opened);
        self.connect_failed = self.connect_failed.saturating_add(other.connect_failed);
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.retransmits = self.retransmits.saturating_add(other.retransmits);
        self.rtt_us = self.rtt_us.max(other.rtt_us);
    }
}

// === impl View ===

impl View {
    /// An empty view.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes in one window. What is too old, ahead of `now` or beyond the bounds is left out.
    pub fn observe(&mut self, observation: &Observation, now: UnixMillis) {
        // The middle of the window decides where it belongs: sidecars do not start theirs together.
        let at = observation.start.plus(i64::from(observation.length_ms.min(60_000) / 2));
        let speaker = &observation.speaker;
        let settings = self.settings;
        self.pods.observe(observation, at, now, &settings);
        if let Some(ring) = bounded(&mut self.told_by_callee, speaker, MAX_SERVICES) {
            // The window is there even when nobody called: that is data as well.
            let own = ring.window(&settings, at, now);
            if let Some(own) = own {
                observation.requests.iter().filter(|r| r.inbound).for_each(|r| own.merge(&r.counts));
            }
        }
        for requests in observation.requests.iter().filter(|requests| !requests.inbound) {
            // Nobody vouches for itself.
            let Some(callee) = requests.peer.as_ref().filter(|callee| *callee != speaker) else { continue };
            if let Some(ring) = bounded(&mut self.told_by_callers, callee, MAX_SERVICES)
                && let Some(window) = ring.window(&settings, at, now)
            {
                window.merge(&requests.counts);
            }
        }
        let peers = observation.requests.iter().map(|r| (r.inbound, &r.peer)).chain(observation.connections.iter().map(|c| (c.inbound, &c.peer)));
        for (inbound, peer) in peers {
            let Some(peer) = peer.as_ref().filter(|peer| *peer != speaker) else { continue };
            let edge = edge(speaker, peer, inbound);
            if self.edges.len() < MAX_EDGES || self.edges.contains_key(&edge) {
                let met = self.edges.entry(edge).or_insert(Met { by_caller: None, by_callee: None, last: now });
                met.last = now;
                let told = if inbound { &mut met.by_callee } else { &mut met.by_caller };
                told.get_or_insert(now);
            }
        }
        for connections in observation.connections.iter().filter(|connections| !connections.inbound) {
            let Some(callee) = connections.peer.as_ref().filter(|peer| *peer != speaker) else { continue };
            if let Some(ring) = bounded(&mut self.links, &(edge(speaker, callee, false), connections.port), MAX_EDGES)
                && let Some(window) = ring.window(&settings, at, now)
            {
                window.merge(&Link { port: connections.port, ..connections.counts.clone() });
            }
        }
    }

    fn edges(&self) -> BTreeSet<Edge> {
        self.edges.keys().cloned().collect()
    }
}

fn edge(speaker: &Service, peer: &Service, inbound: bool) -> Edge {
    let (caller, callee) = if inbound { (peer, speaker) } else { (speaker, peer) };
    Edge { caller: caller.clone(), callee: callee.clone() }
}

/// The ring of `key`, made if there is room.
fn bounded<'a, K: Ord + Clone, W>(rings: &'a mut BTreeMap<K, Ring<W>>, key: &K, most: usize) -> Option<&'a mut Ring<W>>
where
    Ring<W>: Default,
{
    if rings.len() >= most && !rings.contains_key(key) {
        return None;
    }
    Some(rings.entry(key.clone()).or_default())
}

impl Seat for View {
    fn entry(&self) -> Entry {
        ENTRY
    }

    fn informed(&self, asked: &Asked<'_>) -> bool {
        self.judge(&asked.context.service, asked.usual_until(), asked.now).is_ok_and(|judged| judged.recent >= 2)
    }

    fn cause(&self, asked: &Asked<'_>) -> Opinion {
        let routine = if asked.context.symptom.is_routine() { self.demand_vote(asked) } else { None };
        routine.unwrap_or_else(|| self.vote(asked))
    }

    fn stance(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        self.position(asked, put)
    }

    fn blind(&self, asked: &Asked<'_>) -> Option<String> {
        self.judge(&asked.context.service, asked.usual_until(), asked.now).err()
    }

    fn findings(&self, now: UnixMillis) -> Vec<Finding> {
        self.look(now)
    }

    fn indicator(&self, service: &Service, since: UnixMillis, now: UnixMillis) -> Option<Indicator> {
        Some(self.indicate(service, since, now))
    }

    fn indicator_of(&self, service: &Service, pods: &[String], since: UnixMillis, now: UnixMillis) -> Option<Indicator> {
        Some(self.indicate_pods(service, pods, since, now))
    }

    fn incident_began(&mut self, since: UnixMillis) {
        self.masks.open(since.plus(-self.settings.grid_ms));
    }

    fn tick(&mut self, now: UnixMillis) {
        self.masks.tick(now);
        self.edges.retain(|_, met| now.since(met.last) < EDGE_LIFE_MS);
        let oldest = newest_closed(&self.settings, now).saturating_sub(i64::try_from(self.settings.history).unwrap_or(i64::MAX));
        self.told_by_callee.retain(|_, ring| ring.newest().is_some_and(|newest| newest > oldest));
        self.told_by_callers.retain(|_, ring| ring.newest().is_some_and(|newest| newest > oldest));
        self.links.retain(|_, ring| ring.newest().is_some_and(|newest| newest > oldest));
        self.pods.tick(now, &self.settings);
        if self.masks.is_open().is_some() {
            let well = self.look(now).is_empty();
            self.masks.settle(well, now);
        }
    }
}

#[cfg(test)]
mod cases;
