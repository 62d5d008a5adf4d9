//! N-sigma: how many standard deviations a value strays from the mean of what is usual, the largest of each service.

use assent_core::diagnosis::Recording;

use crate::columns::{Column, ranked, scores};

/// Services, most suspect first.
pub(crate) fn rank(recording: &Recording) -> Vec<String> {
    ranked(scores(recording, score))
}

/// A series that never moved has no deviation to measure by, and is left out.
pub(crate) fn score(column: &Column) -> Option<f64> {
    let mean = mean(&column.usual)?;
    let variance = self::mean(&column.usual.iter().map(|value| (value - mean) * (value - mean)).collect::<Vec<f64>>()).filter(|variance| *variance > 0.0)?;
    column.after.iter().map(|value| (value - mean).abs() / variance.sqrt()).max_by(f64::total_cmp)
}

fn mean(values: &[f64]) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "the length of a short list")]
    let count = values.len() as f64;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)
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
    fn distance_is_in_standard_deviations() {
        let column = Column { usual: vec![1.0, 3.0], after: vec![2.0, 5.0], ..Column::default() };
        assert_eq!(score(&column), Some(3.0));
        assert_eq!(score(&Column { usual: vec![2.0, 2.0], after: vec![5.0], ..Column::default() }), None);
        assert_eq!(score(&Column::default()), None);
    }
}
