//! The packets that answer one command, from the first to the last.

use super::errors;
use super::fields::Fields;
use super::login::Capabilities;
use super::packet::Odd;

/// More columns than either server can make.
const MAX_COLUMNS: u64 = 65_535;
/// A packet as long as this that begins with `0xfe` is a row with a very long value.
const LONG_VALUE: u64 = 0xff_ffff;
/// EOF packets, and OK packets in their place, are shorter than this where one column is not a row.
const EOF_LENGTH: u64 = 9;
/// Warnings and status; an OK packet is longer.
const EOF_PACKET: u64 = 5;

const IN_TRANSACTION: u64 = 1;
const MORE_RESULTS: u64 = 1 << 3;
const CURSOR: u64 = 1 << 6;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// One OK, EOF or error.
    Plain,
    /// One text.
    Text,
    /// The first packet of a result.
    Result,
    /// The end of what the client sends of its own file.
    Infile,
    /// So many column definitions of a result.
    Columns(u64),
    ColumnsEnd,
    Rows,
    /// The first packet about a statement that was prepared.
    Prepared,
    /// So many definitions of its parameters, and of its columns after them.
    Definitions {
        left: u64,
        then: u64,
    },
    DefinitionsEnd {
        then: u64,
    },
}

/// What one packet meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// More is to come, after so many rows.
    More(u64),
    /// The client now sends a file.
    Infile,
    /// The number of the statement that was prepared; more may be to come.
    Prepared {
        statement: u32,
        ended: bool,
    },
    Ended(Outcome),
    Failed(u16),
}

/// What the last packet of an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) rows: u64,
    /// Whether a transaction is open now, where the server says so.
    pub(super) transaction: Option<bool>,
}

// === impl Answer ===

impl Answer {
    /// The server's next packet, of which `kept` is the beginning.
    pub(super) fn step(&mut self, kept: &[u8], length: u64, agreed: Capabilities) -> Result<Meaning, Odd> {
        let first = *kept.first().ok_or(Odd)?;
        if first == 0xff {
            let number = errors::number(kept).ok_or(Odd)?;
            let progress = number == errors::PROGRESS && agreed.progress();
            return Ok(if progress { Meaning::More(0) } else { Meaning::Failed(number) });
        }
        let eof = first == 0xfe && length < EOF_LENGTH;
        match *self {
            Self::Text => Ok(Meaning::Ended(Outcome::default())),
            Self::Plain | Self::Infile if first == 0 => self.ok(kept),
            Self::Plain if first == 0xfe => self.end(kept, length, agreed),
            Self::Result => match first {
                0 => self.ok(kept),
                0xfb => {
                    *self = Self::Infile;
                    Ok(Meaning::Infile)
                }
                _ => self.columns(kept, length, agreed),
            },
            Self::Columns(left) => {
                *self = match left {
                    2.. => Self::Columns(left - 1),
                    _ if agreed.deprecates_eof() => Self::Rows,
                    _ => Self::ColumnsEnd,
                };
                Ok(Meaning::More(0))
            }
            Self::ColumnsEnd if eof => {
                let status = Fields(kept.get(3..).unwrap_or_default()).number(2).ok_or(Odd)?;
                *self = Self::Rows;
                // The rows of a cursor are fetched by commands of their own.
                if status & CURSOR != 0 { self.status(0, status) } else { Ok(Meaning::More(0)) }
            }
            Self::Rows if first == 0xfe && length < LONG_VALUE && (agreed.deprecates_eof() || eof) => self.end(kept, length, agreed),
            Self::Rows => Ok(Meaning::More(1)),
            Self::Prepared if first == 0 => self.prepared(kept),
            Self::Definitions { left: 2.., .. } => {
                if let Self::Definitions { left, .. } = self {
                    *left -= 1;
                }
                Ok(Meaning::More(0))
            }
            Self::Definitions { then, .. } if agreed.deprecates_eof() => Ok(self.defined(then)),
            Self::Definitions { then, .. } => {
                *self = Self::DefinitionsEnd { then };
                Ok(Meaning::More(0))
            }
            Self::DefinitionsEnd { then } if eof => Ok(self.defined(then)),
            _ => Err(Odd),
        }
    }

    fn columns(&mut self, kept: &[u8], length: u64, agreed: Capabilities) -> Result<Meaning, Odd> {
        let mut fields = Fields(kept);
        let columns = fields.sized().filter(|columns| (1..=MAX_COLUMNS).contains(columns)).ok_or(Odd)?;
        let follow = !agreed.caches_metadata() || fields.number(1).ok_or(Odd)? != 0;
        if !fields.0.is_empty() || length != kept.len() as u64 {
            return Err(Odd);
        }
        *self = match follow {
            true => Self::Columns(columns),
            false if agreed.deprecates_eof() => Self::Rows,
            false => Self::ColumnsEnd,
        };
        Ok(Meaning::More(0))
    }

    fn prepared(&mut self, kept: &[u8]) -> Result<Meaning, Odd> {
        let mut fields = Fields(kept.get(1..).unwrap_or_default());
        let mut read = || Some((fields.number(4)?, fields.number(2)?, fields.number(2)?));
        let (statement, columns, parameters) = read().ok_or(Odd)?;
        let statement = u32::try_from(statement).map_err(|_| Odd)?;
        let (left, then) = if parameters > 0 { (parameters, columns) } else { (columns, 0) };
        *self = Self::Definitions { left, then };
        Ok(Meaning::Prepared { statement, ended: left == 0 })
    }

    /// The definitions of one kind are all there.
    fn defined(&mut self, then: u64) -> Meaning {
        *self = Self::Definitions { left: then, then: 0 };
        if then == 0 { Meaning::Ended(Outcome::default()) } else { Meaning::More(0) }
    }

    /// An OK packet: rows changed, the last number given, the status.
    fn ok(&mut self, kept: &[u8]) -> Result<Meaning, Odd> {
        let mut fields = Fields(kept.get(1..).unwrap_or_default());
        let mut read = || {
            let rows = fields.sized()?;
            fields.sized()?;
            Some((rows, fields.number(2)?))
        };
        let (rows, status) = read().ok_or(Odd)?;
        self.status(rows, status)
    }

    /// What ends rows: an EOF packet, or an OK packet in its place.
    fn end(&mut self, kept: &[u8], length: u64, agreed: Capabilities) -> Result<Meaning, Odd> {
        if agreed.deprecates_eof() && length != EOF_PACKET {
            return self.ok(kept);
        }
        let status = Fields(kept.get(3..).unwrap_or_default()).number(2).ok_or(Odd)?;
        self.status(0, status)
    }

    fn status(&mut self, rows: u64, status: u64) -> Result<Meaning, Odd> {
        if status & MORE_RESULTS != 0 {
            *self = Self::Result;
            return Ok(Meaning::More(rows));
        }
        Ok(Meaning::Ended(Outcome { rows, transaction: Some(status & IN_TRANSACTION != 0) }))
    }
}
