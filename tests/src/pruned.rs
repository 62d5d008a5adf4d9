//! OpenAPI documents cut down to what a type checker reads of some kinds: one document for all groups and versions, as the names
//! of definitions are unique in a server.

use std::collections::{BTreeMap, BTreeSet};

use assent_policies::schema::KEYS;
use serde_json::{Map, Value, json};

/// Groups and versions that are kept beside those of the cases: what the library and the examples speak of.
pub const ALSO: [&str; 3] = ["v1", "apps/v1", "batch/v1"];
/// Resources that are kept.
const RESOURCES: [&str; 24] = [
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "services",
    "configmaps",
    "secrets",
    "nodes",
    "namespaces",
    "persistentvolumeclaims",
    "serviceaccounts",
    "resourcequotas",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "jobs",
    "cronjobs",
    "ingresses",
    "clusterroles",
    "customresourcedefinitions",
    "widgets",
    "limits",
];
/// What is kept.
#[derive(Debug)]
pub struct Kept {
    paths: BTreeMap<String, Value>,
    schemas: BTreeMap<String, Value>,
    group_versions: Vec<String>,
}

/// Cuts documents down.
#[must_use]
pub fn prune(documents: &BTreeMap<String, Value>) -> Kept {
    let mut kept = Kept { paths: BTreeMap::new(), schemas: BTreeMap::new(), group_versions: documents.keys().cloned().collect() };
    for document in documents.values() {
        let named = |kind: &Value| ["group", "version", "kind"].map(|part| kind[part].as_str().unwrap_or_default().to_owned());
        let mut kinds = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let collection = path.rsplit('/').next().is_some_and(|resource| RESOURCES.contains(&resource)) && !path.contains("/watch/");
            let kind = &operations["post"]["x-kubernetes-group-version-kind"];
            if collection && kind.is_object() {
                kinds.insert(named(kind));
                kept.paths.insert(path.clone(), json!({"post": {"x-kubernetes-group-version-kind": kind}}));
            }
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let is_kept = |schema: &Value| schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(|kind| kinds.contains(&named(kind)));
        let mut open: Vec<&str> = schemas.iter().filter(|(_, schema)| is_kept(schema)).map(|(name, _)| name.as_str()).collect();
        while let Some(name) = open.pop() {
            if kept.schemas.contains_key(name) {
                continue;
            }
            kept.schemas.insert(
                name.to_owned(),
                cut(&schemas[name], &mut |reference| {
                    let name = reference.rsplit('/').next().unwrap();
                    open.push(schemas.get_key_value(name).unwrap().0);
                }),
            );
        }
    }
    kept
}

fn cut(schema: &Value, refers: &mut impl FnMut(&str)) -> Value {
    let mut kept = Map::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        let value = match key.as_str() {
            "properties" => Value::Object(value.as_object().unwrap().iter().map(|(name, property)| (name.clone(), cut(property, refers))).collect()),
            "items" | "additionalProperties" if value.is_object() => cut(value, refers),
            "allOf" | "anyOf" | "oneOf" => Value::Array(value.as_array().unwrap().iter().map(|part| cut(part, refers)).collect()),
            key if KEYS.contains(&key) => value.clone(),
            _ => continue,
        };
        if key == "$ref" {
            refers(value.as_str().unwrap());
        }
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

// === impl Kept ===

impl Kept {
    /// As it is stored: one definition a line.
    #[must_use]
    pub fn text(&self) -> String {
        let lines =
            |all: &BTreeMap<String, Value>| all.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect::<Vec<_>>().join(",\n");
        format!(
            "{{\"groupVersions\":{},\n\"paths\":{{\n{}\n}},\n\"components\":{{\"schemas\":{{\n{}\n}}}}}}\n",
            json!(self.group_versions),
            lines(&self.paths),
            lines(&self.schemas)
        )
    }
}
