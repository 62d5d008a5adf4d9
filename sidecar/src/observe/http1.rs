//! Passive HTTP/1.1: pairs requests with responses on a copy of the two byte streams.
//!
//! It understands heads, content lengths, chunks, pipelining, interim responses and upgrades. Anything odd — both lengths at
//! once, an answer without a question, too long a head — makes the connection opaque for good, because a wrong count is
//! worse than none. It judges nothing and stores no names: a route is a method and a number of path segments.

mod framing;
mod traceparent;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::Side;
#[cfg(test)]
pub(super) use framing::segments;
use framing::{Body, Frame, Reader, RequestHead, ResponseHead};
pub(super) use framing::{METHODS, OTHER};

pub(crate) use traceparent::Context;

/// Requests waiting for an answer on one connection; a client that pipelines more is no longer followed.
const MAX_PENDING: usize = 64;

/// The class that a request is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) segments: u8,
}

/// A request that is part of a recorded trace, when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traced {
    pub(crate) context: Context,
    pub(crate) route: Route,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    /// None without an answer.
    pub(crate) status: Option<u16>,
}

/// What happened to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin {
        route: Route,
        started: Instant,
    },
    Informational {
        route: Route,
    },
    End {
        route: Route,
        started: Instant,
        status: u16,
        latency: Duration,
        request_bytes: u64,
        response_bytes: u64,
    },
    /// Told before the end of a request that is part of a trace.
    Traced(Traced),
    /// The connection ended without an answer, or in the middle of it.
    NoResponse {
        route: Route,
        started: Instant,
    },
    /// The client took it back, or the observer lost track; the request is neither answered nor unanswered.
    Forget {
        route: Route,
        started: Instant,
    },
    /// The response has begun and may go on for long: nobody waits for it any more.
    Answering {
        route: Route,
        started: Instant,
    },
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Http1 {
    requests: Reader<RequestHead>,
    responses: Reader<ResponseHead>,
    pending: VecDeque<Pending>,
    /// When the first byte of the request now being read came.
    began: Option<Instant>,
    /// The request being read is the last of `pending`.
    reading: bool,
    /// A request was answered.
    answered: bool,
    opaque: bool,
}

#[derive(Debug)]
struct Pending {
    route: Route,
    context: Option<Context>,
    started: Instant,
    head: bool,
    upgrade: bool,
    status: u16,
    request_bytes: u64,
    response_bytes: u64,
}

/// Why a connection is no longer followed. Only its existence matters.
struct Odd;

// === impl Route ===

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.method, self.segments)
    }
}

// === impl Http1 ===

impl Http1 {
    /// Sees `bytes`, read at `at`; tells what they completed.
    pub(crate) fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant, tell: &mut impl FnMut(Event)) {
        if self.opaque || bytes.is_empty() {
            return;
        }
        let seen = match from {
            Side::Client => self.requests(bytes, at, tell),
            Side::Server => self.responses(bytes, at, tell),
        };
        if seen.is_err() {
            self.give_up(tell);
        }
    }

    /// It is between two requests.
    pub(crate) fn idle(&self) -> bool {
        self.answered && !self.opaque && self.pending.is_empty() && self.began.is_none() && self.requests.at_start()
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, at: Instant, tell: &mut impl FnMut(Event)) {
        if !self.opaque && self.responses.until_close() {
            self.finish(at, tell);
        }
        for pending in self.pending.drain(..) {
            pending.traced(at, None).into_iter().for_each(&mut *tell);
            tell(Event::NoResponse { route: pending.route, started: pending.started });
        }
        self.opaque = true;
    }

    fn requests(&mut self, mut bytes: &[u8], at: Instant, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        while !bytes.is_empty() {
            if self.requests.at_start() && self.began.is_none() {
                self.began = Some(at);
            }
            let (frame, used) = self.requests.read(bytes).map_err(|_| Odd)?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            match frame {
                Frame::Head(head, length) => {
                    if self.pending.len() >= MAX_PENDING {
                        return Err(Odd);
                    }
                    let started = self.began.take().unwrap_or(at);
                    self.pending.push_back(Pending {
                        route: head.route,
                        context: head.context,
                        started,
                        head: head.route.method == "HEAD",
                        upgrade: head.upgrade,
                        status: 0,
                        request_bytes: length,
                        response_bytes: 0,
                    });
                    self.reading = true;
                    self.requests.expect(head.body);
                    tell(Event::Begin { route: head.route, started });
                }
                Frame::Body(length) => {
                    if let (true, Some(pending)) = (self.reading, self.pending.back_mut()) {
                        pending.request_bytes += length;
                    }
                }
                Frame::Partial => {}
            }
            if self.requests.at_start() && self.began.is_none() {
                self.reading = false;
            }
        }
        Ok(())
    }

    fn responses(&mut self, mut bytes: &[u8], at: Instant, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        while !bytes.is_empty() {
            let pending = self.pending.front_mut().ok_or(Odd)?;
            let (frame, used) = self.responses.read(bytes).map_err(|_| Odd)?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            let mut complete = false;
            match frame {
                Frame::Head(head, length) => {
                    pending.response_bytes += length;
                    pending.status = head.status;
                    let switched = head.status == 101 && pending.upgrade;
                    let tunnel = pending.route.method == "CONNECT" && (200..300).contains(&head.status);
                    if switched || tunnel {
                        self.finish(at, tell);
                        return Err(Odd);
                    }
                    if (100..200).contains(&head.status) {
                        tell(Event::Informational { route: pending.route });
                        continue;
                    }
                    let empty = pending.head || matches!(head.status, 204 | 304);
                    self.responses.expect(if empty { Body::None } else { head.body });
                    complete = self.responses.at_start();
                }
                Frame::Body(length) => {
                    pending.response_bytes += length;
                    complete = self.responses.at_start();
                }
                Frame::Partial => {}
            }
            if complete {
                self.finish(at, tell);
            }
        }
        Ok(())
    }

    fn finish(&mut self, at: Instant, tell: &mut impl FnMut(Event)) {
        let Some(done) = self.pending.pop_front() else { return };
        self.answered = true;
        if self.pending.is_empty() {
            self.reading = false;
        }
        done.traced(at, Some(done.status)).into_iter().for_each(&mut *tell);
        tell(Event::End {
            route: done.route,
            started: done.started,
            status: done.status,
            latency: at.saturating_duration_since(done.started),
            request_bytes: done.request_bytes,
            response_bytes: done.response_bytes,
        });
    }

    fn give_up(&mut self, tell: &mut impl FnMut(Event)) {
        for pending in self.pending.drain(..) {
            tell(Event::Forget { route: pending.route, started: pending.started });
        }
        *self = Self { opaque: true, ..Self::default() };
    }
}

// === impl Pending ===

impl Pending {
    fn traced(&self, ended: Instant, status: Option<u16>) -> Option<Event> {
        let context = self.context?;
        Some(Event::Traced(Traced { context, route: self.route, started: self.started, ended, status }))
    }
}

#[cfg(test)]
mod tests;
