//! Reads a pattern as Go's `regexp/syntax` does and writes it for the `regex` crate.
//!
//! The two differ where it matters for a gate: `\d`, `\w`, `\s` and `\b` know ASCII only in Go, brackets nest and subtract in the
//! crate, and each refuses things that the other accepts. Everything is written out so that the crate has no choice: literals as
//! code points, classes as ranges. Groups capture nothing, since nothing asks for captures.

use std::fmt::Write as _;

/// What Go calls the mistake, and the part of the pattern that it quotes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: `{part}`")]
pub(super) struct SyntaxError {
    code: &'static str,
    part: String,
}

const BAD_RANGE: &str = "invalid character class range";
const BAD_REPEAT: &str = "invalid repeat count";
/// The most copies that counted repetitions, one in another, may ask for.
const MOST_COPIES: u64 = 1000;
/// Matches nothing.
const NOTHING: &str = r"[^\x{0}-\x{10ffff}]";

fn err<T>(code: &'static str, part: &str) -> Result<T, SyntaxError> {
    Err(SyntaxError { code, part: part.to_owned() })
}

/// One open group: whether something stands before a repetition, and how many copies its parts ask for.
#[derive(Default)]
struct Group {
    /// Copies that the last item asks for; none when there is no item.
    last: Option<u64>,
    /// The most of any item before.
    copies: u64,
}

impl Group {
    fn item(&mut self, copies: u64) {
        self.copies = self.copies.max(self.last.unwrap_or(0));
        self.last = Some(copies);
    }

    fn total(&self) -> u64 {
        self.copies.max(self.last.unwrap_or(0))
    }
}

struct Translator<'p> {
    whole: &'p str,
    out: String,
    groups: Vec<Group>,
}

pub(super) fn translate(pattern: &str) -> Result<String, SyntaxError> {
    let mut translator = Translator { whole: pattern, out: String::with_capacity(pattern.len() * 2), groups: vec![Group::default()] };
    let mut rest = pattern;
    let mut last_repeat = "";
    while let Some(first) = rest.chars().next() {
        let before = rest;
        let mut repeated = false;
        rest = match first {
            '*' | '+' | '?' => {
                repeated = true;
                translator.repeat(before, &rest[1..], last_repeat, None)?
            }
            '{' => match counts(rest) {
                Some((counts, after)) => {
                    repeated = true;
                    translator.repeat(before, after, last_repeat, Some(counts))?
                }
                None => translator.literal(first, rest),
            },
            _ => translator.step(first, rest)?,
        };
        last_repeat = if repeated { before } else { "" };
    }
    if translator.groups.len() > 1 { err("missing closing )", pattern) } else { Ok(translator.out) }
}

impl<'p> Translator<'p> {
    fn item(&mut self, text: &str) {
        self.out.push_str(text);
        if let Some(group) = self.groups.last_mut() {
            group.item(0);
        }
    }

