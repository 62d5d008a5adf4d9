//! What the messages of one session mean: which answer belongs to which question.
//!
//! The server answers in order, so questions wait in a queue. Names are bound to classes when the server confirms them, as
//! the server itself does; after an error it skips whatever comes before the next `Sync`, and so does this.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::statement::{Class, Code, Event, Statement, Trouble};
use super::framing::{Message, Odd};
use super::names::{Name, Names};
use super::{error, sql};

/// Questions waiting for an answer; a client that pipelines more is no longer followed.
pub(super) const MAX_PENDING: usize = 4096;
const MAX_STATEMENTS: usize = 256;
const MAX_PORTALS: usize = 64;
/// Room for the name before a statement's text.
const NAME: usize = 64;

#[derive(Debug)]
pub(super) struct Session {
    /// When the first byte of the connection came.
    first: Option<Instant>,
    ready: bool,
    pending: VecDeque<Pending>,
    /// The server skips to the next `Sync`, which is still to come.
    skipping: bool,
    /// The client sends rows, during which the server takes no `Sync`.
    copying: bool,
    /// When the first message of the statement being put together began.
    unit: Option<Instant>,
    statements: Names,
    portals: Names,
    answer: Answer,
    /// Answered, but the commit at the `Sync` behind it may still fail.
    finished: Option<Statement>,
    transaction: Option<Transaction>,
    /// When the first statement since the last readiness was asked.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    began: Instant,
    question: Question,
}

#[derive(Debug)]
enum Question {
    Query(Arc<Class>),
    Function,
    Parse {
        statement: Name,
        class: Arc<Class>,
    },
    Bind {
        portal: Name,
        statement: Name,
    },
    DescribeStatement,
    DescribePortal,
    CloseStatement(Name),
    ClosePortal(Name),
    Execute {
        portal: Name,
    },
    Sync,
    /// The end of rows that were sent before they were asked for. It has no answer.
    CopyEnd,
}

/// The answer to the first question, as far as it came.
#[derive(Debug, Default)]
struct Answer {
    began: Option<Instant>,
    /// Rows seen, and rows that the server said it counted.
    seen: u64,
    rows: u64,
    error: Option<(Code, Trouble)>,
}

#[derive(Debug)]
struct Transaction {
    began: Instant,
    idle: Duration,
    /// The server waits for the client since then.
    waiting: Option<Instant>,
}

/// How much of a body that the client sends matters.
pub(super) fn asked(kind: u8) -> usize {
    match kind {
        b'Q' => sql::MAX_TEXT,
        b'P' => sql::MAX_TEXT + NAME,
        b'B' => 4 * NAME,
        b'C' | b'E' | b'D' => 1 + NAME,
        _ => 0,
    }
}

/// How much of a body that the server sends matters.
pub(super) fn answered(kind: u8) -> usize {
    match kind {
        b'E' => 256,
        b'C' => 64,
        b'Z' => 1,
        _ => 0,
    }
}

// === impl Session ===

impl Default for Session {
    fn default() -> Self {
        Self {
            first: None,
            ready: false,
            pending: VecDeque::new(),
            skipping: false,
            copying: false,
            unit: None,
            statements: Names::new(MAX_STATEMENTS),
            portals: Names::new(MAX_PORTALS),
            answer: Answer::default(),
            finished: None,
            transaction: None,
            since: None,
        }
    }
}

impl Session {
    /// The first byte came, if none had come before.
    pub(super) fn begin(&mut self, at: Instant) {
        self.first.get_or_insert(at);
    }

