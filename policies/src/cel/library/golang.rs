//! How Go writes quoted strings and floating-point numbers.
//!
//! Users see these texts in error messages and in the results of `string()` and `format`, and policies compare them, so they
//! must be Go's to the letter. Nothing here parses.

use std::fmt::Write as _;

/// A double-quoted Go string literal, as `strconv.Quote` and `%q` write it.
#[must_use]
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match short_escape(c) {
            Some(escaped) => out.push_str(escaped),
            None if printable(c) => out.push(c),
            None => escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// The escapes of one letter, which Go and the expression language share.
pub(crate) fn short_escape(c: char) -> Option<&'static str> {
    Some(match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{07}' => "\\a",
        '\u{08}' => "\\b",
        '\u{0c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{0b}' => "\\v",
        _ => return None,
    })
}

fn escape(out: &mut String, c: char) {
    let code = u32::from(c);
    // Writing to a `String` cannot fail.
    let _ = match code {
        0..=0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space. The standard library keeps that table for debug output;
/// a leading letter switches off its special case for combining characters.
fn printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut probe = [b'a'; 5];
    let len = c.encode_utf8(&mut probe[1..]).len();
    std::str::from_utf8(&probe[..=len]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// The shortest text that reads back as the same number, as `strconv.FormatFloat(x, 'g', -1, 64)` writes it.
#[must_use]
pub(crate) fn float_shortest(x: f64) -> String {
    if let Some(text) = special(x) {
        return text.to_owned();
    }
    let scientific = format!("{x:e}");
    let (mantissa, exponent) = split(&scientific);
    if (-4..6).contains(&exponent) { format!("{x}") } else { with_exponent(mantissa, exponent) }
}

/// `%.*f`; infinities and not-a-number as `fmt` writes them.
#[must_use]
pub(crate) fn float_fixed(x: f64, precision: usize) -> String {
    special(x).map_or_else(|| format!("{x:.precision$}"), str::to_owned)
}

/// `%.*e`, with an exponent of two digits at least.
#[must_use]
pub(crate) fn float_scientific(x: f64, precision: usize) -> String {
    if let Some(text) = special(x) {
        return text.to_owned();
    }
    let scientific = format!("{x:.precision$e}");
    let (mantissa, exponent) = split(&scientific);
    with_exponent(mantissa, exponent)
}

fn special(x: f64) -> Option<&'static str> {
    match x {
        x if x.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

fn split(scientific: &str) -> (&str, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or(0))
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go() {
        for (text, quoted) in [
            ("", "\"\""),
            ("a\"b\\", r#""a\"b\\""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\u{0}\u{7f}", r#""\x00\x7f""#),
            ("é日\u{301}", "\"é日\u{301}\""),
            ("\u{a0}\u{2028}\u{feff}", r#""\u00a0\u2028\ufeff""#),
            ("\u{10ffff}\u{1f600}", "\"\\U0010ffff\u{1f600}\""),
        ] {
            assert_eq!(quote(text), quoted, "{text:?}");
        }
    }

    #[test]
    fn writes_numbers_as_go() {
        for (number, shortest, fixed, scientific) in [
            (0.0, "0", "0.00", "0.00e+00"),
            (-0.0, "-0", "-0.00", "-0.00e+00"),
            (123_456.0, "123456", "123456.00", "1.23e+05"),
            (1_234_567.5, "1.2345675e+06", "1234567.50", "1.23e+06"),
            (0.000_1, "0.0001", "0.00", "1.00e-04"),
            (0.000_01, "1e-05", "0.00", "1.00e-05"),
            (1e100, "1e+100", "10000000000000000159028911097599180468360808563945281389781327557747838772170381060813469985856815104.00", "1.00e+100"),
            (0.125, "0.125", "0.12", "1.25e-01"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN", "NaN"),
        ] {
            assert_eq!(float_shortest(number), shortest);
            assert_eq!(float_fixed(number, 2), fixed);
            assert_eq!(float_scientific(number, 2), scientific);
        }
    }
}
