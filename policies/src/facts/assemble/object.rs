//! One object of the API server, read field by field. Whatever is there but is not what it should be is an error that names
//! object and field; a field that is absent or null is none.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::facts::FactsError;

/// An object with the words that name it in errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) value: &'a Value,
}

// === impl Object ===

impl<'a> Object<'a> {
    /// `value` as an object of `kind`; one without a name is none.
    pub(super) fn of(kind: &'a str, value: &'a Value) -> Result<Self, FactsError> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let nameless = Self { kind, namespace: text("/metadata/namespace").unwrap_or_default(), name: "", value };
        match text("/metadata/name") {
            Some(name) if !name.is_empty() => Ok(Self { name, ..nameless }),
            _ => Err(nameless.unreadable("/metadata/name", "it is not there")),
        }
    }

    pub(super) fn unreadable(&self, field: &str, reason: impl Into<String>) -> FactsError {
        let place = if self.namespace.is_empty() { String::new() } else { format!("{:.63}/", self.namespace) };
        FactsError::Unreadable { object: format!("{} {place}{:.253}", self.kind, self.name), field: field.to_owned(), reason: reason.into() }
    }

    /// What stands there; none where it is null.
    pub(super) fn at(&self, field: &str) -> Option<&'a Value> {
        self.value.pointer(field).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.at(field).is_some()
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, FactsError> {
        self.typed(field, "a text", Value::as_str)
    }

    /// A text that may be written empty instead of left out.
    pub(super) fn word(&self, field: &str) -> Result<Option<&'a str>, FactsError> {
        self.text(field).map(|text| text.filter(|text| !text.is_empty()))
    }

    /// `false` where it is not there.
    pub(super) fn flag(&self, field: &str) -> Result<bool, FactsError> {
        self.typed(field, "true or false", Value::as_bool).map(Option::unwrap_or_default)
    }

    pub(super) fn count(&self, field: &str) -> Result<Option<u32>, FactsError> {
        self.typed(field, "a whole number from 0 to 4294967295", |value| value.as_u64().and_then(|number| u32::try_from(number).ok()))
    }

    pub(super) fn required(&self, field: &str) -> Result<u32, FactsError> {
        self.count(field)?.ok_or_else(|| self.unreadable(field, "it is not there"))
    }

    /// A generation; 0 where it is not there.
    pub(super) fn generation(&self, field: &str) -> Result<i64, FactsError> {
        self.typed(field, "a whole number", Value::as_i64).map(Option::unwrap_or_default)
    }

    pub(super) fn list(&self, field: &str) -> Result<&'a [Value], FactsError> {
        self.typed(field, "a list", Value::as_array).map(|list| list.map(Vec::as_slice).unwrap_or_default())
    }

    pub(super) fn map(&self, field: &str) -> Result<Option<&'a Map<String, Value>>, FactsError> {
        self.typed(field, "an object", Value::as_object)
    }

    /// A map of texts; empty where it is not there.
    pub(super) fn labels(&self, field: &str) -> Result<BTreeMap<String, String>, FactsError> {
        let texts = self.map(field)?.into_iter().flatten();
        let text = |(key, value): (&String, &Value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_owned())),
            None => Err(self.unreadable(field, format!("the value of `{key:.80}` is no text"))),
        };
        texts.map(text).collect()
    }

    /// A list of texts; empty where it is not there.
    pub(super) fn texts(&self, field: &str) -> Result<Vec<&'a str>, FactsError> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.unreadable(field, "one of its items is no text"));
        self.list(field)?.iter().map(text).collect()
    }

    /// The entry of `/status/conditions` of this type.
    pub(super) fn condition(&self, kind: &str) -> Result<Option<&'a Value>, FactsError> {
        Ok(self.list("/status/conditions")?.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind)))
    }

    fn typed<T>(&self, field: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, FactsError> {
        match self.at(field) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.unreadable(field, format!("it is not {what}"))),
        }
    }
}
