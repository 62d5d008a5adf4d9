//! Where one HTTP/2 frame ends and the next begins, for one direction.
//!
//! A reader takes any split of the stream and buffers nothing but the nine bytes before a frame. It says what it saw;
//! pairing requests with responses is its caller's business.

use std::time::Instant;

use super::Odd;
use super::hpack::{Decoder, Field, Name};
use crate::observe::Side;

/// What a client sends first.
pub(in crate::observe) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFIX: usize = 9;
/// Fields of one request, response or trailer, in compressed bytes; servers' own limits are below.
const MAX_BLOCK: u64 = 256 * 1024;

const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// What was seen; lengths are those of payloads.
#[derive(Debug)]
pub(super) enum Seen {
    /// Nothing that counts, yet.
    Part,
    Fields {
        stream: u32,
        fields: Fields,
        started: Instant,
        length: u64,
        end: bool,
    },
    Data {
        stream: u32,
        length: u64,
        end: bool,
    },
    Reset {
        stream: u32,
    },
    /// Streams above this one will not be served.
    GoAway {
        last: u32,
    },
}

/// The fields that matter of one block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) method: Option<u16>,
    pub(super) segments: u16,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u16>,
    /// The request was HTTP/1 before another proxy translated it.
    pub(super) translated: bool,
}

#[derive(Debug)]
pub(super) struct Reader {
    state: State,
    /// When the first byte of the frame came.
    started: Instant,
    kind: Kind,
    flags: u8,
    stream: u32,
    /// Of the payload.
    left: u32,
    /// The next byte says how long the padding is.
    pad_length: bool,
    padding: u32,
    /// Bytes before the fields: a priority.
    skip: u32,
    /// The first four bytes of a payload, as far as they have come.
    number: u32,
    taken: u8,
    fresh: bool,
    decoder: Decoder,
    block: Option<Block>,
}

