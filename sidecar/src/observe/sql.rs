//! From a SQL text to its class: operation, first table, summary. No literal, comment or parameter survives.
//!
//! It reads names only where a table must stand and verbs only from a list; everything else is skipped. It is no parser: a
//! text that no server would accept also has a class. Time is linear in the text, of which only [`MAX_TEXT`] bytes count.

mod lexer;
mod words;

use super::statement::{Class, MAX_NAME, MAX_SUMMARY};
use lexer::{Token, Tokens};
use words::{CLAUSES, DEFINE, MODIFIERS, OBJECTS, OTHER, PLAIN, RESERVED};

/// Bytes of a statement's text that are looked at.
pub(crate) const MAX_TEXT: usize = 4096;
/// Names of common table expressions told apart from tables.
const MAX_EXPRESSIONS: usize = 16;
/// The class of the statement in `text`, of which the caller keeps at most [`MAX_TEXT`] bytes.
pub(crate) fn classify(text: &[u8]) -> Class {
    let mut reading = Reading::default();
    for token in Tokens::new(text.get(..MAX_TEXT).unwrap_or(text), text.len() >= MAX_TEXT) {
        if reading.over {
            break;
        }
        reading.token(token);
    }
    reading.end_statement();
    Class { operation: reading.operation.into(), collection: reading.collection.into(), summary: reading.summary.into() }
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Nothing,
    /// A verb, being at the start of a statement or of what is explained, prepared or declared.
    Verb,
    /// The object of a [`DEFINE`] verb.
    Object(&'static str),
    /// `ON`, before the table of an index.
    On,
    /// The table of a verb.
    Table,
    /// A table, a list of them in parentheses, or a function.
    From { join: bool },
    /// The name of a common table expression.
    Expression,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Other,
    Open,
    /// `.`, `:` and `@`, after which a word is neither verb nor keyword.
    Prefix,
    /// `DISTINCT`, after which `FROM` compares.
    Distinct,
}

#[derive(Debug)]
struct Name<'a> {
    text: String,
    /// The only part of it so far.
    part: Option<&'a [u8]>,
    dot: bool,
    /// Where it was found.
    place: Expect,
}

/// A set of nesting depths; those beyond 63 are in none.
#[derive(Clone, Copy, Debug, Default)]
struct Depths(u64);

#[derive(Debug)]
struct Reading<'a> {
    operation: String,
    collection: String,
    summary: String,
    /// Statements that are over.
    statements: usize,
    /// The summary has no room left.
    full: bool,
    /// Nothing that follows counts.
    over: bool,

    expect: Expect,
    before: Before,
    name: Option<Name<'a>>,
    /// The rest of the statement is skipped.
    skipped: bool,
    /// Something of the statement is in the summary.
    begun: bool,
    /// The statement's own verb was read.
    main: bool,
    /// The collection is the main verb's.
    sure: bool,
    /// `USING` names a table.
    using: bool,
    depth: u32,
    queries: Depths,
    lists: Depths,
    withs: Depths,
    expressions: Vec<&'a [u8]>,
}

// === impl Depths ===

impl Depths {
    fn set(&mut self, depth: u32, on: bool) {
        let bit = 1u64.checked_shl(depth).unwrap_or(0);
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }

    fn has(self, depth: u32) -> bool {
        self.0 & 1u64.checked_shl(depth).unwrap_or(0) != 0
    }
}

// === impl Reading ===

impl Default for Reading<'_> {
    fn default() -> Self {
        Self {
            operation: String::new(),
            collection: String::new(),
            summary: String::new(),
            statements: 0,
            full: false,
            over: false,
            expect: Expect::Verb,
            before: Before::Other,
            name: None,
            skipped: false,
            begun: false,
            main: false,
            sure: false,
            using: false,
            depth: 0,
            queries: Depths::default(),
            lists: Depths::default(),
            withs: Depths::default(),
            expressions: Vec::new(),
        }
    }
}

impl<'a> Reading<'a> {
    fn token(&mut self, token: Token<'a>) {
        if self.naming(token) {
            return;
        }
        let before = std::mem::take(&mut self.before);
        match token {
            Token::Symbol(b';') if self.depth == 0 => self.end_statement(),
            Token::Symbol(b'(') => self.open(),
            Token::Symbol(b')') => {
                self.depth = self.depth.saturating_sub(1);
                self.forget_table();
            }
            Token::Symbol(b',') => {
                self.forget_table();
                if self.withs.has(self.depth) {
                    self.expect = Expect::Expression;
                } else if self.lists.has(self.depth) {
                    self.expect = Expect::From { join: false };
                }
            }
            Token::Symbol(symbol) => {
                if matches!(symbol, b'.' | b':' | b'@') {
                    self.before = Before::Prefix;
                }
                self.forget_table();
            }
            Token::Quoted(_) | Token::Literal => self.forget_table(),
            Token::Word(_) if self.skipped || before == Before::Prefix => {}
            Token::Word(word) => self.word(word, before),
        }
    }

