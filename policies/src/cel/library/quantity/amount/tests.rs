//! The facts of upstream's table, and the corners between the two kinds of amount.

use super::*;

fn q(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn parses_what_upstream_parses() {
    for text in ["20", "20M", "20Mi", "12Mi", "0", "00", "-0", "+1", "1.", ".5", ".", "-", "+", "-.5", "1e3", "1E3", "1E", "1e+3", "1e-30", "1.5Gi", "1n"] {
        assert!(Quantity::parse(text).is_ok(), "{text}");
    }
    for (text, error) in [
        ("", QuantityError::Format),
        ("10Mo", QuantityError::Format),
        ("1 ", QuantityError::Format),
        ("1é", QuantityError::Format),
        ("a", QuantityError::Format),
        ("--1", QuantityError::Suffix),
        ("1e+-3", QuantityError::Format),
        ("1.2.3", QuantityError::Format),
        ("10Mm", QuantityError::Suffix),
        ("1e", QuantityError::Suffix),
        ("1k3", QuantityError::Suffix),
        ("1Ei3", QuantityError::Suffix),
        ("1+3", QuantityError::Suffix),
        ("1e99999999999999999999", QuantityError::Suffix),
        (".Ei", QuantityError::Numeric),
    ] {
        assert_eq!(Quantity::parse(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn compares_by_value() {
    for (a, b, order) in [
        ("200M", "0.2G", 0),
        ("2M", "0.002G", 0),
        ("2000k", "2M", 0),
        ("200M", "0.3G", -1),
        ("50M", "50Mi", -1),
        ("50Mi", "50M", 1),
        ("150Mi", "100Mi", 1),
        ("50M", "100M", -1),
        ("-1", "1", -1),
        ("-2", "-1", -1),
        ("1n", "0.1n", 0),
        ("0.5", "500m", 0),
        ("1e40", "1e41", -1),
        ("9999999999999999999", "10E", -1),
        ("1e2147483647", "1e2147483646", 1),
        ("-1e2147483647", "1n", -1),
        ("8Ei", "9223372036854775807", 0),
        ("100Ei", "9223372036854775807", 0),
        ("1e4294967296", "1", 0),
        ("0.1Ki", "102.4", 0),
    ] {
        assert_eq!(q(a).compare(&q(b)) as i32, order, "{a} {b}");
    }
}

#[test]
fn adds_and_subtracts_exactly() {
    for (a, b, sum, difference) in [
        ("50k", "20", "50.02k", "49.98k"),
        ("1", "1n", "1.000000001", "999999999n"),
        ("9223372036854775807", "1", "9223372036854775808", "9223372036854775806"),
        ("0", "5", "5", "-5"),
        ("5", "0", "5", "5"),
        ("1e30", "1", "1000000000000000000000000000001", "999999999999999999999999999999"),
        ("100", "1e30", "1000000000000000000000000000100", "-999999999999999999999999999900"),
    ] {
        assert_eq!(q(a).add(&q(b)).unwrap(), q(sum), "{a} + {b}");
        assert_eq!(q(a).sub(&q(b)).unwrap(), q(difference), "{a} - {b}");
    }
    let chain = q("50k").add(&Quantity::from_int(20)).unwrap().sub(&q("100k")).unwrap();
    assert_eq!(chain.as_integer(), Some(-49_980));
    assert_eq!(chain.sub(&Quantity::from_int(-50_000)).unwrap().as_integer(), Some(20));
    assert!(q("1e2147483647").add(&q("1")).is_err());
}

#[test]
fn an_integer_is_one_that_stayed_small() {
    for (text, integer) in [
        ("50k", Some(50_000)),
        ("50", Some(50)),
        ("0.5k", Some(500)),
        ("1.0", None),
        ("500m", None),
        ("1000m", None),
        ("1Ti", Some(1_099_511_627_776)),
        ("1Pi", None),
        ("1Ei", None),
        ("0e2000000000", Some(0)),
        ("9999999999999999999999999999999999999G", None),
        ("999999999999999999", Some(999_999_999_999_999_999)),
        ("1000000000000000000", None),
        ("50000000G", Some(50_000_000_000_000_000)),
    ] {
        assert_eq!(q(text).as_integer(), integer, "{text}");
    }
}

#[test]
fn approximates_as_upstream() {
    for (text, float) in [("50.703k", 50703.0), ("1", 1.0), ("0.1", 0.1), ("1m", 0.001), ("-2.5", -2.5), ("1e400", f64::INFINITY), ("1e22", 1e22), ("0", 0.0)] {
        assert_eq!(q(text).as_approximate_float(), float, "{text}");
    }
    assert_eq!([q("-1").signum(), q("0").signum(), q("1e30").signum(), q("-1e30").signum()], [-1, 0, 1, -1]);
}