/// A block of fields that later frames continue.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    fields: Fields,
    started: Instant,
    length: u64,
    end: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Preface(usize),
    Prefix { bytes: [u8; PREFIX], have: usize },
    Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Headers,
    Continuation,
    Reset,
    GoAway,
    Settings,
    Promise,
    Other,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(side: Side, at: Instant) -> Self {
        Self {
            state: if side == Side::Client { State::Preface(0) } else { State::PREFIX },
            started: at,
            kind: Kind::Other,
            flags: 0,
            stream: 0,
            left: 0,
            pad_length: false,
            padding: 0,
            skip: 0,
            number: 0,
            taken: 0,
            fresh: true,
            decoder: Decoder::default(),
            block: None,
        }
    }

    /// Takes at least one of `bytes`, which is not empty, and says how many.
    pub(super) fn read(&mut self, bytes: &[u8], at: Instant) -> Result<(Seen, usize), Odd> {
        match self.state {
            State::Preface(have) => {
                let expected = PREFACE.get(have..).unwrap_or_default();
                let used = expected.len().min(bytes.len());
                if expected.get(..used) != bytes.get(..used) {
                    return Err(Odd);
                }
                self.state = if used == expected.len() { State::PREFIX } else { State::Preface(have + used) };
                Ok((Seen::Part, used))
            }
            State::Prefix { bytes: mut prefix, have } => {
                if have == 0 {
                    self.started = at;
                }
                let mut used = 0;
                for (place, byte) in prefix.iter_mut().skip(have).zip(bytes) {
                    *place = *byte;
                    used += 1;
                }
                if have + used < PREFIX {
                    self.state = State::Prefix { bytes: prefix, have: have + used };
                    return Ok((Seen::Part, used));
                }
                self.begin(prefix)?;
                Ok((if self.left == 0 { self.complete()? } else { Seen::Part }, used))
            }
            State::Payload => self.payload(bytes),
        }
    }

    /// A frame begins.
    fn begin(&mut self, prefix: [u8; PREFIX]) -> Result<(), Odd> {
        let [high, middle, low, kind, flags, one, two, three, four] = prefix;
        self.left = u32::from_be_bytes([0, high, middle, low]);
        self.kind = Kind::of(kind);
        self.flags = flags;
        self.stream = u32::from_be_bytes([one, two, three, four]) & 0x7fff_ffff;
        self.state = State::Payload;
        (self.padding, self.skip, self.number, self.taken) = (0, 0, 0, 0);
        self.pad_length = matches!(self.kind, Kind::Headers) && flags & PADDED != 0;
        if std::mem::take(&mut self.fresh) && self.kind != Kind::Settings {
            return Err(Odd);
        }
        let continued = self.block.as_ref().map(|block| block.stream);
        match self.kind {
            Kind::Continuation if continued == Some(self.stream) => {}
            // Nothing else may come between.
            _ if continued.is_some() => return Err(Odd),
            Kind::Headers if self.stream != 0 => {
                self.skip = if flags & PRIORITY != 0 { 5 } else { 0 };
                let end = flags & END_STREAM != 0;
                self.block = Some(Block { stream: self.stream, fields: Fields::default(), started: self.started, length: 0, end });
            }
            Kind::Data if self.stream != 0 => {}
            Kind::Reset if self.stream != 0 && self.left == 4 => {}
            Kind::GoAway if self.stream == 0 && self.left >= 8 => {}
            Kind::Settings if self.stream == 0 && self.left.is_multiple_of(6) => {}
            Kind::Other => {}
            // Promised requests are made by nobody: clients have stopped taking them.
            _ => return Err(Odd),
        }
        if let Some(block) = &mut self.block {
            block.length += u64::from(self.left);
            let least = u32::from(self.pad_length) + self.skip;
            if block.length > MAX_BLOCK || self.left < least {
                return Err(Odd);
            }
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(Seen, usize), Odd> {
        let used = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get(..used).unwrap_or_default();
        match self.kind {
            Kind::Data => {
                self.left -= used as u32;
                let end = self.left == 0 && self.flags & END_STREAM != 0;
                if self.left == 0 {
                    self.state = State::PREFIX;
                }
                return Ok((Seen::Data { stream: self.stream, length: used as u64, end }, used));
            }
            Kind::Headers | Kind::Continuation => bytes.iter().try_for_each(|byte| self.field(*byte))?,
            Kind::GoAway => {
                // A stream; an error code and a text follow.
                for byte in bytes {
                    if self.taken < 4 {
                        self.number = self.number << 8 | u32::from(*byte);
                        self.taken += 1;
                    }
                }
                self.left -= used as u32;
            }
            Kind::Reset | Kind::Settings | Kind::Promise | Kind::Other => self.left -= used as u32,
        }
        Ok((if self.left == 0 { self.complete()? } else { Seen::Part }, used))
    }

    /// One byte of a frame with fields.
    fn field(&mut self, byte: u8) -> Result<(), Odd> {
        self.left -= 1;
        if std::mem::take(&mut self.pad_length) {
            self.padding = byte.into();
            return if self.padding + self.skip > self.left { Err(Odd) } else { Ok(()) };
        }
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.left >= self.padding
            && let Some(field) = self.decoder.byte(byte)?
            && let Some(block) = &mut self.block
        {
            block.fields.take(field);
        }
        Ok(())
    }

    /// A frame is over.
    fn complete(&mut self) -> Result<Seen, Odd> {
        self.state = State::PREFIX;
        let stream = self.stream;
        Ok(match self.kind {
            Kind::Data => Seen::Data { stream, length: 0, end: self.flags & END_STREAM != 0 },
            Kind::Headers | Kind::Continuation if self.flags & END_HEADERS != 0 => {
                self.decoder.end()?;
                let Block { stream, fields, started, length, end } = self.block.take().ok_or(Odd)?;
                Seen::Fields { stream, fields, started, length, end }
            }
            Kind::Reset => Seen::Reset { stream },
            Kind::GoAway => Seen::GoAway { last: self.number & 0x7fff_ffff },
            Kind::Headers | Kind::Continuation | Kind::Settings | Kind::Promise | Kind::Other => Seen::Part,
        })
    }
}

// === impl State ===

impl State {
    const PREFIX: Self = Self::Prefix { bytes: [0; PREFIX], have: 0 };
}

// === impl Kind ===

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::Promise,
            7 => Self::GoAway,
            9 => Self::Continuation,
            _ => Self::Other,
        }
    }
}

// === impl Fields ===

impl Fields {
    fn take(&mut self, field: Field) {
        match field.name {
            Name::Method => self.method = Some(field.value),
            Name::Path => self.segments = field.value,
            Name::Status => self.status = Some(field.value),
            Name::GrpcStatus => self.grpc_status = Some(field.value),
            Name::OriginalProtocol => self.translated = true,
            Name::Other => {}
        }
    }
}
