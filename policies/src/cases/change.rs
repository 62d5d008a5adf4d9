//! A change of an object: an RFC 7386 merge patch, in which `use: NAME` starts from a shared object and a key that begins
//! with `/` is a JSON pointer (null removes what it points to, `-` appends to a list).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Deepest change.
const MAX_DEPTH: usize = 64;

/// `base` with `change` made to it.
pub(super) fn apply(base: Value, change: &Value, objects: &BTreeMap<String, Value>) -> Result<Value, String> {
    changed(base, change, objects, 0)
}

/// A shared object, which may itself start from another.
fn shared(name: &str, objects: &BTreeMap<String, Value>, depth: usize) -> Result<Value, String> {
    let object = objects.get(name).ok_or(format!("there is no shared object `{name}`"))?;
    if depth > MAX_DEPTH {
        return Err(format!("shared object `{name}` starts from itself"));
    }
    changed(Value::Null, object, objects, depth + 1)
}

fn changed(base: Value, change: &Value, objects: &BTreeMap<String, Value>, depth: usize) -> Result<Value, String> {
    let Value::Object(fields) = change else { return Ok(change.clone()) };
    let mut value = match fields.get("use") {
        None => base,
        Some(name) => shared(name.as_str().ok_or("`use` is not a name")?, objects, depth)?,
    };
    for (key, inner) in fields.iter().filter(|(key, _)| *key != "use") {
        if key.starts_with('/') {
            point(&mut value, key, inner)?;
        } else {
            merge(object_of(&mut value)?, key, inner, 0)?;
        }
    }
    Ok(value)
}

fn merge(target: &mut Map<String, Value>, key: &str, change: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("a change is deeper than {MAX_DEPTH} levels"));
    }
    match change {
        Value::Null => {
            target.remove(key);
        }
        Value::Object(fields) => {
            let slot = object_of(target.entry(key).or_insert(Value::Null))?;
            fields.iter().try_for_each(|(key, inner)| merge(slot, key, inner, depth + 1))?;
        }
        other => {
            target.insert(key.to_owned(), other.clone());
        }
    }
    Ok(())
}

fn point(value: &mut Value, pointer: &str, change: &Value) -> Result<(), String> {
    let (parent, last) = pointer.rsplit_once('/').ok_or(format!("`{pointer}` is no JSON pointer"))?;
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
    let mut slot = value;
    for part in parent.split('/').skip(1) {
        slot = match slot {
            Value::Array(items) => index(part).and_then(|at| items.get_mut(at)).ok_or(format!("`{pointer}`: a list has no item `{part}`"))?,
            other => object_of(other)?.entry(unescape(part)).or_insert(Value::Null),
        };
    }
    match slot {
        Value::Array(items) if last == "-" => items.push(change.clone()),
        Value::Array(items) => {
            let at = index(last).filter(|at| *at < items.len()).ok_or(format!("`{pointer}`: a list has no item `{last}`"))?;
            if change.is_null() {
                items.remove(at);
            } else if let Some(item) = items.get_mut(at) {
                *item = change.clone();
            }
        }
        other if change.is_null() => {
            object_of(other)?.remove(&unescape(last));
        }
        other => {
            object_of(other)?.insert(unescape(last), change.clone());
        }
    }
    Ok(())
}

fn index(part: &str) -> Option<usize> {
    part.parse().ok()
}

/// The value as an object; what was none becomes an empty one, as a merge patch has it.
fn object_of(value: &mut Value) -> Result<&mut Map<String, Value>, String> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or_else(|| "not a map".into())
}
