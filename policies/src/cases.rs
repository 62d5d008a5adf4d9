//! Cases: what somebody expects of a guardrail, in a few lines each, and how they become whole requests. `kubectl assent
//! policy test DIR` reads them, and so does the test of the library; the format is described in `docs/guardrails.md`.
//!
//! Here are shapes, their completion, and the question to the engine; it reads no file.
//!
//! `NAME.cases.yaml` stands beside `NAME.yaml`. A case is what differs from `given` of its file, and that is what differs
//! from `given` in the folder's `given.yaml`, whose `objects` any of them may start from. What nobody states has a default:
//! an update by the executor that changes nothing.

mod change;
mod judge;
mod request;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use judge::{Said, Subject};

/// `given.yaml`: what the cases of a folder share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Objects by name; `use: NAME` starts from one.
    #[serde(default)]
    pub objects: BTreeMap<String, Value>,
    /// What every case of the folder starts from.
    #[serde(default)]
    pub given: Given,
}

/// `NAME.cases.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What every case of the file starts from.
    #[serde(default)]
    pub given: Given,
    /// The cases.
    pub cases: Vec<Stated>,
}

/// Parts of a request, each a change of what was stated before it; absent means unchanged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Given {
    /// Fields of the AdmissionRequest, with `resource: NAME.VERSION.GROUP` and `user: NAME` as short forms.
    #[serde(default)]
    pub request: Option<Value>,
    /// The object before. With one, the request is an update unless it says otherwise.
    #[serde(default, deserialize_with = "present")]
    pub old_object: Option<Value>,
    /// The object after: a change of `oldObject` where there is one.
    #[serde(default, deserialize_with = "present")]
    pub object: Option<Value>,
    /// The object that the binding's `paramRef` finds; `null` for none.
    #[serde(default, deserialize_with = "present")]
    pub params: Option<Value>,
    /// The namespace; without it one that has no labels but its name.
    #[serde(default, deserialize_with = "present")]
    pub namespace_object: Option<Value>,
}

/// A case as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stated {
    /// One line that says what is special.
    pub name: String,
    /// The verdict.
    pub expect: Verdict,
    /// A part of the denial's, warning's or audit entry's text.
    #[serde(default)]
    pub message: Option<String>,
    /// See [`Given::request`].
    #[serde(default)]
    pub request: Option<Value>,
    /// See [`Given::old_object`].
    #[serde(default, deserialize_with = "present")]
    pub old_object: Option<Value>,
    /// See [`Given::object`].
    #[serde(default, deserialize_with = "present")]
    pub object: Option<Value>,
    /// See [`Given::params`].
    #[serde(default, deserialize_with = "present")]
    pub params: Option<Value>,
    /// See [`Given::namespace_object`].
    #[serde(default, deserialize_with = "present")]
    pub namespace_object: Option<Value>,
}

/// What a guardrail says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It speaks of the request and has no objection.
    Allow,
    /// It does not speak of the request: its constraints or match conditions leave it out.
    Skip,
    /// It refuses.
    Deny,
    /// It lets it through with a warning.
    Warn,
    /// It lets it through and records an objection.
    Audit,
}

/// A whole case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// As stated.
    pub name: String,
    /// As stated.
    pub expect: Verdict,
    /// As stated.
    pub message: Option<String>,
    /// An AdmissionRequest without its objects.
    pub request: Value,
    /// Null for a deletion.
    pub object: Value,
    /// Null for a creation.
    pub old_object: Value,
    /// Null for none.
    pub params: Value,
    /// Null for what is in no namespace.
    pub namespace_object: Value,
}

/// Why a case is none.
#[derive(Debug, thiserror::Error)]
#[error("case `{case}`: {reason}")]
pub struct CaseError {
    /// Its name.
    pub case: String,
    /// In words.
    pub reason: String,
}

/// The whole cases of `file` in `folder`.
///
/// # Errors
/// If a case starts from an object that is not there, changes a place that cannot be, or leaves open what is requested.
pub fn expand(folder: &Folder, file: &File) -> Result<Vec<Case>, CaseError> {
    file.cases.iter().map(|stated| complete(folder, &file.given, stated).map_err(|reason| CaseError { case: stated.name.clone(), reason })).collect()
}

fn complete(folder: &Folder, given: &Given, stated: &Stated) -> Result<Case, String> {
    let part = |base: Value, layers: [&Option<Value>; 3]| {
        let changed = |value: Value, change: &Value| change::apply(value, change, &folder.objects);
        layers.into_iter().flatten().try_fold(base, changed)
    };
    let request = part(Value::Null, [&folder.given.request, &given.request, &stated.request])?;
    let operation = request.get("operation").and_then(Value::as_str).map(str::to_owned);
    let mut old_object = part(Value::Null, [&folder.given.old_object, &given.old_object, &stated.old_object])?;
    if operation.as_deref() == Some("CREATE") {
        old_object = Value::Null;
    }
    let operation = operation.unwrap_or_else(|| if old_object.is_null() { "CREATE" } else { "UPDATE" }.to_owned());
    let object = match operation.as_str() {
        "DELETE" => Value::Null,
        _ => part(old_object.clone(), [&folder.given.object, &given.object, &stated.object])?,
    };
    let request = request::complete(request, &operation, &object, &old_object)?;
    let namespace_object = part(request::namespace_object(&request), [&folder.given.namespace_object, &given.namespace_object, &stated.namespace_object])?;
    Ok(Case {
        name: stated.name.clone(),
        expect: stated.expect,
        message: stated.message.clone(),
        object,
        old_object,
        params: part(Value::Null, [&folder.given.params, &given.params, &stated.params])?,
        namespace_object,
        request,
    })
}

/// A field that is there is a value, and so is null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
