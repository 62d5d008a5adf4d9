//! What an API server would say of a spec before it stores it: required fields, closed sets, names and limits.
//!
//! Expressions are not compiled here. Texts name the field; they are for people who write policies.

use std::collections::BTreeSet;

use super::{BindingSpec, LabelSelector, MatchResources, ParamKind, ParamRef, PolicySpec, ResourceRule, Validation, ValidationAction};
use crate::policy::selector::{Selector, is_qualified_name};
use crate::schema::escape::RESERVED;

/// Most match conditions of one policy.
const MAX_MATCH_CONDITIONS: usize = 64;
/// Most audit annotations of one policy.
const MAX_AUDIT_ANNOTATIONS: usize = 20;
/// Longest `valueExpression`, in bytes.
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;
/// Reasons that a validation may give.
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

/// Why an API server would not store the policy `name`.
#[must_use]
pub fn policy_problems(name: &str, spec: &PolicySpec) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(kind) = &spec.param_kind {
        param_kind(kind, &mut found);
    }
    match &spec.match_constraints {
        None => found.push("matchConstraints is required".into()),
        Some(constraints) => {
            match_resources("matchConstraints", constraints, &mut found);
            if constraints.resource_rules.is_empty() {
                found.push("matchConstraints.resourceRules: at least one rule is required".into());
            }
        }
    }
    if spec.match_conditions.len() > MAX_MATCH_CONDITIONS {
        found.push(format!("matchConditions: must have at most {MAX_MATCH_CONDITIONS} items"));
    }
    unique("matchConditions", "name", spec.match_conditions.iter().map(|c| c.name.as_str()), &mut found);
    for (index, condition) in spec.match_conditions.iter().enumerate() {
        required(&format!("matchConditions[{index}].expression"), &condition.expression, &mut found);
        if !is_qualified_name(&condition.name) {
            found.push(format!("matchConditions[{index}].name: `{:.80}` is not a qualified name", condition.name));
        }
    }
    for (index, variable) in spec.variables.iter().enumerate() {
        required(&format!("variables[{index}].expression"), &variable.expression, &mut found);
        if !is_cel_identifier(&variable.name) {
            found.push(format!("variables[{index}].name: `{:.80}` is not a CEL identifier", variable.name));
        }
    }
    unique("variables", "name", spec.variables.iter().map(|v| v.name.as_str()), &mut found);
    if spec.validations.is_empty() && spec.audit_annotations.is_empty() {
        found.push("validations or auditAnnotations must contain at least one item".into());
    }
    for (index, one) in spec.validations.iter().enumerate() {
        validation(index, one, &mut found);
    }
    if spec.audit_annotations.len() > MAX_AUDIT_ANNOTATIONS {
        found.push(format!("auditAnnotations: must have at most {MAX_AUDIT_ANNOTATIONS} items"));
    }
    unique("auditAnnotations", "key", spec.audit_annotations.iter().map(|a| a.key.as_str()), &mut found);
    for (index, annotation) in spec.audit_annotations.iter().enumerate() {
        required(&format!("auditAnnotations[{index}].valueExpression"), &annotation.value_expression, &mut found);
        if annotation.value_expression.trim().len() > MAX_VALUE_EXPRESSION {
            found.push(format!("auditAnnotations[{index}].valueExpression: must not exceed {MAX_VALUE_EXPRESSION} bytes"));
        }
        if !is_qualified_name(&format!("{name}/{}", annotation.key)) {
            found.push(format!("auditAnnotations[{index}].key: `{name:.80}/{:.80}` is not a qualified name", annotation.key));
        }
    }
    found
}

/// Why an API server would not store the binding.
#[must_use]
pub fn binding_problems(spec: &BindingSpec) -> Vec<String> {
    let mut found = Vec::new();
    if !is_subdomain(&spec.policy_name) {
        found.push(format!("policyName: `{:.80}` is not the name of a policy", spec.policy_name));
    }
    if let Some(reference) = &spec.param_ref {
        param_ref(reference, &mut found);
    }
    if let Some(resources) = &spec.match_resources {
        match_resources("matchResources", resources, &mut found);
    }
    let actions: BTreeSet<ValidationAction> = spec.validation_actions.iter().copied().collect();
    if actions.is_empty() {
        found.push("validationActions: at least one action is required".into());
    }
    if actions.len() < spec.validation_actions.len() {
        found.push("validationActions: an action stands twice".into());
    }
    if actions.contains(&ValidationAction::Deny) && actions.contains(&ValidationAction::Warn) {
        found.push("validationActions: must not contain both Deny and Warn".into());
    }
    found
}

