//! Where one Redis reply ends and the next begins, in RESP2 and RESP3. Elements are counted and skipped, never stored.

use std::time::Instant;

use super::request::{Number, Odd, Word};

/// Aggregates within aggregates that are followed; the server's own scripts stop at fewer.
const MAX_DEPTH: usize = 32;
/// Bytes of a line of text that are kept: enough to tell errors apart.
const MAX_LINE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Simple,
    Error,
    Null,
    Scalar,
    /// An array, a set or a map.
    Aggregate,
    /// Out of band: RESP3's `>`.
    Push,
}

/// A whole reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) kind: Kind,
    /// The elements of an aggregate; of a map the keys and the values, as RESP2 has them.
    pub(super) elements: u64,
    /// The text of a simple reply or an error; within an aggregate, of the first error among its elements.
    pub(super) line: Line,
    /// The first element of an aggregate, where that is a text.
    pub(super) first: Word,
    /// The last element of an aggregate that is a number.
    pub(super) number: Option<u64>,
    /// When its first byte came.
    pub(super) began: Instant,
}

/// The beginning of a line of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

/// Reads replies out of the server's bytes.
#[derive(Debug, Default)]
pub(super) struct Replies {
    state: State,
    /// The aggregates that are open, the outermost first.
    open: Vec<Open>,
    reply: Option<Reply>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    left: u64,
    /// What follows it is what it is about.
    attribute: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Type,
    /// The rest of a line; `keep` says what for.
    Text {
        keep: Keep,
        carriage: bool,
    },
    Number(u8, Number),
    Integer {
        keep: bool,
        value: Option<u64>,
        carriage: bool,
    },
    /// Bytes of a bulk that are left, without the line end.
    Bulk {
        left: u64,
        keep: Keep,
    },
    End {
        carriage: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Nothing,
    Line,
    First,
}

// === impl Line ===

impl Line {
    const EMPTY: Self = Self { bytes: [0; MAX_LINE], length: 0 };

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        self.length += room.len().min(bytes.len());
        room.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
    }
}

// === impl Reply ===

impl Reply {
    fn new(began: Instant) -> Self {
        Self { kind: Kind::Scalar, elements: 0, line: Line::EMPTY, first: Word::EMPTY, number: None, began }
    }

    /// What an array adds up to as an answer: its elements, one for a value, none for nothing.
    pub(super) fn rows(&self) -> u64 {
        match self.kind {
            Kind::Aggregate => self.elements,
            Kind::Simple | Kind::Scalar => 1,
            Kind::Error | Kind::Null | Kind::Push => 0,
        }
    }
}

// === impl Replies ===

