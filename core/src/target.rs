//! What an action is aimed at, pinned so exactly that the same name with other content is another target.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{self, Digest};

/// Namespaces that are never targets, whatever the vote: Kubernetes' own and ours.
pub const SYSTEM_NAMESPACES: [&str; 4] = ["assent-system", "kube-system", "kube-public", "kube-node-lease"];

/// Whether Assent may never act in this namespace.
#[must_use]
pub fn is_system_namespace(namespace: &str) -> bool {
    namespace.starts_with("kube-") || SYSTEM_NAMESPACES.contains(&namespace)
}

/// A workload by namespace and name, as hypotheses speak of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload.
    pub name: String,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object as a seat saw it. A later generation or another spec is stale.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// `metadata.generation` when it was judged.
    pub generation: i64,
    /// Digest of the canonical `spec` when it was judged.
    pub spec: Digest,
}

// === impl Target ===

impl Target {
    /// The target that this object is, or what is missing in it.
    pub fn of(object: &Value) -> Result<Self, String> {
        let text = |pointer: &str| -> Result<String, String> {
            object.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or(format!("object has no `{pointer}`"))
        };
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let spec = object.get("spec").ok_or("object has no `/spec`")?;
        Ok(Self {
            api_version: text("/apiVersion")?,
            kind: text("/kind")?,
            namespace: text("/metadata/namespace")?,
            name: text("/metadata/name")?,
            uid: text("/metadata/uid")?,
            generation: generation.ok_or("object has no `/metadata/generation`")?,
            spec: Digest::of(spec).map_err(|error: canonical::Error| format!("spec has no digest: {error}"))?,
        })
    }

    /// Namespace and name.
    #[must_use]
    pub fn service(&self) -> Service {
        Service { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