    fn open(&mut self) {
        self.before = Before::Open;
        self.depth = self.depth.saturating_add(1);
        for depths in [&mut self.queries, &mut self.lists, &mut self.withs] {
            depths.set(self.depth, false);
        }
        match self.expect {
            Expect::From { .. } => self.lists.set(self.depth, true),
            // `(SELECT ...) UNION (SELECT ...)` and `EXPLAIN (ANALYZE) ...`.
            Expect::Verb | Expect::Object(_) | Expect::On => {}
            _ => self.expect = Expect::Nothing,
        }
    }

    fn forget_table(&mut self) {
        if matches!(self.expect, Expect::Table | Expect::From { .. } | Expect::Expression) {
            self.expect = Expect::Nothing;
        }
    }

    /// Takes `token` if it belongs to a name.
    fn naming(&mut self, token: Token<'a>) -> bool {
        if let Some(name) = &mut self.name {
            match token {
                Token::Symbol(b'.') if !name.dot => {
                    name.dot = true;
                    return true;
                }
                Token::Word(part) | Token::Quoted(part) if name.dot => {
                    name.text.push('.');
                    push(&mut name.text, part, matches!(token, Token::Quoted(_)));
                    (name.dot, name.part) = (false, None);
                    return true;
                }
                _ => self.end_name(token == Token::Symbol(b'(')),
            }
            return false;
        }
        let (part, quoted) = match token {
            _ if self.skipped => return false,
            Token::Word(word) => (word, false),
            Token::Quoted(name) => (name, true),
            _ => return false,
        };
        match self.expect {
            Expect::Table | Expect::From { .. } | Expect::Expression if !quoted && find(MODIFIERS, part).is_some() => return true,
            Expect::Table | Expect::From { .. } if !quoted && find(RESERVED, part).is_some() => {
                self.expect = Expect::Nothing;
                return false;
            }
            Expect::Table | Expect::From { .. } => {
                let mut text = String::new();
                push(&mut text, part, quoted);
                self.name = Some(Name { text, part: Some(part), dot: false, place: self.expect });
            }
            Expect::Expression => {
                if self.expressions.len() < MAX_EXPRESSIONS {
                    self.expressions.push(part);
                }
            }
            _ => return false,
        }
        self.expect = Expect::Nothing;
        self.before = Before::Other;
        true
    }

    fn end_name(&mut self, parenthesis: bool) {
        let Some(name) = self.name.take() else { return };
        let from = matches!(name.place, Expect::From { .. });
        let expression = name.part.is_some_and(|part| self.expressions.iter().any(|known| known.eq_ignore_ascii_case(part)));
        // A name before a parenthesis in a list of tables is a function's.
        if name.text.is_empty() || (from && (parenthesis || expression)) {
            return;
        }
        let table = self.statements == 0 && self.operation != "CALL";
        if table && (self.collection.is_empty() || (!self.sure && self.main && self.depth == 0)) {
            self.collection.clone_from(&name.text);
            self.sure = self.main && self.depth == 0;
        }
        if name.place == (Expect::From { join: true }) {
            if self.room("JOIN".len() + 1 + name.text.len()) {
                self.emit("JOIN");
                self.emit(&name.text);
            }
        } else {
            self.emit(&name.text);
        }
    }

    fn word(&mut self, word: &'a [u8], before: Before) {
        if self.expect == Expect::Verb && self.first(word) {
            return;
        }
        match self.expect {
            Expect::Object(verb) => {
                if let Some(object) = find(OBJECTS, word) {
                    self.object(verb, object);
                }
                return;
            }
            Expect::On if word.eq_ignore_ascii_case(b"ON") => {
                self.expect = Expect::Table;
                return;
            }
            // Also the main verb behind `WITH`.
            _ if (before == Before::Open || self.withs.has(self.depth))
                && ["INSERT", "UPDATE", "DELETE", "MERGE", "WITH"].iter().any(|verb| is(word, verb)) =>
            {
                self.first(word);
                return;
            }
            _ => {}
        }
        if is(word, "SELECT") {
            self.select();
        } else if is(word, "FROM") {
            if self.queries.has(self.depth) && before != Before::Distinct {
                self.lists.set(self.depth, true);
                self.expect = Expect::From { join: false };
            }
        } else if is(word, "JOIN") || is(word, "STRAIGHT_JOIN") {
            if self.lists.has(self.depth) {
                self.expect = Expect::From { join: true };
            }
        } else if is(word, "USING") {
            if self.using && self.depth == 0 {
                self.using = false;
                self.lists.set(0, true);
                self.expect = Expect::Table;
            }
        } else if is(word, "DISTINCT") {
            self.before = Before::Distinct;
        } else if find(CLAUSES, word).is_some() {
            self.lists.set(self.depth, false);
        }
    }

