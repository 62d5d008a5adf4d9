//! The seats: what each makes of its own evidence, as total functions of a view that holds nothing else.
//!
//! A seat's view is filled by the shell in `specialists/` and asked twice: for the cause, blind, and for its stance on what
//! all seats proposed. Seats share no input: network judges by mesh and TCP counters, compute by the kubelet's figures,
//! database by the exchanges of its protocol, change by what people changed. Nothing here reads a clock or signs anything.
//!
//! To add a seat: one file with a view that implements [`Seat`], one line in [`SEATS`], its cases beside it.

pub mod change;
pub mod compute;
pub mod database;
pub mod network;

pub mod baseline;
pub mod histogram;
pub mod merge;
mod opinion;
mod paths;
pub mod recorded;
mod window;

use crate::ballot::{CastBallot, Hypothesis, Opinion, Proposal, Round};
use crate::canonical::Digest;
use crate::ids::{Domain, UnixMillis};
use crate::incident::{Context, Symptom};
use crate::target::Service;
use crate::verification::{Neighbour, Window};

pub use opinion::Position;

/// One line of the table of seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The seat's name in the roster.
    pub name: &'static str,
    /// What it answers for.
    pub domain: Domain,
    /// Version of its rules, as it stands in ballots.
    pub rules: &'static str,
}

/// Every seat there is.
pub const SEATS: [Entry; 4] = [network::ENTRY, compute::ENTRY, database::ENTRY, change::ENTRY];

/// How much a view remembers, and how much it must have seen before it judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Length of a window in milliseconds; observations are put on this grid.
    pub grid_ms: i64,
    /// Windows that are remembered.
    pub history: usize,
    /// Windows that a baseline needs.
    pub learn: usize,
    /// Data older than this, in milliseconds, is no data.
    pub stale_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { grid_ms: 2_000, history: 240, learn: 8, stale_ms: 15_000 }
    }
}

/// What a seat is asked about, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The incident context.
    pub context: &'a Context,
    /// 1 to 4.
    pub epoch: u32,
    /// The seat's clock.
    pub now: UnixMillis,
}

// === impl Asked ===

impl Asked<'_> {
    /// What lies before it tells what is usual: the onset, or where nothing is wrong, now.
    fn usual_until(&self) -> UnixMillis {
        if self.context.symptom.is_routine() { self.now } else { self.context.since }
    }
}

/// Something that a seat sees by itself, without having been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: the deepest service whose own answers are bad.
    pub service: Service,
    /// What.
    pub symptom: Symptom,
    /// When it began.
    pub since: UnixMillis,
    /// One line of figures.
    pub summary: String,
}

/// A seat's live word on one service. Counts are since the moment that was asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indicator {
    /// Whether there is data since then at all.
    pub live: bool,
    /// Whether the service is within its usual band now.
    pub healthy: bool,
    /// The figures in a line.
    pub summary: String,
    /// Requests.
    pub requests: u64,
    /// Requests that were answered with a server error or not at all.
    pub errors: u64,
    /// 95th percentile of the latency, microseconds.
    pub p95_us: u64,
    /// Requests unanswered for more than a second, in the newest window.
    pub stalled: u64,
    /// Latency, counted by powers of two of microseconds.
    pub latency: Vec<u64>,
    /// The newest windows since then, oldest first.
    pub windows: Vec<Window>,
    /// Of those who call it or whom it calls, who is not well, or may not be: by the network seat alone.
    pub neighbours: Vec<Neighbour>,
    /// Processor time that its containers use of what they ask for, in millionths.
    pub cpu_share: Option<u64>,
    /// The same of memory.
    pub memory_share: Option<u64>,
}

/// A remedy that was proposed, with everybody's reasons for it.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// What is to be done.
    pub proposal: &'a Proposal,
    /// The hypotheses that propose it, with the seats that hold them.
    pub grounds: Vec<(&'a str, &'a Hypothesis)>,
    /// What this seat itself said in the first round about the same service and domain, if it holds it for likely.
    pub held: Option<&'a Hypothesis>,
}

/// A seat's rules over its own view.
pub trait Seat: Send {
    /// Its line in the table.
    fn entry(&self) -> Entry;

    /// Whether the view holds data from after the onset, so that waiting for more would tell little.
    fn informed(&self, asked: &Asked<'_>) -> bool;

    /// The blind judgement.
    fn cause(&self, asked: &Asked<'_>) -> Opinion;

    /// The stance on one proposal.
    fn stance(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position;

    /// Why this seat cannot judge remedies now, if it cannot.
    fn blind(&self, asked: &Asked<'_>) -> Option<String>;

    /// The second round: a stance on each proposal in the verified cause ballots.
    fn remedy(&self, asked: &Asked<'_>, causes: &[CastBallot]) -> Opinion {
        match self.blind(asked) {
            Some(reason) => opinion::abstain(Round::Remedy, &reason),
            None => opinion::stances(self.entry().name, causes, |put| self.stance(asked, put)),
        }
    }

    /// What is wrong right now.
    fn findings(&self, _now: UnixMillis) -> Vec<Finding> {
        Vec::new()
    }

    /// The live word on `service`, from the figures since `since`. `None`: this seat gives none.
    fn indicator(&self, _service: &Service, _since: UnixMillis, _now: UnixMillis) -> Option<Indicator> {
        None
    }

    /// The same on the pods with these UIDs alone, by what their own sidecars told since then and what is usual for `service`. Who is
    /// not known, or was hardly asked, is no data. `None`: this seat knows of no single pods.
    fn indicator_of(&self, _service: &Service, _pods: &[String], _since: UnixMillis, _now: UnixMillis) -> Option<Indicator> {
        None
    }

    /// An incident began then: figures from there on teach the view nothing until things are well again.
    fn incident_began(&mut self, since: UnixMillis);

    /// Time passed: forget what is too old, and end the incident's mask when things are well.
    fn tick(&mut self, now: UnixMillis);
}

/// The digest of `figures`, for evidence; figures are integers and bounded text, which always have one.
fn digest_of<T: serde::Serialize>(figures: &T) -> Digest {
    Digest::of(figures).unwrap_or_else(|_| Digest::of_bytes(b""))
}

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod testing;
