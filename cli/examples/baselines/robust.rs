//! A robust scorer in the manner of BARO: as n-sigma, by median and inter-quartile range, which a few wild values do not move.

use assent_core::diagnosis::Recording;

use crate::columns::{Column, quantile, ranked, scores};

/// Services, most suspect first.
pub(crate) fn rank(recording: &Recording) -> Vec<String> {
    ranked(scores(recording, score))
}

/// The largest distance from the median in inter-quartile ranges; a series without any is measured in its own unit.
pub(crate) fn score(column: &Column) -> Option<f64> {
    let median = quantile(&column.usual, 0.5)?;
    let range = quantile(&column.usual, 0.75)? - quantile(&column.usual, 0.25)?;
    let scale = if range > 0.0 { range } else { 1.0 };
    column.after.iter().map(|value| (value - median).abs() / scale).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::tests::chain;

    #[test]
    fn the_largest_stray_comes_first() {
        assert_eq!(rank(&chain()), ["store", "cart", "web"]);
    }

    #[test]
    fn a_wild_value_before_the_alert_moves_nothing() {
        let calm = Column { usual: vec![1.0, 2.0, 3.0, 2.0, 2.0], after: vec![8.0], ..Column::default() };
        let wild = Column { usual: vec![1.0, 2.0, 3.0, 2.0, 9_000.0], ..calm.clone() };
        assert_eq!(score(&calm), Some(6.0));
        assert!(score(&wild).unwrap() >= 5.0);
    }
}
