//! Which version of HTTP a connection speaks, told by its first bytes.
//!
//! A client of HTTP/2 sends its preface at once, and a server that speaks first cannot be HTTP/1. Nothing is allocated
//! before that is clear, and what is not followed any more holds nothing.

use std::time::Instant;

use super::Side;
use super::http1::{Event, Http1};
use super::http2::{Http2, frames::PREFACE};

/// One connection.
#[derive(Debug, Default)]
pub(crate) enum Http {
    /// Nothing has come.
    #[default]
    Idle,
    /// So many bytes of the preface have come, the first of them then.
    Preface(usize, Instant),
    One(Http1),
    Two(Box<Http2>),
    Opaque,
}

// === impl Http ===

impl Http {
    /// Sees `bytes`, read at `at`; tells what they completed.
    pub(crate) fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant, tell: &mut impl FnMut(Event)) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Idle => self.first(from, 0, bytes, (at, at), tell),
            Self::Preface(have, began) => {
                let (have, began) = (*have, *began);
                self.first(from, have, bytes, (began, at), tell);
            }
            Self::One(http) => http.bytes(from, bytes, at, tell),
            Self::Two(http) => {
                if http.bytes(from, bytes, at, tell).is_err() {
                    http.forget(tell);
                    *self = Self::Opaque;
                }
            }
            Self::Opaque => {}
        }
    }

    /// It is HTTP/1 between two requests. What ends an HTTP/2 connection in good order is a frame, which nobody may add.
    pub(crate) fn idle(&self) -> bool {
        matches!(self, Self::One(http) if http.idle())
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, at: Instant, tell: &mut impl FnMut(Event)) {
        match std::mem::replace(self, Self::Opaque) {
            Self::One(mut http) => http.end(at, tell),
            Self::Two(mut http) => http.end(tell),
            Self::Idle | Self::Preface(..) | Self::Opaque => {}
        }
    }

    /// `have` bytes of the preface came before these.
    fn first(&mut self, from: Side, have: usize, bytes: &[u8], (began, at): (Instant, Instant), tell: &mut impl FnMut(Event)) {
        let (before, expected) = PREFACE.split_at_checked(have).unwrap_or_default();
        let compared = expected.len().min(bytes.len());
        let same = expected.get(..compared) == bytes.get(..compared);
        *self = match from {
            Side::Client if same && compared < expected.len() => return *self = Self::Preface(have + compared, began),
            Side::Client if !same => Self::One(Http1::default()),
            Side::Client | Side::Server => Self::Two(Box::new(Http2::new(began))),
        };
        self.bytes(Side::Client, before, began, tell);
        self.bytes(from, bytes, at, tell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_holds_nothing_more_than_one_of_http1() {
        assert!(size_of::<Http>() <= size_of::<Http1>() + 16, "{} and {}", size_of::<Http>(), size_of::<Http1>());
        assert!(size_of::<Http2>() <= 1024, "{}", size_of::<Http2>());
    }

    #[test]
    fn tells_the_versions_apart_at_any_split() {
        let at = Instant::now();
        for (first, expected) in [(PREFACE, 2), (b"PRI * HTTP/1.1\r\n\r\n".as_slice(), 1), (b"POST /a HTTP/1.1\r\n\r\n", 1), (b"GET", 1), (b"P", 0)] {
            for size in 1..first.len() + 1 {
                let mut http = Http::default();
                first.chunks(size).for_each(|chunk| http.bytes(Side::Client, chunk, at, &mut |_| {}));
                let version = match http {
                    Http::One(_) => 1,
                    Http::Two(_) => 2,
                    _ => 0,
                };
                assert_eq!(version, expected, "{first:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_server_that_greets_is_http2_or_nothing() {
        let at = Instant::now();
        let mut http = Http::default();
        http.bytes(Side::Server, b"\0\0\0\x04\0\0\0\0\0", at, &mut |_| {});
        assert!(matches!(http, Http::Two(_)), "settings");
        let mut http = Http::default();
        http.bytes(Side::Server, b"220 smtp ready\r\n", at, &mut |_| {});
        http.bytes(Side::Client, b"GET /a HTTP/1.1\r\n\r\n", at, &mut |event| panic!("{event:?}"));
        assert!(matches!(http, Http::Opaque));
    }

    #[test]
    fn a_request_begins_with_its_first_byte_whatever_it_turns_out_to_be() {
        let start = Instant::now();
        let later = start + std::time::Duration::from_secs(1);
        let (mut http, mut begun) = (Http::default(), None);
        let mut tell = |event| {
            if let Event::Begin { started, .. } = event {
                begun = Some(started);
            }
        };
        http.bytes(Side::Client, b"P", start, &mut tell);
        http.bytes(Side::Client, b"UT / HTTP/1.1\r\n\r\n", later, &mut tell);
        assert_eq!(begun, Some(start));
    }
}
