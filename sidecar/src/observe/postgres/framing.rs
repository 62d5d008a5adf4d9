//! Where one message of the protocol ends and the next begins, for one direction.
//!
//! A body is skipped by its length; only the beginning of those that matter is kept.

use std::time::Instant;

/// The server's own limit of a start packet.
const MAX_START: usize = 10_000;
/// No message is longer.
const MAX_LENGTH: u32 = 0x4000_0000;

/// A whole message; of its body only what was to be kept.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) length: usize,
    pub(super) body: &'a [u8],
    /// When its first byte came.
    pub(super) began: Instant,
}

/// The stream is not this protocol.
#[derive(Debug)]
pub(super) struct Odd;

#[derive(Debug, Default)]
pub(super) struct Reader {
    header: [u8; 5],
    have: usize,
    /// Bytes of the body still to come, once the header is whole.
    left: usize,
    length: usize,
    keep: usize,
    kept: Vec<u8>,
    began: Option<Instant>,
    /// Start packets have no kind.
    pub(super) kindless: bool,
}

// === impl Reader ===

impl Reader {
    /// No byte of a next message has been taken.
    pub(super) fn at_start(&self) -> bool {
        self.began.is_none()
    }

    /// Takes some of `bytes`, which is not empty, and says how many; `keep` is how much of a kind's body matters.
    pub(super) fn read<'a>(&'a mut self, bytes: &'a [u8], at: Instant, keep: fn(u8) -> usize) -> Result<(Option<Message<'a>>, usize), Odd> {
        let began = *self.began.get_or_insert(at);
        let first = usize::from(self.kindless);
        let mut used = 0;
        if self.have == 0 {
            self.header = [0; 5];
            self.have = first;
        }
        if self.have < self.header.len() {
            while let (Some(slot), Some(byte)) = (self.header.get_mut(self.have), bytes.get(used)) {
                *slot = *byte;
                (self.have, used) = (self.have + 1, used + 1);
            }
            if self.have < self.header.len() {
                return Ok((None, used));
            }
            let [kind, length @ ..] = self.header;
            let length = u32::from_be_bytes(length);
            if !(4..=MAX_LENGTH).contains(&length) {
                return Err(Odd);
            }
            self.length = length as usize - 4;
            if self.kindless && !(4..=MAX_START).contains(&self.length) {
                return Err(Odd);
            }
            self.left = self.length;
            self.keep = keep(kind).min(self.length);
            self.kept.clear();
        }
        let rest = bytes.get(used..).unwrap_or_default();
        let taken = rest.len().min(self.left);
        let whole = self.left == self.length && taken == self.length;
        if !whole {
            let wanted = self.keep.saturating_sub(self.kept.len()).min(taken);
            self.kept.extend_from_slice(rest.get(..wanted).unwrap_or_default());
        }
        self.left -= taken;
        used += taken;
        if self.left > 0 {
            return Ok((None, used));
        }
        (self.have, self.began) = (0, None);
        let body = if whole { rest.get(..self.keep).unwrap_or_default() } else { &self.kept };
        Ok((Some(Message { kind: self.header[0], length: self.length, body, began }), used))
    }
}

// === impl Message ===

impl<'a> Message<'a> {
    /// The text up to the next zero, and what is behind that. A text cut by what is kept goes to the end.
    pub(super) fn text(body: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        match body.iter().position(|byte| *byte == 0) {
            Some(end) => (body.get(..end).unwrap_or_default(), body.get(end + 1..).unwrap_or_default()),
            None => (body, &[]),
        }
    }
}
