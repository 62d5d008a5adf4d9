//! Pressure stall information: the share of time that somebody waited for a resource.

/// `some avg10=12.34 …` in millionths.
pub(super) fn some_avg10(text: &str) -> Option<u32> {
    let percent: f64 = text.strip_prefix("some avg10=")?.split_whitespace().next()?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some((percent * 10_000.0) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_last_ten_seconds() {
        assert_eq!(some_avg10("some avg10=12.34 avg60=0.00\nfull avg10=0.00"), Some(123_400));
        for text in ["some avg10=NaN", "some avg10=-1", "some avg10=100.1", "full avg10=1.00", ""] {
            assert_eq!(some_avg10(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(some avg10=)?.{0,40}") {
            let _ = some_avg10(&text);
        }
    }
}
