//! Exact decimals of any length: an integer, written in decimal digits, times a power of ten.
//!
//! Quantities that leave 64 bits are kept this way, with the scale that upstream's arithmetic gives them, because the scale shows in
//! `asApproximateFloat`. Digits rather than machine words make comparing and rounding plain and cost nothing at the lengths
//! that occur. An operation that would have to write out more than `LIMIT` digits is refused: exponents come from policies
//! and objects, and upstream would try.

use std::cmp::Ordering;

/// The most digits that are ever written out.
const LIMIT: usize = 50_000;

/// Digits would pass the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantity has too many digits")]
pub(crate) struct TooLong;

/// `digits × 10^exponent`, signed. Digits are values 0–9, most significant first, without leading zeros; empty is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) negative: bool,
    digits: Vec<u8>,
    pub(crate) exponent: i32,
}

impl Decimal {
    pub(crate) fn from_int(value: i64, exponent: i32) -> Self {
        let digits = if value == 0 { Vec::new() } else { value.unsigned_abs().to_string().bytes().map(|b| b - b'0').collect() };
        Self { negative: value < 0, digits, exponent }
    }

    /// Reads `[+-]digits[.digits]`; `None` when there is no digit or anything else. The scale counts every written fraction digit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut digits = Vec::with_capacity(rest.len());
        let mut point = None;
        for &byte in rest {
            match byte {
                b'0'..=b'9' => digits.push(byte - b'0'),
                b'.' if point.is_none() => point = Some(digits.len()),
                _ => return None,
            }
        }
        if digits.is_empty() {
            return None;
        }
        let fraction = i32::try_from(point.map_or(0, |at| digits.len() - at)).ok()?;
        Some(Self { negative, digits, exponent: -fraction }.normal())
    }

    fn normal(mut self) -> Self {
        let zeros = self.digits.iter().take_while(|d| **d == 0).count();
        self.digits.drain(..zeros);
        self.negative &= !self.digits.is_empty();
        self
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    pub(crate) fn signum(&self) -> i64 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// Multiplies the integer part by 2^`bits`; `bits` is 60 at most.
    pub(crate) fn shift_left(mut self, bits: u32) -> Self {
        let mut carry = 0_u128;
        for digit in self.digits.iter_mut().rev() {
            let product = (u128::from(*digit) << bits) + carry;
            *digit = u8::try_from(product % 10).unwrap_or_default();
            carry = product / 10;
        }
        let mut front = Vec::new();
        while carry > 0 {
            front.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
        front.reverse();
        front.append(&mut self.digits);
        self.digits = front;
        self
    }

    /// Writes the same value, or the next one away from zero, with `exponent`.
    pub(crate) fn round_away(mut self, exponent: i32) -> Result<Self, TooLong> {
        let drop = i64::from(exponent) - i64::from(self.exponent);
        self.exponent = exponent;
        if drop <= 0 {
            self.pad(drop.unsigned_abs())?;
            return Ok(self);
        }
        let kept = self.digits.len().saturating_sub(usize::try_from(drop).unwrap_or(usize::MAX));
        let inexact = self.digits[kept..].iter().any(|d| *d != 0);
        self.digits.truncate(kept);
        if inexact {
            self.increment();
        }
        Ok(self.normal())
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
    }

    fn pad(&mut self, zeros: u64) -> Result<(), TooLong> {
        if self.is_zero() {
            return Ok(());
        }
        let length = usize::try_from(zeros).ok().and_then(|z| z.checked_add(self.digits.len())).filter(|l| *l <= LIMIT).ok_or(TooLong)?;
        self.digits.resize(length, 0);
        Ok(())
    }

    fn at_exponent(&self, exponent: i32) -> Result<Self, TooLong> {
        let mut copy = self.clone();
        copy.pad(u64::from(self.exponent.abs_diff(exponent)))?;
        copy.exponent = exponent;
        Ok(copy)
    }

    /// The sum, with the smaller of both exponents.
    pub(crate) fn add(&self, other: &Self) -> Result<Self, TooLong> {
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.at_exponent(exponent)?, other.at_exponent(exponent)?);
        if a.negative == b.negative {
            return Ok(Self { negative: a.negative, digits: sum(&a.digits, &b.digits), exponent }.normal());
        }
        let (large, small) = if compare_digits(&a.digits, &b.digits) == Ordering::Less { (b, a) } else { (a, b) };
        Ok(Self { negative: large.negative, digits: difference(&large.digits, &small.digits), exponent }.normal())
    }

    pub(crate) fn negated(mut self) -> Self {
        self.negative = !self.negative && !self.is_zero();
        self
    }

    /// By value; `1.0` and `1` are equal. Never writes digits out.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match self.signum().cmp(&other.signum()) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        let order = self.compare_magnitude(other);
        if self.negative { order.reverse() } else { order }
    }

    fn compare_magnitude(&self, other: &Self) -> Ordering {
        let magnitude = |d: &Self| i128::from(d.exponent) + i128::try_from(d.digits.len()).unwrap_or(i128::MAX);
        if self.is_zero() || other.is_zero() {
            return Ordering::Equal;
        }
        magnitude(self).cmp(&magnitude(other)).then_with(|| {
            let length = self.digits.len().max(other.digits.len());
            let padded = |d: &Self, i: usize| d.digits.get(i).copied().unwrap_or(0);
            (0..length).map(|i| padded(self, i).cmp(&padded(other, i))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        })
    }

    /// The digits alone, rounded to the nearest double.
    pub(crate) fn digits_as_float(&self) -> f64 {
        let text: String = self.digits.iter().map(|d| char::from(b'0' + d)).collect();
        let magnitude = if text.is_empty() { 0.0 } else { text.parse().unwrap_or(f64::INFINITY) };
        if self.negative { -magnitude } else { magnitude }
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        for digit in &self.digits {
            write!(f, "{digit}")?;
        }
        if self.exponent == 0 { Ok(()) } else { write!(f, "e{}", self.exponent) }
    }
}

fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let length = a.len().max(b.len());
    let mut out = vec![0; length + 1];
    let mut carry = 0;
    for i in 0..length {
        let column = from_end(a, i) + from_end(b, i) + carry;
        out[length - i] = column % 10;
        carry = column / 10;
    }
    out[0] = carry;
    out
}

/// `a` is not smaller than `b`.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let length = a.len();
    let mut out = vec![0; length];
    let mut borrow = 0;
    for i in 0..length {
        let take = from_end(b, i) + borrow;
        let have = from_end(a, i);
        borrow = u8::from(have < take);
        out[length - 1 - i] = have + 10 * borrow - take;
    }
    out
}

fn from_end(digits: &[u8], i: usize) -> u8 {
    digits.len().checked_sub(i + 1).map_or(0, |at| digits[at])
}
