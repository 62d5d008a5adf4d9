//! A change as a patch that people can put where the desired state lives: JSON Patch (RFC 6902), which `kubectl patch --type=json` and
//! kustomize take.

use serde_json::{Map, Value, json};

use super::difference::without_server_fields;

/// As deep as JSON is read.
const MAX_DEPTH: usize = 128;

/// The operations that make `new` of `old`, but for what the API server sets; in the order in which they apply.
#[must_use]
pub fn patch(old: &Value, new: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    differ(&without_server_fields(old), &without_server_fields(new), "", 0, &mut operations);
    operations
}

fn differ(old: &Value, new: &Value, at: &str, depth: usize, operations: &mut Vec<Value>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if depth < MAX_DEPTH => fields(old, new, at, depth, operations),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() && depth < MAX_DEPTH => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differ(old, new, &format!("{at}/{index}"), depth + 1, operations);
            }
        }
        _ => operations.push(json!({"op": "replace", "path": at, "value": new})),
    }
}

fn fields(old: &Map<String, Value>, new: &Map<String, Value>, at: &str, depth: usize, operations: &mut Vec<Value>) {
    let path = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        operations.push(json!({"op": "remove", "path": path(key)}));
    }
    for (key, value) in new {
        match old.get(key) {
            Some(before) => differ(before, value, &path(key), depth + 1, operations),
            None => operations.push(json!({"op": "add", "path": path(key), "value": value})),
        }
    }
}
