//! Numbers as `format` writes them in Kubernetes: in the locale en-US, by the rules of Go's `x/text`.
//!
//! Versions of the strings library before 4 go through a locale, and Kubernetes uses version 2: thousands are grouped, infinity is a
//! sign, and the precision of `%e` is not a precision but a width. Policies see all of that, so it is reproduced.

/// Decimals of `%e`, always.
const SCIENTIFIC_DIGITS: usize = 6;

/// `%.Nf`. The least number of decimals is kept in eight bits upstream, and the most in sixteen.
pub(crate) fn fixed(x: f64, precision: usize) -> String {
    if let Some(text) = special(x) {
        return text;
    }
    let least = precision % 256;
    let text = format!("{:.precision$}", x.abs());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let shown = decimals.trim_end_matches('0').len().max(least).min(decimals.len());
    let mut out = sign(x);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if shown > 0 {
        out.push('.');
        out.push_str(&decimals[..shown]);
    }
    out
}

/// `%Ne`: six decimals, padded on the left to `width` characters. `space` stands around the sign of multiplication.
pub(crate) fn scientific(x: f64, width: usize, space: &str) -> String {
    let text = special(x).unwrap_or_else(|| {
        let written = format!("{:.SCIENTIFIC_DIGITS$e}", x.abs());
        let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
        let (minus, digits) = exponent.strip_prefix('-').map_or(("", exponent), |digits| ("\u{207b}", digits));
        let raised: String = format!("{digits:0>2}").chars().map(superscript).collect();
        format!("{}{mantissa}{space}×{space}10{minus}{raised}", sign(x))
    });
    let missing = width.saturating_sub(text.chars().count());
    format!("{}{text}", " ".repeat(missing))
}

/// Negative zero has none.
fn sign(x: f64) -> String {
    if x < 0.0 { "-".to_owned() } else { String::new() }
}

fn special(x: f64) -> Option<String> {
    if x.is_nan() {
        return Some("NaN".to_owned());
    }
    x.is_infinite().then(|| format!("{}∞", sign(x)))
}

fn superscript(digit: char) -> char {
    match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_as_upstream() {
        for (x, precision, text) in [
            (1_234_567.5, 6, "1,234,567.500000"),
            (-1_234_567.555, 2, "-1,234,567.55"),
            (999.5, 2, "999.50"),
            (1e21, 0, "1,000,000,000,000,000,000,000"),
            (-0.0, 6, "0.000000"),
            (-0.4, 0, "-0"),
            (2.5, 0, "2"),
            (3.5, 0, "4"),
            (0.125, 2, "0.12"),
            (1.5, 256, "1.5"),
            (1.5, 260, "1.5000"),
            (1.0 / 3.0, 256, "0.333333333333333314829616256247390992939472198486328125"),
            (f64::NAN, 2, "NaN"),
            (f64::NEG_INFINITY, 3, "-∞"),
        ] {
            assert_eq!(fixed(x, precision), text);
        }
    }

    #[test]
    fn spaces_are_the_callers() {
        assert_eq!(scientific(1.5, 6, ""), "1.500000×10⁰⁰");
    }

    #[test]
    fn scientific_as_upstream() {
        for (x, width, text) in [
            (1_234_567.5, 6, "1.234568\u{202f}×\u{202f}10⁰⁶"),
            (0.000_123_45, 2, "1.234500\u{202f}×\u{202f}10⁻⁰⁴"),
            (-1e100, 6, "-1.000000\u{202f}×\u{202f}10¹⁰⁰"),
            (9.999_999_5, 6, "9.999999\u{202f}×\u{202f}10⁰⁰"),
            (-1234.5, 20, "    -1.234500\u{202f}×\u{202f}10⁰³"),
            (f64::NAN, 6, "   NaN"),
            (f64::NEG_INFINITY, 6, "    -∞"),
            (f64::NAN, 0, "NaN"),
        ] {
            assert_eq!(scientific(x, width, "\u{202f}"), text);
        }
    }
}
