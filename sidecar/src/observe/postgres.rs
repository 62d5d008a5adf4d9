//! PostgreSQL's frontend/backend protocol, version 3, followed passively.
//!
//! It understands the start with its requests for encryption, both query protocols, pipelines, copies and asynchronous
//! messages. Anything odd, also a replication stream, makes the connection opaque for good. Of a body only a bounded
//! beginning is looked at, and of that only a statement's class, a code and counts are kept.

mod framing;
mod names;
mod session;

use std::time::Instant;

use super::statement::{Code, Decoder, Event, Trouble};
use super::{End, Side, sql};
use framing::{Message, Odd, Reader};
use session::Session;

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// The first byte of a TLS handshake, with which newer clients begin at once.
const HANDSHAKE: u8 = 0x16;

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Postgres {
    client: Reader,
    server: Reader,
    phase: Phase,
    session: Session,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// A start packet is to come.
    #[default]
    Start,
    /// Encryption was asked for; one byte answers, this one if it is granted.
    Asked(u8),
    /// Messages with kinds, from the login on.
    Messages,
    /// Nothing more is followed.
    Over,
}

// === impl Postgres ===

impl Decoder for Postgres {
    fn bytes(&mut self, from: Side, mut bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) {
        while !bytes.is_empty() && self.phase != Phase::Over {
            let seen = match from {
                Side::Client => self.client(bytes, at, tell),
                Side::Server => self.server(bytes, at, tell),
            };
            match seen {
                Ok(used) => bytes = bytes.get(used..).unwrap_or_default(),
                Err(Odd) => {
                    self.session.give_up(tell);
                    self.over(Some(Event::Opaque), tell);
                }
            }
        }
    }

    fn end(&mut self, _: End, at: Instant, tell: &mut dyn FnMut(Event)) {
        if self.phase != Phase::Over {
            self.session.end(at, tell);
            self.over(None, tell);
        }
    }
}

impl Postgres {
    fn over(&mut self, last: Option<Event>, tell: &mut dyn FnMut(Event)) {
        last.into_iter().for_each(tell);
        *self = Self { phase: Phase::Over, ..Self::default() };
    }

    fn client(&mut self, bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) -> Result<usize, Odd> {
        match self.phase {
            Phase::Start => {
                if bytes.first() == Some(&HANDSHAKE) && self.client.at_start() {
                    self.over(Some(Event::Encrypted), tell);
                    return Ok(bytes.len());
                }
                self.session.begin(at);
                self.client.kindless = true;
                let (message, used) = self.client.read(bytes, at, |_| 4)?;
                let Some(message) = message else { return Ok(used) };
                let code = message.body.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
                self.phase = match code {
                    TLS => Phase::Asked(b'S'),
                    GSS => Phase::Asked(b'G'),
                    // Its connection carries nothing else, and the statement tells by itself that it was cancelled.
                    CANCEL => Phase::Over,
                    code if code >> 16 == 3 => Phase::Messages,
                    _ => return Err(Odd),
                };
                self.client.kindless = false;
                Ok(used)
            }
            Phase::Messages => {
                let (message, used) = self.client.read(bytes, at, session::asked)?;
                message.map_or(Ok(()), |message| self.session.asked(&message, tell))?;
                Ok(used)
            }
            Phase::Asked(_) | Phase::Over => Err(Odd),
        }
    }

    fn server(&mut self, bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) -> Result<usize, Odd> {
        match (self.phase, bytes.first()) {
            (Phase::Asked(granted), Some(answer)) if granted == *answer => {
                self.over(Some(Event::Encrypted), tell);
                Ok(bytes.len())
            }
            (Phase::Asked(_), Some(b'N')) => {
                self.phase = Phase::Start;
                Ok(1)
            }
            // An error message instead of an answer.
            (Phase::Asked(_), Some(b'E')) => {
                self.phase = Phase::Messages;
                Ok(0)
            }
            (Phase::Messages, _) => {
                let (message, used) = self.server.read(bytes, at, session::answered)?;
                message.map_or(Ok(()), |message| self.session.answered(&message, at, tell))?;
                Ok(used)
            }
            _ => Err(Odd),
        }
    }
}

/// The code of an error and what it means, from the fields of an error message.
fn error(mut fields: &[u8]) -> (Code, Trouble) {
    let mut code: &[u8] = &[];
    while let Some((kind, rest)) = fields.split_first() {
        let (text, rest) = Message::text(rest);
        if *kind == b'C' {
            code = text;
            break;
        }
        fields = rest;
    }
    (Code::of(code), trouble(code))
}

fn trouble(code: &[u8]) -> Trouble {
    match code {
        [b'2', b'8', ..] => Trouble::Authentication,
        b"53300" => Trouble::TooManyConnections,
        b"40001" | b"40P01" => Trouble::Deadlock,
        b"55P03" => Trouble::LockTimeout,
        b"25006" => Trouble::ReadOnly,
        b"57P01" | b"57P02" | b"57P03" => Trouble::Unavailable,
        [b'5', b'3', ..] => Trouble::Resources,
        // Also transactions and sessions that were idle or open for too long.
        b"57014" | b"57P05" | b"25P03" | b"25P04" => Trouble::Cancelled,
        _ => Trouble::Other,
    }
}

#[cfg(test)]
mod live;
#[cfg(test)]
mod tests;
