//! Splits a SQL text into words, names, literals and symbols, without saying what they mean.
//!
//! PostgreSQL and MySQL read some texts differently: a backslash before a quote, `--` without a blank, `#`. The dialect is not
//! known here, so wherever the two would disagree about what is inside a string, the text ends for us.

/// A piece of the text. A literal has no content, so that none can leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a plain name.
    Word(&'a [u8]),
    /// A quoted name, without its quotes.
    Quoted(&'a [u8]),
    /// A string, a number or a parameter.
    Literal,
    Symbol(u8),
}

#[derive(Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
    /// The text may go on behind its end.
    cut: bool,
}

// === impl Tokens ===

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], cut: bool) -> Self {
        Self { rest: text, cut }
    }

    /// The rest cannot be told for sure.
    fn stop(&mut self) -> Option<Token<'a>> {
        self.rest = &[];
        None
    }

    fn byte(&self, at: usize) -> u8 {
        self.rest.get(at).copied().unwrap_or(0)
    }

    fn skip(&mut self, count: usize) -> &'a [u8] {
        let (skipped, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.rest = rest;
        skipped
    }

    /// Skips a comment that ends with the line. An `unsure` one is no comment to the other dialect.
    fn line(&mut self, unsure: bool) -> bool {
        let line = self.skip(self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(self.rest.len()));
        !unsure || !line.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'`' | b'*' | b'$'))
    }

    /// Skips a comment in which others may nest; only one dialect knows nesting.
    fn comment(&mut self) -> bool {
        let (mut depth, mut at, mut closed) = (1, 2, false);
        while at < self.rest.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'*', b'/') => {
                    (depth, at, closed) = (depth - 1, at + 2, true);
                    if depth == 0 {
                        self.skip(at);
                        return true;
                    }
                }
                (b'/', b'*') => (depth, at) = (depth + 1, at + 2),
                (b'\'' | b'"' | b'`' | b'$', _) if closed => return false,
                _ => at += 1,
            }
        }
        false
    }

    /// What is between the quotes that the rest begins with, or none if they do not end, or not surely there.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Option<&'a [u8]> {
        let mut at = 1;
        while at < self.rest.len() {
            match self.byte(at) {
                b'\\' if escapes => at += 2,
                b'\\' if quote != b'`' => {
                    let run = self.rest.get(at..)?.iter().take_while(|byte| **byte == b'\\').count();
                    at += run;
                    if run % 2 == 1 && self.byte(at) == quote {
                        return None;
                    }
                }
                byte if byte == quote && self.byte(at + 1) == quote => at += 2,
                byte if byte == quote => {
                    let text = self.skip(at + 1);
                    return text.get(1..at);
                }
                _ => at += 1,
            }
        }
        None
    }

    /// `$tag$ ... $tag$`, or a parameter such as `$1`.
    fn dollar(&mut self) -> Option<Token<'a>> {
        let tag = 1 + self.rest.iter().skip(1).take_while(|byte| is_word(**byte) && **byte != b'$').count();
        if self.byte(tag) != b'$' || self.byte(1).is_ascii_digit() {
            self.skip(tag);
            return Some(Token::Literal);
        }
        let tag = self.skip(tag + 1);
        let mut at = 0;
        // Each step goes to the next dollar, so a long tag cannot make it quadratic: a tag has none inside.
        while let Some(next) = self.rest.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'$')) {
            at += next;
            if self.rest.get(at..).is_some_and(|rest| rest.starts_with(tag)) {
                self.skip(at + tag.len());
                return Some(Token::Literal);
            }
            at += 1;
        }
        self.stop()
    }

    fn number(&mut self) -> Token<'a> {
        let mut at = 1;
        loop {
            let byte = self.byte(at);
            let sign = matches!(byte, b'+' | b'-') && matches!(self.byte(at - 1), b'e' | b'E') && self.byte(at + 1).is_ascii_digit();
            if !(is_word(byte) || byte == b'.' || sign) {
                self.skip(at);
                return Token::Literal;
            }
            at += 1;
        }
    }

    fn word(&mut self) -> Option<Token<'a>> {
        let length = self.rest.iter().take_while(|byte| is_word(**byte)).count();
        let word = self.skip(length);
        if self.rest.is_empty() && self.cut {
            return None;
        }
        if self.byte(0) == b'\'' && matches!(word, b"E" | b"e") {
            return match self.quoted(b'\'', true) {
                Some(_) => Some(Token::Literal),
                None => self.stop(),
            };
        }
        Some(Token::Word(word))
    }

    /// Whether the `#` that the rest begins with is surely PostgreSQL's path operator.
    fn path(&self) -> bool {
        let after = self.rest.iter().skip(1).skip_while(|byte| **byte == b'>').find(|byte| **byte != b' ');
        self.byte(1) == b'>' && matches!(after, Some(b'\'' | b'$' | b'?' | b':'))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = *self.rest.first()?;
            match first {
                byte if byte.is_ascii_whitespace() || byte == 0x0b => {
                    self.skip(1);
                }
                b'-' if self.byte(1) == b'-' => {
                    let unsure = !(self.byte(2).is_ascii_whitespace() || self.rest.len() == 2);
                    if !self.line(unsure) {
                        return self.stop();
                    }
                }
                b'#' if !self.path() => {
                    if !self.line(true) {
                        return self.stop();
                    }
                }
                b'/' if self.byte(1) == b'*' => {
                    if !self.comment() {
                        return self.stop();
                    }
                }
                b'\'' => {
                    return match self.quoted(b'\'', false) {
                        Some(_) => Some(Token::Literal),
                        None => self.stop(),
                    };
                }
                b'"' | b'`' => {
                    return match self.quoted(first, false) {
                        Some(name) => Some(Token::Quoted(name)),
                        None => self.stop(),
                    };
                }
                b'$' => return self.dollar(),
                b'.' if self.byte(1).is_ascii_digit() => return Some(self.number()),
                byte if byte.is_ascii_digit() => return Some(self.number()),
                byte if is_word(byte) => return self.word(),
                symbol => {
                    self.skip(1);
                    return Some(Token::Symbol(symbol));
                }
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}
