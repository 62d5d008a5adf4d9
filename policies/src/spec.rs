//! The part of a ValidatingAdmissionPolicy's `spec` that is understood. Unknown fields are errors: a rule that is half
//! understood is not a rule.

use serde::{Deserialize, Serialize};

/// A policy's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Which requests it speaks of; absent means none, as upstream.
    #[serde(default)]
    pub match_constraints: Option<MatchResources>,
    /// Further conditions; any false one skips the policy.
    #[serde(default)]
    pub match_conditions: Vec<MatchCondition>,
    /// Named expressions, in order.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// What must hold.
    #[serde(default)]
    pub validations: Vec<Validation>,
    /// `Fail` (default) or `Ignore`: what an error means.
    #[serde(default)]
    pub failure_policy: Option<String>,
}

/// `matchConstraints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchResources {
    /// Any of these must match.
    #[serde(default)]
    pub resource_rules: Vec<ResourceRule>,
    /// None of these may match.
    #[serde(default)]
    pub exclude_resource_rules: Vec<ResourceRule>,
    /// Only `Exact` and `Equivalent`; writes of ours come in one version each, so both are the same.
    #[serde(default)]
    pub match_policy: Option<String>,
}

/// One rule; `*` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceRule {
    /// API groups.
    #[serde(default)]
    pub api_groups: Vec<String>,
    /// API versions.
    #[serde(default)]
    pub api_versions: Vec<String>,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT` or `*`.
    #[serde(default)]
    pub operations: Vec<String>,
    /// `deployments`, `deployments/scale`, `*/scale`, `*` (no sub-resources), `*/*`.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Object names; empty means all.
    #[serde(default)]
    pub resource_names: Vec<String>,
    /// `Cluster`, `Namespaced` or `*`.
    #[serde(default)]
    pub scope: Option<String>,
}

/// A named condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchCondition {
    /// Name.
    pub name: String,
    /// CEL, boolean.
    pub expression: String,
}

/// A named expression, available as `variables.NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// CEL.
    pub expression: String,
}

/// One validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Validation {
    /// CEL; anything but `true` denies.
    pub expression: String,
    /// What to say.
    #[serde(default)]
    pub message: Option<String>,
    /// CEL for what to say.
    #[serde(default)]
    pub message_expression: Option<String>,
    /// Machine-readable reason.
    #[serde(default)]
    pub reason: Option<String>,
}

// === impl MatchResources ===

impl MatchResources {
    /// Whether these constraints cover the request.
    #[must_use]
    pub fn covers(&self, request: &crate::Request<'_>) -> bool {
        let any = |rules: &[ResourceRule]| rules.iter().any(|rule| rule.covers(request));
        !any(&self.exclude_resource_rules) && (self.resource_rules.is_empty() || any(&self.resource_rules))
    }
}

impl ResourceRule {
    fn covers(&self, request: &crate::Request<'_>) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
        let resource = self.resources.iter().any(|pattern| {
            let (name, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            (name == "*" || name == request.resource) && (sub == request.subresource || sub == "*")
        });
        let scope = match self.scope.as_deref() {
            Some("Namespaced") => !request.namespace.is_empty(),
            Some("Cluster") => request.namespace.is_empty(),
            _ => true,
        };
        has(&self.api_groups, request.group)
            && has(&self.api_versions, request.version)
            && has(&self.operations, request.operation)
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == request.name))
            && resource
            && scope
    }
}
