//! Spans that have come, until their trace is joined, and what was summed up of them: who did what for whom, how often, how long,
//! and how long of that by itself. Everything is bounded; what is too much is dropped and counted.
//!
//! Names are strangers' and are kept as numbers. Clocks are strangers' too: a span that claims to be of another time than it came
//! counts for the time that it came at.

mod sums;
mod words;

use std::collections::{HashMap, VecDeque};

use assent_core::diagnosis::Operation;

use super::wire::{Resource, Span};
use crate::sources::names::Names;
use sums::{Key, Sum, Sums};
use words::{Word, Words};

/// Spans of a trace arrive within so long of its first; most of them sooner, since senders hold them for five seconds.
const JOIN_MS: i64 = 20_000;
const SETTLED_MS: i64 = 7_000;
/// A sender's clock may be so far behind, its queue included, or ahead.
const BEHIND_MS: i64 = 90_000;
const AHEAD_MS: i64 = 5_000;
/// A longer span is no time of an answer.
const LONGEST_NS: u64 = 600_000_000_000;

/// How much is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Traces that wait to be joined.
    pub(crate) traces: usize,
    /// Spans of one.
    pub(crate) spans: usize,
    /// Spans of all.
    pub(crate) all: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { traces: 20_000, spans: 512, all: 150_000 }
    }
}

/// A span that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: [u8; 8],
    parent: [u8; 8],
    service: Word,
    operation: Word,
    peer: Word,
    is_client: bool,
    start_ns: u64,
    end_ns: u64,
}

#[derive(Debug, Default)]
struct Trace {
    since_ms: i64,
    spans: Vec<Waiting>,
}

/// All spans of one seat.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    bounds: Bounds,
    words: Words,
    traces: HashMap<[u8; 16], Trace>,
    /// Traces by the time of their first span.
    order: VecDeque<[u8; 16]>,
    waiting: usize,
    sums: Sums,
}

// === impl Spans ===

impl Spans {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Takes a span in; whether there was room for it.
    pub(crate) fn take(&mut self, resource: &Resource<'_>, span: &Span<'_>, now_ms: i64) -> bool {
        let took_ns = span.end_ns.checked_sub(span.start_ns).filter(|took| *took <= LONGEST_NS);
        if span.trace == [0; 16] || span.id == [0; 8] || took_ns.is_none() {
            return false;
        }
        while self.waiting >= self.bounds.all || self.traces.len() >= self.bounds.traces && !self.traces.contains_key(&span.trace) {
            // The oldest is joined with what has come of it.
            if !self.join_oldest(now_ms) {
                return false;
            }
        }
        let waiting = Waiting {
            id: span.id,
            parent: span.parent,
            service: self.words.service(resource),
            operation: self.words.word(span.name),
            peer: self.words.word(span.peer),
            is_client: span.is_client,
            start_ns: span.start_ns,
            end_ns: span.end_ns,
        };
        let trace = self.traces.entry(span.trace).or_insert_with(|| {
            self.order.push_back(span.trace);
            Trace { since_ms: now_ms, spans: Vec::new() }
        });
        if trace.spans.len() >= self.bounds.spans {
            return false;
        }
        trace.spans.push(waiting);
        self.waiting += 1;
        true
    }

