//! The schema and what `core` reads have the same fields, and what the first version stored is still stored the same.

use assent_core::blueprint::{FIELDS, read, read_cluster};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::*;
use crate::resources::ClusterBlueprint;

fn spec_schema(definition: &impl Serialize) -> Value {
    let definition = serde_json::to_value(definition).unwrap();
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
}

/// Every object below `schema` with the names of its fields, by its path.
fn objects(schema: &Value, path: &str, found: &mut Vec<(String, Vec<String>)>) {
    if let Some(items) = schema.get("items") {
        return objects(items, &format!("{path}[]"), found);
    }
    let Some(Value::Object(fields)) = schema.get("properties") else { return };
    found.push((path.to_owned(), fields.keys().cloned().collect()));
    for (name, field) in fields {
        let path = if ["spec", "cluster"].contains(&path) { name.clone() } else { format!("{path}.{name}") };
        objects(field, &path, found);
    }
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let mut found = Vec::new();
    objects(&spec_schema(&Blueprint::crd()), "spec", &mut found);
    objects(&spec_schema(&ClusterBlueprint::crd()), "cluster", &mut found);
    for (path, mut fields) in found.clone() {
        let (_, read) = FIELDS.iter().find(|(known, _)| *known == path).unwrap_or_else(|| panic!("nobody reads `{path}`"));
        let mut read: Vec<String> = read.iter().map(|name| (*name).to_owned()).collect();
        read.sort();
        fields.sort();
        assert_eq!(fields, read, "{path}");
    }
    for (path, _) in FIELDS {
        assert!(found.iter().any(|(known, _)| known == path), "the schema has no `{path}`");
    }
}

#[test]
fn lists_and_texts_are_bounded() {
    fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        let bounded = match schema.get("type").and_then(Value::as_str) {
            Some("array") => schema.get("maxItems").is_some(),
            Some("string") => schema.get("maxLength").is_some() || schema.get("enum").is_some(),
            _ => true,
        };
        if !bounded {
            found.push(path.to_owned());
        }
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            unbounded(inner, &format!("{path}.{name}"), found);
        }
        if let Some(items) = schema.get("items") {
            unbounded(items, &format!("{path}[]"), found);
        }
    }
    let mut found = Vec::new();
    unbounded(&spec_schema(&Blueprint::crd()), "spec", &mut found);
    unbounded(&spec_schema(&ClusterBlueprint::crd()), "cluster", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

/// What is written is stored without loss, and means the same from the object.
#[test]
fn the_stored_form_loses_nothing() {
    let written = json!({
        "version": "1.0.0", "target": {"kind": "Deployment", "name": "orders"}, "targets": [{"kind": "Deployment", "name": "worker"}],
        "mode": "autonomous", "actions": [{"name": "RestartWorkload"}], "priority": "high", "criticality": "critical",
        "limits": {"minReplicas": 2, "maxReplicas": 5, "containers": [{"name": "*", "cpu": {"min": "1m", "max": "1", "target": "2m"}, "memory": {"max": "1Gi"}}]},
        "objectives": {"latency": [{"percentile": 95, "target": "200ms", "window": "5m"}], "errorRate": {"target": "1%"}, "availability": {"target": "99%"},
            "saturation": {"cpu": "80%", "memory": "80%", "window": "5m"}},
        "scaling": {"targetUtilization": "70%", "scaleUpThreshold": "80%", "scaleDownThreshold": "40%", "window": "2m", "hysteresis": {"up": "1m", "down": "5m"},
            "maxStep": 1, "weights": {"cpu": 50, "memory": 30, "latency": 20}},
        "tuning": {"percentile": 95, "headroom": "15%", "raiseAbove": "90%", "lowerBelow": "50%", "minChange": "10%", "window": "1d"},
        "operations": {"allowed": ["ScaleWorkload"], "restricted": [{"operation": "EvictPod", "condition": "target_replicas > 1", "approvers": ["sre"], "count": 1, "chat": true}],
            "forbidden": ["drop_table"], "approvers": ["sre"], "count": 1},
        "safety": {"cooldown": "60s", "operationsPerHour": 10, "breaker": {"failures": 3, "wait": "5m"}, "strikes": 3, "canary": {"enabled": true, "replicas": 4, "watch": "15s"}},
        "verification": {"enabled": true, "stabilization": "60s", "checks": [{"name": "q", "type": "promql", "query": "up", "target": ">= 1", "critical": true, "rollbackTrigger": true}],
            "rollback": {"enabled": true, "automatic": true, "onCriticalFailure": true}},
        "windows": [{"days": ["Mon"], "from": "08:00", "until": "18:00"}],
        "freezes": [{"from": "2026-12-24T00:00:00Z", "until": "2026-12-27T00:00:00Z", "reason": "x"}],
        "gitops": {"owner": "Flux", "kind": "HelmRelease", "namespace": "flux-system", "name": "shop", "repository": "r", "path": "p"},
    });
    let stored: BlueprintSpec = serde_json::from_value(written.clone()).unwrap();
    assert!(stored.speaks_of("Deployment", "orders") && stored.speaks_of("Deployment", "worker") && !stored.speaks_of("Deployment", "x"));
    let again = serde_json::to_value(&stored).unwrap();
    assert_eq!(again, written);
    assert_eq!(read(&again).into_result(), read(&written).into_result());
    assert!(read(&written).problems.is_empty());

    let mut above = written;
    let fields = above.as_object_mut().unwrap();
    fields.retain(|name, _| ["mode", "limits", "operations", "safety", "verification", "windows", "freezes"].contains(&name.as_str()));
    fields.insert("namespaces".into(), json!(["shop"]));
    let stored: crate::resources::ClusterBlueprintSpec = serde_json::from_value(above.clone()).unwrap();
    assert_eq!(serde_json::to_value(&stored).unwrap(), above);
    assert!(read_cluster("x", &above).problems.is_empty());
}

#[test]
fn a_first_version_is_stored_as_it_was() {
    let first =
        json!({"target": {"kind": "Deployment", "name": "orders"}, "mode": "observe", "actions": [], "limits": {"minReplicas": null, "maxReplicas": null}});
    let stored: BlueprintSpec = serde_json::from_value(json!({"target": {"kind": "Deployment", "name": "orders"}})).unwrap();
    assert_eq!(serde_json::to_value(&stored).unwrap(), first);
}
