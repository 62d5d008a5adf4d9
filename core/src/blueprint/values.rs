//! Figures as people write them: durations, shares, quantities of processor and memory. Integers only; what does not fit
//! exactly is no value.

use crate::ids::Millionths;

/// Longest duration that is read: a year.
const MAX_DURATION_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// Longest text that is looked at.
const MAX_TEXT: usize = 32;

const DURATIONS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 11] = [
    ("", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
];

/// Milliseconds of `60s`, `200ms`, `1h30m`; units go from large to small.
#[must_use]
pub fn duration(text: &str) -> Option<u64> {
    let mut rest = short(text)?;
    let (mut total, mut before) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let (digits, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (word, next) = behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let (_, unit) = DURATIONS.iter().find(|(name, _)| *name == word)?;
        if *unit >= before {
            return None;
        }
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*unit)?)?;
        (before, rest) = (*unit, next);
    }
    (total <= MAX_DURATION_MS).then_some(total)
}

/// A share of `80%` or `99.95%`, at most one and exact to a millionth.
#[must_use]
pub fn share(text: &str) -> Option<Millionths> {
    let number = short(text)?.strip_suffix('%')?.trim_end();
    let value = scaled(number, 10_000)?;
    u32::try_from(value).ok().and_then(|value| Millionths::try_from(value).ok())
}

/// Thousandths of a processor of `500m`, `2` or `1.5`.
#[must_use]
pub fn millicores(text: &str) -> Option<u64> {
    let text = short(text)?;
    match text.strip_suffix('m') {
        Some(number) => scaled(number, 1),
        None => scaled(text, 1_000),
    }
}

/// Bytes of `512Mi`, `2G` or `1.5Gi`.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let text = short(text)?;
    let (number, word) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let (_, unit) = SIZES.iter().find(|(name, _)| *name == word)?;
    scaled(number, *unit)
}

fn short(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= MAX_TEXT && text.is_ascii()).then_some(text)
}

/// `number` (digits, perhaps with a fraction) times `unit`, if that is whole.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return None;
    }
    let mut value = u128::from(whole.parse::<u64>().ok()?).checked_mul(u128::from(unit))?;
    if !fraction.is_empty() {
        let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = fraction.parse::<u128>().ok()?.checked_mul(u128::from(unit))?;
        if !part.is_multiple_of(power) {
            return None;
        }
        value = value.checked_add(part / power)?;
    }
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, wanted) in [("60s", 60_000), ("200ms", 200), ("1h30m", 5_400_000), ("30d", 2_592_000_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(wanted), "{text}");
        }
        for bad in ["", "60", "s", "1m1h", "1s1s", "-1s", "1.5s", "367d", "1 s", "1y", "99999999999999999999s", "1s\u{e9}"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares() {
        for (text, wanted) in [("80%", 800_000), ("99.95%", 999_500), ("0%", 0), ("100%", 1_000_000), ("1 %", 10_000), ("0.0001%", 1)] {
            assert_eq!(share(text), Some(Millionths::new(wanted)), "{text}");
        }
        for bad in ["", "%", "80", "101%", "-1%", "0.00001%", "1.%", ".5%", "4294967297%"] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }

    #[test]
    fn quantities() {
        for (text, wanted) in [("500m", 500), ("2", 2_000), ("1.5", 1_500), ("0.001", 1), ("0", 0)] {
            assert_eq!(millicores(text), Some(wanted), "{text}");
        }
        for bad in ["", "m", "0.0001", "1.5m", "2k", "-1", "1e3", "99999999999999999999"] {
            assert_eq!(millicores(bad), None, "{bad}");
        }
        for (text, wanted) in [("128Mi", 134_217_728), ("2Gi", 2_147_483_648), ("1.5Gi", 1_610_612_736), ("1000", 1_000), ("2G", 2_000_000_000)] {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for bad in ["", "Mi", "128mi", "128MB", "0.3", "-1Gi", "99999999999Pi"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