fn param_kind(kind: &ParamKind, found: &mut Vec<String>) {
    let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
    if !(group.is_empty() || is_subdomain(group)) || !is_label(version) || (group.is_empty() && kind.api_version.contains('/')) {
        found.push(format!("paramKind.apiVersion: `{:.80}` is not a group and version", kind.api_version));
    }
    if !is_label(&kind.kind.to_ascii_lowercase()) {
        found.push(format!("paramKind.kind: `{:.80}` is not a kind", kind.kind));
    }
}

fn param_ref(reference: &ParamRef, found: &mut Vec<String>) {
    if reference.name.is_empty() == reference.selector.is_none() {
        found.push("paramRef: exactly one of name and selector must be given".into());
    }
    if !is_path_segment(&reference.name) {
        found.push(format!("paramRef.name: `{:.80}` is not a name", reference.name));
    }
    if let Some(one) = &reference.selector {
        selector("paramRef.selector", one, found);
    }
    if reference.parameter_not_found_action.is_none() {
        found.push("paramRef.parameterNotFoundAction is required".into());
    }
}

fn match_resources(place: &str, resources: &MatchResources, found: &mut Vec<String>) {
    for (part, one) in [("namespaceSelector", &resources.namespace_selector), ("objectSelector", &resources.object_selector)] {
        if let Some(one) = one {
            selector(&format!("{place}.{part}"), one, found);
        }
    }
    for (part, rules) in [("resourceRules", &resources.resource_rules), ("excludeResourceRules", &resources.exclude_resource_rules)] {
        for (index, one) in rules.iter().enumerate() {
            rule(&format!("{place}.{part}[{index}]"), one, found);
        }
    }
}

fn selector(place: &str, one: &LabelSelector, found: &mut Vec<String>) {
    if let Err(reason) = Selector::compile(one) {
        found.push(format!("{place}: {reason}"));
    }
}

fn rule(place: &str, rule: &ResourceRule, found: &mut Vec<String>) {
    for (part, list) in [("apiGroups", &rule.api_groups), ("apiVersions", &rule.api_versions), ("resources", &rule.resources)] {
        if list.is_empty() {
            found.push(format!("{place}.{part} is required"));
        }
        if list.len() > 1 && list.iter().any(|item| item == "*") && part != "resources" {
            found.push(format!("{place}.{part}: if `*` is present, nothing else may be"));
        }
    }
    if rule.operations.is_empty() {
        found.push(format!("{place}.operations is required"));
    }
    if rule.api_versions.iter().chain(&rule.resources).any(String::is_empty) {
        found.push(format!("{place}: versions and resources must not be empty"));
    }
    unique(place, "resourceNames", rule.resource_names.iter().map(String::as_str), found);
    if let Some(name) = rule.resource_names.iter().find(|name| name.is_empty() || !is_path_segment(name)) {
        found.push(format!("{place}.resourceNames: `{name:.80}` is not a name"));
    }
}

fn validation(index: usize, one: &Validation, found: &mut Vec<String>) {
    required(&format!("validations[{index}].expression"), &one.expression, found);
    for (part, text) in [("message", &one.message), ("messageExpression", &one.message_expression)] {
        if text.as_ref().is_some_and(|text| !text.is_empty() && text.trim().is_empty()) {
            found.push(format!("validations[{index}].{part}: must not be blank if given"));
        }
    }
    if one.message.as_ref().is_some_and(|text| text.trim().contains(['\n', '\r'])) {
        found.push(format!("validations[{index}].message: must not contain line breaks"));
    }
    if let Some(reason) = one.reason.as_ref().filter(|reason| !REASONS.contains(&reason.as_str())) {
        found.push(format!("validations[{index}].reason: `{reason:.80}` is none of {}", REASONS.join(", ")));
    }
}

fn required(place: &str, text: &str, found: &mut Vec<String>) {
    if text.trim().is_empty() {
        found.push(format!("{place} is required"));
    }
}

fn unique<'a>(place: &str, part: &str, items: impl Iterator<Item = &'a str>, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for item in items {
        if !seen.insert(item) {
            found.push(format!("{place}: {part} `{item:.80}` stands twice"));
        }
    }
}

fn is_cel_identifier(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.contains(&name)
}

fn is_label(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

fn is_path_segment(text: &str) -> bool {
    !matches!(text, "." | "..") && !text.contains(['/', '%'])
}
