//! An expression taken apart by its tokens, one level at a time, as texts of the same source.

use crate::cel::lexer::{Token, TokenKind, tokens};

/// Words that a path may begin with, beside the variables of comprehensions.
const ROOTS: [&str; 6] = ["object", "oldObject", "params", "request", "variables", "namespaceObject"];

/// A source and its tokens.
pub(super) struct Source<'s> {
    text: &'s str,
    tokens: Vec<Token>,
}

/// What an expression is at its top level.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'s> {
    Parentheses(&'s str),
    And(Vec<&'s str>),
    Conditional {
        condition: &'s str,
        then: &'s str,
        otherwise: &'s str,
    },
    /// `range.all(variable, body)`.
    All {
        range: &'s str,
        variable: &'s str,
        body: &'s str,
    },
    Other,
}

// === impl Source ===

impl<'s> Source<'s> {
    pub(super) fn read(text: &'s str) -> Option<Self> {
        let mut tokens = tokens(text).ok()?;
        tokens.pop_if(|last| last.kind == TokenKind::End);
        Some(Self { text, tokens })
    }

    fn is(&self, at: usize, symbol: &str) -> bool {
        matches!(self.tokens.get(at).map(|token| token.kind), Some(TokenKind::Symbol(text)) if text == symbol)
    }

    fn word(&self, at: usize) -> Option<&'s str> {
        let token = self.tokens.get(at).filter(|token| token.kind == TokenKind::Ident)?;
        self.text.get(token.start..token.end)
    }

    /// The text of tokens `from..to`.
    fn slice(&self, from: usize, to: usize) -> &'s str {
        let start = self.tokens.get(from).map_or(0, |token| token.start);
        let end = to.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(start, |token| token.end);
        self.text.get(start..end).unwrap_or_default()
    }

    /// Positions of a symbol outside every bracket.
    fn outside(&self, symbol: &str) -> Vec<usize> {
        let mut depth = 0_usize;
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            if depth == 0 && self.is(at, symbol) && !self.is_access(at) {
                found.push(at);
            }
            if ["(", "[", "{"].iter().any(|open| self.is(at, open)) {
                depth += 1;
            } else if [")", "]", "}"].iter().any(|close| self.is(at, close)) {
                depth = depth.saturating_sub(1);
            }
        }
        found
    }

    /// Whether a `?` belongs to `.?` or `[?`.
    fn is_access(&self, at: usize) -> bool {
        self.is(at, "?") && at.checked_sub(1).is_some_and(|before| self.is(before, ".") || self.is(before, "["))
    }

    /// Where the bracket closes that opens at `at`.
    fn closing(&self, at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for position in at..self.tokens.len() {
            if ["(", "[", "{"].iter().any(|open| self.is(position, open)) {
                depth += 1;
            } else if [")", "]", "}"].iter().any(|close| self.is(position, close)) {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(position);
                }
            }
        }
        None
    }

    pub(super) fn part(&self) -> Part<'s> {
        let count = self.tokens.len();
        if self.is(0, "(") && self.closing(0) == count.checked_sub(1) {
            return Part::Parentheses(self.slice(1, count - 1));
        }
        if let Some(question) = self.outside("?").first() {
            // The last colon that leaves as many questions before it as there are colons: the branches may be conditionals.
            let mut open = 0_usize;
            for at in *question..count {
                if self.outside("?").contains(&at) {
                    open += 1;
                } else if self.outside(":").contains(&at) {
                    open -= 1;
                    if open == 0 {
                        let (condition, then) = (self.slice(0, *question), self.slice(question + 1, at));
                        return Part::Conditional { condition, then, otherwise: self.slice(at + 1, count) };
                    }
                }
            }
            return Part::Other;
        }
        if !self.outside("||").is_empty() {
            return Part::Other;
        }
        let ands = self.outside("&&");
        if !ands.is_empty() {
            let starts = std::iter::once(0).chain(ands.iter().map(|at| at + 1));
            let ends = ands.iter().copied().chain(std::iter::once(count));
            return Part::And(starts.zip(ends).map(|(from, to)| self.slice(from, to)).collect());
        }
        self.all().unwrap_or(Part::Other)
    }

    fn all(&self) -> Option<Part<'s>> {
        let count = self.tokens.len();
        let compares = ["==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%"].iter().any(|sign| !self.outside(sign).is_empty());
        if compares || self.is(0, "!") {
            return None;
        }
        // The last `.all(` outside every bracket, if the expression ends with its parenthesis.
        let open = self.outside("(").into_iter().rfind(|at| self.closing(*at) == count.checked_sub(1))?;
        let dot = open.checked_sub(2).filter(|dot| self.is(*dot, ".") && self.word(open - 1) == Some("all"))?;
        let variable = self.word(open + 1).filter(|_| self.is(open + 2, ","))?;
        let body = self.slice(open + 3, count - 1);
        // With two variables the first would be taken for the body.
        let single = Source::read(body)?.outside(",").is_empty();
        single.then(|| Part::All { range: self.slice(0, dot), variable, body })
    }

    /// Paths from a known root, as far as they are fields: a call's receiver, but not the call.
    pub(super) fn paths<'n>(&self, locals: impl Iterator<Item = &'n str>) -> Vec<&'s str> {
        let locals: Vec<&str> = locals.collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let selected = at.checked_sub(1).is_some_and(|before| self.is(before, ".") || self.is_access(before));
            let known = self.word(at).filter(|word| !selected && (ROOTS.contains(word) || locals.contains(word)));
            if known.is_none() {
                at += 1;
                continue;
            }
            let mut end = at + 1;
            while let Some(next) = self.step(end) {
                end = next;
            }
            // A root by itself is too much to show, unless it is a variable of a comprehension.
            if end > at + 1 || self.word(at).is_some_and(|word| locals.contains(&word)) {
                found.push(self.slice(at, end));
            }
            at = end;
        }
        found
    }

    /// Where the field ends that is selected at `at`.
    fn step(&self, at: usize) -> Option<usize> {
        if self.is(at, ".") {
            let name = at + 1 + usize::from(self.is(at + 1, "?"));
            self.word(name)?;
            return (!self.is(name + 1, "(")).then_some(name + 1);
        }
        let literal = at + 1 + usize::from(self.is(at + 1, "?"));
        let constant = matches!(self.tokens.get(literal)?.kind, TokenKind::String | TokenKind::Int);
        (self.is(at, "[") && constant && self.is(literal + 1, "]")).then_some(literal + 2)
    }
}
