//! What the decoders told of one database peer in a window: statements by class, errors by code, transactions, sessions.
//!
//! Bounded: classes and codes beyond a fixed number share one entry, so that a client that builds its statements from
//! values costs no more than another.

use std::collections::{BTreeMap, HashMap};

use assent_api::proto;

use super::super::histogram::Histogram;
use super::super::statement::{Class, Code, Event, Statement, Trouble};

/// Classes of statements per peer and window.
const MAX_CLASSES: usize = 64;
/// Different codes per class.
const MAX_CODES: usize = 8;

/// Counts of one class.
#[derive(Debug, Default)]
struct Statements {
    ended: u64,
    rows: u64,
    duration: Histogram,
    first_answer: Histogram,
    errors: Errors,
}

#[derive(Debug, Default)]
struct Errors(BTreeMap<(Code, Trouble), u64>);

/// One peer's window.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    statements: HashMap<Class, Statements>,
    ready: Histogram,
    refusals: Errors,
    encrypted: u64,
    opaque: u64,
    committed: u64,
    rolled_back: u64,
    transactions: Histogram,
    idle_us: u64,
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn tell(&mut self, event: Event) {
        match event {
            Event::Asked(_) | Event::Forgotten(_) => {}
            Event::Done(statement) => self.statement(statement),
            Event::Transaction { length, idle, committed } => {
                if committed {
                    self.committed += 1;
                } else {
                    self.rolled_back += 1;
                }
                self.transactions.record(length);
                self.idle_us = self.idle_us.saturating_add(u64::try_from(idle.as_micros()).unwrap_or(u64::MAX));
            }
            Event::Ready { after } => self.ready.record(after),
            Event::Refused(code, trouble) => self.refusals.add(code, trouble),
            Event::Encrypted => self.encrypted += 1,
            Event::Opaque => self.opaque += 1,
        }
    }

    fn statement(&mut self, statement: Statement) {
        let room = self.statements.len() < MAX_CLASSES || self.statements.contains_key(&statement.class);
        let class = if room { statement.class } else { Class::other() };
        let statements = self.statements.entry(class).or_default();
        statements.ended += 1;
        statements.rows = statements.rows.saturating_add(statement.rows);
        statements.duration.record(statement.ended.saturating_duration_since(statement.asked));
        statements.first_answer.record(statement.answered.saturating_duration_since(statement.asked));
        if let Some((code, trouble)) = statement.error {
            statements.errors.add(code, trouble);
        }
    }

    /// Adds what was told to `flow`.
    pub(super) fn write(self, flow: &mut proto::DatabaseFlow) {
        flow.statements = self.statements.into_iter().map(|(class, counts)| wire(&class, &counts)).collect();
        flow.ready_us = self.ready.wire();
        flow.refusals = self.refusals.wire();
        flow.encrypted = self.encrypted;
        flow.opaque = self.opaque;
        flow.committed = self.committed;
        flow.rolled_back = self.rolled_back;
        flow.transaction_us = self.transactions.wire();
        flow.idle_in_transaction_us = self.idle_us;
    }
}

fn wire(class: &Class, counts: &Statements) -> proto::DatabaseStatement {
    proto::DatabaseStatement {
        operation: class.operation.to_string(),
        collection: class.collection.to_string(),
        summary: class.summary.to_string(),
        ended: counts.ended,
        rows: counts.rows,
        duration_us: counts.duration.wire(),
        first_answer_us: counts.first_answer.wire(),
        errors: counts.errors.wire(),
    }
}

// === impl Errors ===

impl Errors {
    fn add(&mut self, code: Code, trouble: Trouble) {
        let room = self.0.len() < MAX_CODES || self.0.contains_key(&(code, trouble));
        let code = if room { code } else { Code::of(b"OTHER") };
        *self.0.entry((code, trouble)).or_default() += 1;
    }

    fn wire(&self) -> Vec<proto::DatabaseError> {
        let error = |((code, trouble), count): (&(Code, Trouble), &u64)| proto::DatabaseError {
            code: code.as_str().to_owned(),
            trouble: proto::DatabaseTrouble::from(*trouble).into(),
            count: *count,
        };
        self.0.iter().map(error).collect()
    }
}

// === impl Trouble ===

impl From<Trouble> for proto::DatabaseTrouble {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Authentication => Self::Authentication,
            Trouble::TooManyConnections => Self::TooManyConnections,
            Trouble::Deadlock => Self::Deadlock,
            Trouble::LockTimeout => Self::LockTimeout,
            Trouble::ReadOnly => Self::ReadOnly,
            Trouble::Unavailable => Self::Unavailable,
            Trouble::Moved => Self::Moved,
            Trouble::Resources => Self::Resources,
            Trouble::Cancelled => Self::Cancelled,
            Trouble::Other => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn done(summary: &str, ms: u64, code: Option<&str>) -> Event {
        let asked = Instant::now();
        Event::Done(Statement {
            class: Class { operation: "SELECT".into(), collection: "orders".into(), summary: summary.into() },
            asked,
            answered: asked + Duration::from_millis(ms / 2),
            ended: asked + Duration::from_millis(ms),
            rows: 2,
            error: code.map(|code| (Code::of(code.as_bytes()), Trouble::Deadlock)),
        })
    }

    #[test]
    fn statements_are_counted_by_class_and_errors_by_code() {
        let mut sessions = Sessions::default();
        [done("SELECT orders", 4, None), done("SELECT orders", 8, Some("40P01"))].into_iter().for_each(|event| sessions.tell(event));
        sessions.tell(Event::Transaction { length: Duration::from_millis(9), idle: Duration::from_millis(3), committed: false });
        sessions.tell(Event::Refused(Code::of(b"53300"), Trouble::TooManyConnections));
        let mut flow = proto::DatabaseFlow::default();
        sessions.write(&mut flow);
        let [statement] = flow.statements.as_slice() else { panic!("{flow:?}") };
        assert_eq!((statement.ended, statement.rows, statement.duration_us.as_ref().unwrap().sum), (2, 4, 12_000));
        assert_eq!(statement.first_answer_us.as_ref().unwrap().sum, 6_000);
        assert_eq!((statement.errors[0].code.as_str(), statement.errors[0].count), ("40P01", 1));
        assert_eq!((flow.rolled_back, flow.committed, flow.idle_in_transaction_us), (1, 0, 3_000));
        assert_eq!(flow.refusals[0].trouble(), proto::DatabaseTrouble::TooManyConnections);
    }

    #[test]
    fn classes_and_codes_beyond_the_bound_share_one_entry() {
        let mut sessions = Sessions::default();
        for number in 0..500 {
            sessions.tell(done(&format!("SELECT t{number}"), 1, None));
            sessions.tell(done("SELECT orders", 1, Some(&format!("E{number}"))));
        }
        let mut flow = proto::DatabaseFlow::default();
        sessions.write(&mut flow);
        assert_eq!(flow.statements.len(), MAX_CLASSES + 1);
        assert_eq!(flow.statements.iter().map(|statement| statement.ended).sum::<u64>(), 1_000);
        let most = flow.statements.iter().map(|statement| statement.errors.len()).max();
        assert_eq!(most, Some(MAX_CODES + 1));
    }
}
