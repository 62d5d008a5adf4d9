//! The protocol of MySQL and MariaDB, followed passively: logins, statements of text, prepared statements, transactions.
//!
//! Of a client's packet the beginning of a statement's text is looked at and forgotten once it is classified; of a server's
//! packet the counts, the status and an error's number are read. Encryption, compression, replication and whatever is not
//! understood end the following. A `ROLLBACK AND CHAIN` reads like a `ROLLBACK TO`: both leave the transaction open here.

mod answer;
mod command;
mod errors;
mod fields;
mod login;
mod packet;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::sql::MAX_TEXT;
use super::statement::{Class, Decoder, Event, Statement};
use super::transaction::Transaction;
use super::{End, Side};
use answer::{Answer, Meaning, Outcome};
use command::{Command, Verb};
use login::{Capabilities, Response};
use packet::{Odd, Packets};

/// Commands waiting for an answer on one connection; hardly any client sends a second one.
const MAX_PENDING: usize = 256;
/// Prepared statements whose class is remembered; the others are told as `EXECUTE`.
const MAX_PREPARED: usize = 1024;
/// A command's number and what may stand before its text.
const CLIENT_ROOM: usize = MAX_TEXT + 16;
/// A greeting, or an OK packet's numbers.
const SERVER_ROOM: usize = 256;
/// What the number of a statement is where its preparation is not answered yet (MariaDB).
const LAST_PREPARED: u32 = u32::MAX;

/// One connection.
#[derive(Debug)]
pub(crate) struct Mysql {
    phase: Phase,
    client: Packets,
    server: Packets,
    agreed: Capabilities,
    pending: VecDeque<Pending>,
    prepared: HashMap<u32, Class>,
    /// The class of the statement whose preparation was asked last.
    preparing: Class,
    first: Option<Instant>,
    transaction: Option<Transaction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Response {
        offered: Capabilities,
        next: u8,
    },
    /// The next packet, from either side.
    Authentication {
        next: u8,
    },
    Commands,
    /// The client sends a file that a statement asked it for.
    File,
    Silent,
}

#[derive(Debug)]
struct Pending {
    class: Class,
    verb: Verb,
    /// The class of the statement that it prepares.
    prepares: Option<Class>,
    asked: Instant,
    answered: Option<Instant>,
    answer: Answer,
    /// The number of the next packet of its answer.
    next: u8,
    rows: u64,
}

// === impl Decoder for Mysql ===

