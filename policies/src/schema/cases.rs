//! Cases of documents: what is taken, what is not, and what is kept of one that nobody can trust.

use serde_json::json;

use super::*;
use crate::cel::{Lookup, ObjectTypes as _, Type};

fn schemas(kind: Value, others: Value) -> Schemas {
    let mut all = others;
    let mut kind = kind;
    kind["x-kubernetes-group-version-kind"] = json!([{"group": "example.com", "version": "v1", "kind": "Widget"}]);
    all["Widget"] = kind;
    let path = json!({"get": {"description": "long", "x-kubernetes-group-version-kind": {"group": "example.com", "version": "v1", "kind": "Widget"}}});
    let mut schemas = Schemas::default();
    schemas.add("example.com/v1", json!({"paths": {"/apis/example.com/v1/widgets": path}, "components": {"schemas": all}})).unwrap();
    schemas
}

/// The type at a dotted way into a Widget.
fn at(view: View, schemas: &Schemas, way: &str) -> Option<Type> {
    let root = schemas.root(&GroupVersionKind::of("example.com/v1", "Widget")).unwrap();
    let catalogue = Catalogue::new(view);
    way.split('.').try_fold(catalogue.resource("Widget", &root), |kind, field| match kind {
        Type::Object(name) => match catalogue.field(&name, field) {
            Lookup::Found(kind) => Some(kind),
            Lookup::NoField => None,
            Lookup::NoObject => panic!("{name}"),
        },
        Type::List(element) if field == "[]" => Some((*element).clone()),
        Type::Map(entry) => Some(entry.1.clone()),
        other => panic!("{other} at {field}"),
    })
}

#[test]
fn a_document_is_taken_if_it_describes_kinds() {
    let mut schemas = Schemas::default();
    assert!(matches!(schemas.read("v1", b"{"), Err(SchemaError::NotJson { .. })));
    assert!(matches!(schemas.read("v1", b"{}"), Err(SchemaError::NotOpenApi { .. })));
    assert!(matches!(schemas.read("v1", &vec![b' '; MAX_DOCUMENT + 1]), Err(SchemaError::TooLong { .. })));
    assert!(schemas.read("v1", br#"{"components":{"schemas":{}}}"#).is_ok());
    assert_eq!(schemas.kind_of("", "v1", "pods"), None);
}

#[test]
fn a_resource_has_the_kind_of_the_path_that_it_is_served_at() {
    let schemas = schemas(json!({"type": "object"}), json!({}));
    let kind = schemas.kind_of("example.com", "v1", "widgets").unwrap();
    assert_eq!((kind.to_string().as_str(), kind.api_version().as_str()), ("example.com/v1, Kind=Widget", "example.com/v1"));
    assert_eq!(schemas.kind_of("example.com", "v1", "widgets/status"), None);
    assert_eq!(schemas.kind_of("example.com", "v2", "widgets"), None);
}

#[test]
fn each_view_sees_what_it_can_tell() {
    let spec = json!({"type": "object", "properties": {
        "at": {"type": "string", "format": "date-time"},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true},
        "maybe": {"type": "string", "nullable": true},
        "amounts": {"type": "object", "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}]}},
        "raw": {"type": "object"},
    }});
    let schemas = schemas(json!({"type": "object", "properties": {"spec": spec}}), json!({}));
    for (way, server, evaluation) in [
        ("spec.at", Some(Type::Timestamp), Some(Type::String)),
        ("spec.any", None, Some(Type::Dyn)),
        ("spec.port", Some(Type::Dyn), Some(Type::Dyn)),
        ("spec.maybe", Some(Type::String), Some(Type::Dyn)),
        ("spec.amounts", None, Some(Type::map(Type::String, Type::Dyn))),
        ("spec.raw", Some(Type::object("Widget.spec.raw")), Some(Type::map(Type::String, Type::Dyn))),
        ("spec.none", None, None),
        ("metadata.name", Some(Type::String), Some(Type::Dyn)),
        ("metadata.labels", None, Some(Type::Dyn)),
        ("kind", Some(Type::String), Some(Type::String)),
    ] {
        assert_eq!(at(View::Server, &schemas, way), server, "server, {way}");
        assert_eq!(at(View::Evaluation, &schemas, way), evaluation, "evaluation, {way}");
    }
}

#[test]
fn a_recursion_ends_where_the_servers_does_and_never_by_itself_otherwise() {
    let tree = json!({"type": "object", "properties": {"left": {"allOf": [{"$ref": "#/components/schemas/Tree"}]}, "name": {"type": "string"}}});
    let schemas = schemas(json!({"type": "object", "properties": {"spec": {"$ref": "#/components/schemas/Tree"}}}), json!({"Tree": tree}));
    assert_eq!(at(View::Server, &schemas, "spec.name"), Some(Type::String));
    assert_eq!(at(View::Server, &schemas, "spec.left.name"), None);
    assert_eq!(at(View::Evaluation, &schemas, &format!("spec{}.name", ".left".repeat(50))), Some(Type::String));
}

#[test]
fn references_in_a_circle_or_to_nothing_are_no_type() {
    let others = json!({
        "Self": {"$ref": "#/components/schemas/Self"},
        "Lists": {"type": "array", "items": {"$ref": "#/components/schemas/Lists"}},
        "A": {"anyOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/A"}]},
    });
    let names = ["Self", "Lists", "A", "Nothing"];
    let properties: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.to_lowercase(), json!({"$ref": format!("#/components/schemas/{name}")}))).collect();
    let schemas = schemas(json!({"type": "object", "properties": properties}), others);
    assert_eq!(at(View::Server, &schemas, "nothing"), None);
    assert_eq!(at(View::Evaluation, &schemas, "self"), Some(Type::Dyn));
    assert_eq!(at(View::Evaluation, &schemas, "a"), Some(Type::Dyn));
    assert!(matches!(at(View::Evaluation, &schemas, "lists"), Some(Type::List(_))));
    assert!(matches!(at(View::Server, &schemas, "lists"), Some(Type::List(_))));
}

#[test]
fn names_one_deeper_are_offered_too() {
    let spec = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    let schemas = schemas(json!({"type": "object", "properties": {"spec": spec}}), json!({}));
    let root = schemas.root(&GroupVersionKind::of("example.com/v1", "Widget")).unwrap();
    let catalogue = Catalogue::new(View::Evaluation);
    catalogue.resource("Widget", &root);
    assert_eq!(catalogue.names("Widget", "replicas"), ["spec.replicas", "spec"]);
}
