//! Where one HTTP/1.1 message ends and the next begins, for one direction.
//!
//! A reader takes any split of the stream and never holds more than one bounded head. It says what it saw; pairing requests
//! with responses is its caller's business.

use std::mem::MaybeUninit;

use super::Route;
use super::traceparent::{self, Context};

/// A head longer than this is not followed. Applications' own limits are 8 to 16 KiB.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// For the headers of one head, most of which are never there.
const ROOM: [MaybeUninit<httparse::Header<'_>>; MAX_HEADERS] = [const { MaybeUninit::uninit() }; MAX_HEADERS];
/// Chunk sizes with extensions, and each trailer line.
const MAX_LINE: usize = 1024;
const MAX_TRAILERS: usize = 16 * 1024;

/// Methods told apart; every other one is `OTHER`.
pub(in crate::observe) const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
pub(in crate::observe) const OTHER: &str = "OTHER";

/// How much follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What a piece of the stream was; lengths are in bytes of it.
#[derive(Debug)]
pub(super) enum Frame<H> {
    Head(H, u64),
    Body(u64),
    Partial,
}

#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) route: Route,
    pub(super) context: Option<Context>,
    pub(super) upgrade: bool,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) body: Body,
}

/// The stream is not HTTP/1.1, or not such that two readers must agree on it.
#[derive(Debug)]
pub(super) struct Odd;

pub(super) trait Head: Sized {
    /// The head and its length, or none when more bytes are needed.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Odd>;
}

#[derive(Debug)]
pub(super) struct Reader<H> {
    state: State,
    buffer: Vec<u8>,
    kind: std::marker::PhantomData<H>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    UntilClose,
    /// Digits of a chunk size so far, and length of the line so far.
    Size {
        value: u64,
        digits: u8,
        line: usize,
        extension: bool,
    },
    Data(u64),
    DataEnd {
        cr: bool,
    },
    /// Length of the trailer line so far and of all trailers.
    Trailer {
        line: usize,
        total: usize,
    },
}

// === impl Reader ===

impl<H> Default for Reader<H> {
    fn default() -> Self {
        Self { state: State::Head, buffer: Vec::new(), kind: std::marker::PhantomData }
    }
}

impl<H: Head> Reader<H> {
    /// No byte of a next message has been taken.
    pub(super) fn at_start(&self) -> bool {
        self.state == State::Head && self.buffer.is_empty()
    }

    pub(super) fn until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Says what follows the head just read.
    pub(super) fn expect(&mut self, body: Body) {
        self.state = match body {
            Body::None | Body::Length(0) => State::Head,
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::SIZE,
            Body::UntilClose => State::UntilClose,
        };
    }

