//! Whole numbers: scaling without overflow, and medians and percentiles that one wild value does not move.

/// `value * by / of`, rounded down; nothing is divided by zero, what is too large is the largest.
pub(super) fn scale(value: u64, by: u64, of: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(by)).checked_div(u128::from(of));
    scaled.map_or(u64::MAX, |scaled| u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// As [`scale`], rounded up.
pub(super) fn scale_up(value: u64, by: u64, of: u64) -> u64 {
    if of == 0 {
        return u64::MAX;
    }
    let scaled = (u128::from(value) * u128::from(by)).div_ceil(u128::from(of));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// `value` as a number of replicas.
pub(super) fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The value that so many millionths of the values do not exceed, by nearest rank; nothing without values.
pub(super) fn percentile(values: impl IntoIterator<Item = u64>, millionths: u32) -> Option<u64> {
    let mut sorted: Vec<u64> = values.into_iter().collect();
    sorted.sort_unstable();
    let rank = scale_up(sorted.len() as u64, u64::from(millionths.min(1_000_000)), 1_000_000);
    sorted.get(usize::try_from(rank.saturating_sub(1)).ok()?).copied()
}

/// The middle value, the lower of two.
pub(super) fn median(values: impl IntoIterator<Item = u64>) -> Option<u64> {
    percentile(values, 500_000)
}

/// The highest level that was reached twice; the highest, where there are fewer than four values.
pub(super) fn reached(values: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = values.into_iter().collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.get(usize::from(sorted.len() >= 4)).copied()
}

/// The middle of all slopes between two points `(milliseconds, value)`, in value per million milliseconds (Theil and Sen):
/// a few wild points do not bend it.
pub(super) fn slope(points: &[(i64, u64)]) -> i64 {
    let mut slopes = Vec::new();
    for (index, (from, low)) in points.iter().enumerate() {
        for (to, high) in points.iter().skip(index + 1).filter(|(to, _)| to > from) {
            let rise = (i128::from(*high) - i128::from(*low)) * 1_000_000 / i128::from(to.saturating_sub(*from)).max(1);
            slopes.push(i64::try_from(rise).unwrap_or(if rise < 0 { i64::MIN } else { i64::MAX }));
        }
    }
    slopes.sort_unstable();
    slopes.get(slopes.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_numbers_neither_overflow_nor_divide_by_zero() {
        assert_eq!(scale(u64::MAX, u64::MAX, 1), u64::MAX);
        assert_eq!((scale(7, 1, 0), scale_up(7, 1, 0)), (u64::MAX, u64::MAX));
        assert_eq!((scale(7, 1, 2), scale_up(7, 1, 2)), (3, 4));
        assert_eq!(slope(&[(i64::MIN, 0), (i64::MAX, u64::MAX)]), 2_000_000);
    }

    #[test]
    fn one_wild_value_moves_neither_median_nor_level_nor_slope() {
        assert_eq!(median([5, 6, 900, 5, 6]), Some(6));
        assert_eq!(reached([5, 6, 900, 5]), Some(6));
        assert_eq!(reached([5, 6, 900]), Some(900));
        let line: Vec<(i64, u64)> = (0..8).map(|x| (x * 1000, if x == 3 { 9_000 } else { 100 + u64::try_from(x).unwrap() * 10 })).collect();
        assert_eq!(slope(&line), 10_000);
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        assert_eq!(percentile(1..=100, 950_000), Some(95));
        assert_eq!(percentile([3], 950_000), Some(3));
        assert_eq!(percentile([3, 4], 0), Some(3));
        assert_eq!(percentile([], 500_000), None);
    }
}
