//! `managedFields`: whether a manager owns the field that a JSON pointer names. The sets are trees of `f:NAME` for fields,
//! `k:{…}` for list items by their keys, `v:VALUE` for items that are their own key, `i:N` for places; a leaf is owned with
//! all below it.

use serde_json::Value;

use super::super::changes::steps;
use super::super::object::Object;
use crate::facts::FactsError;

const FIELD: &str = "/metadata/managedFields";
/// Most names in the sets of one object's managers; whoever may edit the object may write as many as fit into it.
const MAX_NAMES: usize = 8192;

/// The field sets of these managers, of the object itself and of its sub-resources.
pub(super) fn of_managers<'a>(object: &Object<'a>, managers: &[&str]) -> Result<Vec<&'a Value>, FactsError> {
    let ours = |entry: &&Value| entry.get("manager").and_then(Value::as_str).is_some_and(|manager| managers.contains(&manager));
    // Writing the status is no word about the spec.
    let of_spec = |entry: &&Value| entry.get("subresource").and_then(Value::as_str) != Some("status");
    let sets: Vec<&Value> = object.list(FIELD)?.iter().filter(ours).filter(of_spec).filter_map(|entry| entry.get("fieldsV1")).collect();
    match sets.iter().map(|set| names_in(set)).sum() {
        count if count > MAX_NAMES => Err(FactsError::Bound { field: "managed fields of one manager", count, most: MAX_NAMES }),
        _ => Ok(sets),
    }
}

fn names_in(set: &Value) -> usize {
    let inner = set.as_object().into_iter().flatten();
    inner.map(|(_, child)| 1 + names_in(child)).sum()
}

/// Whether `fields` have the field at `pointer`, something below it, or what holds it as a whole. Items of lists are found in
/// `values`.
pub(super) fn owns(fields: &Value, pointer: &str, values: &[&Value]) -> bool {
    walk(fields, &steps(pointer), values)
}

fn walk(fields: &Value, steps: &[String], values: &[&Value]) -> bool {
    let Some(inner) = fields.as_object().filter(|inner| !inner.is_empty()) else { return true };
    let Some((first, rest)) = steps.split_first() else { return true };
    let below: Vec<&Value> = values.iter().filter_map(|value| child(value, first)).collect();
    inner.iter().filter(|(key, _)| names(key, first, &below)).any(|(_, child)| walk(child, rest, &below))
}

fn child<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Whether a set's key speaks of the step; `found` is what stands there.
fn names(key: &str, step: &str, found: &[&Value]) -> bool {
    match key.split_at_checked(2) {
        Some(("f:", name)) => name == step,
        Some(("i:", index)) => index == step,
        Some(("k:", keys)) => match serde_json::from_str::<Value>(keys) {
            Ok(Value::Object(keys)) => found.iter().any(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value))),
            // What cannot be read may be this one.
            _ => true,
        },
        Some(("v:", value)) => serde_json::from_str::<Value>(value).map_or(true, |value| found.contains(&&value)),
        _ => false,
    }
}
