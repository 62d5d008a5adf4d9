//! Source to tokens. It does not decode literals (`literal.rs`) and keeps no comments.

/// A piece of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a piece of the source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Punctuation, operators and the words `in`, `true`, `false`, `null`.
    Symbol(&'static str),
    Ident,
    /// Between backticks.
    Escaped,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 27] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%", "=", "&", "|"];
const WORDS: [&str; 4] = ["in", "true", "false", "null"];

/// All tokens, the last is [`TokenKind::End`]; or where it is not a token, and why.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut lexer = Lexer { bytes: source.as_bytes(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip();
        let start = lexer.at;
        let kind = lexer.token(source)?;
        tokens.push(Token { kind, start, end: lexer.at });
        if kind == TokenKind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    bytes: &'s [u8],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take_while(&mut self, test: impl Fn(u8) -> bool) -> usize {
        let count = self.rest().iter().take_while(|byte| test(**byte)).count();
        self.at += count;
        count
    }

    fn skip(&mut self) {
        loop {
            let before = self.at;
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c));
            if self.rest().starts_with(b"//") {
                self.take_while(|byte| byte != b'\n');
            }
            if self.at == before {
                return;
            }
        }
    }

    fn token(&mut self, source: &str) -> Result<TokenKind, (usize, String)> {
        let first = self.peek(0);
        if self.at >= self.bytes.len() {
            return Ok(TokenKind::End);
        }
        if first.is_ascii_digit() || (first == b'.' && self.peek(1).is_ascii_digit()) {
            return Ok(self.number());
        }
        if let Some((prefix, raw, kind)) = self.string_prefix() {
            let start = self.at;
            self.at += prefix;
            return self.string(raw).then_some(kind).ok_or_else(|| (start, "unterminated string literal".to_owned()));
        }
        if first.is_ascii_alphabetic() || first == b'_' {
            let start = self.at;
            self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let word = source.get(start..self.at).unwrap_or_default();
            return Ok(WORDS.iter().find(|known| **known == word).map_or(TokenKind::Ident, |known| TokenKind::Symbol(known)));
        }
        if first == b'`' {
            return self.escaped();
        }
        let symbol = SYMBOLS.iter().find(|symbol| self.rest().starts_with(symbol.as_bytes()));
        match symbol {
            Some(symbol) if !matches!(*symbol, "=" | "&" | "|") => {
                self.at += symbol.len();
                Ok(TokenKind::Symbol(symbol))
            }
            _ => {
                let character = source.get(self.at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
                Err((self.at, format!("token recognition error at: '{character}'")))
            }
        }
    }

    fn escaped(&mut self) -> Result<TokenKind, (usize, String)> {
        let start = self.at;
        self.at += 1;
        let length = self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b' '));
        if length == 0 || self.peek(0) != b'`' {
            return Err((start, "invalid escaped identifier".to_owned()));
        }
        self.at += 1;
        Ok(TokenKind::Escaped)
    }

    fn number(&mut self) -> TokenKind {
        let hex = self.rest().starts_with(b"0x") && self.peek(2).is_ascii_hexdigit();
        let mut kind = TokenKind::Int;
        if hex {
            self.at += 2;
            self.take_while(|byte| byte.is_ascii_hexdigit());
        } else {
            self.take_while(|byte| byte.is_ascii_digit());
            if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
                self.at += 1;
                self.take_while(|byte| byte.is_ascii_digit());
                kind = TokenKind::Double;
            }
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.take_while(|byte| byte.is_ascii_digit());
                kind = TokenKind::Double;
            }
        }
        if kind == TokenKind::Int && matches!(self.peek(0), b'u' | b'U') {
            self.at += 1;
            kind = TokenKind::Uint;
        }
        kind
    }

    /// Length of the letters before the quote, whether it is raw, and what it will be.
    fn string_prefix(&self) -> Option<(usize, bool, TokenKind)> {
        let quote = |ahead| matches!(self.peek(ahead), b'"' | b'\'');
        let is = |ahead, letter: u8| self.peek(ahead).eq_ignore_ascii_case(&letter);
        if quote(0) {
            Some((0, false, TokenKind::String))
        } else if is(0, b'r') && quote(1) {
            Some((1, true, TokenKind::String))
        } else if is(0, b'b') && quote(1) {
            Some((1, false, TokenKind::Bytes))
        } else if is(0, b'b') && is(1, b'r') && quote(2) {
            Some((2, true, TokenKind::Bytes))
        } else {
            None
        }
    }

    /// From the opening quote past the closing one.
    fn string(&mut self, raw: bool) -> bool {
        let quote = self.peek(0);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        let width = if triple { 3 } else { 1 };
        self.at += width;
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            if byte == quote && (!triple || (self.peek(1) == quote && self.peek(2) == quote)) {
                self.at += width;
                return true;
            }
            if !triple && matches!(byte, b'\n' | b'\r') {
                return false;
            }
            self.at += if byte == b'\\' && !raw { 2 } else { 1 };
        }
        false
    }
}
