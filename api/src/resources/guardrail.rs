//! `Guardrail`: the `spec` of a stock ValidatingAdmissionPolicy, field for field, that holds for Assent's own writes.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicySpec;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::{CustomResource, CustomResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GuardrailStatus;

/// A rule that every remediation and every write of the executor must pass.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Guardrail",
    shortname = "gr",
    category = "assent",
    status = "GuardrailStatus",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Bound","type":"string","jsonPath":".status.conditions[?(@.type==\"Bound\")].status"}"#,
    printcolumn = r#"{"name":"Failing","type":"integer","jsonPath":".status.failing"}"#,
    printcolumn = r#"{"name":"Validations","type":"string","jsonPath":".spec.validations[*].expression","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct GuardrailSpec {
    /// The stock specification.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub policy: ValidatingAdmissionPolicySpec,
}

/// The definition. Its `spec` is left open: the gate judges what stands in it and refuses what it cannot read, and a closed
/// copy of the upstream schema would go stale.
pub(super) fn definition() -> CustomResourceDefinition {
    opened(Guardrail::crd(), "The spec of a ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1.")
}

/// A definition whose `spec` is any object.
pub(super) fn opened(mut definition: CustomResourceDefinition, description: &str) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|v| v.open_api_v3_schema.as_mut());
        if let Some(properties) = schema.and_then(|schema| schema.properties.as_mut()) {
            let open = JSONSchemaProps {
                type_: Some("object".into()),
                x_kubernetes_preserve_unknown_fields: Some(true),
                description: Some(description.into()),
                ..JSONSchemaProps::default()
            };
            properties.insert("spec".into(), open);
        }
    }
    definition
}
