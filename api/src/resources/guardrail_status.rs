//! What the scanner says of guardrails and their bindings: whether they load, whether they have an effect, and what of that
//! which exists breaks them. The gate and the executor believe none of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// State of a Guardrail. Written by the scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuardrailStatus {
    /// The generation that all of this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Bound`, `Reported`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// What the checker says of its expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_checking: Option<TypeChecking>,
    /// Existing objects that it speaks of, counted by the last scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<u64>,
    /// Those of them that it objects to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<u64>,
}

/// State of a GuardrailBinding. Written by the scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuardrailBindingStatus {
    /// The generation that all of this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Bound`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// Existing objects that its guardrail speaks of through it, counted by the last scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<u64>,
    /// Those of them that are objected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<u64>,
}

/// As `status.typeChecking` of a ValidatingAdmissionPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypeChecking {
    /// Warnings by expression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub expression_warnings: Vec<ExpressionWarning>,
}

/// As upstream's type of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpressionWarning {
    /// Path of the expression, such as `spec.validations[0].expression`.
    #[schemars(length(max = 256))]
    pub field_ref: String,
    /// What is wrong, for people, with the type that it is wrong for.
    #[schemars(length(max = 4096))]
    pub warning: String,
}
