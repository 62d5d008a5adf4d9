//! Where one MySQL packet ends and the next begins. Of its payload only a bounded beginning is kept.

use std::time::Instant;

const HEADER: usize = 4;
/// A part as long as this is continued by the next.
const FULL: usize = 0xff_ffff;

/// The stream is not one of MySQL packets, or its order is not kept.
#[derive(Debug)]
pub(super) struct Odd;

/// Reads packets out of one side's bytes.
#[derive(Debug)]
pub(super) struct Packets {
    /// Bytes of a payload that are kept.
    room: usize,
    header: [u8; HEADER],
    filled: usize,
    /// Bytes left of the part, and whether another follows it.
    left: usize,
    continued: bool,
    kept: Vec<u8>,
    length: u64,
    first: Option<u8>,
    last: u8,
    began: Option<Instant>,
    whole: bool,
}

// === impl Packets ===

impl Packets {
    pub(super) fn new(room: usize) -> Self {
        Self { room, header: [0; HEADER], filled: 0, left: 0, continued: false, kept: Vec::new(), length: 0, first: None, last: 0, began: None, whole: false }
    }

    /// Takes at least one of `bytes`, which is not empty and was read at `at`, and says how many. The packet is whole only
    /// where it says so, and until it is called again.
    pub(super) fn read(&mut self, bytes: &[u8], at: Instant) -> Result<(bool, usize), Odd> {
        if std::mem::take(&mut self.whole) {
            self.kept.clear();
            (self.length, self.first, self.began) = (0, None, None);
        }
        self.began.get_or_insert(at);
        let mut used = 0;
        while let Some(rest) = bytes.get(used..)
            && let Some(byte) = rest.first()
        {
            if let Some(slot) = self.header.get_mut(self.filled) {
                *slot = *byte;
                self.filled += 1;
                used += 1;
                if self.filled == HEADER {
                    self.begin()?;
                }
            } else {
                let taken = self.left.min(rest.len());
                let room = self.room.saturating_sub(self.kept.len()).min(taken);
                self.kept.extend_from_slice(rest.get(..room).unwrap_or_default());
                self.left -= taken;
                self.length += taken as u64;
                used += taken;
            }
            if self.filled == HEADER && self.left == 0 {
                self.filled = 0;
                if !self.continued {
                    self.whole = true;
                    return Ok((true, used));
                }
            }
        }
        Ok((false, used))
    }

    /// A part's header is whole.
    fn begin(&mut self) -> Result<(), Odd> {
        let [low, middle, high, sequence] = self.header;
        self.left = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        self.continued = self.left == FULL;
        match self.first {
            None => self.first = Some(sequence),
            Some(_) if sequence == self.next() => {}
            Some(_) => return Err(Odd),
        }
        self.last = sequence;
        Ok(())
    }

    /// The beginning of the payload.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// How long the payload is.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The number of its first part.
    pub(super) fn sequence(&self) -> u8 {
        self.first.unwrap_or_default()
    }

    /// The number of what follows it, from either side.
    pub(super) fn next(&self) -> u8 {
        self.last.wrapping_add(1)
    }

    /// When its first byte came, or else `at`.
    pub(super) fn began(&self, at: Instant) -> Instant {
        self.began.unwrap_or(at)
    }
}
