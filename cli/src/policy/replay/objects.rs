//! Objects made of others: the Scale of a workload, a workload after its Scale was written, an object before its deletion, and
//! what a patch makes of one, where that is certain.

use serde_json::{Map, Value, json};

/// The Scale that a workload is served as.
pub(super) fn scale_of(workload: &Value) -> Option<Value> {
    let metadata = workload.get("metadata")?.as_object()?;
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), metadata.get(field)?.clone())));
    let selector = workload
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object)
        .map(|labels| labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect::<Vec<_>>().join(","));
    Some(json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": Map::from_iter(kept),
        "spec": {"replicas": workload.pointer("/spec/replicas").cloned().unwrap_or(json!(1))},
        "status": {"replicas": workload.pointer("/status/replicas").cloned().unwrap_or(json!(0)), "selector": selector},
    }))
}

/// A workload after its Scale was written.
pub(super) fn scaled(mut workload: Value, scale: &Value) -> Value {
    workload["spec"]["replicas"] = scale.pointer("/spec/replicas").cloned().unwrap_or(json!(0));
    workload["metadata"]["resourceVersion"] = scale.pointer("/metadata/resourceVersion").cloned().unwrap_or(Value::Null);
    workload
}

/// An object before the deletion that its answer shows under way.
pub(super) fn undeleted(answer: &Value, known: Option<&Value>) -> Value {
    let mut object = answer.clone();
    if known.is_none_or(|known| known.pointer("/metadata/deletionTimestamp").is_none()) {
        remove(&mut object, "deletionTimestamp");
        remove(&mut object, "deletionGracePeriodSeconds");
    }
    object
}

/// `old` with a patch whose kind the log does not name: a list is a JSON patch; a map without lists and directives means the
/// same as merge patch and as strategic merge patch. Of others the result is not known.
pub(super) fn patched(old: &Value, patch: &Value) -> Option<Value> {
    let mut object = old.clone();
    if patch.is_array() {
        let operations: json_patch::Patch = serde_json::from_value(patch.clone()).ok()?;
        json_patch::patch(&mut object, &operations).ok()?;
        return Some(object);
    }
    if !patch.is_object() || patch.get("apiVersion").is_some() && patch.get("kind").is_some() || !unambiguous(patch) {
        return None;
    }
    json_patch::merge(&mut object, patch);
    Some(object)
}

fn unambiguous(patch: &Value) -> bool {
    match patch {
        Value::Array(_) => false,
        Value::Object(fields) => fields.iter().all(|(name, value)| !name.starts_with('$') && unambiguous(value)),
        _ => true,
    }
}

/// Takes a field out of the metadata.
pub(super) fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}
