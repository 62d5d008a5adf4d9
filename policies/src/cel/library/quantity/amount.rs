//! `quantity`: the amounts of Kubernetes resources ("500m", "1.5Gi", "12e6"), exactly.
//!
//! Small amounts are a 64-bit integer and a power of ten, others a decimal of any length. Which of both an amount is shows: only
//! the first kind can be an integer, however whole the number. So the same decisions are taken as upstream, overflow by overflow.
//! How an amount was written is not kept; nothing in the language can see it.

use std::cmp::Ordering;

use super::decimal::{Decimal, TooLong};

/// The smallest power of ten that is kept; finer amounts are rounded away from zero.
const NANO: i32 = -9;
/// Digits that certainly fit 64 bits.
const SAFE_DIGITS: i64 = 18;

/// Why a text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuantityError {
    /// Not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// No digit.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// Unknown suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An amount.
#[derive(Clone, Debug)]
pub(crate) enum Quantity {
    /// `value × 10^scale`.
    Small { value: i64, scale: i32 },
    /// Whatever did not fit, for good: results of it stay large.
    Large(Decimal),
}

enum Suffix {
    Ten(i32),
    Two(u32),
}

struct Parts<'a> {
    positive: bool,
    value: &'a str,
    num: &'a str,
    denom: &'a str,
    suffix: &'a str,
}

impl Quantity {
    pub(crate) fn from_int(value: i64) -> Self {
        Self::Small { value, scale: 0 }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = split(text)?;
        let suffix = interpret(parts.suffix).ok_or(QuantityError::Suffix)?;
        match small(&parts, &suffix) {
            Some(small) => Ok(small),
            None => large(&parts, &suffix),
        }
    }

    fn decimal(&self) -> Decimal {
        match self {
            Self::Small { value, scale } => Decimal::from_int(*value, *scale),
            Self::Large(decimal) => decimal.clone(),
        }
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Small { value: a, scale: x }, Self::Small { value: b, scale: y }) if x == y => a.cmp(b),
            _ => self.decimal().compare(&other.decimal()),
        }
    }

    pub(crate) fn add(&self, other: &Self) -> Result<Self, TooLong> {
        if let (Self::Small { value: a, scale: x }, Self::Small { value: b, scale: y }) = (self, other)
            && let Some(sum) = add_small((*a, *x), (*b, *y))
        {
            return Ok(sum);
        }
        self.decimal().add(&other.decimal()).map(Self::Large)
    }

    pub(crate) fn sub(&self, other: &Self) -> Result<Self, TooLong> {
        // The least integer has no negative: upstream's negation wraps, and so does this.
        if let (Self::Small { value: a, scale: x }, Self::Small { value: b, scale: y }) = (self, other)
            && let Some(difference) = add_small((*a, *x), (b.wrapping_neg(), *y))
        {
            return Ok(difference);
        }
        self.decimal().add(&other.decimal().negated()).map(Self::Large)
    }

    pub(crate) fn signum(&self) -> i64 {
        match self {
            Self::Small { value, .. } => value.signum(),
            Self::Large(decimal) => decimal.signum(),
        }
    }

    /// The integer, when the amount is kept small, is whole as written and fits.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Small { value, scale } if *scale >= 0 => scale_up(*value, *scale),
            _ => None,
        }
    }

    pub(crate) fn as_approximate_float(&self) -> f64 {
        let (base, exponent) = match self {
            // Rounds to nearest, as Go's conversion does.
            Self::Small { value, scale } => (*value as f64, *scale),
            Self::Large(decimal) => (decimal.digits_as_float(), decimal.exponent),
        };
        if exponent == 0 { base } else { base * power_of_ten(exponent) }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.decimal().fmt(f)
    }
}

fn add_small((a, x): (i64, i32), (b, y): (i64, i32)) -> Option<Quantity> {
    if b == 0 {
        return Some(Quantity::Small { value: a, scale: x });
    }
    if a == 0 {
        return Some(Quantity::Small { value: b, scale: y });
    }
    let scale = x.min(y);
    let value = scale_up(a, x.checked_sub(scale)?)?.checked_add(scale_up(b, y.checked_sub(scale)?)?)?;
    Some(Quantity::Small { value, scale })
}

