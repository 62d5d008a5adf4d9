//! The database seat: exchanges with databases and caches as sidecars on both ends see them, without reading a statement.
//!
//! Its one contrast carries far: when all clients of a server wait, it is the server; when one client of several waits, it
//! is not. It proposes nothing for what holds data, and refuses remedies that would restart a database or blame a service
//! for its database's silence.

mod judge;
pub mod recorded;
mod vote;

use std::collections::BTreeMap;

use serde::Serialize;

use super::baseline::Masks;
use super::histogram::Histogram;
use super::window::{Ring, newest_closed};
use super::{Asked, Entry, Position, Put, Seat, Settings};
use crate::ballot::{Edge, Opinion};
use crate::ids::{Domain, UnixMillis};
use crate::target::Service;

/// Its line in the table of seats.
pub const ENTRY: Entry = Entry { name: "database", domain: Domain::Database, rules: "database/1" };

/// Calls to databases that are told apart.
const MAX_CALLS: usize = 512;

/// What one sidecar saw of databases in one window.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The workload that the speaking pod belongs to.
    pub speaker: Service,
    /// When the window began, by the sidecar's clock.
    pub start: UnixMillis,
    /// Its length.
    pub length_ms: u32,
    /// Exchanges by peer.
    pub flows: Vec<Flow>,
}

/// Exchanges between the speaker and one peer.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Whether the peer is the client.
    pub inbound: bool,
    /// The peer, if it is known.
    pub peer: Option<Service>,
    /// What became of them.
    pub counts: Exchanges,
}

/// What became of exchanges in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exchanges {
    /// Connections opened.
    pub opened: u64,
    /// Connections that could not be opened.
    pub connect_failed: u64,
    /// Questions answered.
    pub exchanges: u64,
    /// Questions unanswered for more than a second at the end of the window.
    pub stalled: u64,
    /// Connections reset.
    pub resets: u64,
    /// Time from question to first answer.
    pub turnaround: Histogram,
    /// What the server itself said is wrong, by kind.
    pub complaints: BTreeMap<Complaint, u64>,
    /// Time that open transactions waited for their client.
    pub idle_in_transaction_us: u64,
    /// How long each kind of statement took, by a digest of its text without literals; at most [`MAX_STATEMENTS`].
    pub statements: BTreeMap<u64, Durations>,
}

/// Kinds of statements that are told apart in a window.
pub const MAX_STATEMENTS: usize = 8;

/// Errors by which a server says that it cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Complaint {
    /// It takes no more connections.
    TooManyConnections,
    /// It has no memory, disk or workers left.
    Resources,
    /// It is starting, stopping or broken.
    Unavailable,
    /// It takes no writes.
    ReadOnly,
    /// It does not know the client.
    Authentication,
    /// Transactions wait for each other's locks, or gave up.
    Locks,
}

/// How many statements ended, and their time together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Durations {
    /// Ended.
    pub ended: u64,
    /// All their durations, microseconds.
    pub sum_us: u64,
}

// === impl Durations ===

impl Durations {
    /// The mean, if any ended.
    #[must_use]
    pub fn mean_us(&self) -> Option<i64> {
        self.sum_us.checked_div(self.ended).map(|mean| i64::try_from(mean).unwrap_or(i64::MAX))
    }
}

/// The two ends' words on one call, kept apart: added up they would count twice.
#[derive(Debug, Default)]
struct Ends {
    client: Ring<Exchanges>,
    server: Ring<Exchanges>,
}

/// Everything that the database seat holds.
#[derive(Debug, Default)]
pub struct View {
    settings: Settings,
    /// The callee is the database.
    calls: BTreeMap<Edge, Ends>,
    masks: Masks,
}

// === impl Exchanges ===

impl Exchanges {
    fn merge(&mut self, other: &Self) {
        self.opened = self.opened.saturating_add(other.opened);
        self.connect_failed = self.connect_failed.saturating_add(other.connect_failed);
        self.exchanges = self.exchanges.saturating_add(other.exchanges);
        self.stalled = self.stalled.saturating_add(other.stalled);
        self.resets = self.resets.saturating_add(other.resets);
        self.turnaround.merge(&other.turnaround);
        self.idle_in_transaction_us = self.idle_in_transaction_us.saturating_add(other.idle_in_transaction_us);
        for (complaint, count) in &other.complaints {
            let mine = self.complaints.entry(*complaint).or_default();
            *mine = mine.saturating_add(*count);
        }
        for (statement, durations) in &other.statements {
            if self.statements.len() < MAX_STATEMENTS || self.statements.contains_key(statement) {
                let mine = self.statements.entry(*statement).or_default();
                mine.ended = mine.ended.saturating_add(durations.ended);
                mine.sum_us = mine.sum_us.saturating_add(durations.sum_us);
            }
        }
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
        let at = observation.start.plus(i64::from(observation.length_ms.min(60_000) / 2));
        for flow in &observation.flows {
            let Some(peer) = flow.peer.as_ref().filter(|peer| **peer != observation.speaker) else { continue };
            let (caller, callee) = if flow.inbound { (peer, &observation.speaker) } else { (&observation.speaker, peer) };
            let edge = Edge { caller: caller.clone(), callee: callee.clone() };
            if self.calls.len() >= MAX_CALLS && !self.calls.contains_key(&edge) {
                continue;
            }
            let ends = self.calls.entry(edge).or_default();
            let ring = if flow.inbound { &mut ends.server } else { &mut ends.client };
            if let Some(window) = ring.window(&self.settings, at, now) {
                window.merge(&flow.counts);
            }
        }
    }
}

impl Seat for View {
    fn entry(&self) -> Entry {
        ENTRY
    }

    fn informed(&self, asked: &Asked<'_>) -> bool {
        let judged = self.judge_all(asked.context.since, asked.now);
        let calls = || judged.values().flatten();
        // A window later it is known whether what just began is trouble or not.
        calls().any(|call| call.recent >= 2) && !calls().any(|call| call.turning)
    }

    fn cause(&self, asked: &Asked<'_>) -> Opinion {
        self.vote(asked)
    }

    fn stance(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        self.position(asked, put)
    }

    fn blind(&self, asked: &Asked<'_>) -> Option<String> {
        let judged = self.judge_all(asked.context.since, asked.now);
        judged.is_empty().then(|| "no sidecar tells of any database now".to_owned())
    }

    fn incident_began(&mut self, since: UnixMillis) {
        self.masks.open(since.plus(-self.settings.grid_ms));
    }

    fn tick(&mut self, now: UnixMillis) {
        self.masks.tick(now);
        let oldest = newest_closed(&self.settings, now).saturating_sub(i64::try_from(self.settings.history).unwrap_or(i64::MAX));
        self.calls.retain(|_, ends| ends.client.newest().max(ends.server.newest()).is_some_and(|newest| newest > oldest));
        if self.masks.is_open().is_some() {
            let well = self.judge_all(now, now).values().flatten().all(|call| call.trouble.is_none());
            self.masks.settle(well, now);
        }
    }
}

#[cfg(test)]
mod cases;