impl Decoder for Mysql {
    fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) {
        if self.phase == Phase::Silent || bytes.is_empty() {
            return;
        }
        self.first.get_or_insert(at);
        if self.packets(from, bytes, at, tell).is_err() {
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

// === impl Mysql ===

impl Default for Mysql {
    fn default() -> Self {
        Self {
            phase: Phase::Greeting,
            client: Packets::new(CLIENT_ROOM),
            server: Packets::new(SERVER_ROOM),
            agreed: Capabilities::default(),
            pending: VecDeque::new(),
            prepared: HashMap::new(),
            preparing: Class::default(),
            first: None,
            transaction: None,
        }
    }
}

impl Mysql {
    fn packets(&mut self, from: Side, mut bytes: &[u8], at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        while !bytes.is_empty() && self.phase != Phase::Silent {
            let packets = if from == Side::Client { &mut self.client } else { &mut self.server };
            let (whole, used) = packets.read(bytes, at)?;
            bytes = bytes.get(used..).ok_or(Odd)?;
            match from {
                _ if !whole => {}
                Side::Client => self.asked(at, tell)?,
                Side::Server => self.answered(at, tell)?,
            }
        }
        Ok(())
    }

    /// The client's packet is whole.
    fn asked(&mut self, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let (sequence, next) = (self.client.sequence(), self.client.next());
        match self.phase {
            Phase::Response { offered, next: expected } if sequence == expected => {
                match offered.agreed(self.client.kept(), self.client.length())? {
                    Response::Encrypts => {
                        tell(Event::Encrypted);
                        self.stop(tell);
                    }
                    Response::Login(agreed) => {
                        self.agreed = agreed;
                        self.phase = Phase::Authentication { next };
                    }
                }
                Ok(())
            }
            Phase::Authentication { next: expected } if sequence == expected => {
                self.phase = Phase::Authentication { next };
                Ok(())
            }
            Phase::File => {
                let front = self.pending.front_mut().filter(|front| front.next == sequence).ok_or(Odd)?;
                front.next = next;
                if self.client.length() == 0 {
                    self.phase = Phase::Commands;
                }
                Ok(())
            }
            Phase::Commands if sequence == 0 => self.command(self.client.began(at), next, tell),
            _ => Err(Odd),
        }
    }

    fn command(&mut self, asked: Instant, next: u8, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let command = Command::read(self.client.kept(), self.agreed.query_attributes()).ok_or(Odd)?;
        let (mut verb, mut prepares) = (Verb::Other, None);
        let (class, answer) = match command {
            Command::Quit | Command::LongData => return Ok(()),
            Command::Close(statement) => {
                self.prepared.remove(&statement);
                return Ok(());
            }
            Command::Query { class, verb: this } => {
                verb = this;
                (class, Answer::Result)
            }
            Command::Prepare(class) => {
                self.preparing = class.clone();
                prepares = Some(class);
                (command::named("PREPARE"), Answer::Prepared)
            }
            Command::Execute(LAST_PREPARED) => (self.preparing.clone(), Answer::Result),
            Command::Execute(statement) => {
                let class = self.prepared.get(&statement).cloned();
                (class.unwrap_or_else(|| command::named("EXECUTE")), Answer::Result)
            }
            Command::ChangeUser if self.pending.is_empty() => {
                self.phase = Phase::Authentication { next };
                (command::named("CHANGE USER"), Answer::Plain)
            }
            Command::ChangeUser => return Err(Odd),
            Command::Other(name, answer) => (command::named(name), answer),
        };
        if matches!(&*class.operation, "RESET CONNECTION" | "CHANGE USER") {
            self.prepared.clear();
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(Odd);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.asked(asked);
        }
        self.pending.push_back(Pending { class, verb, prepares, asked, answered: None, answer, next, rows: 0 });
        tell(Event::Asked(asked));
        Ok(())
    }

    /// The server's packet is whole.
    fn answered(&mut self, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let (sequence, next) = (self.server.sequence(), self.server.next());
        let first = *self.server.kept().first().ok_or(Odd)?;
        match self.phase {
            Phase::Greeting if first == 0xff => self.refused(tell),
            Phase::Greeting => {
                self.phase = Phase::Response { offered: Capabilities::offered(self.server.kept())?, next };
                Ok(())
            }
            Phase::Authentication { next: expected } if sequence == expected => match (first, self.pending.is_empty()) {
                (0, true) => {
                    self.phase = Phase::Commands;
                    tell(Event::Ready { after: at.saturating_duration_since(self.first.unwrap_or(at)) });
                    Ok(())
                }
                (0xff, true) => self.refused(tell),
                (0 | 0xff, false) => {
                    if let Some(front) = self.pending.front_mut() {
                        front.next = sequence;
                    }
                    self.phase = Phase::Commands;
                    self.statement(at, tell)
                }
                _ => {
                    self.phase = Phase::Authentication { next };
                    Ok(())
                }
            },
            Phase::Commands if self.pending.is_empty() && first == 0xff => self.refused(tell),
            Phase::Response { .. } if first == 0xff => self.refused(tell),
            Phase::Commands => self.statement(at, tell),
            // The server may have had enough of a file before its end.
            _ => Err(Odd),
        }
    }

    fn statement(&mut self, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let alone = self.pending.len() == 1;
        let front = self.pending.front_mut().filter(|front| front.next == self.server.sequence()).ok_or(Odd)?;
        front.next = self.server.next();
        front.answered.get_or_insert(self.server.began(at));
        match front.answer.step(self.server.kept(), self.server.length(), self.agreed)? {
            Meaning::More(rows) => front.rows = front.rows.saturating_add(rows),
            Meaning::Infile if alone => self.phase = Phase::File,
            Meaning::Infile => return Err(Odd),
            Meaning::Prepared { statement, ended } => {
                if let Some(class) = front.prepares.take()
                    && (self.prepared.len() < MAX_PREPARED || self.prepared.contains_key(&statement))
                {
                    self.prepared.insert(statement, class);
                }
                if ended {
                    self.done(Outcome::default(), None, at, tell);
                }
            }
            Meaning::Ended(outcome) => self.done(outcome, None, at, tell),
            Meaning::Failed(number) => self.done(Outcome::default(), Some(number), at, tell),
        }
        Ok(())
    }

    fn done(&mut self, outcome: Outcome, failed: Option<u16>, at: Instant, tell: &mut dyn FnMut(Event)) {
        let Some(done) = self.pending.pop_front() else { return };
        tell(Event::Done(Statement {
            class: done.class,
            asked: done.asked,
            answered: done.answered.unwrap_or(at),
            ended: at,
            rows: done.rows.saturating_add(outcome.rows),
            error: failed.map(errors::error),
        }));
        // A deadlock rolls the transaction back; after other errors the next answer says what became of it.
        let open = if failed == Some(errors::DEADLOCK) { Some(false) } else { outcome.transaction };
        let chained = failed.is_none() && matches!(done.verb, Verb::Commit | Verb::Begin) && open == Some(true);
        if let Some(transaction) = self.transaction.take_if(|_| open == Some(false) || chained) {
            tell(transaction.ended(at, failed.is_none() && done.verb != Verb::Rollback));
        }
        if open == Some(true) && self.transaction.is_none() {
            self.transaction = Some(Transaction::new(done.asked));
        }
        if self.pending.is_empty()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.waits(at);
        }
    }

    fn refused(&mut self, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let (code, trouble) = errors::error(errors::number(self.server.kept()).ok_or(Odd)?);
        tell(Event::Refused(code, trouble));
        self.stop(tell);
        Ok(())
    }

    /// Forgets what is open, and follows no more.
    fn stop(&mut self, tell: &mut dyn FnMut(Event)) {
        self.pending.drain(..).for_each(|pending| tell(Event::Forgotten(pending.asked)));
        *self = Self { phase: Phase::Silent, ..Self::default() };
    }
}

#[cfg(test)]
mod tests;