impl Replies {
    /// Takes at least one of `bytes`, which is not empty and was read at `at`, and says how many.
    pub(super) fn read(&mut self, bytes: &[u8], at: Instant) -> Result<(Option<Reply>, usize), Odd> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..)
            && let Some(first) = rest.first()
        {
            if let State::Bulk { left, keep } = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                self.keep(keep, rest.get(..taken).unwrap_or_default());
                used += taken;
                let left = left - taken as u64;
                self.state = if left == 0 { State::End { carriage: false } } else { State::Bulk { left, keep } };
                continue;
            }
            used += 1;
            if self.step(*first, at)?
                && let Some(reply) = self.reply.take()
            {
                return Ok((Some(reply), used));
            }
        }
        Ok((None, used))
    }

    /// One byte; true when it ended a reply.
    fn step(&mut self, byte: u8, at: Instant) -> Result<bool, Odd> {
        match (self.state, byte) {
            (State::Type, _) => return self.kind(byte, at),
            (State::Text { keep, carriage: false }, b'\r') => self.state = State::Text { keep, carriage: true },
            (State::Text { carriage: true, .. } | State::End { carriage: true }, b'\n') => return Ok(self.ended()),
            (State::Text { keep, carriage: false }, byte) if byte != b'\n' => self.keep(keep, &[byte]),
            (State::Integer { keep, value, carriage: false }, b'\r') => self.state = State::Integer { keep, value, carriage: true },
            (State::Integer { keep, value, carriage: true }, b'\n') => {
                if let (true, Some(reply)) = (keep, &mut self.reply) {
                    reply.number = value;
                }
                return Ok(self.ended());
            }
            (State::Integer { keep, value, carriage: false }, b'0'..=b'9') => {
                let value = Some(value.unwrap_or_default().saturating_mul(10).saturating_add(u64::from(byte - b'0')));
                self.state = State::Integer { keep, value, carriage: false };
            }
            (State::Integer { value: None, carriage: false, .. }, b'-' | b'+') => {}
            (State::Number(kind, mut number), _) => match number.step(byte)? {
                None => self.state = State::Number(kind, number),
                Some(value) => return self.sized(kind, value),
            },
            (State::End { carriage: false }, b'\r') => self.state = State::End { carriage: true },
            _ => return Err(Odd),
        }
        Ok(false)
    }

    /// The byte that tells a type.
    fn kind(&mut self, byte: u8, at: Instant) -> Result<bool, Odd> {
        let depth = self.open.iter().filter(|open| !open.attribute).count();
        let hidden = self.open.iter().any(|open| open.attribute);
        let reply = self.reply.get_or_insert_with(|| Reply::new(at));
        let top = depth == 0 && !hidden;
        let element = depth == 1 && !hidden;
        let initial = element && self.open.last().is_some_and(|open| open.left == reply.elements);
        if top {
            match byte {
                b'+' => reply.kind = Kind::Simple,
                b'-' | b'!' => reply.kind = Kind::Error,
                b'_' => reply.kind = Kind::Null,
                _ => {}
            }
        }
        let keep = match byte {
            b'+' | b'-' if top => Keep::Line,
            b'-' if element && reply.line.length == 0 => Keep::Line,
            b'+' if initial => Keep::First,
            _ => Keep::Nothing,
        };
        self.state = match byte {
            b'+' | b'-' | b',' | b'(' | b'#' | b'_' => State::Text { keep, carriage: false },
            b':' => State::Integer { keep: element, value: None, carriage: false },
            b'$' | b'!' | b'=' | b'*' | b'~' | b'%' | b'|' => State::Number(byte, Number::default()),
            b'>' if self.open.is_empty() => State::Number(byte, Number::default()),
            _ => return Err(Odd),
        };
        Ok(false)
    }

    /// The length of a bulk or the size of an aggregate; none for the null ones of RESP2.
    fn sized(&mut self, kind: u8, value: Option<u64>) -> Result<bool, Odd> {
        let hidden = self.open.iter().any(|open| open.attribute);
        let top = self.open.is_empty();
        let reply = self.reply.as_mut().ok_or(Odd)?;
        let Some(value) = value else {
            if !matches!(kind, b'$' | b'*') {
                return Err(Odd);
            }
            if top {
                reply.kind = Kind::Null;
            }
            return Ok(self.ended());
        };
        if matches!(kind, b'$' | b'!' | b'=') {
            let element = self.open.len() == 1 && !hidden;
            let keep = match kind {
                b'!' if top || (element && reply.line.length == 0) => Keep::Line,
                b'$' if element && self.open.last().is_some_and(|open| open.left == reply.elements) => Keep::First,
                _ => Keep::Nothing,
            };
            self.state = if value == 0 { State::End { carriage: false } } else { State::Bulk { left: value, keep } };
            return Ok(false);
        }
        if top && kind != b'|' {
            reply.kind = if kind == b'>' { Kind::Push } else { Kind::Aggregate };
        }
        let pairs = matches!(kind, b'%' | b'|');
        // INVARIANT: a size has at most ten digits, so that doubling cannot overflow.
        let left = if pairs { value * 2 } else { value };
        if top && kind != b'|' {
            reply.elements = left;
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Odd);
        }
        self.open.push(Open { left, attribute: kind == b'|' });
        self.state = State::Type;
        Ok(left == 0 && self.closed())
    }

    /// A value ended; true when the reply did.
    fn ended(&mut self) -> bool {
        self.state = State::Type;
        let Some(open) = self.open.last_mut() else { return true };
        open.left = open.left.saturating_sub(1);
        open.left == 0 && self.closed()
    }

    /// The innermost aggregate has all its elements; true when the reply ended with it.
    fn closed(&mut self) -> bool {
        while let Some(open) = self.open.pop() {
            if open.attribute {
                // The value itself is still to come.
                return false;
            }
            let Some(outer) = self.open.last_mut() else { return true };
            outer.left = outer.left.saturating_sub(1);
            if outer.left > 0 {
                return false;
            }
        }
        true
    }

    fn keep(&mut self, keep: Keep, bytes: &[u8]) {
        let Some(reply) = &mut self.reply else { return };
        match keep {
            Keep::Nothing => {}
            Keep::Line => reply.line.extend(bytes),
            Keep::First => reply.first.extend(bytes),
        }
    }
}
