//! `ClusterBlueprint`: rules of the whole organisation above every Blueprint. A service may tighten them and never loosen
//! them: each of these layers judges for itself, and the strictest word holds.

use assent_core::incident::Mode;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blueprint::{FreezeSpec, Limits, ModeName, OperationsSpec, SafetySpec, VerificationSpec, WindowSpec};

/// Rules above every Blueprint of some namespaces. What it leaves out, it leaves to each service.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "ClusterBlueprint",
    shortname = "cbp",
    category = "assent",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Namespaces","type":"string","jsonPath":".spec.namespaces"}"#,
    printcolumn = r#"{"name":"Forbidden","type":"string","jsonPath":".spec.operations.forbidden","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterBlueprintSpec {
    /// Namespaces by name; none named means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// How far Assent may go at most; `autonomous` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ModeName")]
    pub mode: Option<Mode>,
    /// Operations by tier. Where `allowed` is given, nothing else is done without people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<OperationsSpec>,
    /// Bounds that nobody's approval lifts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Never more often, nor sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<SafetySpec>,
    /// Checks of every service; what is turned on here stays on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationSpec>,
    /// When any of them may act by itself, in UTC; a service's own windows narrow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<WindowSpec>,
    /// When nothing is changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub freezes: Vec<FreezeSpec>,
}
