//! Whether the first request of a connection was HTTP/1 before another proxy made HTTP/2 of it.

use std::time::Instant;

use super::Odd;
use super::frames::{Reader, Seen};
use crate::observe::Side;

/// What a client has sent before its first request was whole.
#[derive(Debug)]
pub(crate) struct First(Reader);

impl Default for First {
    fn default() -> Self {
        Self(Reader::new(Side::Client, Instant::now()))
    }
}

// === impl First ===

impl First {
    /// Sees `bytes`; tells once the fields of the request are whole. To be told of nothing after that, or after an error.
    pub(crate) fn bytes(&mut self, mut bytes: &[u8]) -> Result<Option<bool>, Odd> {
        while !bytes.is_empty() {
            let (seen, used) = self.0.read(bytes, Instant::now())?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            if let Seen::Fields { fields, .. } = seen {
                return Ok(Some(fields.translated));
            }
        }
        Ok(None)
    }
}
