//! `GuardrailBinding`: the `spec` of a stock ValidatingAdmissionPolicyBinding, field for field. A Guardrail that none names
//! has no effect.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBindingSpec;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GuardrailBindingStatus;
use super::guardrail::opened;

/// Puts a Guardrail in force: where, with which params, and what a failure leads to.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "GuardrailBinding",
    shortname = "grb",
    category = "assent",
    status = "GuardrailBindingStatus",
    printcolumn = r#"{"name":"Guardrail","type":"string","jsonPath":".spec.policyName"}"#,
    printcolumn = r#"{"name":"Actions","type":"string","jsonPath":".spec.validationActions"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Bound","type":"string","jsonPath":".status.conditions[?(@.type==\"Bound\")].status"}"#,
    printcolumn = r#"{"name":"Failing","type":"integer","jsonPath":".status.failing"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct GuardrailBindingSpec {
    /// The stock specification.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub binding: ValidatingAdmissionPolicyBindingSpec,
}

/// The definition. Its `spec` is left open, as the Guardrail's is.
pub(super) fn definition() -> CustomResourceDefinition {
    opened(GuardrailBinding::crd(), "The spec of a ValidatingAdmissionPolicyBinding of admissionregistration.k8s.io/v1; policyName names a Guardrail.")
}
