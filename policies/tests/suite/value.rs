//! Values as the suites write them, and whether a value is the one that was wanted.

use std::fmt::Write as _;

use assent_policies::cel::value::{Duration, Key, MapBuilder, Timestamp};
use assent_policies::cel::{Type, Value};
use serde_json::Value as Json;

/// A value from its one-key object.
pub(super) fn decode(json: &Json) -> Option<Value<'static>> {
    let (kind, inner) = json.as_object()?.iter().next()?;
    let text = inner.as_str();
    Some(match kind.as_str() {
        "null" => Value::Null,
        "bool" => Value::Bool(inner.as_bool()?),
        "int" => Value::Int(text.map_or_else(|| inner.as_i64(), |text| text.parse().ok())?),
        "uint" => Value::Uint(text.map_or_else(|| inner.as_u64(), |text| text.parse().ok())?),
        "double" => Value::Double(text.map_or_else(|| inner.as_f64(), |text| text.parse().ok())?),
        "string" => Value::string(text?),
        "bytes" => Value::bytes(base64(text?)?),
        "list" => Value::list(inner.as_array()?.iter().map(decode).collect::<Option<_>>()?),
        "map" => {
            let entry = |pair: &Json| Some((Key::of(&decode(pair.get(0)?)?)?, decode(pair.get(1)?)?));
            Value::Map(inner.as_array()?.iter().map(entry).collect::<Option<MapBuilder<'_>>>()?.into())
        }
        "dur" | "duration" => Value::Duration(Duration::from_nanoseconds(text.map_or_else(|| inner.as_i64(), |text| text.parse().ok())?)),
        "ts" => {
            let part = |index| inner.get(index).and_then(|part: &Json| part.as_str().map_or_else(|| part.as_i64(), |text| text.parse().ok()));
            Value::Timestamp(Timestamp::new(part(0)?, u32::try_from(part(1)?).ok()?).ok()?)
        }
        "type" => Value::Type(Type::object(text?)),
        "optional" => Value::optional(if inner.is_null() { None } else { Some(decode(inner)?) }),
        _ => return None,
    })
}

/// Standard base64.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').chars() {
        bits = (bits << 6) | u32::try_from(ALPHABET.find(letter)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Whether it is the same value of the same type; not-a-number is itself.
pub(super) fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(&a, &b)),
        (Value::Map(a), Value::Map(b)) => a.len() == b.len() && a.iter().all(|(key, value)| b.get(&key).is_some_and(|other| same(&value, &other))),
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => same(a, b),
        _ => a.type_name() == b.type_name() && a.equal(b).unwrap_or(false),
    }
}

/// A value for people.
pub(super) fn show(value: &Value<'_>) -> String {
    let mut text = String::new();
    match value {
        Value::List(list) => {
            let all: Vec<String> = list.iter().map(|element| show(&element)).collect();
            text = format!("[{}]", all.join(", "));
        }
        Value::Map(map) => {
            let all: Vec<String> = map.iter().map(|(key, value)| format!("{}: {}", show(&key), show(&value))).collect();
            text = format!("{{{}}}", all.join(", "));
        }
        Value::String(inner) => text = format!("{:?}", &**inner),
        other => drop(write!(text, "{other:?}")),
    }
    text
}
