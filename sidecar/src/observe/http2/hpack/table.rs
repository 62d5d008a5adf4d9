//! The static table, and a dynamic one that knows of each entry what it means and how long it was.

use std::collections::VecDeque;

use super::{Field, Name, Odd, Text};

/// The default of `SETTINGS_HEADER_TABLE_SIZE`.
const MAX_SIZE: u32 = 4096;
/// What each entry counts beside its name and value: no table holds more than 128 of them.
const OVERHEAD: u32 = 32;

#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: u32,
    limit: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    field: Field,
    name_length: u16,
    size: u16,
}

const _: () = assert!(size_of::<Entry>() <= 8, "two tables are 2 KiB");

// === impl Table ===

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: MAX_SIZE }
    }
}

impl Table {
    pub(super) fn field(&self, index: u32) -> Result<Field, Odd> {
        match fixed(index) {
            Some((name, value)) => Ok(Field::new(Name::of(&name.into()), &Text::from(value))),
            None => self.entry(index).map(|entry| entry.field),
        }
    }

    /// The name at `index`, and its length.
    pub(super) fn name(&self, index: u32) -> Result<(Name, u32), Odd> {
        match fixed(index) {
            Some((name, _)) => Ok((Name::of(&name.into()), name.len() as u32)),
            None => self.entry(index).map(|entry| (entry.field.name, entry.name_length.into())),
        }
    }

    pub(super) fn insert(&mut self, field: Field, name_length: u32, value_length: u32) {
        let size = OVERHEAD.saturating_add(name_length).saturating_add(value_length);
        self.shrink(self.limit.saturating_sub(size));
        // One that is larger than the table empties it, and that is no error.
        if size <= self.limit
            && let (Ok(name_length), Ok(short)) = (u16::try_from(name_length), u16::try_from(size))
        {
            self.entries.push_front(Entry { field, name_length, size: short });
            self.size += size;
        }
    }

    pub(super) fn resize(&mut self, limit: u32) -> Result<(), Odd> {
        if limit > MAX_SIZE {
            return Err(Odd);
        }
        self.limit = limit;
        self.shrink(limit);
        Ok(())
    }

    fn shrink(&mut self, size: u32) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= u32::from(oldest.size);
        }
    }

    fn entry(&self, index: u32) -> Result<&Entry, Odd> {
        let place = (index as usize).checked_sub(STATIC.len() + 1).ok_or(Odd)?;
        self.entries.get(place).ok_or(Odd)
    }
}

/// The entry of the static table, which counts from 1.
fn fixed(index: u32) -> Option<(&'static str, &'static str)> {
    STATIC.get((index as usize).checked_sub(1)?).copied()
}

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
