//! What server and client agree on when a session begins.

use super::fields::Fields;
use super::packet::Odd;

const PROTOCOL: u64 = 10;
/// The length of an `SSLRequest`: a response that stops before the name of the user.
const SSL_REQUEST: u64 = 32;

const COMPRESS: u64 = 1 << 5;
const PROTOCOL_41: u64 = 1 << 9;
const SSL: u64 = 1 << 11;
const DEPRECATE_EOF: u64 = 1 << 24;
const OPTIONAL_METADATA: u64 = 1 << 25;
const ZSTD: u64 = 1 << 26;
const QUERY_ATTRIBUTES: u64 = 1 << 27;
/// Not set by those that have MariaDB's capabilities, which are told in 32 more bits.
const MYSQL: u64 = 1;
const PROGRESS: u64 = 1 << 32;
const CACHE_METADATA: u64 = 1 << 36;

/// What both sides can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

/// What the client answered to the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Encrypts,
    Login(Capabilities),
}

// === impl Capabilities ===

impl Capabilities {
    /// What the server offers in its greeting.
    pub(super) fn offered(greeting: &[u8]) -> Result<Self, Odd> {
        let mut fields = Fields(greeting);
        let mut read = || {
            let protocol = fields.number(1)?;
            fields.terminated()?;
            // The connection's number, the first part of the scramble, and a zero.
            fields.take(13)?;
            let low = fields.number(2)?;
            fields.take(3)?;
            let high = fields.number(2)?;
            fields.take(7)?;
            let more = fields.number(4)?;
            Some((protocol, low | high << 16, more))
        };
        let (protocol, offered, more) = read().ok_or(Odd)?;
        if protocol != PROTOCOL {
            return Err(Odd);
        }
        Ok(Self(extended(offered, more)))
    }

    /// What the client makes of it in a response of `length` bytes.
    pub(super) fn agreed(self, response: &[u8], length: u64) -> Result<Response, Odd> {
        let mut fields = Fields(response);
        let mut read = || {
            let wanted = fields.number(4)?;
            // Its longest packet, its character set, and zeroes.
            fields.take(24)?;
            Some((wanted, fields.number(4)?))
        };
        let (wanted, more) = read().ok_or(Odd)?;
        let agreed = Self(extended(wanted, more) & self.0);
        if agreed.has(SSL) && length == SSL_REQUEST {
            return Ok(Response::Encrypts);
        }
        // Compressed packets are framed otherwise, and the others say what is left out in a place of its own.
        if !agreed.has(PROTOCOL_41) || agreed.has(COMPRESS) || agreed.has(ZSTD) || agreed.has(OPTIONAL_METADATA) {
            return Err(Odd);
        }
        Ok(Response::Login(agreed))
    }

    /// Rows end with an OK packet rather than EOF, and column definitions with nothing.
    pub(super) fn deprecates_eof(self) -> bool {
        self.has(DEPRECATE_EOF)
    }

    pub(super) fn query_attributes(self) -> bool {
        self.has(QUERY_ATTRIBUTES)
    }

    /// A result says whether its column definitions follow.
    pub(super) fn caches_metadata(self) -> bool {
        self.has(CACHE_METADATA)
    }

    /// The server may tell of its progress before an answer.
    pub(super) fn progress(self) -> bool {
        self.has(PROGRESS)
    }

    fn has(self, capability: u64) -> bool {
        self.0 & capability != 0
    }
}

fn extended(capabilities: u64, more: u64) -> u64 {
    if capabilities & MYSQL == 0 { capabilities | more << 32 } else { capabilities }
}
