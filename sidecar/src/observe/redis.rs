//! Redis' RESP2 and RESP3, followed passively: commands, pipelines, transactions and subscriptions.
//!
//! A command is told by its name and nothing else: no key, no value and no argument leaves here, and a name that is not a
//! known one becomes `OTHER`. `BLPOP` and its like are told like any other command, though their time is mostly the wait
//! that the client asked for: whoever judges slowness must leave them out. Messages of subscriptions and the lines of
//! `MONITOR` answer nothing and are skipped. Replication, `CLIENT REPLY` and whatever else leaves questions without answers
//! end the following.

mod commands;
mod errors;
mod reply;
mod request;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::statement::{Class, Decoder, Event, Statement};
use super::transaction::Transaction;
use super::{End, Side};
use reply::{Kind, Replies, Reply};
use request::{Odd, Request, Requests};

/// Commands waiting for an answer on one connection; a client that pipelines more is no longer followed.
const MAX_PENDING: usize = 16 * 1024;
/// The first byte of a TLS record with a handshake in it.
const TLS_HANDSHAKE: u8 = 0x16;

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Redis {
    requests: Requests,
    replies: Replies,
    pending: VecDeque<Pending>,
    /// When the first byte of the connection came, and of the command now being read.
    first: Option<Instant>,
    began: Option<Instant>,
    ready: bool,
    answered: bool,
    silent: bool,
    mode: Mode,
    transaction: Option<Transaction>,
    /// INVARIANT: no more than there are known commands.
    classes: HashMap<&'static str, Class>,
}

/// What the answers so far have made of the connection.
#[derive(Debug, Default)]
struct Mode {
    resp3: bool,
    monitor: bool,
    /// Channels and patterns subscribed to, and shard channels.
    channels: u64,
    shards: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    operation: &'static str,
    asked: Instant,
    /// The first byte of the first of several confirmations.
    answered: Option<Instant>,
    meaning: Meaning,
}

/// What the answer to a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Plain,
    /// So many confirmations are still to come, each beginning with the command's own name.
    Subscription(u64),
    Hello {
        resp3: Option<bool>,
    },
    Monitor,
    Multi,
    Exec,
    Discard,
    Reset,
}

// === impl Decoder for Redis ===

impl Decoder for Redis {
    fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) {
        let Some(first) = bytes.first().filter(|_| !self.silent) else { return };
        if self.first.is_none() && from == Side::Client && *first == TLS_HANDSHAKE {
            self.silent = true;
            return tell(Event::Encrypted);
        }
        self.first.get_or_insert(at);
        let seen = match from {
            Side::Client => self.requests(bytes, at, tell),
            Side::Server => self.replies(bytes, at, tell),
        };
        if seen.is_err() {
            self.stop(tell);
            tell(Event::Opaque);
        }
    }

    fn end(&mut self, _: End, at: Instant, tell: &mut dyn FnMut(Event)) {
        if let Some(transaction) = self.transaction.take() {
            tell(transaction.ended(at, false));
        }
        self.stop(tell);
    }
}

// === impl Redis ===

impl Redis {
    fn requests(&mut self, mut bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        while !bytes.is_empty() && !self.silent {
            let asked = *self.began.get_or_insert(at);
            let (request, used) = self.requests.read(bytes)?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            if self.requests.at_start() {
                self.began = None;
            }
            if let Some(request) = request {
                self.asked(&request, asked, tell)?;
            }
        }
        Ok(())
    }

