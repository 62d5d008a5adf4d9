//! `BlueprintRevision`: what a Blueprint said at one generation, kept so that people can see what changed and go back.

use assent_core::canonical::{self, Digest};
use kube::{CustomResource, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Blueprint;
use crate::{facts, names};

/// Revisions of one Blueprint that are always kept.
pub const KEPT_REVISIONS: usize = 20;

/// One generation of a Blueprint. The director writes it down; the gate admits only what is stored. Never changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "BlueprintRevision",
    shortname = "bpr",
    namespaced,
    category = "assent",
    validation = Rule::new("self.spec == oldSelf.spec").message("what was said stays said"),
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.namespace"}"#,
    printcolumn = r#"{"name":"Blueprint","type":"string","jsonPath":".spec.name"}"#,
    printcolumn = r#"{"name":"Generation","type":"integer","jsonPath":".spec.generation"}"#,
    printcolumn = r#"{"name":"Manager","type":"string","jsonPath":".spec.manager"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintRevisionSpec {
    /// Namespace of the Blueprint.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the Blueprint.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID: one of the same name that came later has a history of its own.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// The field manager that changed it last, as `managedFields` say: a tool's name, no proof of who used it.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub manager: String,
    /// `spec` as canonical text.
    #[schemars(length(max = 262_144))]
    pub payload: String,
}

// === impl BlueprintRevision ===

impl BlueprintRevision {
    /// What `stored` says now.
    ///
    /// # Errors
    /// If it was never stored or has no canonical form.
    pub fn of(stored: &Blueprint) -> Result<Self, String> {
        let pin = facts::pin(stored).ok_or("the Blueprint was never stored")?;
        let changes = stored.metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
        let newest = changes.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        let spec = BlueprintRevisionSpec {
            namespace: stored.namespace().unwrap_or_default(),
            name: pin.name,
            uid: pin.uid,
            generation: pin.generation,
            manager: newest.and_then(|entry| entry.manager.clone()).unwrap_or_default(),
            payload: canonical::text(&stored.spec).map_err(|error| error.to_string())?,
        };
        Self::named(spec).map_err(|error| error.to_string())
    }

    /// The object with its one name.
    ///
    /// # Errors
    /// If the name has no canonical form.
    pub fn named(spec: BlueprintRevisionSpec) -> Result<Self, canonical::Error> {
        let digest = Digest::of(&(&spec.uid, spec.generation))?;
        let mut object = Self::new(&format!("bpr-{:.40}", digest.as_str()), spec);
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        Ok(object)
    }
}
