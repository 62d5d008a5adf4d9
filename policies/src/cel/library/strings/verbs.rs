//! `format`: `%s`, `%d`, `%f`, `%e`, `%b`, `%x`, `%X`, `%o` with their precisions.
//!
//! cel-go has it twice. Kubernetes uses the first, which writes numbers in a locale and quotes what stands in lists; the second, since
//! version 4 of the strings library, is what the conformance tests expect.

use std::fmt::Write as _;

use super::localized;
use crate::cel::error::EvalError;
use crate::cel::library::args::MAX_TEXT;
use crate::cel::library::golang::{float_fixed, float_scientific, float_shortest, quote};
use crate::cel::types::Type;
use crate::cel::value::{Duration, List, Timestamp, Value};

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Versions 1 to 3, with narrow spaces in `%e`: the locale's data up to Kubernetes 1.32.
    Spaced,
    /// Versions 1 to 3, with the locale's data since.
    Localized,
    /// Since version 4.
    Plain,
}

/// Digits after the point when none are asked for.
const DEFAULT_PRECISION: usize = 6;
/// Most digits that can be asked for; upstream's printer gives up far beyond.
const MAX_PRECISION: usize = 1000;

/// What follows a percent sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clause {
    verb: u8,
    precision: Option<usize>,
}

/// A part of the format: text, or a clause for the next argument.
enum Piece<'t> {
    Text(&'t str),
    Clause(Clause),
}

/// Why a text is no format.
type Words = String;

/// Reads the next part; `None` at the end. A clause is read only if an argument is left for it; upstream looks for the argument first
/// when it writes, and last when it checks.
fn next<'t>(rest: &mut &'t str, taken: usize, given: usize, checking: bool) -> Result<Option<Piece<'t>>, Words> {
    let text = *rest;
    if text.is_empty() {
        return Ok(None);
    }
    let Some(after) = text.strip_prefix('%') else {
        let (before, after) = text.split_at(text.find('%').unwrap_or(text.len()));
        *rest = after;
        return Ok(Some(Piece::Text(before)));
    };
    if let Some(after) = after.strip_prefix('%') {
        *rest = after;
        return Ok(Some(Piece::Text("%")));
    }
    if taken >= given && !(checking && after.is_empty()) {
        return Err(format!("index {taken} out of range"));
    }
    if after.is_empty() {
        return Err("unexpected end of string".to_owned());
    }
    let (clause, after) = clause(after).map_err(|e| format!("could not parse formatting clause: {e}"))?;
    *rest = after;
    Ok(Some(Piece::Clause(clause)))
}

fn clause(text: &str) -> Result<(Clause, &str), Words> {
    let (precision, text) = match text.strip_prefix('.') {
        None => (None, text),
        Some(text) => {
            let context = |e: &str| format!("error while parsing precision: {e}");
            let (digits, after) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
            if after.is_empty() {
                return Err(context("could not find end of precision specifier"));
            }
            let number = |why| context(&format!("error while converting precision to integer: strconv.Atoi: parsing {}: {why}", quote(digits)));
            if digits.is_empty() {
                return Err(number("invalid syntax"));
            }
            let precision = digits.parse::<i64>().map_err(|_| number("value out of range"))?;
            (Some(usize::try_from(precision).unwrap_or(usize::MAX)), after)
        }
    };
    match text.bytes().next() {
        Some(verb) if b"sdfebxXo".contains(&verb) => Ok((Clause { verb, precision }, &text[1..])),
        // Upstream looks at bytes, and shows one as the character of that number.
        verb => Err(format!("unrecognized formatting clause {}", quote(&char::from(verb.unwrap_or_default()).to_string()))),
    }
}

pub(super) fn format(text: &str, args: &List<'_>, dialect: Dialect) -> Result<String, EvalError> {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    let mut taken = 0;
    while let Some(piece) = next(&mut rest, taken, args.len(), false).map_err(EvalError::invalid)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Clause(clause) => {
                let value = args.get(taken).unwrap_or(Value::Null);
                let written = write(&value, clause, dialect).map_err(|e| EvalError::invalid(format!("error during formatting: {e}")))?;
                out.push_str(&written);
                taken += 1;
            }
        }
        if out.len() > MAX_TEXT {
            return Err(EvalError::Memory);
        }
    }
    Ok(out)
}

