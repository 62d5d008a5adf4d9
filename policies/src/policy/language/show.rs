//! Values for people: JSON as far as it goes, cut short where it is long.

use crate::cel::Value;
use crate::policy::explain::{MASK, is_hidden_field, is_hidden_pair, is_secret};

/// Deepest nesting that is shown.
const MAX_DEPTH: usize = 8;

/// At most about `most` bytes of a value.
pub(crate) fn show(value: &Value<'_>, most: usize) -> String {
    let mut text = String::new();
    write(value, &mut text, most, 0);
    crate::policy::message::bounded(&text, most)
}

/// Stops soon after `most` bytes; the caller cuts.
fn write(value: &Value<'_>, into: &mut String, most: usize, depth: usize) {
    if into.len() > most || depth > MAX_DEPTH {
        into.push_str("...");
        return;
    }
    match value {
        Value::Null => into.push_str("null"),
        Value::Bool(value) => into.push_str(&value.to_string()),
        Value::Int(number) => into.push_str(&number.to_string()),
        Value::Uint(number) => into.push_str(&format!("{number}u")),
        Value::Double(number) => into.push_str(&format!("{number:?}")),
        Value::String(text) => {
            let end = text.floor_char_boundary(most.saturating_add(1));
            let text: &str = text.get(..end).unwrap_or_default();
            into.push_str(&serde_json::Value::from(text).to_string());
        }
        Value::List(list) => {
            into.push('[');
            for (index, element) in list.iter().enumerate() {
                if index > 0 {
                    into.push_str(", ");
                }
                if into.len() > most {
                    into.push_str("...");
                    break;
                }
                write(&element, into, most, depth + 1);
            }
            into.push(']');
        }
        Value::Map(map) => {
            let (secret, hidden) = (is_secret(map), is_hidden_pair(map));
            into.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    into.push_str(", ");
                }
                if into.len() > most {
                    into.push_str("...");
                    break;
                }
                write(&key, into, most, depth + 1);
                into.push_str(": ");
                let of = |names: &[&str]| key.as_str().is_some_and(|key| names.contains(&key));
                if secret && of(&["data", "stringData"]) || hidden && of(&["value"]) || is_hidden_field(&key) {
                    into.push_str(MASK);
                } else {
                    write(&value, into, most, depth + 1);
                }
            }
            into.push('}');
        }
        Value::Optional(None) => into.push_str("optional.none()"),
        Value::Optional(Some(inner)) => write(inner, into, most, depth + 1),
        other => into.push_str(&format!("a {}", other.type_name())),
    }
}