    /// The client sent `message`.
    pub(super) fn asked(&mut self, message: &Message<'_>, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        if !self.ready {
            return if matches!(message.kind, b'p' | b'X') { Ok(()) } else { Err(Odd) };
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.active(message.began);
        }
        let body = message.body;
        let question = match message.kind {
            b'H' | b'd' | b'X' => return Ok(()),
            b'c' | b'f' if std::mem::take(&mut self.copying) || self.pending.is_empty() => return Ok(()),
            b'c' | b'f' => Question::CopyEnd,
            b'S' if self.copying => return Ok(()),
            b'S' => {
                (self.skipping, self.unit) = (false, None);
                Question::Sync
            }
            b'P' | b'B' | b'D' | b'C' | b'E' | b'Q' | b'F' if self.skipping => return Ok(()),
            b'Q' => Question::Query(Arc::new(sql::classify(Message::text(body).0))),
            b'F' => Question::Function,
            b'P' => {
                let (statement, rest) = Message::text(body);
                let class = Arc::new(sql::classify(cut(rest, body.len() < message.length)));
                Question::Parse { statement: Names::name(statement), class }
            }
            b'B' => {
                let (portal, rest) = Message::text(body);
                Question::Bind { portal: Names::name(portal), statement: Names::name(Message::text(rest).0) }
            }
            b'D' if body.first() == Some(&b'S') => Question::DescribeStatement,
            b'D' => Question::DescribePortal,
            b'C' => {
                let (kind, name) = body.split_first().ok_or(Odd)?;
                let name = Names::name(Message::text(name).0);
                if *kind == b'S' { Question::CloseStatement(name) } else { Question::ClosePortal(name) }
            }
            b'E' => Question::Execute { portal: Names::name(Message::text(body).0) },
            _ => return Err(Odd),
        };
        if self.pending.len() >= MAX_PENDING {
            return Err(Odd);
        }
        let began = match question {
            Question::Execute { .. } => self.unit.take().unwrap_or(message.began),
            Question::Parse { .. } | Question::Bind { .. } => *self.unit.get_or_insert(message.began),
            _ => message.began,
        };
        if question.is_statement() {
            tell(Event::Asked(began));
        }
        self.pending.push_back(Pending { began, question });
        Ok(())
    }

    /// The server sent `message`, of which the last byte came at `at`.
    pub(super) fn answered(&mut self, message: &Message<'_>, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        match message.kind {
            // At any time, and about nothing that was asked.
            b'N' | b'S' | b'A' => return Ok(()),
            _ if !self.ready => return self.login(message, at, tell),
            _ => {}
        }
        while matches!(self.pending.front(), Some(Pending { question: Question::CopyEnd, .. })) {
            self.pending.pop_front();
        }
        let failed = (message.kind == b'E').then(|| error(message.body));
        if let Some(mut finished) = self.finished.take() {
            finished.error = failed;
            tell(Event::Done(finished));
            if failed.is_some() {
                return Ok(());
            }
        }
        let Some(Pending { began, question }) = self.pending.front() else {
            let (code, trouble) = failed.ok_or(Odd)?;
            tell(Event::Refused(code, trouble));
            return Ok(());
        };
        let began = *began;
        if question.is_statement() {
            self.answer.began.get_or_insert(message.began);
        }
        match (question, message.kind) {
            (Question::Query(_) | Question::Function, b'E') => {
                self.copying = false;
                self.answer.error = self.answer.error.or(failed);
            }
            (Question::Sync, b'E') => {}
            (_, b'E') => self.skip(failed, message.began, at, tell),
            (Question::Query(_), b'T' | b'D' | b'I' | b'H' | b'd' | b'c') | (Question::Function, b'V') | (Question::Execute { .. }, b'H' | b'd' | b'c') => {}
            (Question::Query(_), b'C') => {
                self.answer.rows = self.answer.rows.saturating_add(rows(message.body));
                self.tag(message.body, began, at, tell);
            }
            (Question::Query(_) | Question::Function, b'Z') => {
                self.done(at, tell);
                self.readiness(message, at, tell)?;
            }
            (Question::Parse { .. }, b'1') | (Question::Bind { .. }, b'2') => self.name(),
            (Question::CloseStatement(_) | Question::ClosePortal(_), b'3') => self.name(),
            (Question::DescribeStatement, b't') => {}
            (Question::DescribeStatement | Question::DescribePortal, b'T' | b'n') => self.name(),
            (Question::Execute { .. }, b'D') => self.answer.seen += 1,
            (Question::Execute { .. }, b'C') => {
                self.answer.rows = rows(message.body);
                self.tag(message.body, began, at, tell);
                self.done(at, tell);
            }
            (Question::Execute { .. }, b's' | b'I') => {
                self.answer.rows = self.answer.seen;
                self.done(at, tell);
            }
            (Question::Query(_) | Question::Execute { .. }, b'G') => self.copy_in(),
            (Question::Query(_) | Question::Execute { .. }, b'W') => {
                self.done(at, tell);
                // A replication stream has a protocol of its own inside.
                return Err(Odd);
            }
            (Question::Sync, b'Z') => {
                self.pending.pop_front();
                self.readiness(message, at, tell)?;
            }
            _ => return Err(Odd),
        }
        Ok(())
    }

    /// The connection is over.
    pub(super) fn end(&mut self, at: Instant, tell: &mut dyn FnMut(Event)) {
        if self.answer.error.is_some() {
            self.done(at, tell);
        }
        self.give_up(tell);
        self.finish(false, at, tell);
    }

    /// Forgets what is open.
    pub(super) fn give_up(&mut self, tell: &mut dyn FnMut(Event)) {
        self.finished.take().map(Event::Done).into_iter().for_each(&mut *tell);
        for pending in self.pending.drain(..).filter(|pending| pending.question.is_statement()) {
            tell(Event::Forgotten(pending.began));
        }
    }

    fn login(&mut self, message: &Message<'_>, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        match message.kind {
            b'R' | b'K' | b'v' => {}
            b'E' => {
                let (code, trouble) = error(message.body);
                tell(Event::Refused(code, trouble));
            }
            b'Z' => {
                self.ready = true;
                tell(Event::Ready { after: at.saturating_duration_since(self.first.unwrap_or(at)) });
            }
            _ => return Err(Odd),
        }
        Ok(())
    }

    /// The first question was confirmed.
    fn name(&mut self) {
        match self.pending.pop_front().map(|pending| pending.question) {
            Some(Question::Parse { statement, class }) => self.statements.set(statement, Some(class)),
            Some(Question::Bind { portal, statement }) => {
                let class = self.statements.get(&statement);
                self.portals.set(portal, class);
            }
            Some(Question::CloseStatement(name)) => self.statements.set(name, None),
            Some(Question::ClosePortal(name)) => self.portals.set(name, None),
            _ => {}
        }
    }

    /// The server asks for rows. Of what is already on its way it takes no `Sync` before their end.
    fn copy_in(&mut self) {
        self.copying = true;
        let mut at = 1;
        while let Some(pending) = self.pending.get(at) {
            match pending.question {
                Question::Sync => {
                    self.pending.remove(at);
                }
                Question::CopyEnd => {
                    self.copying = false;
                    self.pending.remove(at);
                    return;
                }
                _ => at += 1,
            }
        }
    }

    /// The first question failed, and with it all up to the next `Sync`. Only one statement failed; the others were not run.
    fn skip(&mut self, failed: Option<(Code, Trouble)>, first: Instant, at: Instant, tell: &mut dyn FnMut(Event)) {
        self.copying = false;
        let Some(Pending { began, question }) = self.pending.pop_front() else { return };
        let class = self.class(&question);
        let mut asked = question.is_statement().then_some(began);
        while let Some(Pending { began, question }) = self.pending.pop_front_if(|next| !matches!(next.question, Question::Sync)) {
            match asked {
                _ if !question.is_statement() => {}
                Some(_) => tell(Event::Forgotten(began)),
                None => asked = Some(began),
            }
        }
        self.skipping = self.pending.is_empty();
        self.unit = None;
        // What fails while it is prepared is asked and answered at once.
        let asked = asked.unwrap_or_else(|| {
            tell(Event::Asked(began));
            began
        });
        self.answer.error = failed;
        self.answer.began.get_or_insert(first);
        self.answer.rows = self.answer.seen;
        self.since.get_or_insert(asked);
        tell(Event::Done(self.answer.take(class, asked, at)));
    }

    fn done(&mut self, at: Instant, tell: &mut dyn FnMut(Event)) {
        let Some(Pending { began, question }) = self.pending.pop_front() else { return };
        let class = self.class(&question);
        let statement = self.answer.take(class, began, at);
        self.since.get_or_insert(began);
        // The commit of a statement by itself comes with the `Sync`.
        match self.pending.front() {
            Some(Pending { question: Question::Sync, .. }) if statement.error.is_none() => self.finished = Some(statement),
            _ => tell(Event::Done(statement)),
        }
    }

    fn class(&mut self, question: &Question) -> Class {
        let class = match question {
            Question::Query(class) | Question::Parse { class, .. } => Some(class.clone()),
            Question::Bind { statement, .. } => self.statements.get(statement),
            Question::Execute { portal } => self.portals.get(portal),
            Question::Function => Some(Arc::new(Class { operation: "CALL".into(), collection: "".into(), summary: "CALL".into() })),
            _ => None,
        };
        class.map(|class| (*class).clone()).unwrap_or_default()
    }

    /// What a command's tag tells about transactions.
    fn tag(&mut self, tag: &[u8], began: Instant, at: Instant, tell: &mut dyn FnMut(Event)) {
        match Message::text(tag).0 {
            b"BEGIN" | b"START TRANSACTION" => {
                self.transaction.get_or_insert(Transaction { began, idle: Duration::ZERO, waiting: None });
            }
            b"COMMIT" | b"PREPARE TRANSACTION" => self.finish(true, at, tell),
            _ => {}
        }
    }

    fn readiness(&mut self, message: &Message<'_>, at: Instant, tell: &mut dyn FnMut(Event)) -> Result<(), Odd> {
        let since = self.since.take().unwrap_or(at);
        match message.body {
            // A commit would have said so.
            b"I" => self.finish(false, at, tell),
            b"T" | b"E" => {
                let transaction = self.transaction.get_or_insert(Transaction { began: since, idle: Duration::ZERO, waiting: None });
                transaction.waiting = self.pending.is_empty().then_some(at);
            }
            _ => return Err(Odd),
        }
        if self.pending.is_empty() {
            self.pending.shrink_to(64);
        }
        Ok(())
    }

    fn finish(&mut self, committed: bool, at: Instant, tell: &mut dyn FnMut(Event)) {
        if let Some(mut transaction) = self.transaction.take() {
            transaction.active(at);
            let length = at.saturating_duration_since(transaction.began);
            tell(Event::Transaction { length, idle: transaction.idle.min(length), committed });
        }
    }
}

// === impl Question ===

impl Question {
    fn is_statement(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Function | Self::Execute { .. })
    }
}

// === impl Answer ===

impl Answer {
    fn take(&mut self, class: Class, asked: Instant, ended: Instant) -> Statement {
        let Self { began, rows, error, .. } = std::mem::take(self);
        Statement { class, asked, answered: began.unwrap_or(ended), ended, rows, error }
    }
}

// === impl Transaction ===

impl Transaction {
    /// The client is heard from, or the transaction over.
    fn active(&mut self, at: Instant) {
        if let Some(waiting) = self.waiting.take() {
            self.idle += at.saturating_duration_since(waiting);
        }
    }
}

/// The text of a statement that ends with a zero, or that was cut off.
fn cut(body: &[u8], cut: bool) -> &[u8] {
    let text = Message::text(body).0;
    // Cut off where the class sees that it was.
    if cut { text.get(..sql::MAX_TEXT).unwrap_or(text) } else { text }
}

/// The rows that a command's tag counts: its last word, if that is a number.
fn rows(tag: &[u8]) -> u64 {
    let last = Message::text(tag).0.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(last).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
