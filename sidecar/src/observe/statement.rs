//! What a decoded database connection tells, whatever its protocol: statements, transactions and sessions.
//!
//! Field names follow the OpenTelemetry conventions for databases. A statement is told by its class: literals are stripped
//! before a text leaves its decoder, and every text is bounded there. Decoders see a copy of the bytes; what they do not
//! understand makes them give up on the connection for good, because a wrong count is worse than none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{End, Side};

/// Longest `operation` and `collection`, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// Longest `summary`, in bytes.
pub(crate) const MAX_SUMMARY: usize = 256;

/// What kind of statement it was, without a literal in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Class {
    /// `db.operation.name`: `SELECT`, `COPY`, `HGET`; upper case, at most [`MAX_NAME`] bytes.
    pub(crate) operation: Arc<str>,
    /// `db.collection.name`: the first table named, at most [`MAX_NAME`] bytes; empty when there is none.
    pub(crate) collection: Arc<str>,
    /// `db.query.summary`: operations and their targets in order, at most [`MAX_SUMMARY`] bytes.
    pub(crate) summary: Arc<str>,
}

/// `db.response.status_code`: a SQLSTATE, a MySQL error number, or the first word of a Redis error. At most 16 bytes of
/// `A-Z0-9_`, so that no literal fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Code([u8; 16]);

/// What an error means to whoever must repair something, across systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Wrong password, unknown role, no permission to connect.
    Authentication,
    /// The server takes no more connections (`53300`, 1040, `ERR max number of clients`).
    TooManyConnections,
    /// A deadlock or a serialization failure (`40P01`, `40001`, 1213).
    Deadlock,
    /// A lock was not granted in time (`55P03`, 1205).
    LockTimeout,
    /// Written to a replica or in a read-only transaction (`25006`, 1290, 1792, `READONLY`).
    ReadOnly,
    /// Not there yet: starting, loading, shutting down (`57P01`..`57P03`, `LOADING`, `MASTERDOWN`).
    Unavailable,
    /// Another node owns it (`MOVED`, `ASK`, `CLUSTERDOWN`).
    Moved,
    /// Out of memory, disk or another resource (`53xxx` others, 1114, `OOM`).
    Resources,
    /// Cancelled or timed out on purpose (`57014`, 1317, 3024).
    Cancelled,
    /// Any other error: mostly the statement's own fault.
    Other,
}

/// One statement, from the first byte of its question to the last of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) class: Class,
    pub(crate) asked: Instant,
    /// When the first byte of its own answer came.
    pub(crate) answered: Instant,
    /// When its answer was whole.
    pub(crate) ended: Instant,
    /// Rows returned or changed, as the server counts them.
    pub(crate) rows: u64,
    pub(crate) error: Option<(Code, Trouble)>,
}

/// What happened on one connection. Every `Asked` is followed by exactly one `Done` or `Forgotten` with the same instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A statement is on its way since then.
    Asked(Instant),
    Done(Statement),
    /// The connection ended before its answer, or the decoder lost track: neither answered nor failed.
    Forgotten(Instant),
    /// A transaction of several statements ended. `idle` is the part of it in which the server waited for the client.
    Transaction {
        length: Duration,
        idle: Duration,
        committed: bool,
    },
    /// The session can be used, so long after the first byte of the connection.
    Ready {
        after: Duration,
    },
    /// The server refused the session, or ended it, with an error that belongs to no statement.
    Refused(Code, Trouble),
    /// From here on the bytes are the peers' own TLS.
    Encrypted,
    /// The decoder gave up: it follows this connection no more.
    Opaque,
}

/// The decoder of one connection of one protocol.
pub(crate) trait Decoder: std::fmt::Debug + Send {
    /// Sees the next `bytes` that `from` sent, read at `at`. Bounded in time by the length of `bytes` and in memory by a
    /// constant, whatever they are.
    fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event));

    /// The connection is over at `at`.
    fn end(&mut self, end: End, at: Instant, tell: &mut dyn FnMut(Event));
}

// === impl Class ===

impl Class {
    /// Stands for the classes beyond a bound.
    pub(crate) fn other() -> Self {
        Self { operation: "OTHER".into(), ..Self::default() }
    }
}

// === impl Code ===

impl Code {
    /// The code in `text`: its leading `A-Za-z0-9_`, at most 16 of them.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut code = [0; 16];
        let allowed = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
        code.iter_mut().zip(allowed).for_each(|(slot, byte)| *slot = *byte);
        Self(code)
    }

    pub(crate) fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(self.0.get(..length).unwrap_or_default()).unwrap_or_default()
    }
}
