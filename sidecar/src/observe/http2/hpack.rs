//! Header compression (HPACK, RFC 7541) for one direction, read byte by byte: nothing is buffered, and of a field only what
//! counts need is kept, in the dynamic table too.
//!
//! The table follows what the encoder announces within its blocks, as the standard demands of it after any change of a
//! setting; one that announces more than the default of 4,096 bytes is not followed.

mod huffman;
mod table;

use super::super::http1::METHODS;
use super::Odd;
use huffman::Huffman;
use table::Table;

/// Of a name or value: longer than every one that means something here.
const KEPT: usize = 16;

/// What a field is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Path,
    Status,
    GrpcStatus,
    /// `l5d-orig-proto`: the request was HTTP/1 before another proxy translated it.
    OriginalProtocol,
    #[default]
    Other,
}

/// A field, as far as it is understood: the place of a method in `METHODS`, the segments of a path, or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) value: u16,
}

#[derive(Debug, Default)]
pub(super) struct Decoder {
    table: Table,
    state: State,
    /// The literal being read is to be kept in the table.
    keep: bool,
    name: Name,
    name_length: u32,
    huffman: Option<Huffman>,
    text: Text,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing but a change of the table's size was in the block so far.
    #[default]
    Block,
    Field,
    Number {
        of: Of,
        value: u32,
        shift: u32,
    },
    /// The next byte begins a length.
    Length(Part),
    Text {
        part: Part,
        left: u32,
    },
}

/// What a number means.
#[derive(Clone, Copy, Debug)]
enum Of {
    Field,
    Name,
    TableSize,
    Length(Part),
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Name,
    Value,
}

/// A string: its beginning, its length and, should it be a path, its segments.
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    kept: [u8; KEPT],
    length: u32,
    segments: u16,
    /// Within a segment.
    within: bool,
    /// The path is over: a query follows.
    query: bool,
}

// === impl Decoder ===

impl Decoder {
    /// A block of fields is over; it may not end within one.
    pub(super) fn end(&mut self) -> Result<(), Odd> {
        match std::mem::take(&mut self.state) {
            State::Block | State::Field => Ok(()),
            State::Number { .. } | State::Length(_) | State::Text { .. } => Err(Odd),
        }
    }

    /// Takes one byte; the field that it completes.
    pub(super) fn byte(&mut self, byte: u8) -> Result<Option<Field>, Odd> {
        match self.state {
            State::Block | State::Field => {
                let (of, mask) = match byte {
                    0x80.. => (Of::Field, 0x7f),
                    0x40.. => (Of::Name, 0x3f),
                    0x20.. if matches!(self.state, State::Field) => return Err(Odd),
                    0x20.. => (Of::TableSize, 0x1f),
                    _ => (Of::Name, 0x0f),
                };
                self.keep = (0x40..0x80).contains(&byte);
                self.begin(of, byte & mask, mask)
            }
            State::Number { of, value, shift } => {
                // Four bytes more than the first are enough for any honest length.
                if shift > 21 {
                    return Err(Odd);
                }
                let value = value + (u32::from(byte & 0x7f) << shift);
                if byte & 0x80 == 0 {
                    return self.number(of, value);
                }
                self.state = State::Number { of, value, shift: shift + 7 };
                Ok(None)
            }
            State::Length(part) => {
                self.huffman = (byte & 0x80 != 0).then(Huffman::default);
                self.begin(Of::Length(part), byte & 0x7f, 0x7f)
            }
            State::Text { part, left } => {
                match &mut self.huffman {
                    Some(huffman) => huffman.byte(byte, |byte| self.text.push(byte))?,
                    None => self.text.push(byte),
                }
                if left <= 1 {
                    return self.text(part);
                }
                self.state = State::Text { part, left: left - 1 };
                Ok(None)
            }
        }
    }

    fn begin(&mut self, of: Of, value: u8, mask: u8) -> Result<Option<Field>, Odd> {
        if value < mask {
            return self.number(of, value.into());
        }
        self.state = State::Number { of, value: value.into(), shift: 0 };
        Ok(None)
    }

    fn number(&mut self, of: Of, value: u32) -> Result<Option<Field>, Odd> {
        match of {
            Of::Field => {
                self.state = State::Field;
                return self.table.field(value).map(Some);
            }
            Of::TableSize => {
                self.table.resize(value)?;
                self.state = State::Block;
            }
            Of::Name if value == 0 => self.state = State::Length(Part::Name),
            Of::Name => {
                (self.name, self.name_length) = self.table.name(value)?;
                self.state = State::Length(Part::Value);
            }
            Of::Length(part) => {
                self.text = Text::default();
                if value == 0 {
                    return self.text(part);
                }
                self.state = State::Text { part, left: value };
            }
        }
        Ok(None)
    }

    /// A name or value is whole.
    fn text(&mut self, part: Part) -> Result<Option<Field>, Odd> {
        if let Some(huffman) = self.huffman.take() {
            huffman.end()?;
        }
        match part {
            Part::Name => {
                (self.name, self.name_length) = (Name::of(&self.text), self.text.length);
                self.state = State::Length(Part::Value);
                Ok(None)
            }
            Part::Value => {
                let field = Field::new(self.name, &self.text);
                if self.keep {
                    self.table.insert(field, self.name_length, self.text.length);
                }
                self.state = State::Field;
                Ok(Some(field))
            }
        }
    }
}

// === impl Name ===

impl Name {
    fn of(text: &Text) -> Self {
        match text.whole() {
            Some(b":method") => Self::Method,
            Some(b":path") => Self::Path,
            Some(b":status") => Self::Status,
            Some(b"grpc-status") => Self::GrpcStatus,
            Some(b"l5d-orig-proto") => Self::OriginalProtocol,
            _ => Self::Other,
        }
    }
}

// === impl Field ===

impl Field {
    fn new(name: Name, text: &Text) -> Self {
        let number = || text.whole().and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
        let value = match name {
            Name::Method => METHODS.iter().position(|method| text.whole() == Some(method.as_bytes())).and_then(|place| u16::try_from(place).ok()),
            Name::Path => Some(text.segments),
            Name::Status | Name::GrpcStatus => number(),
            Name::OriginalProtocol | Name::Other => Some(0),
        };
        Self { name, value: value.unwrap_or(u16::MAX) }
    }
}

// === impl Text ===

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.kept.get_mut(self.length as usize) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
        self.query |= matches!(byte, b'?' | b'#');
        let within = !self.query && byte != b'/';
        // Routes tell no more than nine apart.
        if within && !self.within && self.segments < 9 {
            self.segments += 1;
        }
        self.within = within;
    }

    /// All of it, if that was kept.
    fn whole(&self) -> Option<&[u8]> {
        self.kept.get(..self.length as usize)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut this = Self::default();
        text.bytes().for_each(|byte| this.push(byte));
        this
    }
}

#[cfg(test)]
mod tests;
