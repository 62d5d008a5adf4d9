//! Source to syntax tree, by recursive descent, with the macros expanded.
//!
//! Written by hand rather than on the `cel` crate's ANTLR parser: that one needs hundreds of kilobytes of stack a level, knows no
//! two-variable macros, and reports where in its own words. Length is bounded before reading, depth while reading; `&&` and `||`
//! chains become balanced trees as in cel-go, so that only real nesting is deep.

use super::expr::{Element, Entry, Expr, Factory, Field, Kind};
use super::issue::Issue;
use super::lexer::{Token, TokenKind, tokens};
use super::literal;
use super::macros::{self, Failure, Features};
use super::value::Value;

/// Longest source, in characters; cel-go's.
pub(crate) const MAX_LENGTH: usize = 100_000;
/// Deepest nesting, of the source and of the tree before macros; cel-go's.
const MAX_DEPTH: u32 = 250;
/// Deepest tree, macros expanded. Evaluation recurses this deep on its caller's stack.
const MAX_HEIGHT: u32 = 500;

const RESERVED: [&str; 17] =
    ["as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"];
const RELATIONS: [(&str, &str); 7] = [("<", "_<_"), ("<=", "_<=_"), (">=", "_>=_"), (">", "_>_"), ("==", "_==_"), ("!=", "_!=_"), ("in", "@in")];
const SUMS: [(&str, &str); 2] = [("+", "_+_"), ("-", "_-_")];
const PRODUCTS: [(&str, &str); 3] = [("*", "_*_"), ("/", "_/_"), ("%", "_%_")];

/// A parsed source: the tree, and how many ids it has.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) root: Expr,
    pub(crate) size: usize,
}

/// Reads the whole source. The first thing that is wrong ends it.
pub(crate) fn parse(source: &str, features: Features) -> Result<Parsed, Issue> {
    let length = source.chars().count();
    if length > MAX_LENGTH {
        return Err(Issue::at(source, 0, format!("expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}")));
    }
    let failed = |(offset, message): Failure| Issue::at(source, offset, message);
    let tokens = tokens(source).map_err(|(at, message)| failed((position(at), format!("Syntax error: {message}"))))?;
    super::stack::grown(bound(&tokens), || {
        let mut parser = Parser { source, tokens: &tokens, at: 0, depth: 0, features, factory: Factory::default() };
        let root = parser.expression()?;
        parser.expect(TokenKind::End)?;
        Ok(Parsed { root, size: parser.factory.size() })
    })
    .unwrap_or_else(|| Err((0, "no memory to parse the expression".to_owned())))
    .map_err(failed)
}

/// How deep reading these tokens may recurse: no deeper than there are tokens.
fn bound(tokens: &[Token]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX).min(MAX_HEIGHT)
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Parser<'s> {
    source: &'s str,
    tokens: &'s [Token],
    at: usize,
    depth: u32,
    features: Features,
    factory: Factory,
}

type Parse<T> = Result<T, Failure>;

impl<'s> Parser<'s> {
    fn token(&self, ahead: usize) -> Token {
        let end = Token { kind: TokenKind::End, start: self.source.len(), end: self.source.len() };
        self.tokens.get(self.at + ahead).copied().unwrap_or(end)
    }

    fn next(&mut self) -> Token {
        let token = self.token(0);
        self.at += 1;
        token
    }

    fn offset(&self) -> u32 {
        position(self.token(0).start)
    }

