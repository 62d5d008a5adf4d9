//! A document without what nothing here reads: a tenth of its length, so that many can be kept.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What is read of a schema, beside the schemas within it.
pub const KEYS: [&str; 8] = [
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

/// A document as far as it is kept. Each path and each schema is cut down as soon as it is read: the whole of the largest takes
/// ten times its length, and every process that reads one would keep that.
#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "paths")]
    paths: Option<Map<String, Value>>,
    #[serde(default)]
    components: Option<Components>,
}

#[derive(Deserialize)]
struct Components {
    #[serde(default, deserialize_with = "schemas")]
    schemas: Option<Map<String, Value>>,
}

/// What is kept of an entry.
type Keep = fn(Value) -> Option<Value>;

/// Reads an object entry by entry.
struct Entries(Keep);

/// What is kept of a document.
pub(super) fn lean<'de, D: Deserializer<'de>>(document: D) -> Result<Value, D::Error> {
    let Document { paths, components } = Document::deserialize(document)?;
    let schemas = components.and_then(|components| components.schemas);
    let schemas = schemas.map(|schemas| Value::Object(Map::from_iter([("schemas".to_owned(), Value::Object(schemas))])));
    let parts = [("paths", paths.map(Value::Object)), ("components", schemas)];
    Ok(Value::Object(parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?))).collect()))
}

fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    deserializer.deserialize_map(Entries(collection)).map(Some)
}

fn schemas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    deserializer.deserialize_map(Entries(|whole| Some(schema(whole, 0)))).map(Some)
}

impl<'de> Visitor<'de> for Entries {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut kept = Map::new();
        while let Some((name, whole)) = entries.next_entry::<String, Value>()? {
            if let Some(part) = (self.0)(whole) {
                kept.insert(name, part);
            }
        }
        Ok(kept)
    }
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
