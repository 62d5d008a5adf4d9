//! Kinds and their fields, as an API server describes them in OpenAPI v3 (`/openapi/v3/apis/GROUP/VERSION`).
//!
//! Pure: documents are given, and are read only as far as an expression asks. What a document says is not believed further than
//! its size: depth, number of types and chains of references are bounded, and what lies beyond is left to the evaluation.

mod declare;
pub(crate) mod escape;
mod lean;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use lean::KEYS;

pub(crate) use declare::{Catalogue, PARAMS, View, shown};

/// Longest document that is taken, in bytes of JSON. The largest of Kubernetes 1.34 is 0.9 MiB.
pub const MAX_DOCUMENT: usize = 8 << 20;
/// Most documents.
const MAX_DOCUMENTS: usize = 1024;

/// A kind with its group and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// Descriptions of kinds, by group and version.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    documents: BTreeMap<String, Arc<Value>>,
}

/// Why a document is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Too long to be read.
    #[error("the OpenAPI document of `{group_version:.80}` has {length} bytes, more than the {MAX_DOCUMENT} that are read")]
    TooLong {
        /// Whose it is.
        group_version: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More documents than any API server has.
    #[error("more than {MAX_DOCUMENTS} OpenAPI documents")]
    TooMany,
    /// Not JSON.
    #[error("the OpenAPI document of `{group_version:.80}` is not JSON")]
    NotJson {
        /// Whose it is.
        group_version: String,
        /// Where it is not.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but no OpenAPI v3.
    #[error("the document of `{group_version:.80}` describes no schemas: it has no `components.schemas`")]
    NotOpenApi {
        /// Whose it is.
        group_version: String,
    },
}

/// The description of one kind, within its document.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    document: Arc<Value>,
    /// JSON pointer into the document.
    pointer: String,
}

// === impl GroupVersionKind ===

impl GroupVersionKind {
    /// From `apps/v1` or `v1`, and a kind.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// `apps/v1`, or `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    fn is(&self, described: &Value) -> bool {
        let part = |name: &str| described.get(name).and_then(Value::as_str).unwrap_or_default();
        part("group") == self.group && part("version") == self.version && part("kind") == self.kind
    }
}

/// As the API server prints it: `apps/v1, Kind=Deployment`.
impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

// === impl Schemas ===

impl Schemas {
    /// Takes the document of a group and version (`apps/v1`, `v1`), and gives what was kept of it.
    ///
    /// # Errors
    /// If it is too long, not JSON or no OpenAPI v3 document.
    pub fn read(&mut self, group_version: &str, text: &[u8]) -> Result<Arc<Value>, SchemaError> {
        let group_version = group_version.to_owned();
        if text.len() > MAX_DOCUMENT {
            return Err(SchemaError::TooLong { group_version, length: text.len() });
        }
        let mut reader = serde_json::Deserializer::from_slice(text);
        match lean::lean(&mut reader).and_then(|document| reader.end().map(|()| document)) {
            Ok(document) => self.keep(&group_version, document),
            Err(error) if error.is_data() => Err(SchemaError::NotOpenApi { group_version }),
            Err(source) => Err(SchemaError::NotJson { group_version, source }),
        }
    }

    /// Takes a document that was parsed already. What nothing here reads of it is dropped.
    ///
    /// # Errors
    /// If it is no OpenAPI v3 document, or there are too many.
    pub fn add(&mut self, group_version: &str, document: Value) -> Result<Arc<Value>, SchemaError> {
        match lean::lean(document) {
            Ok(document) => self.keep(group_version, document),
            Err(_) => Err(SchemaError::NotOpenApi { group_version: group_version.to_owned() }),
        }
    }

    fn keep(&mut self, group_version: &str, document: Value) -> Result<Arc<Value>, SchemaError> {
        let document = Arc::new(document);
        self.add_lean(group_version, Arc::clone(&document))?;
        Ok(document)
    }

    /// Takes a document that [`Self::add`] or [`Self::read`] gave before.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_lean(&mut self, group_version: &str, document: Arc<Value>) -> Result<(), SchemaError> {
        if document.pointer("/components/schemas").and_then(Value::as_object).is_none() {
            return Err(SchemaError::NotOpenApi { group_version: group_version.to_owned() });
        }
        if self.documents.len() >= MAX_DOCUMENTS && !self.documents.contains_key(group_version) {
            return Err(SchemaError::TooMany);
        }
        self.documents.insert(group_version.to_owned(), document);
        Ok(())
    }

    /// Whether the document of this group and version is here.
    #[must_use]
    pub fn has(&self, group_version: &str) -> bool {
        self.documents.contains_key(group_version)
    }

    /// The kind of a resource, by the paths that it is served at.
    #[must_use]
    pub fn kind_of(&self, group: &str, version: &str, resource: &str) -> Option<GroupVersionKind> {
        let api_version = api_version(group, version);
        let paths = self.documents.get(&api_version)?.get("paths")?;
        let prefix = if group.is_empty() { "/api" } else { "/apis" };
        ["/namespaces/{namespace}/", "/"].iter().find_map(|scope| {
            let operations = paths.get(format!("{prefix}/{api_version}{scope}{resource}"))?;
            // Only operations on objects name their kind; `get` lists them, under the name of one.
            ["post", "get"].iter().find_map(|verb| {
                let kind = operations.get(verb)?.get("x-kubernetes-group-version-kind")?.get("kind")?.as_str()?;
                Some(GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() })
            })
        })
    }

    /// The description of a kind.
    pub(crate) fn root(&self, kind: &GroupVersionKind) -> Option<Root> {
        if *kind == GroupVersionKind::of(crate::facts::API_VERSION, crate::facts::KIND) {
            return Some(Root { document: Arc::new(crate::Facts::schema()), pointer: String::new() });
        }
        let document = self.documents.get(&kind.api_version())?;
        let schemas = document.pointer("/components/schemas")?.as_object()?;
        let of_kind =
            |schema: &Value| schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| kind.is(one)));
        let (name, _) = schemas.iter().find(|(_, schema)| of_kind(schema))?;
        Some(Root { document: Arc::clone(document), pointer: format!("/components/schemas/{}", declare::token(name)) })
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod cases;