    fn literal(&mut self, c: char, rest: &'p str) -> &'p str {
        self.point(u32::from(c));
        &rest[c.len_utf8()..]
    }

    fn point(&mut self, point: u32) {
        let text = range(point, point).map_or_else(|| NOTHING.to_owned(), |_| written(point));
        self.item(&text);
    }

    fn step(&mut self, first: char, rest: &'p str) -> Result<&'p str, SyntaxError> {
        match first {
            '(' if rest[1..].starts_with('?') => return self.flags(rest),
            '(' => self.open("(?:"),
            ')' => {
                let Some(group) = self.groups.pop().filter(|_| !self.groups.is_empty()) else { return err("unexpected )", self.whole) };
                self.out.push(')');
                if let Some(outer) = self.groups.last_mut() {
                    outer.item(group.total());
                }
            }
            '|' => {
                self.out.push('|');
                if let Some(group) = self.groups.last_mut() {
                    group.copies = group.total();
                    group.last = None;
                }
            }
            '^' => self.item("^"),
            '$' => self.item("$"),
            '.' => self.item("."),
            '[' => return self.class(rest),
            '\\' => return self.escape(rest),
            _ => return Ok(self.literal(first, rest)),
        }
        Ok(&rest[1..])
    }

    fn open(&mut self, text: &str) {
        self.out.push_str(text);
        self.groups.push(Group::default());
    }

    fn repeat(&mut self, before: &'p str, mut after: &'p str, last_repeat: &str, counts: Option<(u64, Option<u64>)>) -> Result<&'p str, SyntaxError> {
        if let Some((least, most)) = counts
            && (least > MOST_COPIES || most.is_some_and(|most| most > MOST_COPIES || most < least))
        {
            return err(BAD_REPEAT, &before[..before.len() - after.len()]);
        }
        let operator = &before[..before.len() - after.len()];
        let lazy = after.starts_with('?');
        after = if lazy { &after[1..] } else { after };
        let quoted = |from: &str| from[..from.len() - after.len()].to_owned();
        if !last_repeat.is_empty() {
            return err("invalid nested repetition operator", &quoted(last_repeat));
        }
        let Some(group) = self.groups.last_mut() else { return err("unexpected )", self.whole) };
        let Some(inner) = group.last else { return err("missing argument to repetition operator", &quoted(before)) };
        if let Some((least, most)) = counts {
            let copies = most.unwrap_or(least) * inner.max(1);
            if (least >= 2 || most.is_some_and(|most| most >= 2)) && copies > MOST_COPIES {
                return err(BAD_REPEAT, &quoted(before));
            }
            group.last = Some(copies);
        }
        self.out.push_str(operator);
        if lazy {
            self.out.push('?');
        }
        Ok(after)
    }

    /// After `(?`: a name, flags, or flags and a group.
    fn flags(&mut self, rest: &'p str) -> Result<&'p str, SyntaxError> {
        let named = rest.strip_prefix("(?P<").or_else(|| rest.strip_prefix("(?<"));
        if let Some(named) = named {
            let Some((name, after)) = named.split_once('>') else { return err("invalid named capture", rest) };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return err("invalid named capture", &rest[..rest.len() - after.len()]);
            }
            self.open("(?:");
            return Ok(after);
        }
        let mut negated = false;
        let mut seen = false;
        let mut end = 2;
        for c in rest[2..].chars() {
            end += c.len_utf8();
            match c {
                'i' | 'm' | 's' | 'U' => seen = true,
                '-' if !negated => (negated, seen) = (true, false),
                ':' | ')' if !negated || seen => {
                    if c == ':' {
                        self.open(&rest[..end]);
                    } else if end > 3 {
                        self.out.push_str(&rest[..end]);
                    }
                    return Ok(&rest[end..]);
                }
                _ => break,
            }
        }
        err("invalid or unsupported Perl syntax", &rest[..end])
    }

    fn escape(&mut self, rest: &'p str) -> Result<&'p str, SyntaxError> {
        match rest.as_bytes().get(1) {
            Some(b'A') => self.item(r"\A"),
            Some(b'z') => self.item(r"\z"),
            Some(b'b') => self.item(r"(?-u:\b)"),
            Some(b'B') => self.item(r"(?-u:\B)"),
            Some(b'C') => return err("invalid escape sequence", &rest[..2]),
            Some(b'Q') => {
                let (literal, after) = rest[2..].split_once(r"\E").unwrap_or((&rest[2..], ""));
                literal.chars().for_each(|c| self.point(u32::from(c)));
                return Ok(after);
            }
            Some(b'p' | b'P') => {
                let (class, after) = unicode_class(rest)?;
                self.item(&class);
                return Ok(after);
            }
            _ => {
                if let Some(class) = perl_class(rest) {
                    self.item(class);
                } else {
                    let (point, after) = escaped_point(rest)?;
                    self.point(point);
                    return Ok(after);
                }
            }
        }
        Ok(&rest[2..])
    }

    fn class(&mut self, whole: &'p str) -> Result<&'p str, SyntaxError> {
        let negated = whole[1..].starts_with('^');
        let mut rest = &whole[1 + usize::from(negated)..];
        let mut items = String::new();
        let mut first = true;
        while first || !rest.starts_with(']') {
            first = false;
            if let Some((class, after)) = posix_class(rest)? {
                items.push_str(class);
                rest = after;
            } else if rest.starts_with(r"\p") || rest.starts_with(r"\P") {
                let (class, after) = unicode_class(rest)?;
                items.push_str(&class);
                rest = after;
            } else if let Some(class) = perl_class(rest) {
                items.push_str(class);
                rest = &rest[2..];
            } else {
                let start = rest;
                let (low, after) = class_point(rest, whole)?;
                rest = after;
                let mut high = low;
                if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
                    (high, rest) = class_point(&rest[1..], whole)?;
                    if high < low {
                        return err(BAD_RANGE, &start[..start.len() - rest.len()]);
                    }
                }
                if let Some((low, high)) = range(low, high) {
                    let _ = write!(items, "{}-{}", written(low), written(high));
                }
            }
        }
        let text = match (negated, items.is_empty()) {
            (false, true) => NOTHING.to_owned(),
            (true, true) => r"[\x{0}-\x{10ffff}]".to_owned(),
            (true, false) => format!("[^{items}]"),
            (false, false) => format!("[{items}]"),
        };
        self.item(&text);
        Ok(&rest[1..])
    }
}

fn written(point: u32) -> String {
    format!(r"\x{{{point:x}}}")
}

/// Without the code points that no text holds.
fn range(low: u32, high: u32) -> Option<(u32, u32)> {
    let low = if (0xd800..=0xdfff).contains(&low) { 0xe000 } else { low };
    let high = if (0xd800..=0xdfff).contains(&high) { 0xd7ff } else { high };
    (low <= high).then_some((low, high))
}

/// `{n}`, `{n,}` or `{n,m}` and what follows; anything else is no repetition but text.
fn counts(text: &str) -> Option<((u64, Option<u64>), &str)> {
    let (inner, after) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !(digits.len() > 1 && digits.starts_with('0'));
        plain.then(|| digits.parse().unwrap_or(u64::from(u32::MAX)).min(u64::from(u32::MAX)))
    };
    let counts = match inner.split_once(',') {
        None => number(inner).map(|n| (n, Some(n)))?,
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((counts, after))
}

fn perl_class(text: &str) -> Option<&'static str> {
    match text.as_bytes() {
        [b'\\', b'd', ..] => Some("[0-9]"),
        [b'\\', b'D', ..] => Some("[^0-9]"),
        [b'\\', b's', ..] => Some(r"[\t\n\x{c}\r\x{20}]"),
        [b'\\', b'S', ..] => Some(r"[^\t\n\x{c}\r\x{20}]"),
        [b'\\', b'w', ..] => Some("[0-9A-Za-z_]"),
        [b'\\', b'W', ..] => Some("[^0-9A-Za-z_]"),
        _ => None,
    }
}

const POSIX: [&str; 14] = ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"];

/// `[:name:]` or `[:^name:]` inside a class.
fn posix_class(text: &str) -> Result<Option<(&str, &str)>, SyntaxError> {
    let Some(end) = text.strip_prefix("[:").and_then(|inner| inner.find(":]")) else { return Ok(None) };
    let (class, after) = text.split_at(end + 4);
    let name = &class[2..end + 2];
    if POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) { Ok(Some((class, after))) } else { err(BAD_RANGE, class) }
}

