//! Passive HTTP/2: follows the streams of a connection on a copy of both directions, and gRPC's status at their ends.
//!
//! Frames are skipped by their length, fields decoded byte by byte, so nothing is buffered: a connection costs at most 4 KiB
//! with its two tables of fields, and 64 KiB while 256 streams are open; what is beyond passes uncounted. Anything odd makes the
//! connection opaque for good, because a wrong count is worse than none. A method and a number of path segments are all that
//! is kept of a request, as with HTTP/1.

mod first;
pub(super) mod frames;
mod hpack;
mod status;

use std::collections::BTreeMap;
use std::time::Instant;

use super::Side;
use super::http1::{Event, METHODS, OTHER, Route};
pub(crate) use first::First;
use frames::{Fields, Reader, Seen};

/// Requests followed at a time on one connection. Servers allow 100 to 250.
const MAX_STREAMS: usize = 256;

/// One connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    client: Reader,
    server: Reader,
    streams: BTreeMap<u32, Stream>,
    /// The newest stream that the client has opened.
    newest: u32,
}

/// A request that is not answered to the end.
#[derive(Debug)]
struct Stream {
    route: Route,
    started: Instant,
    /// 0 before the response.
    status: u16,
    grpc_status: u16,
    request_bytes: u64,
    response_bytes: u64,
}

/// Why a connection is no longer followed. Only its existence matters.
#[derive(Debug)]
pub(crate) struct Odd;

// === impl Http2 ===

impl Http2 {
    pub(crate) fn new(at: Instant) -> Self {
        Self { client: Reader::new(Side::Client, at), server: Reader::new(Side::Server, at), streams: BTreeMap::new(), newest: 0 }
    }

    /// Sees `bytes`, read at `at`; tells what they completed. After an error it is to be told of nothing but the end.
    pub(crate) fn bytes(&mut self, from: Side, mut bytes: &[u8], at: Instant, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        while !bytes.is_empty() {
            let reader = match from {
                Side::Client => &mut self.client,
                Side::Server => &mut self.server,
            };
            let (seen, used) = reader.read(bytes, at)?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            match from {
                Side::Client => self.request(seen, tell)?,
                Side::Server => self.response(seen, at, tell)?,
            }
        }
        Ok(())
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, tell: &mut impl FnMut(Event)) {
        for (_, stream) in std::mem::take(&mut self.streams) {
            tell(Event::NoResponse { route: stream.route, started: stream.started });
        }
    }

    /// The connection is no longer followed.
    pub(crate) fn forget(&mut self, tell: &mut impl FnMut(Event)) {
        for (_, stream) in std::mem::take(&mut self.streams) {
            tell(stream.forgotten());
        }
    }

    fn request(&mut self, seen: Seen, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        match seen {
            Seen::Fields { stream, fields, started, length, .. } if stream > self.newest => self.open(stream, fields, started, length, tell)?,
            // Trailers, or more of what is answered, cancelled or not followed.
            Seen::Fields { stream, length, .. } | Seen::Data { stream, length, .. } => {
                if stream > self.newest {
                    return Err(Odd);
                }
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.request_bytes += length;
                }
            }
            Seen::Reset { stream } => {
                if let Some(stream) = self.streams.remove(&stream) {
                    tell(stream.forgotten());
                }
            }
            Seen::GoAway { .. } | Seen::Part => {}
        }
        Ok(())
    }

    fn open(&mut self, number: u32, fields: Fields, started: Instant, length: u64, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        let method = fields.method.filter(|_| number % 2 == 1).ok_or(Odd)?;
        self.newest = number;
        if self.streams.len() < MAX_STREAMS {
            let method = METHODS.get(usize::from(method)).copied().unwrap_or(OTHER);
            let route = Route { method, segments: u8::try_from(fields.segments).unwrap_or(u8::MAX) };
            self.streams.insert(number, Stream { route, started, status: 0, grpc_status: 0, request_bytes: length, response_bytes: 0 });
            tell(Event::Begin { route, started });
        }
        Ok(())
    }

    fn response(&mut self, seen: Seen, at: Instant, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        match seen {
            Seen::Fields { stream: number, fields, length, end, .. } => {
                let Some(stream) = self.followed(number)? else { return Ok(()) };
                stream.response_bytes += length;
                stream.fields(fields, end, tell)?;
                if end {
                    self.finish(number, at, tell);
                }
            }
            Seen::Data { stream: number, length, end } => {
                let Some(stream) = self.followed(number)? else { return Ok(()) };
                stream.response_bytes += length;
                if stream.status == 0 {
                    return Err(Odd);
                }
                if end {
                    self.finish(number, at, tell);
                }
            }
            Seen::Reset { stream } => {
                if let Some(stream) = self.streams.remove(&stream) {
                    tell(Event::NoResponse { route: stream.route, started: stream.started });
                }
            }
            // The client may send them again elsewhere.
            Seen::GoAway { last } => {
                for (_, stream) in self.streams.split_off(&last.saturating_add(1)) {
                    tell(stream.forgotten());
                }
            }
            Seen::Part => {}
        }
        Ok(())
    }

    /// The open stream of this number, unless it was cancelled or is not followed.
    fn followed(&mut self, number: u32) -> Result<Option<&mut Stream>, Odd> {
        if number > self.newest { Err(Odd) } else { Ok(self.streams.get_mut(&number)) }
    }

    fn finish(&mut self, number: u32, at: Instant, tell: &mut impl FnMut(Event)) {
        let Some(done) = self.streams.remove(&number) else { return };
        tell(Event::End {
            route: done.route,
            started: done.started,
            status: status::of(done.status, done.grpc_status),
            latency: at.saturating_duration_since(done.started),
            request_bytes: done.request_bytes,
            response_bytes: done.response_bytes,
        });
    }
}

// === impl Stream ===

impl Stream {
    /// A response head, interim or not, or trailers.
    fn fields(&mut self, fields: Fields, end: bool, tell: &mut impl FnMut(Event)) -> Result<(), Odd> {
        let Self { route, started, .. } = *self;
        if self.status == 0 {
            let status = fields.status.filter(|status| (100..600).contains(status)).ok_or(Odd)?;
            if status < 200 {
                if end {
                    return Err(Odd);
                }
                tell(Event::Informational { route });
                return Ok(());
            }
            self.status = status;
            if !end {
                tell(Event::Answering { route, started });
            }
        } else if !end {
            return Err(Odd);
        }
        self.grpc_status = fields.grpc_status.unwrap_or(self.grpc_status);
        Ok(())
    }

    fn forgotten(&self) -> Event {
        Event::Forget { route: self.route, started: self.started }
    }
}

#[cfg(test)]
mod tests;
