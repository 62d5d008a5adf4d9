//! From a schema to types of the language, each object type when something is first selected from it.
//!
//! An object type is named by the way to it: `Deployment.spec.template.spec.containers.@idx`. The server's view is that of
//! apiserver's `pkg/cel/common/schemas.go` and `pkg/cel/openapi/resolver/refs.go`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::Root;
use super::escape::{RESERVED, escape};
use crate::cel::{Lookup, ObjectTypes, Type};

/// Most object types of one catalogue.
const MAX_OBJECTS: usize = 20_000;
/// Most lists, maps and references between an object and the next one.
const MAX_NESTING: usize = 32;
/// Most alternatives that are looked at; they may have alternatives themselves.
const MAX_ALTERNATIVES: usize = 8;
/// How much of the nesting a choice between alternatives takes, so that choices within choices stay few.
const ALTERNATION: usize = 10;
/// What tells the type of `params` from that of `object`.
pub(crate) const PARAMS: &str = "@params";
/// The schema of an object nobody knows more of.
const ANY_OBJECT: &str = "@object";

/// Whose eyes a schema is seen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The API server's type checker: what it cannot express is no field, a recursion ends at once, formats are types of their own.
    Server,
    /// An evaluation: objects are JSON, so that times, durations and bytes are strings, and what the schema leaves open may be
    /// there.
    Evaluation,
}

/// Object types by name. Grows as it is asked.
#[derive(Debug)]
pub(crate) struct Catalogue {
    view: View,
    objects: Mutex<HashMap<Arc<str>, Arc<Place>>>,
}

/// Where an object's schema stands.
#[derive(Clone, Debug)]
struct Place {
    document: Arc<Value>,
    /// JSON pointer, or [`ANY_OBJECT`].
    pointer: String,
    /// Whether it has the fields that every resource has.
    resource: bool,
    /// References on the way from the root.
    visited: Option<Arc<Visited>>,
}

#[derive(Debug)]
struct Visited {
    reference: String,
    before: Option<Arc<Visited>>,
}

/// A name as a part of a JSON pointer.
pub(super) fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

// === impl Catalogue ===

impl Catalogue {
    pub(crate) fn new(view: View) -> Self {
        Self { view, objects: Mutex::default() }
    }

    /// The type of a resource, under this name.
    pub(crate) fn resource(&self, name: &str, root: &Root) -> Type {
        let visited = Visited { reference: root.pointer.clone(), before: None };
        let place = Place { document: Arc::clone(&root.document), pointer: root.pointer.clone(), resource: true, visited: Some(Arc::new(visited)) };
        self.declare(&place, name, 0).unwrap_or(Type::Dyn)
    }

    fn known(&self, object: &str) -> Option<Arc<Place>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(object).cloned()
    }

    /// The object type of this name. It is named by the way to it, so it was either this one before, or the catalogue is full.
    fn object(&self, name: &str, place: &Place) -> Type {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, _)) = objects.get_key_value(name) {
            return Type::Object(Arc::clone(known));
        }
        if objects.len() >= MAX_OBJECTS {
            return Type::Dyn;
        }
        let name: Arc<str> = name.into();
        objects.insert(Arc::clone(&name), Arc::new(place.clone()));
        Type::Object(name)
    }

    /// The type of what stands at a place; `None` if the server does not expose it.
    fn declare(&self, place: &Place, name: &str, nesting: usize) -> Option<Type> {
        let unexposed = || (self.view == View::Evaluation).then_some(Type::Dyn);
        if nesting > MAX_NESTING {
            return unexposed();
        }
        let place = &self.resolved(place)?;
        let Some(schema) = place.schema() else { return Some(self.object(name, place)) };
        if is(schema, "x-kubernetes-int-or-string") || text(schema, "format") == "int-or-string" {
            return Some(Type::Dyn);
        }
        if self.view == View::Evaluation && is(schema, "nullable") && !matches!(type_of(schema), "object" | "array") {
            return Some(Type::Dyn);
        }
        match type_of(schema) {
            "array" => match schema.get("items").filter(|items| items.is_object()) {
                Some(items) => self.declare(&place.below("items", items), &format!("{name}.@idx"), nesting + 1).map(Type::list),
                None => unexposed(),
            },
            "object" => match schema.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) => {
                    let value = self.declare(&place.below("additionalProperties", values), &format!("{name}.@elem"), nesting + 1)?;
                    Some(Type::map(Type::String, value))
                }
                None if self.view == View::Evaluation && !place.resource && properties(schema).is_none_or(Map::is_empty) => {
                    Some(Type::map(Type::String, Type::Dyn))
                }
                None => Some(self.object(name, place)),
            },
            "string" => Some(self.string(text(schema, "format"))),
            "boolean" => Some(Type::Bool),
            // A whole number is an int when it is evaluated.
            "number" => Some(if self.view == View::Server { Type::Double } else { Type::Dyn }),
            "integer" => Some(Type::Int),
            _ if self.view == View::Evaluation => Some(self.alternatives(place, schema, name, nesting)),
            _ => None,
        }
    }

    fn string(&self, format: &str) -> Type {
        match (self.view, format) {
            (View::Server, "byte") => Type::Bytes,
            (View::Server, "duration") => Type::Duration,
            (View::Server, "date" | "date-time") => Type::Timestamp,
            _ => Type::String,
        }
    }

    /// What a value is whichever alternative it is, if that can be said; null aside, which stands for what is not there.
    fn alternatives(&self, place: &Place, schema: &Value, name: &str, nesting: usize) -> Type {
        let keyword = ["anyOf", "oneOf"].into_iter().find(|keyword| schema.get(*keyword).is_some_and(Value::is_array));
        let Some((keyword, all)) = keyword.and_then(|keyword| Some((keyword, schema.get(keyword)?.as_array()?))) else { return Type::Dyn };
        let some = all.iter().enumerate().filter(|(_, one)| text(one, "type") != "null").take(MAX_ALTERNATIVES);
        let mut kinds: Vec<Type> =
            some.map(|(index, one)| self.declare(&place.below(&format!("{keyword}/{index}"), one), name, nesting + ALTERNATION).unwrap_or(Type::Dyn)).collect();
        kinds.dedup();
        match <[Type; 1]>::try_from(kinds) {
            Ok([kind]) => kind,
            Err(_) => Type::Dyn,
        }
    }

    /// The place that is meant, where one refers to another.
    fn resolved(&self, place: &Place) -> Option<Place> {
        let mut place = place.clone();
        let most = if self.view == View::Server { 1 } else { MAX_NESTING };
        for _ in 0..most {
            let Some(reference) = place.schema().and_then(|schema| reference(schema, 0)) else { break };
            let pointer = reference.strip_prefix('#').unwrap_or(reference).to_owned();
            if self.view == View::Server && place.has_visited(&pointer) {
                return Some(Place { pointer: ANY_OBJECT.to_owned(), ..place });
            }
            place.document.pointer(&pointer)?;
            let visited = Visited { reference: pointer.clone(), before: place.visited.take() };
            place = Place { pointer, visited: Some(Arc::new(visited)), ..place };
        }
        Some(place)
    }

    /// A property by the name that an expression gives it.
    fn property<'v>(&self, schema: &'v Value, field: &str) -> Option<(&'v String, &'v Value)> {
        let properties = properties(schema)?;
        if self.view == View::Evaluation {
            return properties.get_key_value(field);
        }
        let escaped = if RESERVED.contains(&field) { format!("__{field}__") } else { field.to_owned() };
        properties.iter().find(|(name, _)| escape(name).is_some_and(|name| name == escaped))
    }
}

