//! A document without what nothing here reads: a tenth of its length, so that many can be kept.

use serde_json::{Map, Value};

/// What is read of a schema, beside the schemas within it.
const KEYS: [&str; 8] = [
    "type",
    "format",
    "nullable",
    "$ref",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-group-version-kind",
];
/// Deepest schema within a schema that is kept; below it, nothing is known.
const MAX_DEPTH: usize = 64;

/// Drops it.
pub(super) fn lean(document: Value) -> Value {
    let Value::Object(mut document) = document else { return document };
    let mut kept = Map::new();
    if let Some(Value::Object(paths)) = document.remove("paths") {
        kept.insert("paths".into(), Value::Object(paths.into_iter().filter_map(|(path, operations)| Some((path, collection(operations)?))).collect()));
    }
    if let Some(Value::Object(schemas)) = document.get_mut("components").and_then(|components| components.get_mut("schemas")).map(Value::take) {
        let schemas: Map<String, Value> = schemas.into_iter().map(|(name, inner)| (name, schema(inner, 0))).collect();
        kept.insert("components".into(), Value::Object(Map::from_iter([("schemas".to_owned(), Value::Object(schemas))])));
    }
    Value::Object(kept)
}

/// The kind that is made or listed at a path.
fn collection(operations: Value) -> Option<Value> {
    let Value::Object(operations) = operations else { return None };
    let (verb, mut operation) = operations.into_iter().filter(|(verb, _)| verb == "post" || verb == "get").max_by(|(a, _), (b, _)| a.cmp(b))?;
    let kind = operation.as_object_mut()?.remove("x-kubernetes-group-version-kind")?;
    let kind = Map::from_iter([("x-kubernetes-group-version-kind".to_owned(), kind)]);
    Some(Value::Object(Map::from_iter([(verb, Value::Object(kind))])))
}

fn schema(whole: Value, depth: usize) -> Value {
    let Value::Object(whole) = whole else { return whole };
    let mut kept = Map::new();
    for (key, value) in whole {
        if depth > MAX_DEPTH {
            break;
        }
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(all)) => Value::Object(all.into_iter().map(|(name, property)| (name, schema(property, depth + 1))).collect()),
            ("items" | "additionalProperties", inner) => schema(inner, depth + 1),
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => Value::Array(all.into_iter().map(|part| schema(part, depth + 1)).collect()),
            (key, value) if KEYS.contains(&key) => value,
            _ => continue,
        };
        kept.insert(key, value);
    }
    Value::Object(kept)
}
