//! Where one Redis command ends and the next begins. Of each only the first words are kept, short and in upper case.

/// An inline command longer than this is refused by the server.
const MAX_INLINE: usize = 64 * 1024;
/// Digits of a count or a length.
const MAX_DIGITS: u8 = 10;
/// Words of a command that are looked at: name, subcommand, and the mode of `CLIENT REPLY`.
const WORDS: usize = 3;

/// A short word in upper case, or none where it was longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    bytes: [u8; Self::ROOM],
    length: usize,
}

/// A whole command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) words: [Word; WORDS],
    /// How many words it had, its name included; never 0.
    pub(super) count: u64,
}

/// The stream is not one of Redis commands.
#[derive(Debug)]
pub(super) struct Odd;

/// Reads commands out of the client's bytes.
#[derive(Debug)]
pub(super) struct Requests {
    state: State,
    words: [Word; WORDS],
    /// The words of an array still to come, and those begun.
    left: u64,
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Inline {
        length: usize,
        inside: bool,
        quote: Option<u8>,
        escaped: bool,
    },
    /// How many words an array has.
    Count(Number),
    /// The `$` before a word.
    Dollar,
    Length(Number),
    Bytes(u64),
    /// The line end after a word.
    End {
        carriage: bool,
    },
}

/// A decimal number up to its line end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number {
    value: u64,
    digits: u8,
    negative: bool,
    carriage: bool,
}

// === impl Word ===

impl Word {
    pub(super) const ROOM: usize = 32;
    pub(super) const EMPTY: Self = Self { bytes: [0; Self::ROOM], length: 0 };

    /// The word, unless it is empty or was too long.
    pub(super) fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length).filter(|text| !text.is_empty())
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.text() == Some(text)
    }

    #[cfg(test)]
    pub(super) fn of(text: &[u8]) -> Self {
        let mut word = Self::EMPTY;
        word.extend(text);
        word
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..) {
            room.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte.to_ascii_uppercase());
        }
        self.length = self.length.saturating_add(bytes.len());
    }
}

// === impl Requests ===

impl Default for Requests {
    fn default() -> Self {
        Self { state: State::Start, words: [Word::EMPTY; WORDS], left: 0, count: 0 }
    }
}

impl Requests {
    /// No byte of a next command has been taken.
    pub(super) fn at_start(&self) -> bool {
        self.state == State::Start
    }

    /// Takes at least one of `bytes`, which is not empty, says how many, and the command that they completed.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(Option<Request>, usize), Odd> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..)
            && let Some(first) = rest.first()
        {
            if let State::Bytes(left) = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                self.keep(rest.get(..taken).unwrap_or_default());
                used += taken;
                let left = left - taken as u64;
                self.state = if left == 0 { State::End { carriage: false } } else { State::Bytes(left) };
                continue;
            }
            used += 1;
            if let Some(request) = self.step(*first)? {
                return Ok((Some(request), used));
            }
            if self.at_start() {
                // An empty command, which has no answer.
                return Ok((None, used));
            }
        }
        Ok((None, used))
    }

    fn step(&mut self, byte: u8) -> Result<Option<Request>, Odd> {
        match (self.state, byte) {
            (State::Start, b'*') => self.state = State::Count(Number::default()),
            (State::Start, _) => {
                self.state = State::Inline { length: 0, inside: false, quote: None, escaped: false };
                return self.inline(byte);
            }
            (State::Inline { .. }, _) => return self.inline(byte),
            (State::Count(mut number), _) => match number.step(byte)? {
                None => self.state = State::Count(number),
                Some(None | Some(0)) => self.state = State::Start,
                Some(Some(count)) => {
                    self.left = count;
                    self.state = State::Dollar;
                }
            },
            (State::Dollar, b'$') => self.state = State::Length(Number::default()),
            (State::Length(mut number), _) => match number.step(byte)? {
                None => self.state = State::Length(number),
                Some(None) => return Err(Odd),
                Some(Some(length)) => {
                    self.count += 1;
                    self.state = if length == 0 { State::End { carriage: false } } else { State::Bytes(length) };
                }
            },
            (State::End { carriage: false }, b'\r') => self.state = State::End { carriage: true },
            (State::End { carriage: true }, b'\n') => {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    return Ok(self.take());
                }
                self.state = State::Dollar;
            }
            (State::Dollar | State::End { .. } | State::Bytes(_), _) => return Err(Odd),
        }
        Ok(None)
    }

    /// One byte of a line of words, quoted as the server splits them.
    fn inline(&mut self, byte: u8) -> Result<Option<Request>, Odd> {
        let State::Inline { length, inside, quote, escaped } = self.state else { return Err(Odd) };
        if length >= MAX_INLINE || byte == 0 || (byte == b'\n' && quote.is_some()) {
            return Err(Odd);
        }
        if byte == b'\n' {
            return Ok(self.take());
        }
        let (mut now, mut open, mut escape) = (inside, quote, false);
        match (quote, byte) {
            (Some(_), _) if escaped => self.keep(&[byte]),
            (Some(b'"'), b'\\') => escape = true,
            (Some(mark), _) if byte == mark => open = None,
            (Some(_), _) => self.keep(&[byte]),
            (None, b' ' | b'\t' | b'\r' | 0x0b | 0x0c) => now = false,
            (None, _) => {
                if !inside {
                    self.count += 1;
                    now = true;
                }
                match byte {
                    b'"' | b'\'' => open = Some(byte),
                    _ => self.keep(&[byte]),
                }
            }
        }
        self.state = State::Inline { length: length + 1, inside: now, quote: open, escaped: escape };
        Ok(None)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let place = usize::try_from(self.count.saturating_sub(1)).unwrap_or(usize::MAX);
        if let Some(word) = self.words.get_mut(place) {
            word.extend(bytes);
        }
    }

    fn take(&mut self) -> Option<Request> {
        let before = std::mem::take(self);
        (before.count > 0).then_some(Request { words: before.words, count: before.count })
    }
}

// === impl Number ===

impl Number {
    /// Takes one byte; at the line end the number, or none for a negative one.
    pub(super) fn step(&mut self, byte: u8) -> Result<Option<Option<u64>>, Odd> {
        match byte {
            b'-' if self.digits == 0 && !self.negative => self.negative = true,
            b'0'..=b'9' if self.digits < MAX_DIGITS && !self.carriage => {
                self.value = self.value * 10 + u64::from(byte - b'0');
                self.digits += 1;
            }
            b'\r' if self.digits > 0 && !self.carriage => self.carriage = true,
            b'\n' if self.carriage => return Ok(Some((!self.negative).then_some(self.value))),
            _ => return Err(Odd),
        }
        Ok(None)
    }
}
