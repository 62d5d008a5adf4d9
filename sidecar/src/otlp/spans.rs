//! Spans of requests that belong to a trace already, on their way to the collector.
//!
//! So many are made in a second at most, and so many wait at most; of a full queue the oldest goes. Whoever adds one never
//! waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use tokio::sync::Notify;

use super::{attribute, nanoseconds};
use crate::directory::random;
use crate::observe::flows::{Direction, Key};
use crate::observe::http1::Traced;

/// Spans that wait: about a megabyte.
const MAX_WAITING: usize = 2048;
/// Spans in one export.
const MAX_BATCH: usize = 256;
/// More of them may come while a batch is being gathered.
const GATHER: Duration = Duration::from_millis(200);

/// The queue.
#[derive(Debug)]
pub(crate) struct Spans {
    per_second: u64,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Span>,
    /// Of the first that waits.
    sequence: u64,
    second: Instant,
    made: u64,
    excess: u64,
    overflow: u64,
}

// === impl Spans ===

impl Spans {
    /// A queue that takes `per_second` spans a second.
    pub(crate) fn new(per_second: u64) -> Self {
        let queue = Queue { waiting: VecDeque::new(), sequence: 0, second: Instant::now(), made: 0, excess: 0, overflow: 0 };
        Self { per_second, queue: Mutex::new(queue), filled: Notify::new() }
    }

    /// The request of `key` is over.
    pub(crate) fn add(&self, key: &Key, traced: &Traced) {
        let mut queue = self.queue();
        if traced.ended.saturating_duration_since(queue.second) >= Duration::from_secs(1) {
            (queue.second, queue.made) = (traced.ended, 0);
        }
        if queue.made >= self.per_second {
            queue.excess += 1;
            return;
        }
        queue.made += 1;
        if queue.waiting.len() >= MAX_WAITING {
            queue.waiting.pop_front();
            queue.sequence += 1;
            queue.overflow += 1;
        }
        queue.waiting.push_back(span(key, traced, random(), Instant::now(), SystemTime::now()));
        drop(queue);
        self.filled.notify_one();
    }

    /// The oldest spans as soon as there are some, and the number of the first that is not among them.
    pub(super) async fn waiting(&self) -> (u64, Vec<Span>) {
        while self.queue().waiting.is_empty() {
            self.filled.notified().await;
        }
        tokio::time::sleep(GATHER).await;
        let queue = self.queue();
        let batch: Vec<_> = queue.waiting.iter().take(MAX_BATCH).cloned().collect();
        (queue.sequence + batch.len() as u64, batch)
    }

    /// Those before `sequence` were sent; some may have been dropped meanwhile.
    pub(super) fn taken(&self, sequence: u64) {
        let mut queue = self.queue();
        while queue.sequence < sequence && queue.waiting.pop_front().is_some() {
            queue.sequence += 1;
        }
    }

    pub(super) fn dropped(&self) -> [(&'static str, u64); 2] {
        let queue = self.queue();
        [("rate", queue.excess), ("queue", queue.overflow)]
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child of the span that the request came with. `now` and `clock` are the same moment.
fn span(key: &Key, traced: &Traced, id: u64, now: Instant, clock: SystemTime) -> Span {
    let at = |instant: Instant| nanoseconds(clock.checked_sub(now.saturating_duration_since(instant)).unwrap_or(clock));
    let kind = match key.direction {
        Direction::Inbound => SpanKind::Server,
        Direction::Outbound => SpanKind::Client,
    };
    let mut attributes = vec![attribute("http.request.method", traced.route.method.to_owned())];
    if let Some(status) = traced.status {
        attributes.push(attribute("http.response.status_code", i64::from(status)));
    }
    if !key.peer.is_empty() {
        attributes.push(attribute("assent.peer", key.peer.to_string()));
    }
    attributes.push(attribute("assent.destination", key.destination.to_string()));
    // As the conventions have it: a server has failed from 500 on, and who asked it also by asking wrongly.
    let limit = if kind == SpanKind::Server { 500 } else { 400 };
    let code = if traced.status.is_none_or(|status| status >= limit) { StatusCode::Error } else { StatusCode::Unset };
    Span {
        trace_id: traced.context.trace.to_vec(),
        span_id: id.max(1).to_be_bytes().to_vec(),
        parent_span_id: traced.context.span.to_vec(),
        // Sampled, with a parent that is known to be in another process.
        flags: 0x301,
        name: traced.route.method.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: at(traced.started),
        end_time_unix_nano: at(traced.ended),
        attributes,
        status: Some(Status { code: code.into(), ..Default::default() }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::http1::{Context, Route};

    fn traced(started: Instant, status: Option<u16>) -> Traced {
        let context = Context { trace: [7; 16], span: [9; 8] };
        Traced { context, route: Route { method: "GET", segments: 1 }, started, ended: started + Duration::from_millis(5), status }
    }

    #[tokio::test(start_paused = true)]
    async fn takes_so_many_a_second_keeps_so_many_and_sends_the_oldest_first() {
        let (key, start) = (Key::new(Direction::Inbound, "web", ":80"), Instant::now());
        let spans = Spans::new(MAX_WAITING as u64 + 10);
        for _ in 0..MAX_WAITING + 20 {
            spans.add(&key, &traced(start, Some(200)));
        }
        assert_eq!(spans.dropped(), [("rate", 10), ("queue", 10)]);
        spans.add(&key, &traced(start + Duration::from_secs(1), Some(200)));
        assert_eq!(spans.dropped(), [("rate", 10), ("queue", 11)]);
        let (sequence, batch) = spans.waiting().await;
        assert_eq!((sequence, batch.len()), (11 + MAX_BATCH as u64, MAX_BATCH));
        assert_eq!(spans.waiting().await.0, sequence, "what was not taken is sent again");
        spans.add(&key, &traced(start + Duration::from_secs(1), Some(200)));
        spans.taken(sequence);
        assert_eq!(spans.queue().waiting.len(), MAX_WAITING - MAX_BATCH + 1, "one of them had been dropped");
    }

    #[test]
    fn is_a_child_of_the_callers_span() {
        let (now, clock) = (Instant::now() + Duration::from_secs(2), SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let made = span(&Key::new(Direction::Outbound, "", "10.0.0.1:80"), &traced(now - Duration::from_secs(1), Some(404)), 1, now, clock);
        assert_eq!((made.trace_id.as_slice(), made.parent_span_id.as_slice()), ([7; 16].as_slice(), [9; 8].as_slice()));
        assert_eq!((made.start_time_unix_nano, made.end_time_unix_nano), (99_000_000_000, 99_005_000_000));
        assert_eq!((made.kind, made.status.unwrap().code), (SpanKind::Client.into(), StatusCode::Error.into()));
        let inbound = |status| span(&Key::new(Direction::Inbound, "", ":80"), &traced(now, status), 1, now, clock).status.unwrap().code;
        assert_eq!([Some(404), Some(500), None].map(inbound), [StatusCode::Unset, StatusCode::Error, StatusCode::Error].map(i32::from));
    }
}
