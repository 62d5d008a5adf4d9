//! What a client's packet asks for.

use super::answer::Answer;
use super::fields::Fields;
use crate::observe::sql::{MAX_TEXT, classify};
use crate::observe::statement::Class;

/// One command.
#[derive(Debug)]
pub(super) enum Command {
    Quit,
    Query {
        class: Class,
        verb: Verb,
    },
    Prepare(Class),
    Execute(u32),
    /// Part of a parameter, which has no answer.
    LongData,
    /// The statement is needed no more; no answer.
    Close(u32),
    ChangeUser,
    Other(&'static str, Answer),
}

/// What a statement does to the transaction it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Begin,
    Commit,
    Rollback,
    Other,
}

// === impl Command ===

impl Command {
    /// The command in a packet that begins with `kept`; none for replication, and for what is not known.
    pub(super) fn read(kept: &[u8], attributes: bool) -> Option<Self> {
        let (first, rest) = kept.split_first()?;
        let mut fields = Fields(rest);
        let plain = |name| Some(Self::Other(name, Answer::Plain));
        match first {
            0x01 => Some(Self::Quit),
            0x02 => plain("USE"),
            0x03 => Some(Self::query(fields, attributes)),
            0x04 => Some(Self::Other("FIELD LIST", Answer::Rows)),
            0x05 => plain("CREATE DATABASE"),
            0x06 => plain("DROP DATABASE"),
            0x07 => plain("FLUSH"),
            0x08 => plain("SHUTDOWN"),
            0x09 => Some(Self::Other("STATISTICS", Answer::Text)),
            0x0a => Some(Self::Other("PROCESS LIST", Answer::Result)),
            0x0c => plain("KILL"),
            0x0d => plain("DEBUG"),
            0x0e => plain("PING"),
            0x11 => Some(Self::ChangeUser),
            0x16 => Some(Self::Prepare(classify(text(rest)))),
            // The last is MariaDB's execution with many sets of parameters.
            0x17 | 0xfa => Some(Self::Execute(statement(&mut fields)?)),
            0x18 => Some(Self::LongData),
            0x19 => Some(Self::Close(statement(&mut fields)?)),
            0x1a => plain("RESET STATEMENT"),
            0x1b => plain("SET OPTION"),
            0x1c => Some(Self::Other("FETCH", Answer::Rows)),
            0x1f => plain("RESET CONNECTION"),
            _ => None,
        }
    }

    fn query(mut fields: Fields<'_>, attributes: bool) -> Self {
        if attributes {
            let parameters = fields.sized();
            let sets = fields.sized();
            // Where the text begins depends on the types of the attributes before it; that is not followed.
            if (parameters, sets) != (Some(0), Some(1)) {
                return Self::Query { class: named("QUERY"), verb: Verb::Other };
            }
        }
        let text = text(fields.0);
        Self::Query { class: classify(text), verb: Verb::of(text) }
    }
}

// === impl Verb ===

impl Verb {
    fn of(mut text: &[u8]) -> Self {
        loop {
            text = text.trim_ascii_start();
            let Some(comment) = text.strip_prefix(b"/*") else { break };
            let Some(end) = comment.windows(2).position(|pair| pair == b"*/") else { break };
            text = comment.get(end + 2..).unwrap_or_default();
        }
        let mut words = text.split(|byte| !byte.is_ascii_alphabetic());
        let mut is = |expected: &[u8]| words.next().is_some_and(|word| word.eq_ignore_ascii_case(expected));
        match text.first().map(u8::to_ascii_lowercase) {
            Some(b'b') if is(b"begin") => Self::Begin,
            Some(b's') if is(b"start") && is(b"transaction") => Self::Begin,
            Some(b'c') if is(b"commit") => Self::Commit,
            Some(b'r') if is(b"rollback") => Self::Rollback,
            _ => Self::Other,
        }
    }
}

/// The class of a command without a text.
pub(super) fn named(name: &'static str) -> Class {
    Class { operation: name.into(), collection: "".into(), summary: name.into() }
}

fn statement(fields: &mut Fields<'_>) -> Option<u32> {
    u32::try_from(fields.number(4)?).ok()
}

fn text(bytes: &[u8]) -> &[u8] {
    bytes.get(..MAX_TEXT).unwrap_or(bytes)
}
