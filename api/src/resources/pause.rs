//! `Pause`: while one exists in `assent-system`, nothing is applied. Owed reverts go on.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stops every apply. Whoever is allowed may create it; only people delete it.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Pause",
    namespaced,
    category = "assent",
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PauseSpec {
    /// For whoever finds it.
    #[schemars(length(max = 300))]
    pub reason: String,
}
