//! Probabilities as log-odds in integer micro-nats, so that every machine and version counts the same.

use crate::ids::Millionths;

/// Probabilities are held away from 0 and 1 by this much: nobody is that sure.
const FLOOR: u32 = 1_000;
/// ln 2 in units of 2^-32.
const LN2_Q32: u128 = 2_977_044_472;

/// ln(p / (1 - p)) in micro-nats.
pub(super) fn of(p: Millionths) -> i64 {
    let p = p.get().clamp(FLOOR, 1_000_000 - FLOOR);
    ln_micro(u64::from(p)).saturating_sub(ln_micro(u64::from(1_000_000 - p)))
}

/// The probability whose log-odds are nearest to `log_odds` from below.
pub(super) fn probability(log_odds: i64) -> Millionths {
    let (mut low, mut high) = (FLOOR, 1_000_000 - FLOOR);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if of(Millionths::new(middle)) <= log_odds {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Millionths::new(low)
}

/// ln(x) in micro-nats for x >= 1: the integer part of log2 by position, 32 fraction bits by repeated squaring.
fn ln_micro(x: u64) -> i64 {
    let x = x.max(1);
    let whole = x.ilog2();
    let mut mantissa = (u128::from(x) << 32) >> whole; // in [1, 2) with 32 fraction bits
    let mut log2_q32 = u128::from(whole) << 32;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 32;
        if mantissa >= 2 << 32 {
            mantissa >>= 1;
            log2_q32 |= 1 << bit;
        }
    }
    let micro = (log2_q32 * LN2_Q32 * 1_000_000) >> 64;
    i64::try_from(micro).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_floating_point() {
        for p in [1_000, 50_000, 200_000, 500_000, 700_000, 900_000, 999_000] {
            let exact = (f64::from(p) / f64::from(1_000_000 - p)).ln() * 1e6;
            #[expect(clippy::cast_precision_loss, reason = "a test against floating point")]
            let difference = (of(Millionths::new(p)) as f64 - exact).abs();
            assert!(difference < 5.0, "{p}: {difference}");
        }
        assert_eq!(of(Millionths::new(500_000)), 0);
    }

    #[test]
    fn probability_inverts_log_odds() {
        for p in (1_000..=999_000).step_by(997) {
            let back = probability(of(Millionths::new(p))).get();
            assert!(back.abs_diff(p) <= 12, "{p} came back as {back}");
        }
        assert_eq!(probability(i64::MIN).get(), 1_000);
        assert_eq!(probability(i64::MAX).get(), 999_000);
    }
}
