//! Which fields a write changes, as JSON pointers: the smallest that differ. Objects are compared field by field, also where
//! one side has none; lists of one length item by item, and any other list is one field. What the API server sets by itself
//! is left out, and a null field is an absent one to it.
//!
//! When there are more than facts hold, the deepest give way to what holds them. That says less of where, never less of
//! whether: a guardrail that asks about a field finds it below one that is named.

use std::collections::BTreeSet;

use assent_core::proof::without_server_fields;
use serde_json::{Map, Value};

use crate::facts::{FactsError, MAX_CHANGES};

/// Deepest that is looked into; what lies deeper is one field.
const MAX_DEPTH: usize = 64;

/// The pointers, sorted.
pub(super) fn changes(old: &Value, new: &Value) -> Result<Vec<String>, FactsError> {
    match (old.is_null(), new.is_null()) {
        (true, true) => Err(FactsError::NoWrite),
        // The whole object comes or goes: the pointer to the whole document.
        (true, false) | (false, true) => Ok(vec![String::new()]),
        (false, false) => {
            let mut paths = BTreeSet::new();
            differ(&without_server_fields(old), &without_server_fields(new), &mut Vec::new(), &mut paths);
            Ok(pointers(paths))
        }
    }
}

/// One step of a pointer, escaped.
pub(super) fn step(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The keys and indices that a pointer names.
pub(super) fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

fn pointers(mut paths: BTreeSet<Vec<String>>) -> Vec<String> {
    while paths.len() > MAX_CHANGES {
        let deepest = paths.iter().map(Vec::len).max().unwrap_or_default();
        let shorter = |path: Vec<String>| if path.len() == deepest { path.into_iter().take(deepest.saturating_sub(1)).collect() } else { path };
        paths = paths.into_iter().map(shorter).collect();
    }
    // What lies below another one is said by that one.
    let all: Vec<Vec<String>> = paths.into_iter().collect();
    let below = |path: &Vec<String>| all.iter().any(|other| other.len() < path.len() && path.starts_with(other));
    all.iter().filter(|path| !below(path)).map(|path| path.iter().map(|key| format!("/{}", step(key))).collect()).collect()
}

fn differ(old: &Value, new: &Value, at: &mut Vec<String>, paths: &mut BTreeSet<Vec<String>>) {
    if old == new {
        return;
    }
    let nothing = Map::new();
    match (fields(old, &nothing), fields(new, &nothing)) {
        // An empty object that comes or goes has no field to name.
        (Some(a), Some(b)) if at.len() < MAX_DEPTH && !(a.is_empty() && b.is_empty()) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                at.push(key.clone());
                differ(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), at, paths);
                at.pop();
            }
        }
        _ => match (old, new) {
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() && at.len() < MAX_DEPTH => {
                for (index, (x, y)) in a.iter().zip(b).enumerate() {
                    at.push(index.to_string());
                    differ(x, y, at, paths);
                    at.pop();
                }
            }
            _ => {
                paths.insert(at.clone());
            }
        },
    }
}

/// The fields of an object; what is absent has none.
fn fields<'v>(value: &'v Value, nothing: &'v Map<String, Value>) -> Option<&'v Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        Value::Null => Some(nothing),
        _ => None,
    }
}