impl ObjectTypes for Catalogue {
    fn field(&self, object: &str, field: &str) -> Lookup {
        let Some(place) = self.known(object) else { return Lookup::NoObject };
        let schema = place.schema();
        if place.resource
            && let Some(kind) = self.of_every_resource(schema, object, field)
        {
            return Lookup::Found(kind);
        }
        let found = schema.and_then(|schema| self.property(schema, field));
        let kind = found.and_then(|(name, property)| {
            let below = Place { resource: is(property, "x-kubernetes-embedded-resource"), ..place.below(&format!("properties/{}", token(name)), property) };
            self.declare(&below, &format!("{object}.{field}"), 0)
        });
        let open = || self.view == View::Evaluation && schema.is_some_and(|schema| is(schema, "x-kubernetes-preserve-unknown-fields"));
        kind.or_else(|| open().then_some(Type::Dyn)).map_or(Lookup::NoField, Lookup::Found)
    }

    fn names(&self, object: &str, wanted: &str) -> Vec<String> {
        let Some(place) = self.known(object) else { return Vec::new() };
        let Some(properties) = place.schema().and_then(properties) else { return Vec::new() };
        let below = properties.keys().filter(|name| {
            let Lookup::Found(Type::Object(inner)) = self.field(object, name) else { return false };
            matches!(self.field(&inner, wanted), Lookup::Found(_))
        });
        below.map(|name| format!("{name}.{wanted}")).chain(properties.keys().cloned()).collect()
    }
}

impl Catalogue {
    /// `apiVersion`, `kind` and `metadata`, which a resource has even where its schema does not say so.
    fn of_every_resource(&self, schema: Option<&Value>, object: &str, field: &str) -> Option<Type> {
        let known = schema.and_then(properties).is_some_and(|properties| {
            let typed = |name: &str, kind: &str| properties.get(name).is_some_and(|property| type_of(property) == kind || reference(property, 0).is_some());
            typed("kind", "string") && typed("apiVersion", "string") && typed("metadata", "object")
        });
        match field {
            _ if known => None,
            "kind" | "apiVersion" => Some(Type::String),
            "metadata" if self.view == View::Evaluation => Some(Type::map(Type::String, Type::Dyn)),
            "metadata" => {
                let text = serde_json::json!({"type": "string"});
                let metadata = serde_json::json!({"type": "object", "properties": {"name": text, "generateName": text}});
                let place = Place { document: Arc::new(metadata), pointer: String::new(), resource: false, visited: None };
                Some(self.object(&format!("{object}.metadata"), &place))
            }
            _ => None,
        }
    }
}

// === impl Place ===

impl Place {
    fn schema(&self) -> Option<&Value> {
        if self.pointer == ANY_OBJECT { None } else { self.document.pointer(&self.pointer) }
    }

    fn below(&self, way: &str, schema: &Value) -> Self {
        Self { pointer: format!("{}/{way}", self.pointer), resource: is(schema, "x-kubernetes-embedded-resource"), ..self.clone() }
    }

    fn has_visited(&self, reference: &str) -> bool {
        let first = self.visited.as_deref();
        std::iter::successors(first, |visited| visited.before.as_deref()).any(|visited| visited.reference == reference)
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

fn text<'v>(schema: &'v Value, name: &str) -> &'v str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

/// The type, the first that is not null if there are several.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default(),
        _ => "",
    }
}

/// What a schema refers to; a reference may be wrapped in `allOf`, to keep a description beside it.
fn reference(schema: &Value, depth: usize) -> Option<&str> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return Some(reference);
    }
    if depth > MAX_NESTING {
        return None;
    }
    schema.get("allOf")?.as_array()?.iter().find_map(|part| reference(part, depth + 1))
}

/// The name of an object type for a person.
pub(crate) fn shown(object: &str) -> String {
    object.replace(".@idx", "[]").replace(".@elem", "[]").replace(PARAMS, "")
}