/// Looks at a literal format and the types of the arguments beside it. The mistake, and which argument it is about if it is about one.
pub(crate) fn check(text: &str, args: &[Type], dialect_is_plain: bool) -> Result<(), (Option<usize>, String)> {
    let mut rest = text;
    let mut taken = 0;
    while let Some(piece) = next(&mut rest, taken, args.len(), true).map_err(|e| (None, e))? {
        let Piece::Clause(clause) = piece else { continue };
        if let Some(kind) = args.get(taken)
            && !(kind.is_dyn() || accepts(clause.verb, kind, dialect_is_plain))
        {
            return Err((Some(taken), format!("error during formatting: {}", refusal(clause.verb, kind.name()))));
        }
        taken += 1;
    }
    if args.len() > taken {
        return Err((None, format!("too many arguments supplied to string.format (expected {taken}, got {})", args.len())));
    }
    Ok(())
}

fn accepts(verb: u8, kind: &Type, plain: bool) -> bool {
    match verb {
        b'd' => matches!(kind, Type::Int | Type::Uint) || plain && matches!(kind, Type::Double),
        b'f' | b'e' if plain => matches!(kind, Type::Int | Type::Uint | Type::Double),
        b'f' | b'e' => matches!(kind, Type::Double | Type::String),
        b'b' => matches!(kind, Type::Int | Type::Uint | Type::Bool),
        b'x' | b'X' => matches!(kind, Type::Int | Type::Uint | Type::String | Type::Bytes),
        b'o' => matches!(kind, Type::Int | Type::Uint),
        _ => !matches!(kind, Type::Object(_) | Type::Opaque(..) | Type::Param(_) | Type::Variable(_)),
    }
}

fn refusal(verb: u8, kind: &str) -> String {
    let words = match verb {
        b'd' => "decimal clause can only be used on integers",
        b'f' => "fixed-point clause can only be used on doubles",
        b'e' => "scientific clause can only be used on doubles",
        b'b' => "only integers and bools can be formatted as binary",
        b'x' | b'X' => "only integers, byte buffers, and strings can be formatted as hex",
        b'o' => "octal clause can only be used on integers",
        _ => "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
    };
    format!("{words}, was given {kind}")
}

fn write(value: &Value<'_>, clause: Clause, dialect: Dialect) -> Result<String, Words> {
    let refuse = || Err(refusal(clause.verb, value.type_name()));
    match (clause.verb, value) {
        (b's', _) => plain_or_localized(value, dialect),
        (b'd', Value::Int(x)) => Ok(x.to_string()),
        (b'd', Value::Uint(x)) => Ok(x.to_string()),
        (b'd', Value::Double(x)) if dialect == Dialect::Plain => Ok(shortest(*x)),
        (b'f' | b'e', _) => match number(value, dialect) {
            Some(x) => float(x, clause, dialect),
            None => refuse(),
        },
        (b'b', Value::Bool(x)) => Ok(u8::from(*x).to_string()),
        (b'b', Value::Int(x)) => Ok(format!("{}{:b}", minus(*x), x.unsigned_abs())),
        (b'b', Value::Uint(x)) => Ok(format!("{x:b}")),
        (b'o', Value::Int(x)) => Ok(format!("{}{:o}", minus(*x), x.unsigned_abs())),
        (b'o', Value::Uint(x)) => Ok(format!("{x:o}")),
        (b'x' | b'X', _) => match hexadecimal(value) {
            Some(text) => Ok(if clause.verb == b'X' { text.to_ascii_uppercase() } else { text }),
            None => refuse(),
        },
        _ => refuse(),
    }
}

fn minus(x: i64) -> &'static str {
    if x < 0 { "-" } else { "" }
}

fn hexadecimal(value: &Value<'_>) -> Option<String> {
    let bytes = |bytes: &[u8]| {
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
    };
    match value {
        Value::Int(x) => Some(format!("{}{:x}", minus(*x), x.unsigned_abs())),
        Value::Uint(x) => Some(format!("{x:x}")),
        Value::String(text) => Some(bytes(text.as_bytes())),
        Value::Bytes(content) => Some(bytes(content)),
        _ => None,
    }
}

