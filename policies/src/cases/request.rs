//! The AdmissionRequest of a case: what it states, and defaults for the rest. Kind, resource, name and namespace follow from
//! the object, the user from what is written: the executor.

use serde_json::{Map, Value, json};

/// `stated` with every field that a request has.
pub(super) fn complete(stated: Value, operation: &str, object: &Value, old_object: &Value) -> Result<Value, String> {
    let mut fields = match stated {
        Value::Null => Map::new(),
        Value::Object(fields) => fields,
        _ => return Err("`request` is not a map".into()),
    };
    let written = if object.is_null() { old_object } else { object };
    let text = |pointer: &str| written.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = group_version(text("/apiVersion"));
    let kind = json!({"group": group, "version": version, "kind": text("/kind")});
    let resource = match fields.remove("resource") {
        None if text("/kind").is_empty() => return Err("it has neither an object with a kind nor `request.resource`".into()),
        None => json!({"group": group, "version": version, "resource": plural(text("/kind"))}),
        Some(Value::String(short)) => named(&short)?,
        Some(whole) => whole,
    };
    let ours = resource.get("group").and_then(Value::as_str) == Some("assent.dev");
    let user = match fields.remove("user") {
        Some(Value::String(user)) => user,
        Some(_) => return Err("`request.user` is not a name".into()),
        None if ours => "system:serviceaccount:assent-system:assent-executor".to_owned(),
        None => "assent:executor".to_owned(),
    };
    fields.insert("operation".into(), operation.into());
    let mut default = |key: &str, value: Value| {
        if !fields.contains_key(key) && value != Value::String(String::new()) {
            fields.insert(key.to_owned(), value);
        }
    };
    default("uid", "00000000-0000-4000-8000-000000000001".into());
    default("kind", kind.clone());
    default("requestKind", kind);
    default("resource", resource.clone());
    default("requestResource", resource);
    default("name", text("/metadata/name").into());
    default("namespace", text("/metadata/namespace").into());
    default("dryRun", false.into());
    default(
        "userInfo",
        json!({"username": user, "groups": ["system:authenticated"], "extra": {"assent.dev/incident-uid": ["019ac4d2-7d3e-7a10-8c55-2b1f4e9a6c01"]}}),
    );
    Ok(Value::Object(fields))
}

/// A namespace with nothing but its name; null for what is in none.
pub(super) fn namespace_object(request: &Value) -> Value {
    match request.get("namespace").and_then(Value::as_str) {
        None => Value::Null,
        Some(name) => json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}),
    }
}

fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// `deployments.v1.apps`, `pods.v1`: resource, version, group, as kubectl takes them.
fn named(short: &str) -> Result<Value, String> {
    let mut parts = short.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(resource), Some(version), group) if !resource.is_empty() && version.starts_with('v') => {
            Ok(json!({"group": group.unwrap_or_default(), "version": version, "resource": resource}))
        }
        _ => Err(format!("resource `{short}` is not RESOURCE.VERSION.GROUP, like `deployments.v1.apps` or `pods.v1`")),
    }
}

/// The plural that Kubernetes' own kinds have. Others state their resource.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.as_bytes() {
        [.., b's' | b'x'] => format!("{lower}es"),
        [.., before, b'y'] if !b"aeiou".contains(before) => format!("{}ies", lower.get(..lower.len() - 1).unwrap_or_default()),
        _ => format!("{lower}s"),
    }
}