    /// Takes at least one of `bytes`, which is not empty, and says how many.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(Frame<H>, usize), Odd> {
        match self.state {
            State::Head => self.head(bytes),
            State::UntilClose => Ok((Frame::Body(bytes.len() as u64), bytes.len())),
            State::Length(left) => {
                let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - used as u64;
                self.state = if left == 0 { State::Head } else { State::Length(left) };
                Ok((Frame::Body(used as u64), used))
            }
            _ => {
                let mut used = 0;
                while let Some(rest) = bytes.get(used..)
                    && !rest.is_empty()
                    && self.state != State::Head
                {
                    used += self.chunk(rest)?;
                }
                Ok((Frame::Body(used as u64), used))
            }
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(Frame<H>, usize), Odd> {
        if self.buffer.is_empty() {
            if let Some((head, length)) = H::parse(bytes)? {
                return Ok((Frame::Head(head, length as u64), length));
            }
            if bytes.len() > MAX_HEAD {
                return Err(Odd);
            }
            self.buffer.extend_from_slice(bytes);
            return Ok((Frame::Partial, bytes.len()));
        }
        let before = self.buffer.len();
        let taken = bytes.len().min(MAX_HEAD + 1 - before.min(MAX_HEAD));
        self.buffer.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        match H::parse(&self.buffer)? {
            Some((head, length)) if length > before => {
                self.buffer = Vec::new();
                Ok((Frame::Head(head, length as u64), length - before))
            }
            // A head cannot end in bytes that did not end it before.
            Some(_) => Err(Odd),
            None if self.buffer.len() > MAX_HEAD => Err(Odd),
            None => Ok((Frame::Partial, taken)),
        }
    }

    /// One step within a chunked body; takes at least one byte.
    fn chunk(&mut self, bytes: &[u8]) -> Result<usize, Odd> {
        if let State::Data(left) = self.state {
            let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - used as u64;
            self.state = if left == 0 { State::DataEnd { cr: false } } else { State::Data(left) };
            return Ok(used);
        }
        let byte = *bytes.first().ok_or(Odd)?;
        self.state = match (self.state, byte) {
            (State::Size { digits: 0, .. }, b'\n' | b'\r' | b';') => return Err(Odd),
            (State::Size { value: 0, .. }, b'\n') => State::Trailer { line: 0, total: 0 },
            (State::Size { value, .. }, b'\n') => State::Data(value),
            (State::Size { line, .. }, _) if line >= MAX_LINE => return Err(Odd),
            (State::Size { value, digits, line, extension: false }, byte) => match (byte as char).to_digit(16) {
                Some(digit) if digits < 15 => State::Size { value: value << 4 | u64::from(digit), digits: digits + 1, line: line + 1, extension: false },
                None if matches!(byte, b';' | b'\r' | b' ' | b'\t') => State::Size { value, digits, line: line + 1, extension: true },
                _ => return Err(Odd),
            },
            (State::Size { value, digits, line, .. }, _) => State::Size { value, digits, line: line + 1, extension: true },
            (State::DataEnd { cr: false }, b'\r') => State::DataEnd { cr: true },
            (State::DataEnd { .. }, b'\n') => State::SIZE,
            (State::DataEnd { .. }, _) => return Err(Odd),
            (State::Trailer { line: 0, .. }, b'\n') => State::Head,
            (State::Trailer { total, .. }, _) if total >= MAX_TRAILERS => return Err(Odd),
            (State::Trailer { total, .. }, b'\n') => State::Trailer { line: 0, total: total + 1 },
            // The carriage return of an empty line does not make it longer.
            (State::Trailer { line: 0, total }, b'\r') => State::Trailer { line: 0, total: total + 1 },
            (State::Trailer { line, .. }, _) if line >= MAX_LINE => return Err(Odd),
            (State::Trailer { line, total }, _) => State::Trailer { line: line + 1, total: total + 1 },
            (State::Head | State::Length(_) | State::UntilClose | State::Data(_), _) => return Err(Odd),
        };
        Ok(1)
    }
}

// === impl State ===

impl State {
    const SIZE: Self = Self::Size { value: 0, digits: 0, line: 0, extension: false };
}

// === impl RequestHead ===

impl Head for RequestHead {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Odd> {
        let mut headers = ROOM;
        let mut request = httparse::Request::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut headers);
        let httparse::Status::Complete(length) = parsed.map_err(|_| Odd)? else { return Ok(None) };
        if length > MAX_HEAD {
            return Err(Odd);
        }
        let body = body(request.headers)?.unwrap_or(Body::None);
        let upgrade = request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("upgrade"));
        let route = Route { method: method(request.method.unwrap_or_default()), segments: segments(request.path.unwrap_or_default()) };
        // Twice is as good as not at all.
        let mut traceparents = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("traceparent"));
        let context = match (traceparents.next(), traceparents.next()) {
            (Some(header), None) => traceparent::sampled(header.value),
            _ => None,
        };
        Ok(Some((Self { route, context, upgrade, body }, length)))
    }
}

// === impl ResponseHead ===

impl Head for ResponseHead {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Odd> {
        let mut headers = ROOM;
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
        let httparse::Status::Complete(length) = parsed.map_err(|_| Odd)? else { return Ok(None) };
        let status = response.code.filter(|code| (100..600).contains(code)).ok_or(Odd)?;
        if length > MAX_HEAD {
            return Err(Odd);
        }
        let body = body(response.headers)?.unwrap_or(Body::UntilClose);
        Ok(Some((Self { status, body }, length)))
    }
}

/// The body that the headers announce, if they do. Both ways at once, or two lengths, is how requests are smuggled.
fn body(headers: &[httparse::Header<'_>]) -> Result<Option<Body>, Odd> {
    let mut found = None;
    for header in headers {
        let this = if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| Odd)?.trim();
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Odd);
            }
            Body::Length(text.parse().map_err(|_| Odd)?)
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Odd);
            }
            Body::Chunked
        } else {
            continue;
        };
        if found.replace(this).is_some_and(|before| before != this) {
            return Err(Odd);
        }
    }
    Ok(found)
}

fn method(name: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

pub(in crate::observe) fn segments(path: &str) -> u8 {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    // An absolute form names the authority first; it is not a segment.
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, rest)| rest));
    u8::try_from(path.split('/').filter(|segment| !segment.is_empty()).take(9).count()).unwrap_or(9)
}