    /// Joins the traces that have waited long enough.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        while let Some(trace) = self.order.front().and_then(|id| self.traces.get(id)) {
            if now_ms.saturating_sub(trace.since_ms) < JOIN_MS {
                break;
            }
            self.join_oldest(now_ms);
        }
        self.sums.forget(now_ms);
        if self.words.is_crowded() {
            let waiting = self.traces.values().flat_map(|trace| &trace.spans).flat_map(|span| [span.service, span.operation, span.peer]);
            let summed = self.sums.each().flat_map(|(_, key, _)| [key.caller, key.service, key.operation, key.peer]);
            let used = waiting.chain(summed).collect();
            self.words.retain(&used);
        }
    }

    /// What the workloads of `names` did, as far as it is known now. Everybody else is a user, or nobody.
    pub(crate) fn operations(&self, names: &Names, now_ms: i64) -> Vec<Operation> {
        let mut sums = self.sums.clone();
        let settled = self.order.iter().filter_map(|id| self.traces.get(id)).take_while(|trace| now_ms.saturating_sub(trace.since_ms) >= SETTLED_MS);
        settled.for_each(|trace| join(trace, now_ms, &mut sums));
        let known = self.words.known(names);
        let name = |word: Word| known.get(&word).map(|name| (*name).to_owned());
        let operation = |(time, key, sum): (i64, Key, Sum)| {
            Some(Operation {
                time,
                caller: name(key.caller).unwrap_or_default(),
                service: name(key.service)?,
                operation: self.words.text(key.operation).to_owned(),
                peer: name(key.peer).unwrap_or_default(),
                count: sum.count,
                mean_ms: sum.total_ms / sum.count.max(1.0),
                self_ms: sum.self_ms / sum.count.max(1.0),
            })
        };
        let mut operations: Vec<Operation> = sums.each().filter_map(operation).collect();
        let key =
            |operation: &Operation| (operation.time, operation.caller.clone(), operation.service.clone(), operation.operation.clone(), operation.peer.clone());
        // In one order, so that sums of them are always the same.
        operations.sort_by_cached_key(key);
        operations
    }

    /// Spans that wait and sums that are held.
    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        (self.waiting, self.sums.each().count())
    }

    fn join_oldest(&mut self, now_ms: i64) -> bool {
        let Some(trace) = self.order.pop_front().and_then(|id| self.traces.remove(&id)) else { return false };
        self.waiting = self.waiting.saturating_sub(trace.spans.len());
        join(&trace, now_ms, &mut self.sums);
        true
    }
}

/// Sums up one trace: each span under its parent, where that has come.
fn join(trace: &Trace, now_ms: i64, sums: &mut Sums) {
    let by_id: HashMap<[u8; 8], &Waiting> = trace.spans.iter().map(|span| (span.id, span)).collect();
    let mut children: HashMap<[u8; 8], Vec<&Waiting>> = HashMap::new();
    for span in trace.spans.iter().filter(|span| span.parent != span.id) {
        children.entry(span.parent).or_default().push(span);
    }
    // In the order of arrival, each once, so that sums are always the same.
    for span in trace.spans.iter().filter(|span| by_id.get(&span.id).is_some_and(|known| std::ptr::eq(*known, *span))) {
        let below = children.get(&span.id).map(Vec::as_slice).unwrap_or_default();
        let called = below.iter().find(|child| child.service != span.service).map(|child| child.service);
        let peer = if span.is_client { called.unwrap_or(span.peer) } else { Word::default() };
        let caller = by_id.get(&span.parent).filter(|_| span.parent != span.id).map(|parent| parent.service).unwrap_or_default();
        let key = Key { caller, service: span.service, operation: span.operation, peer };
        let ended_ms = i64::try_from(span.end_ns / 1_000_000).unwrap_or(i64::MAX);
        let age = trace.since_ms.saturating_sub(ended_ms);
        let time_ms = if (-AHEAD_MS..=BEHIND_MS).contains(&age) { ended_ms } else { trace.since_ms };
        sums.add(time_ms.min(now_ms), key, milliseconds(span.end_ns - span.start_ns), milliseconds(alone_ns(span, below)));
    }
}

/// Time of `span` in which none of its children ran.
fn alone_ns(span: &Waiting, below: &[&Waiting]) -> u64 {
    let mut runs: Vec<(u64, u64)> =
        below.iter().map(|child| (child.start_ns.max(span.start_ns), child.end_ns.min(span.end_ns))).filter(|(a, b)| a < b).collect();
    runs.sort_unstable();
    let (mut covered, mut until) = (0_u64, span.start_ns);
    for (start, end) in runs {
        let start = start.max(until);
        covered += end.saturating_sub(start);
        until = until.max(end);
    }
    (span.end_ns - span.start_ns).saturating_sub(covered)
}

#[expect(clippy::cast_precision_loss, reason = "of ten minutes at most")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

#[cfg(test)]
mod tests;
