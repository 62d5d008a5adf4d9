//! Whether a write changes exactly what was permitted, by comparing the object with the one the action derives.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::FIELD_MANAGER;
use crate::blueprint::moment;
use crate::ids::UnixMillis;
use crate::refusal::{Refusal, Rule};

/// Most differing paths that are named.
const MAX_NAMED: usize = 8;
/// As deep as JSON is read; what is built deeper is left as it is.
const MAX_DEPTH: usize = 128;

/// Whether `new` is `expected` but for what the API server itself sets, and foreign `managedFields` only lose paths below
/// `roots` (JSON pointers).
pub fn permitted(old: &Value, expected: &Value, new: &Value, roots: &[impl AsRef<str>]) -> Result<(), Refusal> {
    let roots: Vec<&str> = roots.iter().map(AsRef::as_ref).collect();
    let paths = describe_difference(&without_server_fields(expected), &without_server_fields(new));
    if !paths.is_empty() {
        return Err(Refusal::new(
            Rule::Difference,
            format!("the write also changes {}", paths.join(", ")),
            format!("a change below {} to the voted value, and nothing else", roots.join(", ")),
        ));
    }
    // What is only created is asked for by nobody else, and kept by nobody.
    if old.is_null() {
        return Ok(());
    }
    managed_fields(old, new, &roots)
        .map_err(|reason| Refusal::new(Rule::Difference, reason, "foreign managedFields that only lose paths of the permitted change"))
}

/// The JSON pointers at which two values differ, at most eight, sorted.
#[must_use]
pub fn describe_difference(left: &Value, right: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    differ(left, right, &mut String::new(), &mut paths);
    paths
}

fn differ(left: &Value, right: &Value, at: &mut String, paths: &mut Vec<String>) {
    if left == right || paths.len() >= MAX_NAMED {
        return;
    }
    let step = |at: &mut String, key: &str| {
        let length = at.len();
        at.push('/');
        at.push_str(&key.replace('~', "~0").replace('/', "~1"));
        length
    };
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let length = step(at, key);
                differ(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), at, paths);
                at.truncate(length);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (x, y)) in a.iter().zip(b).enumerate() {
                let length = step(at, &index.to_string());
                differ(x, y, at, paths);
                at.truncate(length);
            }
        }
        _ => paths.push(if at.is_empty() { "/".to_owned() } else { at.clone() }),
    }
}

/// The object without what the API server sets by itself on every write. A null field and an absent one are the same to it.
#[must_use]
pub fn without_server_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(field);
            }
        }
    }
    without_nulls(&mut object, 0);
    object
}

fn without_nulls(value: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|_, inner| !inner.is_null());
            fields.values_mut().for_each(|inner| without_nulls(inner, depth + 1));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without_nulls(item, depth + 1)),
        _ => {}
    }
}

fn managed_fields(old: &Value, new: &Value, roots: &[&str]) -> Result<(), String> {
    // The executor only updates: whatever else stands under its name, it put there itself.
    let known = odd_own_entries(old);
    if let Some(entry) = odd_own_entries(new).iter().find(|entry| !known.contains(entry)) {
        return Err(format!("managedFields gain the entry `{entry}`, which no update makes"));
    }
    let before = foreign_entries(old);
    let after = foreign_entries(new);
    let empty = BTreeSet::new();
    for (owner, paths) in &after {
        let had = before.iter().find(|(other, _)| other == owner).map(|(_, had)| had).ok_or(format!("managedFields gain an entry of `{owner}`"))?;
        if let Some(gained) = paths.difference(had).next() {
            return Err(format!("managedFields of `{owner}` gain `{gained}`"));
        }
    }
    for (owner, had) in &before {
        let has = after.iter().find(|(other, _)| other == owner).map_or(&empty, |(_, has)| has);
        if let Some(lost) = had.difference(has).find(|path| !below_any(path, roots)) {
            return Err(format!("managedFields of `{owner}` lose `{lost}`"));
        }
    }
    Ok(())
}

/// Whether the executor wrote below `roots` (JSON pointers) between these moments, and nobody else after it or in the same second.
pub(super) fn written_last(object: &Value, roots: &[String], from: UnixMillis, until: UnixMillis) -> bool {
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let (mut ours, mut theirs) = (None, None);
    for fields in entries(object) {
        let (_, paths) = entry(fields);
        if !paths.iter().any(|path| below_any(path, &roots)) {
            continue;
        }
        let time = moment(text(fields, "time"));
        let newest = if is_update(fields) { &mut ours } else { &mut theirs };
        *newest = (*newest).max(time);
    }
    ours > theirs && ours.is_some_and(|at| (from..=until).contains(&at))
}

/// Whether it is what the executor's updates of an object leave.
fn is_update(entry: &Map<String, Value>) -> bool {
    text(entry, "manager") == FIELD_MANAGER && text(entry, "operation") == "Update" && text(entry, "subresource").is_empty()
}

/// Entries in the executor's name that no update of an object or of its scale makes, or that are there twice.
fn odd_own_entries(object: &Value) -> Vec<String> {
    let (mut seen, mut odd) = (BTreeSet::new(), Vec::new());
    for fields in entries(object).filter(|fields| text(fields, "manager") == FIELD_MANAGER) {
        let name = entry(fields).0;
        let usual = text(fields, "operation") == "Update" && matches!(text(fields, "subresource"), "" | "scale");
        if !seen.insert(name.clone()) || !usual {
            odd.push(name);
        }
    }
    odd
}

fn entries(object: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Value::as_object)
}

fn text<'a>(entry: &'a Map<String, Value>, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Entries that are not the executor's: who, and which paths.
fn foreign_entries(object: &Value) -> Vec<(String, BTreeSet<String>)> {
    entries(object).filter(|fields| text(fields, "manager") != FIELD_MANAGER).map(entry).collect()
}

fn entry(entry: &Map<String, Value>) -> (String, BTreeSet<String>) {
    let owner = ["manager", "operation", "apiVersion", "subresource"].map(|key| text(entry, key)).join("|");
    let mut paths = BTreeSet::new();
    if let Some(fields) = entry.get("fieldsV1") {
        leaves(fields, &mut String::new(), &mut paths, 0);
    }
    (owner, paths)
}

fn leaves(fields: &Value, at: &mut String, paths: &mut BTreeSet<String>, depth: usize) {
    let Some(inner) = fields.as_object().filter(|inner| !inner.is_empty() && depth < 64) else {
        paths.insert(at.clone());
        return;
    };
    for (key, value) in inner {
        let length = at.len();
        at.push('/');
        at.push_str(key.strip_prefix("f:").unwrap_or(key));
        leaves(value, at, paths, depth + 1);
        at.truncate(length);
    }
}

fn below_any(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            // Losing the last field of a map also loses the map's own marker `.`.
            || path.strip_suffix("/.").is_some_and(|map| *root == map || root.strip_prefix(map).is_some_and(|rest| rest.starts_with('/')))
    })
}
