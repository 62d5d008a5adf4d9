//! Policies and bindings as people write them: each has an answer to a fixed request, twice the same, within its budget.
#![no_main]

use std::sync::OnceLock;

use assent_policies::spec::Operation;
use assent_policies::{Kind, Namespace, Request, Resource, Set};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize as _;
use serde_json::{Value, json};

struct Fixed {
    object: Value,
    old_object: Value,
    namespace: Value,
}

fn fixed() -> &'static Fixed {
    static FIXED: OnceLock<Fixed> = OnceLock::new();
    FIXED.get_or_init(|| {
        let object = |replicas: u32| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app", "image": "r/web:1", "resources": {"limits": {"memory": "1Gi"}}}]}}},
            })
        };
        let namespace = json!({"metadata": {"name": "shop", "labels": {"tier": "front"}}});
        Fixed { object: object(3), old_object: object(2), namespace }
    })
}

/// One document is one policy; of more, the last is the binding.
fn set(documents: Vec<Value>) -> Set {
    let named = |at: usize, spec: Value| (format!("p{at}"), spec);
    let mut documents = documents;
    let binding = match documents.len() {
        0 | 1 => json!({"policyName": "p0", "validationActions": ["Deny", "Audit"]}),
        _ => documents.pop().unwrap_or_default(),
    };
    let policies = documents.into_iter().enumerate().map(|(at, spec)| named(at, spec)).collect();
    Set::new(policies, vec![("b".into(), binding)])
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text).take(4) {
        // What is no YAML is the reader's to refuse.
        let Ok(document) = Value::deserialize(document) else { return };
        documents.push(document);
    }
    let Fixed { object, old_object, namespace } = fixed();
    let request = Request {
        kind: Kind { group: "apps", version: "v1", kind: "Deployment" },
        resource: Resource { group: "apps", version: "v1", resource: "deployments" },
        operation: Operation::Update,
        name: "web",
        namespace: "shop",
        object,
        old_object,
        namespace_object: Namespace::Known(namespace),
        ..Request::default()
    };
    let first = set(documents.clone());
    let second = set(documents);
    assert_eq!(first.digest(), second.digest());
    let outcome = first.evaluate(&request);
    assert_eq!(outcome, second.evaluate(&request));
    assert_eq!(outcome.allowed(), outcome.refusal().is_none());
    let _ = first.needs(&request);
});
