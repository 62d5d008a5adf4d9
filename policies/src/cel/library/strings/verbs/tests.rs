//! What upstream answered to the same.

use super::*;
use crate::cel::value::MapBuilder;

fn localized(text: &str, args: Vec<Value<'static>>) -> Result<String, String> {
    format(text, &List::from(args), Dialect::Localized).map_err(|e| e.to_string())
}

fn map(entries: Vec<(Value<'static>, Value<'static>)>) -> Value<'static> {
    let entries: MapBuilder<'static> = entries.into_iter().map(|(k, v)| (crate::cel::value::Key::of(&k).unwrap(), v)).collect();
    Value::Map(entries.into())
}

fn everything() -> Value<'static> {
    Value::list(vec![
        Value::Double(1.5),
        Value::string("a"),
        Value::bytes(b"x"),
        Value::Null,
        map(vec![(Value::string("b"), Value::list(vec![Value::Uint(1)])), (Value::string("a"), Value::Double(1.25))]),
        Value::Timestamp(Timestamp::new(1_577_836_800, 123_000_000).unwrap()),
        Value::Duration(Duration::from_nanoseconds(1_500_000_000)),
        Value::Bool(true),
        Value::Type(Type::Int),
        Value::Double(f64::INFINITY),
    ])
}

#[test]
fn writes_lists_and_maps() {
    assert_eq!(
        localized("%s", vec![everything()]).unwrap(),
        "[1.500000, \"a\", b\"x\", null, {\"a\":1.250000, \"b\":[1]}, timestamp(\"2020-01-01T00:00:00.123Z\"), duration(\"1.5s\"), true, int, \"+Inf\"]"
    );
    assert_eq!(
        format("%s", &List::from(vec![everything()]), Dialect::Plain).unwrap(),
        "[1.5, a, x, null, {a: 1.25, b: [1]}, 2020-01-01T00:00:00.123Z, 1.5s, true, int, Infinity]"
    );
    let keys = map(vec![(Value::Int(1), Value::Int(2)), (Value::string("a"), Value::Int(3)), (Value::Bool(true), map(vec![]))]);
    assert_eq!(localized("%s", vec![keys]).unwrap(), "{\"a\":3, 1:2, true:{}}");
}

#[test]
fn writes_single_values() {
    for (text, value, written) in [
        ("%%%s%%", Value::string("x"), "%x%"),
        ("%s", Value::Double(1e30), "1e+30"),
        ("%s", Value::Double(-0.0), "-0"),
        ("%s", Value::Duration(Duration::from_nanoseconds(360_000_000_000_000)), "360000s"),
        ("%s", Value::Type(Type::list(Type::Dyn)), "list"),
        ("%d", Value::Int(1_234_567), "1234567"),
        ("%x", Value::string("héllo"), "68c3a96c6c6f"),
        ("%X", Value::bytes([0xff, 0x0a]), "FF0A"),
        ("%x", Value::Int(-15), "-f"),
        ("%b", Value::Int(-5), "-101"),
        ("%b", Value::Bool(true), "1"),
        ("%o", Value::Int(-9), "-11"),
        ("%.2f", Value::Double(1234.5), "1,234.50"),
        ("%f", Value::string("Infinity"), "∞"),
        ("%e", Value::Double(1_234_567.5), "1.234568×10⁰⁶"),
        ("%b", Value::Int(i64::MIN), "-1000000000000000000000000000000000000000000000000000000000000000"),
    ] {
        assert_eq!(localized(text, vec![value]).unwrap(), written, "{text}");
    }
}

#[test]
fn refuses_in_upstreams_words() {
    for (text, value, words) in [
        ("%s %s", Value::Int(1), "index 1 out of range"),
        ("%", Value::Int(1), "unexpected end of string"),
        ("%z", Value::Int(1), "could not parse formatting clause: unrecognized formatting clause \"z\""),
        ("%é", Value::Int(1), "could not parse formatting clause: unrecognized formatting clause \"Ã\""),
        ("%.", Value::Int(1), "could not parse formatting clause: error while parsing precision: could not find end of precision specifier"),
        (
            "%.f",
            Value::Double(1.0),
            "could not parse formatting clause: error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \"\": invalid syntax",
        ),
        (
            "%.9999999999999999999f",
            Value::Double(1.0),
            "could not parse formatting clause: error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \"9999999999999999999\": value out of range",
        ),
        ("%d", Value::string("a"), "error during formatting: decimal clause can only be used on integers, was given string"),
        ("%f", Value::Int(1), "error during formatting: fixed-point clause can only be used on doubles, was given int"),
        (
            "%s",
            Value::optional(None),
            "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given optional_type",
        ),
        ("%s", Value::list(vec![Value::optional(None)]), "error during formatting: no formatting function for optional_type"),
        ("%s", Value::bytes([0xff]), "error during formatting: could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string"),
    ] {
        assert_eq!(localized(text, vec![value]).unwrap_err(), words, "{text}");
    }
    assert_eq!(localized("%", vec![]).unwrap_err(), "index 0 out of range");
}

#[test]
fn checks_literals() {
    assert_eq!(check("%d %s %%", &[Type::Int, Type::Dyn], false), Ok(()));
    assert_eq!(check("%d", &[Type::Double], true), Ok(()));
    for (text, args, at, words) in [
        ("%d", vec![Type::Double], Some(0), "error during formatting: decimal clause can only be used on integers, was given double"),
        ("%s", vec![], None, "index 0 out of range"),
        ("%", vec![], None, "unexpected end of string"),
        ("%s", vec![Type::Int, Type::Int], None, "too many arguments supplied to string.format (expected 1, got 2)"),
    ] {
        assert_eq!(check(text, &args, false), Err((at, words.to_owned())));
    }
}