    fn asked(&mut self, request: &Request, asked: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let [name, subcommand, third] = &request.words;
        let operation = commands::operation(name, subcommand);
        let meaning = match operation {
            "SYNC" | "PSYNC" => return Err(Odd),
            "CLIENT REPLY" if !third.is(b"ON") => return Err(Odd),
            // Without names all are meant; the first confirmation is the answer, and the others are skipped like messages.
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" => {
                Meaning::Subscription(request.count.saturating_sub(1).max(1))
            }
            "HELLO" => Meaning::Hello { resp3: subcommand.text().map(|version| version == b"3") },
            "MONITOR" => Meaning::Monitor,
            "MULTI" => Meaning::Multi,
            "EXEC" => Meaning::Exec,
            "DISCARD" => Meaning::Discard,
            "RESET" => Meaning::Reset,
            _ => Meaning::Plain,
        };
        if self.pending.len() >= MAX_PENDING {
            return Err(Odd);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.asked(asked);
        }
        self.pending.push_back(Pending { operation, asked, answered: None, meaning });
        tell(Event::Asked(asked));
        Ok(())
    }

    fn replies(&mut self, mut bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        while !bytes.is_empty() && !self.silent {
            let (reply, used) = self.replies.read(bytes, at)?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            if let Some(reply) = reply {
                self.reply(&reply, at, tell)?;
            }
        }
        Ok(())
    }

    fn reply(&mut self, reply: &Reply, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        if std::mem::replace(&mut self.answered, true) {
            if self.unasked(reply) {
                return Ok(());
            }
        } else if reply.kind == Kind::Error && errors::refuses(reply.line.bytes()) {
            return self.refused(reply, tell);
        }
        // What began before the question is no answer to it.
        let Some(front) = self.pending.front_mut().filter(|front| front.asked <= reply.began) else {
            return if reply.kind == Kind::Error { self.refused(reply, tell) } else { Err(Odd) };
        };
        let answered = *front.answered.get_or_insert(reply.began);
        if let Meaning::Subscription(left) = &mut front.meaning
            && reply.kind != Kind::Error
        {
            // Queued by `MULTI`, confirmations would lie within the answer to `EXEC`: that is not followed.
            let named = reply.first.is(front.operation.as_bytes());
            let count = reply.number.filter(|_| named).ok_or(Odd)?;
            if front.operation.starts_with("SS") || front.operation.starts_with("SUN") {
                self.mode.shards = count;
            } else {
                self.mode.channels = count;
            }
            *left = left.saturating_sub(1);
            if *left > 0 {
                return Ok(());
            }
        }
        let Some(done) = self.pending.pop_front() else { return Ok(()) };
        let error = match (reply.kind, done.meaning) {
            (Kind::Error, _) | (Kind::Aggregate, Meaning::Exec) => errors::error(reply.line.bytes()),
            _ => None,
        };
        let queued = reply.kind == Kind::Simple && self.transaction.is_some() && reply.line.bytes() == b"QUEUED";
        let rows = if queued || matches!(done.meaning, Meaning::Subscription(_)) { 0 } else { reply.rows() };
        let class = self.class(done.operation);
        if !self.ready && error.is_none_or(|(_, trouble)| !errors::bars(trouble)) {
            self.ready = true;
            tell(Event::Ready { after: at.saturating_duration_since(self.first.unwrap_or(at)) });
        }
        tell(Event::Done(Statement { class, asked: done.asked, answered, ended: at, rows, error }));
        self.changed(&done, reply, at, tell);
        Ok(())
    }

    /// Whether `reply` answers nothing: a message, a late confirmation, a line of `MONITOR`.
    fn unasked(&mut self, reply: &Reply) -> bool {
        if self.mode.monitor && reply.kind == Kind::Simple && reply.line.bytes().first().is_some_and(u8::is_ascii_digit) {
            return true;
        }
        let subscribed = self.mode.channels > 0 || self.mode.shards > 0;
        let pushed = reply.kind == Kind::Push || (reply.kind == Kind::Aggregate && subscribed && !self.mode.resp3);
        let Some(name) = reply.first.text().filter(|_| pushed) else { return pushed && reply.kind == Kind::Push };
        let confirms = matches!(self.pending.front(), Some(Pending { operation, meaning: Meaning::Subscription(_), .. }) if operation.as_bytes() == name);
        match name {
            _ if confirms => return false,
            b"MESSAGE" | b"PMESSAGE" | b"SMESSAGE" => {}
            b"SUBSCRIBE" | b"PSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" => self.mode.channels = reply.number.unwrap_or(self.mode.channels),
            b"SSUBSCRIBE" | b"SUNSUBSCRIBE" => self.mode.shards = reply.number.unwrap_or(self.mode.shards),
            _ => return reply.kind == Kind::Push,
        }
        true
    }

    /// What the answer to `done` means for those that follow.
    fn changed(&mut self, done: &Pending, reply: &Reply, at: Instant, tell: &mut dyn FnMut(Event)) {
        let accepted = reply.kind != Kind::Error;
        // A command queued before `MULTI` came is no part of the transaction.
        let queued = reply.kind == Kind::Simple && reply.line.bytes() == b"QUEUED";
        let ended = match done.meaning {
            Meaning::Multi if accepted && self.transaction.is_none() => {
                self.transaction = Some(Transaction::new(done.asked));
                None
            }
            Meaning::Exec => Some(reply.kind == Kind::Aggregate),
            Meaning::Discard | Meaning::Reset if accepted => Some(false),
            _ => None,
        };
        if let Some(committed) = ended
            && let Some(transaction) = self.transaction.take()
        {
            tell(transaction.ended(at, committed));
        }
        if accepted && !queued {
            match done.meaning {
                Meaning::Hello { resp3: Some(resp3) } => self.mode.resp3 = resp3,
                Meaning::Monitor => self.mode.monitor = true,
                Meaning::Reset => self.mode = Mode::default(),
                _ => {}
            }
        }
        if self.pending.is_empty()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.waits(at);
        }
    }

    fn refused(&mut self, reply: &Reply, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let (code, trouble) = errors::error(reply.line.bytes()).ok_or(Odd)?;
        tell(Event::Refused(code, trouble));
        self.stop(tell);
        Ok(())
    }

    fn class(&mut self, operation: &'static str) -> Class {
        let class = self.classes.entry(operation).or_insert_with(|| {
            let name: Arc<str> = operation.into();
            Class { operation: name.clone(), collection: "".into(), summary: name }
        });
        class.clone()
    }

    /// Forgets what is open, and follows no more.
    fn stop(&mut self, tell: &mut dyn FnMut(Event)) {
        self.pending.drain(..).for_each(|pending| tell(Event::Forgotten(pending.asked)));
        *self = Self { silent: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests;