fn number(value: &Value<'_>, dialect: Dialect) -> Option<f64> {
    match (value, dialect) {
        (Value::Double(x), _) => Some(*x),
        (Value::Int(x), Dialect::Plain) => Some(*x as f64),
        (Value::Uint(x), Dialect::Plain) => Some(*x as f64),
        (Value::String(text), Dialect::Spaced | Dialect::Localized) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn float(x: f64, clause: Clause, dialect: Dialect) -> Result<String, Words> {
    let precision = clause.precision.unwrap_or(DEFAULT_PRECISION);
    if precision > MAX_PRECISION {
        return Err(format!("precision {precision} exceeds maximum allowed precision {MAX_PRECISION}"));
    }
    Ok(match (dialect, clause.verb) {
        (Dialect::Spaced | Dialect::Localized, b'f') => localized::fixed(x, precision),
        (Dialect::Spaced, _) => localized::scientific(x, precision, "\u{202f}"),
        (Dialect::Localized, _) => localized::scientific(x, precision, ""),
        (Dialect::Plain, _) if !x.is_finite() => shortest(x),
        (Dialect::Plain, b'f') => float_fixed(x, precision),
        (Dialect::Plain, _) => float_scientific(x, precision),
    })
}

/// Without an exponent.
fn shortest(x: f64) -> String {
    match x {
        x if x.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        x => x.to_string(),
    }
}

fn plain_or_localized(value: &Value<'_>, dialect: Dialect) -> Result<String, Words> {
    let mut out = String::new();
    match dialect {
        Dialect::Plain => plain(&mut out, value)?,
        Dialect::Spaced | Dialect::Localized => top(&mut out, value)?,
    }
    Ok(out)
}

fn room(out: &str) -> Result<(), Words> {
    if out.len() > MAX_TEXT { Err("text is too long".to_owned()) } else { Ok(()) }
}

fn timestamp(moment: Timestamp) -> String {
    let nanoseconds = i32::try_from(moment.nanoseconds()).unwrap_or_default();
    jiff::Timestamp::new(moment.seconds(), nanoseconds).map(|moment| moment.to_string()).unwrap_or_default()
}

/// In seconds.
fn duration(span: Duration) -> String {
    const BILLION: i64 = 1_000_000_000;
    let (seconds, nanoseconds) = (span.nanoseconds() / BILLION, span.nanoseconds() % BILLION);
    format!("{}s", seconds as f64 + nanoseconds as f64 / 1e9)
}

fn bytes(content: &[u8]) -> Result<&str, Words> {
    std::str::from_utf8(content).map_err(|_| "could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string".to_owned())
}

/// A value by itself, as `string()` makes it.
fn top(out: &mut String, value: &Value<'_>) -> Result<(), Words> {
    match value {
        Value::List(_) | Value::Map(_) => return nested(out, value),
        Value::Null => out.push_str("null"),
        Value::Int(x) => out.push_str(&x.to_string()),
        Value::Uint(x) => out.push_str(&x.to_string()),
        Value::Double(x) => out.push_str(&float_shortest(*x)),
        Value::Bool(x) => out.push_str(&x.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Bytes(content) => out.push_str(bytes(content)?),
        Value::Timestamp(moment) => out.push_str(&timestamp(*moment)),
        Value::Duration(span) => out.push_str(&duration(*span)),
        Value::Type(kind) => out.push_str(kind.name()),
        Value::Optional(_) | Value::Opaque(_) => return Err(refusal(b's', value.type_name())),
    }
    Ok(())
}

/// A value in a list or map, as a literal of the language, doubles with six decimals.
fn nested(out: &mut String, value: &Value<'_>) -> Result<(), Words> {
    room(out)?;
    match value {
        Value::List(list) => {
            out.push('[');
            for (index, element) in list.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                nested(out, &element)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map.iter() {
                let (mut written, mut value_written) = (String::new(), String::new());
                nested(&mut written, &key)?;
                nested(&mut value_written, &value)?;
                entries.push((written, value_written));
            }
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            out.push('{');
            out.push_str(&entries.join(", "));
            out.push('}');
        }
        Value::String(text) => out.push_str(&quote(text)),
        Value::Bytes(content) => {
            out.push('b');
            out.push_str(&quote(bytes(content)?));
        }
        Value::Double(x) if x.is_finite() => out.push_str(&float_fixed(*x, DEFAULT_PRECISION)),
        Value::Double(x) => out.push_str(&quote(&float_fixed(*x, DEFAULT_PRECISION))),
        Value::Timestamp(moment) => out.push_str(&format!("timestamp({})", quote(&timestamp(*moment)))),
        Value::Duration(span) => out.push_str(&format!("duration({})", quote(&duration(*span)))),
        Value::Optional(_) | Value::Opaque(_) => return Err(format!("no formatting function for {}", value.type_name())),
        other => return top(out, other),
    }
    Ok(())
}

/// The second dialect: nothing is quoted.
fn plain(out: &mut String, value: &Value<'_>) -> Result<(), Words> {
    room(out)?;
    match value {
        Value::Double(x) => out.push_str(&shortest(*x)),
        Value::Bytes(content) => out.push_str(&String::from_utf8_lossy(content)),
        Value::List(list) => {
            out.push('[');
            for (index, element) in list.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                plain(out, &element)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map.iter() {
                let (mut written, mut value_written) = (String::new(), String::new());
                plain(&mut written, &key)?;
                plain(&mut value_written, &value)?;
                entries.push((written, value_written));
            }
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
            out.push('{');
            out.push_str(&entries.join(", "));
            out.push('}');
        }
        other => return top(out, other),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