    fn text(&self, token: Token) -> &'s str {
        self.source.get(token.start..token.end).unwrap_or_default()
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token(0).kind, TokenKind::Symbol(found) if found == symbol)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn unexpected<T>(&self, wanted: &str) -> Parse<T> {
        let found = match self.token(0).kind {
            TokenKind::End => "<EOF>",
            _ => self.text(self.token(0)),
        };
        Err((self.offset(), format!("Syntax error: mismatched input '{found}' expecting {wanted}")))
    }

    fn expect(&mut self, kind: TokenKind) -> Parse<Token> {
        if self.token(0).kind == kind {
            return Ok(self.next());
        }
        match kind {
            TokenKind::Symbol(symbol) => self.unexpected(&format!("'{symbol}'")),
            TokenKind::End => self.unexpected("<EOF>"),
            _ => self.unexpected("IDENTIFIER"),
        }
    }

    fn symbol(&mut self, symbol: &'static str) -> Parse<Token> {
        self.expect(TokenKind::Symbol(symbol))
    }

    fn bounded(&self, offset: u32, expr: Expr) -> Parse<Expr> {
        if expr.height > MAX_HEIGHT {
            return Err((offset, format!("expression recursion limit exceeded: {MAX_HEIGHT}")));
        }
        Ok(expr)
    }

    fn expression(&mut self) -> Parse<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((self.offset(), format!("expression recursion limit exceeded: {MAX_DEPTH}")));
        }
        let condition = self.logical("||", "_||_")?;
        let offset = self.offset();
        let expr = if self.accept("?") {
            let then = self.logical("||", "_||_")?;
            self.symbol(":")?;
            let otherwise = self.expression()?;
            let ternary = self.factory.call(offset, "_?_:_", vec![condition, then, otherwise]);
            self.bounded(offset, ternary)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// A chain of `||` of chains of `&&`.
    fn logical(&mut self, symbol: &str, function: &'static str) -> Parse<Expr> {
        let mut terms = Vec::new();
        let mut offsets = Vec::new();
        loop {
            terms.push(if symbol == "||" { self.logical("&&", "_&&_")? } else { self.binary(0)? });
            offsets.push(self.offset());
            if !self.accept(symbol) {
                return self.balance(function, terms, &offsets);
            }
        }
    }

    /// A chain as a tree of least depth; the operator in the middle is the root, as in cel-go.
    fn balance(&mut self, function: &str, mut terms: Vec<Expr>, offsets: &[u32]) -> Parse<Expr> {
        if terms.len() > 1 {
            let operators = terms.len() - 1;
            let middle = operators / 2;
            let right = terms.split_off(middle + 1);
            let offset = offsets.get(middle).copied().unwrap_or_default();
            let left = self.balance(function, terms, offsets.get(..middle).unwrap_or_default())?;
            let right = self.balance(function, right, offsets.get(middle + 1..).unwrap_or_default())?;
            let node = self.factory.call(offset, function, vec![left, right]);
            return self.bounded(offset, node);
        }
        terms.pop().ok_or_else(|| (self.offset(), "Syntax error: empty expression".to_owned()))
    }

    /// Relations, sums and products, each a chain to the left.
    fn binary(&mut self, level: usize) -> Parse<Expr> {
        const LEVELS: [&[(&str, &str)]; 3] = [&RELATIONS, &SUMS, &PRODUCTS];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let offset = self.offset();
            let TokenKind::Symbol(symbol) = self.token(0).kind else { return Ok(left) };
            let Some((_, function)) = operators.iter().find(|(known, _)| *known == symbol) else { return Ok(left) };
            self.at += 1;
            let right = self.binary(level + 1)?;
            let node = self.factory.call(offset, function, vec![left, right]);
            left = self.bounded(offset, node)?;
        }
    }

    fn unary(&mut self) -> Parse<Expr> {
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            let offset = self.offset();
            let mut count = 0;
            while self.is(symbol) && !(symbol == "-" && self.signed_literal()) {
                self.at += 1;
                count += 1;
            }
            if count > 0 {
                let operand = self.member()?;
                return if count % 2 == 1 {
                    let node = self.factory.call(offset, function, vec![operand]);
                    self.bounded(offset, node)
                } else {
                    Ok(operand)
                };
            }
        }
        self.member()
    }

    fn signed_literal(&self) -> bool {
        matches!(self.token(1).kind, TokenKind::Int | TokenKind::Double)
    }

    fn member(&mut self) -> Parse<Expr> {
        let mut operand = self.primary()?;
        loop {
            let offset = self.offset();
            let node = if self.accept(".") {
                self.select(offset, operand)?
            } else if self.accept("[") {
                let function = if self.optional_mark()? { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.symbol("]")?;
                self.factory.call(offset, function, vec![operand, index])
            } else {
                return Ok(operand);
            };
            operand = self.bounded(offset, node)?;
        }
    }

    /// A `?` where it makes what follows optional.
    fn optional_mark(&mut self) -> Parse<bool> {
        let offset = self.offset();
        match self.accept("?") {
            true if !self.features.optionals => Err((offset, "unsupported syntax '?'".to_owned())),
            found => Ok(found),
        }
    }

    fn select(&mut self, offset: u32, operand: Expr) -> Parse<Expr> {
        if self.optional_mark()? {
            let at = self.offset();
            let name = self.field_name()?;
            let field = self.factory.literal(at, Value::string(name));
            return Ok(self.factory.call(offset, "_?._", vec![operand, field]));
        }
        let called = self.token(0).kind == TokenKind::Ident && matches!(self.token(1).kind, TokenKind::Symbol("("));
        let name = self.field_name()?;
        if !called {
            return Ok(self.factory.node(offset, Kind::Select { operand: Box::new(operand), field: name.into(), test: false }));
        }
        let open = self.offset();
        let args = self.arguments()?;
        let node = macros::call(&mut self.factory, self.features, open, name, Some(operand), args)?;
        self.bounded(open, node)
    }

    fn field_name(&mut self) -> Parse<&'s str> {
        let token = self.token(0);
        match token.kind {
            TokenKind::Escaped if !self.features.escaped_names => Err((self.offset(), "unsupported syntax: '`'".to_owned())),
            TokenKind::Escaped => {
                self.at += 1;
                Ok(self.text(token).trim_matches('`'))
            }
            _ => {
                let token = self.expect(TokenKind::Ident)?;
                Ok(self.text(token))
            }
        }
    }

    fn arguments(&mut self) -> Parse<Vec<Expr>> {
        self.symbol("(")?;
        let mut args = Vec::new();
        if !self.accept(")") {
            args.push(self.expression()?);
            while self.accept(",") {
                args.push(self.expression()?);
            }
            self.symbol(")")?;
        }
        Ok(args)
    }

    /// Elements up to the closing symbol; one comma may follow the last, or stand alone.
    fn elements<T>(&mut self, close: &'static str, element: fn(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        let mut elements = Vec::new();
        while !self.is(close) && !self.is(",") {
            elements.push(element(self)?);
            if !self.is(",") || matches!(self.token(1).kind, TokenKind::Symbol(next) if next == close) {
                break;
            }
            self.at += 1;
        }
        self.accept(",");
        self.symbol(close)?;
        Ok(elements)
    }

    fn primary(&mut self) -> Parse<Expr> {
        if let Some(name_tokens) = self.object_name() {
            return self.object(name_tokens);
        }
        let offset = self.offset();
        let token = self.token(0);
        match token.kind {
            TokenKind::Symbol("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.symbol(")")?;
                Ok(inner)
            }
            TokenKind::Symbol("[") => {
                self.at += 1;
                let elements = self.elements("]", |parser| Ok(Element { optional: parser.optional_mark()?, value: parser.expression()? }))?;
                Ok(self.factory.node(offset, Kind::List(elements)))
            }
            TokenKind::Symbol("{") => {
                self.at += 1;
                let entries = self.elements("}", Self::entry)?;
                Ok(self.factory.node(offset, Kind::Map(entries)))
            }
            TokenKind::Symbol(".") | TokenKind::Ident => self.name(),
            _ => self.literal(),
        }
    }

    fn entry(&mut self) -> Parse<Entry> {
        let optional = self.optional_mark()?;
        let key = self.expression()?;
        self.symbol(":")?;
        Ok(Entry { key, value: self.expression()?, optional })
    }

    /// How many tokens of an object's name stand before its `{`.
    fn object_name(&self) -> Option<usize> {
        let mut length = usize::from(self.is("."));
        loop {
            if self.token(length).kind != TokenKind::Ident {
                return None;
            }
            match self.token(length + 1).kind {
                TokenKind::Symbol("{") => return Some(length + 1),
                TokenKind::Symbol(".") => length += 2,
                _ => return None,
            }
        }
    }

    fn object(&mut self, name_tokens: usize) -> Parse<Expr> {
        let name: String = (0..name_tokens).map(|ahead| self.text(self.token(ahead))).collect();
        self.at += name_tokens;
        let offset = self.offset();
        self.symbol("{")?;
        let fields = self.elements("}", |parser| {
            let (offset, optional) = (parser.offset(), parser.optional_mark()?);
            let name = parser.field_name()?.into();
            parser.symbol(":")?;
            Ok(Field { offset, name, value: parser.expression()?, optional })
        })?;
        Ok(self.factory.node(offset, Kind::Object { name: name.into(), fields }))
    }

    /// An identifier or a global call, perhaps with a leading dot.
    fn name(&mut self) -> Parse<Expr> {
        let offset = self.offset();
        let dot = if self.accept(".") { "." } else { "" };
        let token = self.expect(TokenKind::Ident)?;
        let word = self.text(token);
        if RESERVED.contains(&word) {
            return Err((offset, format!("reserved identifier: {word}")));
        }
        let name = format!("{dot}{word}");
        if !self.is("(") {
            return Ok(self.factory.ident(offset, &name));
        }
        let open = self.offset();
        let args = self.arguments()?;
        let node = macros::call(&mut self.factory, self.features, open, &name, None, args)?;
        self.bounded(open, node)
    }

    fn literal(&mut self) -> Parse<Expr> {
        let offset = self.offset();
        let negative = self.is("-") && self.signed_literal();
        self.at += usize::from(negative);
        let token = self.token(0);
        let text = self.text(token);
        let invalid = |what: &str| (offset, format!("invalid {what} literal"));
        let value = match token.kind {
            TokenKind::Int => Value::Int(literal::int(text, negative).ok_or_else(|| invalid("int"))?),
            TokenKind::Uint => Value::Uint(literal::uint(text).ok_or_else(|| invalid("uint"))?),
            TokenKind::Double => Value::Double(literal::double(text, negative).ok_or_else(|| invalid("double"))?),
            TokenKind::Bytes => Value::bytes(literal::unquote(text, true).map_err(|reason| (offset, reason.to_owned()))?),
            TokenKind::String => {
                let bytes = literal::unquote(text, false).map_err(|reason| (offset, reason.to_owned()))?;
                Value::string(String::from_utf8(bytes).map_err(|_| (offset, "unable to unescape string".to_owned()))?)
            }
            TokenKind::Symbol("true") => Value::Bool(true),
            TokenKind::Symbol("false") => Value::Bool(false),
            TokenKind::Symbol("null") => Value::Null,
            _ => return self.unexpected("an expression"),
        };
        self.at += 1;
        Ok(self.factory.literal(offset, value))
    }
}