    /// The first word of a statement, or of one inside another. Says whether it was one.
    fn first(&mut self, word: &[u8]) -> bool {
        let inner = self.begun;
        let known = |list| if inner { None } else { find(list, word) };
        if is(word, "SELECT") {
            self.select();
            return true;
        }
        if is(word, "WITH") {
            self.withs.set(self.depth, true);
            self.expect = Expect::Expression;
            return true;
        }
        if let Some(verb) = find(&["INSERT", "MERGE", "REPLACE"], word) {
            self.verb(verb);
            self.using = verb == "MERGE";
            self.expect = Expect::Table;
        } else if is(word, "UPDATE") {
            self.verb("UPDATE");
            self.queries.set(self.depth, true);
            self.lists.set(self.depth, true);
            self.expect = Expect::Table;
        } else if is(word, "DELETE") {
            self.verb("DELETE");
            self.queries.set(self.depth, true);
            self.using = true;
        } else if let Some(verb) = known(&["EXPLAIN", "DESCRIBE", "DESC", "PREPARE", "DECLARE"]) {
            self.verb(verb);
            self.expect = Expect::Verb;
        } else if let Some(verb) = known(&["COPY", "TRUNCATE", "LOCK", "VACUUM", "ANALYZE", "TABLE", "CALL"]) {
            self.verb(verb);
            self.expect = Expect::Table;
        } else if is(word, "VALUES") && !inner {
            self.verb("VALUES");
        } else if let Some(verb) = known(DEFINE) {
            self.expect = Expect::Object(verb);
        } else if let Some(verb) = known(PLAIN) {
            self.verb(verb);
            self.skipped = true;
        } else if inner {
            return false;
        } else {
            self.verb(OTHER);
            self.skipped = true;
        }
        true
    }

    fn select(&mut self) {
        self.verb("SELECT");
        self.queries.set(self.depth, true);
    }

    fn object(&mut self, verb: &'static str, object: &'static str) {
        self.expect = match object {
            "TABLE" | "VIEW" | "SEQUENCE" => Expect::Table,
            "INDEX" => Expect::On,
            _ => Expect::Nothing,
        };
        let whole = format!("{verb} {object}");
        self.emit(&whole);
        if self.statements == 0 {
            self.operation = whole;
        }
        self.main = true;
        self.skipped = self.expect == Expect::Nothing;
        // Their bodies are statements with semicolons of their own.
        self.over = matches!(object, "FUNCTION" | "PROCEDURE" | "TRIGGER" | "EVENT" | "RULE");
    }

    fn verb(&mut self, verb: &str) {
        self.expect = Expect::Nothing;
        self.lists.set(self.depth, false);
        self.withs.set(self.depth, false);
        if self.statements == 0 && (self.operation.is_empty() || (self.depth == 0 && !self.main)) {
            self.operation.clear();
            self.operation.push_str(verb);
        }
        self.main |= self.depth == 0;
        self.emit(verb);
    }

    fn end_statement(&mut self) {
        self.end_name(false);
        if let Expect::Object(verb) = self.expect {
            self.verb(verb);
        }
        self.statements += usize::from(self.begun);
        (self.expect, self.before) = (Expect::Verb, Before::Other);
        (self.skipped, self.begun, self.main, self.using) = (false, false, false, false);
        self.depth = 0;
        (self.queries, self.lists, self.withs) = (Depths::default(), Depths::default(), Depths::default());
        self.expressions.clear();
    }

    fn room(&mut self, length: usize) -> bool {
        self.full |= self.summary.len() + 1 + length > MAX_SUMMARY;
        !self.full
    }

    fn emit(&mut self, text: &str) {
        if self.room(text.len()) {
            if !self.summary.is_empty() {
                self.summary.push(if self.begun { ' ' } else { ';' });
            }
            self.summary.push_str(text);
        }
        self.begun = true;
    }
}

fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

fn find(list: &[&'static str], word: &[u8]) -> Option<&'static str> {
    list.iter().copied().find(|keyword| is(word, keyword))
}

/// Adds a part of a name, of which nothing but letters, digits and a few signs is kept, up to [`MAX_NAME`] in all.
fn push(name: &mut String, part: &[u8], quoted: bool) {
    for letter in String::from_utf8_lossy(part.get(..MAX_NAME).unwrap_or(part)).chars() {
        let letter = match letter {
            letter if !quoted => letter.to_ascii_lowercase(),
            letter if letter.is_alphanumeric() || matches!(letter, '_' | '$' | '-' | '.') => letter,
            _ => '_',
        };
        if name.len() + letter.len_utf8() > MAX_NAME {
            return;
        }
        name.push(letter);
    }
}

#[cfg(test)]
mod tests;