/// `\pL`, `\p{Greek}` and their negations, by category or script.
fn unicode_class(text: &str) -> Result<(String, &str), SyntaxError> {
    let Some(first) = text[2..].chars().next() else { return err(BAD_RANGE, text) };
    let end = if first == '{' {
        let Some(end) = text.find('}') else { return err(BAD_RANGE, text) };
        end + 1
    } else {
        2 + first.len_utf8()
    };
    let (class, after) = text.split_at(end);
    let name = class[2..].trim_matches(['{', '}']);
    let (name, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    let sign = if inverted == class.starts_with(r"\P") { 'p' } else { 'P' };
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b"_- ".contains(&b)) {
        for property in ["gc", "sc"] {
            let written = format!(r"\{sign}{{{property}={name}}}");
            if ::regex::Regex::new(&written).is_ok() {
                return Ok((written, after));
            }
        }
    }
    err(BAD_RANGE, class)
}

fn class_point<'t>(text: &'t str, whole: &str) -> Result<(u32, &'t str), SyntaxError> {
    match text.chars().next() {
        None => err("missing closing ]", whole),
        Some('\\') => escaped_point(text),
        Some(c) => Ok((u32::from(c), &text[c.len_utf8()..])),
    }
}

/// An escape that stands for one code point.
fn escaped_point(text: &str) -> Result<(u32, &str), SyntaxError> {
    let Some(c) = text[1..].chars().next() else { return err("trailing backslash at end of expression", "") };
    let after = &text[1 + c.len_utf8()..];
    let octal = |digits: usize| (u32::from_str_radix(&text[1..=digits], 8).unwrap_or_default(), &text[1 + digits..]);
    let digits = text[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let point = match c {
        '0' => return Ok(octal(digits)),
        '1'..='7' if digits > 1 => return Ok(octal(digits)),
        'x' => return hexadecimal(text, after),
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return err("invalid escape sequence", &text[..text.len() - after.len()]),
    };
    Ok((point, after))
}

fn hexadecimal<'t>(text: &'t str, digits: &'t str) -> Result<(u32, &'t str), SyntaxError> {
    if let Some(inner) = digits.strip_prefix('{') {
        let mut point = 0;
        for (i, c) in inner.char_indices() {
            let read = 4 + i + c.len_utf8() - 1;
            match c.to_digit(16) {
                None if c == '}' && i > 0 => return Ok((point, &inner[i + 1..])),
                None => return err("invalid escape sequence", &text[..read]),
                Some(digit) => point = point * 16 + digit,
            }
            if point > 0x0010_ffff {
                return err("invalid escape sequence", &text[..read]);
            }
        }
        return err("invalid escape sequence", text);
    }
    let read: String = digits.chars().take(2).collect();
    let after = &digits[read.len()..];
    match (read.len(), u32::from_str_radix(&read, 16)) {
        (2, Ok(point)) if !read.starts_with('+') => Ok((point, after)),
        _ => err("invalid escape sequence", &text[..text.len() - after.len()]),
    }
}
