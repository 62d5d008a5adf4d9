//! Earlier templates of a workload, as its controller keeps them: a Deployment's in ReplicaSets, the others' in
//! ControllerRevisions.
//!
//! That somebody owns an object, or a number on it, proves nothing: anybody who may create one can write both. What is gone back
//! to is known by its content.

use serde_json::Value;

const NUMBER: &str = "deployment.kubernetes.io/revision";

/// An earlier template.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// UID of the workload that the object says it belongs to.
    pub owner: String,
    /// Its kind and name.
    pub owned_by: (String, String),
    /// Its number; a rollback to it gives it a new one.
    pub number: i64,
    /// The template, plain.
    pub template: Value,
}

/// The template that `object` keeps, plain: a ReplicaSet or a ControllerRevision, whatever its own kind says.
#[must_use]
pub fn kept_template(object: &Value) -> Option<Value> {
    object.pointer("/data/spec/template").or_else(|| object.pointer("/spec/template")).map(plain_template)
}

/// The earlier template that `object` keeps, whose it is, and its number. None for an object that belongs to nobody.
#[must_use]
pub fn revision(object: &Value) -> Option<Revision> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let of_owner = |key: &str| owner.get(key).and_then(Value::as_str).map(str::to_owned);
    let annotated = || object.pointer("/metadata/annotations")?.get(NUMBER)?.as_str()?.parse().ok();
    let number = object.get("revision").and_then(Value::as_i64).or_else(annotated)?;
    Some(Revision { owner: of_owner("uid")?, owned_by: (of_owner("kind")?, of_owner("name")?), number, template: kept_template(object)? })
}

/// A template as its workload has it: without the label that a Deployment's controller adds and what a ControllerRevision says of
/// how it is applied. A field that is null and one that is absent are the same to the API server.
#[must_use]
pub fn plain_template(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    if let Some(metadata) = template.pointer_mut("/metadata").and_then(Value::as_object_mut)
        && metadata.get("creationTimestamp").is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
    template
}