fn scale_up(value: i64, scale: i32) -> Option<i64> {
    if value == 0 {
        return Some(0);
    }
    // Upstream refuses to scale the least integer even by one.
    if scale > 0 && value == i64::MIN {
        return None;
    }
    10_i64.checked_pow(u32::try_from(scale).ok()?)?.checked_mul(value)
}

/// Splits sign, integer digits without leading zeros, fraction digits and suffix. Digits may be missing: "." and "-" are zero.
fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let start = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let positive = bytes.first() != Some(&b'-');
    let num_start = start + bytes[start..].iter().take_while(|b| **b == b'0').count();
    if num_start == bytes.len() {
        return Ok(Parts { positive, value: "0", num: "0", denom: "", suffix: "" });
    }
    let mut pos = num_start + digits(num_start);
    let num = if pos == num_start { "0" } else { &text[num_start..pos] };
    let mut denom = "";
    if bytes.get(pos) == Some(&b'.') {
        let end = pos + 1 + digits(pos + 1);
        denom = &text[pos + 1..end];
        pos = end;
    }
    let (value, suffix) = text.split_at(pos);
    let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
    let rest = suffix.as_bytes()[letters..].strip_prefix(b"-").or_else(|| suffix.as_bytes()[letters..].strip_prefix(b"+"));
    if !rest.unwrap_or(&suffix.as_bytes()[letters..]).iter().all(u8::is_ascii_digit) {
        return Err(QuantityError::Format);
    }
    Ok(Parts { positive, value, num, denom, suffix })
}

fn interpret(suffix: &str) -> Option<Suffix> {
    let exponent = match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        "Ki" => return Some(Suffix::Two(10)),
        "Mi" => return Some(Suffix::Two(20)),
        "Gi" => return Some(Suffix::Two(30)),
        "Ti" => return Some(Suffix::Two(40)),
        "Pi" => return Some(Suffix::Two(50)),
        "Ei" => return Some(Suffix::Two(60)),
        _ => {
            let written = suffix.strip_prefix(['e', 'E'])?.parse::<i64>().ok()?;
            // Upstream keeps the low 32 bits of the exponent.
            written as i32
        }
    };
    Some(Suffix::Ten(exponent))
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// The amount as a 64-bit integer, where that certainly holds.
fn small(parts: &Parts<'_>, suffix: &Suffix) -> Option<Quantity> {
    let (room, mantissa, scale) = match suffix {
        Suffix::Ten(exponent) => (SAFE_DIGITS - length(parts.num) - length(parts.denom), 1, *exponent),
        Suffix::Two(bits) if parts.denom.is_empty() => (14 - length(parts.num) - i64::from(bits * 3 / 10), 1_i64 << bits, 0),
        Suffix::Two(_) => return None,
    };
    let scale = scale.wrapping_sub(i32::try_from(parts.denom.len()).ok()?);
    if room < 0 || scale < NANO {
        return None;
    }
    let value = format!("{}{}", parts.num, parts.denom).parse::<i64>().ok()?.checked_mul(mantissa)?;
    Some(Quantity::Small { value: if parts.positive { value } else { -value }, scale })
}

fn large(parts: &Parts<'_>, suffix: &Suffix) -> Result<Quantity, QuantityError> {
    let mut amount = Decimal::parse(parts.value).ok_or(QuantityError::Numeric)?;
    match suffix {
        // Upstream subtracts scales, which are negated exponents, in 32 bits.
        Suffix::Ten(exponent) => amount.exponent = amount.exponent.wrapping_neg().wrapping_add(exponent.wrapping_neg()).wrapping_neg(),
        Suffix::Two(bits) => amount = amount.shift_left(*bits),
    }
    if !amount.is_zero() {
        amount = amount.round_away(NANO).map_err(|TooLong| QuantityError::Numeric)?;
    }
    let most = Decimal::from_int(i64::MAX, 0);
    let negative = amount.negative;
    amount.negative = false;
    if matches!(suffix, Suffix::Two(_)) && amount.compare(&most).is_gt() {
        amount = most;
    }
    amount.negative = negative;
    Ok(Quantity::Large(amount))
}

/// Ten to the `n`, by the two factors that Go multiplies.
fn power_of_ten(n: i32) -> f64 {
    let step = |n: i32| format!("1e{n}").parse::<f64>().unwrap_or(f64::NAN);
    match n {
        0..=308 => step(n / 32 * 32) * step(n % 32),
        -323..=-1 => step(n / 32 * 32) / step(-n % 32),
        309.. => f64::INFINITY,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;
