//! The objects that parameterise a policy in a binding: by name, by selector, or none.
//!
//! The caller gives them; nothing is fetched here. That a kind is unknown, or could not be read, is an error and not "none".

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::selector::{Selector, labels_of};
use super::spec::{ParamKind, ParamRef, ParameterNotFoundAction};

/// Whether objects of a kind are in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamScope {
    /// They are.
    Namespaced,
    /// They are not.
    Cluster,
}

/// Where params come from.
pub trait Params: Sync {
    /// The scope of a kind, or why it is not known.
    fn scope(&self, kind: &ParamKind) -> Result<ParamScope, String>;
    /// The object of this name; `None` when there is none.
    fn get(&self, kind: &ParamKind, namespace: Option<&str>, name: &str) -> Result<Option<&Value>, String>;
    /// All objects of the kind, in the namespace if one is given.
    fn list(&self, kind: &ParamKind, namespace: Option<&str>) -> Result<Vec<&Value>, String>;
}

/// A place without params: no kind is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoParams;

/// Params held in memory.
#[derive(Clone, Debug, Default)]
pub struct ParamTable {
    kinds: BTreeMap<ParamKind, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    scope: ParamScope,
    failed: Option<String>,
    objects: BTreeMap<(String, String), Value>,
}

/// What a binding asks of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedParams<'s> {
    /// Kind.
    pub kind: &'s ParamKind,
    /// Namespace that the binding names; `None` means the request's.
    pub namespace: Option<&'s str>,
    /// Name; `None` means all, to be selected from.
    pub name: Option<&'s str>,
}

/// A compiled `paramRef`.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    name: String,
    namespace: String,
    selector: Option<Result<Selector, String>>,
    deny_if_none: bool,
}

// === impl Reference ===

impl Reference {
    pub(crate) fn compile(reference: &ParamRef) -> Self {
        Self {
            name: reference.name.clone(),
            namespace: reference.namespace.clone(),
            selector: reference.selector.as_ref().map(Selector::compile),
            deny_if_none: reference.parameter_not_found_action != Some(ParameterNotFoundAction::Allow),
        }
    }

    pub(crate) fn wants<'s>(&'s self, kind: &'s ParamKind) -> WantedParams<'s> {
        let given = |text: &'s String| (!text.is_empty()).then_some(text.as_str());
        WantedParams { kind, namespace: given(&self.namespace), name: given(&self.name) }
    }

    /// Each param that the binding is to be judged with; none when none is found and that is allowed.
    pub(crate) fn collect<'p>(
        &self,
        kind: &ParamKind,
        scope: ParamScope,
        request_namespace: &str,
        params: &'p dyn Params,
    ) -> Result<Vec<Cow<'p, Value>>, String> {
        let namespace = match scope {
            ParamScope::Namespaced if !self.namespace.is_empty() => Some(self.namespace.as_str()),
            ParamScope::Namespaced if request_namespace.is_empty() => {
                return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
            }
            ParamScope::Namespaced => Some(request_namespace),
            ParamScope::Cluster if !self.namespace.is_empty() => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()),
            ParamScope::Cluster => None,
        };
        let found: Vec<&Value> = match (&self.selector, self.name.as_str()) {
            (Some(_), name) if !name.is_empty() => return Err("paramRef.name and paramRef.selector are mutually exclusive".into()),
            (Some(selector), _) => {
                let selector = selector.as_ref().map_err(String::clone)?;
                params.list(kind, namespace)?.into_iter().filter(|object| selector.matches(labels_of(object))).collect()
            }
            (None, "") => return Err("one of name or selector must be provided".into()),
            (None, name) => params.get(kind, namespace, name)?.into_iter().collect(),
        };
        if found.is_empty() && self.deny_if_none {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
        }
        Ok(found.into_iter().map(|object| typed(kind, object)).collect())
    }
}

/// Lists leave `apiVersion` and `kind` out of their items; expressions may read them.
fn typed<'p>(kind: &ParamKind, object: &'p Value) -> Cow<'p, Value> {
    match object {
        Value::Object(fields) if !fields.contains_key("kind") && !fields.contains_key("apiVersion") => {
            let mut fields = fields.clone();
            fields.insert("apiVersion".into(), Value::String(kind.api_version.clone()));
            fields.insert("kind".into(), Value::String(kind.kind.clone()));
            Cow::Owned(Value::Object(fields))
        }
        _ => Cow::Borrowed(object),
    }
}

// === impl ParamTable ===

impl ParamTable {
    /// Makes a kind known, with no objects yet.
    pub fn know(&mut self, kind: ParamKind, scope: ParamScope) {
        self.kinds.entry(kind).or_insert_with(|| Entry { scope, failed: None, objects: BTreeMap::new() });
    }

    /// Adds an object of a kind that is known; of another it is left out, and the kind stays unknown.
    pub fn insert(&mut self, kind: &ParamKind, object: Value) {
        if let Some(entry) = self.kinds.get_mut(kind) {
            let part = |name: &str| object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default().to_owned();
            let namespace = if entry.scope == ParamScope::Namespaced { part("namespace") } else { String::new() };
            entry.objects.insert((namespace, part("name")), object);
        }
    }

    /// Says that a kind could not be read.
    pub fn fail(&mut self, kind: ParamKind, scope: ParamScope, reason: String) {
        self.kinds.insert(kind, Entry { scope, failed: Some(reason), objects: BTreeMap::new() });
    }

    fn readable(&self, kind: &ParamKind) -> Result<&Entry, String> {
        let entry = self.kinds.get(kind).ok_or_else(|| format!("paramKind kind `{}` not known", kind.kind))?;
        match &entry.failed {
            Some(reason) => Err(format!("paramKind kind `{}` cannot be read: {reason:.500}", kind.kind)),
            None => Ok(entry),
        }
    }
}

impl Params for ParamTable {
    fn scope(&self, kind: &ParamKind) -> Result<ParamScope, String> {
        self.kinds.get(kind).map(|entry| entry.scope).ok_or_else(|| not_found(kind))
    }

    fn get(&self, kind: &ParamKind, namespace: Option<&str>, name: &str) -> Result<Option<&Value>, String> {
        let key = (namespace.unwrap_or_default().to_owned(), name.to_owned());
        Ok(self.readable(kind)?.objects.get(&key))
    }

    fn list(&self, kind: &ParamKind, namespace: Option<&str>) -> Result<Vec<&Value>, String> {
        let objects = &self.readable(kind)?.objects;
        Ok(objects.iter().filter(|((place, _), _)| namespace.is_none_or(|namespace| place == namespace)).map(|(_, object)| object).collect())
    }
}

impl Params for NoParams {
    fn scope(&self, kind: &ParamKind) -> Result<ParamScope, String> {
        Err(not_found(kind))
    }

    fn get(&self, kind: &ParamKind, _: Option<&str>, _: &str) -> Result<Option<&Value>, String> {
        Err(not_found(kind))
    }

    fn list(&self, kind: &ParamKind, _: Option<&str>) -> Result<Vec<&Value>, String> {
        Err(not_found(kind))
    }
}

fn not_found(kind: &ParamKind) -> String {
    format!("failed to find resource referenced by paramKind: '{}, Kind={}'", kind.api_version, kind.kind)
}

#[cfg(test)]
mod cases;
