//! Rules for workloads from rules for Pods: what would refuse the Pods refuses the object that makes them.
//!
//! `object` becomes the Pod template of the workload, in expressions as in the rules. An expression that looks at what a
//! template has not (a Pod's name, status, the whole object, the request's own kind) is not guessed at: its policy is left
//! and named. Text is rewritten by the language's own tokens, so strings and comments stay as they are.

use crate::cel::lexer::{Token, TokenKind, tokens};
use crate::lint::CONTROLLERS;
use crate::policy::spec::{BindingSpec, MatchResources, Operation, PolicySpec, ResourceRule};

/// Policies and bindings to be added, and what could not be expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// `(name, spec)`.
    pub policies: Vec<(String, PolicySpec)>,
    /// `(name, spec)`.
    pub bindings: Vec<(String, BindingSpec)>,
    /// Name and reason of each policy for Pods that is not expanded.
    pub left: Vec<(String, String)>,
}

/// Where the Pod template of a workload is, and what its policies are called.
const TEMPLATES: [(&str, &str, &[&str]); 2] = [
    ("-workloads", "spec.template", &["deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "replicationcontrollers"]),
    ("-cronjobs", "spec.jobTemplate.spec.template", &["cronjobs"]),
];

/// Expands `(name, spec)` pairs. Policies that do not speak of Pods are passed over in silence.
#[must_use]
pub fn expand(policies: &[(String, PolicySpec)], bindings: &[(String, BindingSpec)]) -> Expansion {
    let mut expansion = Expansion::default();
    for (name, spec) in policies {
        let Some(operations) = operations_on_pods(spec.match_constraints.as_ref()) else { continue };
        for (suffix, template, resources) in TEMPLATES {
            match policy(spec, &operations, template, resources) {
                Ok(expanded) => {
                    expansion.policies.push((format!("{name}{suffix}"), expanded));
                    let of = bindings.iter().filter(|(_, binding)| binding.policy_name == *name);
                    expansion.bindings.extend(of.filter_map(|(binding, spec)| bound(binding, spec, name, suffix)));
                }
                Err(reason) => {
                    expansion.left.push((name.clone(), reason));
                    break;
                }
            }
        }
    }
    let narrow = bindings.iter().filter(|(_, binding)| binding.match_resources.as_ref().is_some_and(names_resources));
    expansion.left.extend(
        narrow
            .filter(|(_, binding)| {
                policies.iter().any(|(name, spec)| *name == binding.policy_name && operations_on_pods(spec.match_constraints.as_ref()).is_some())
            })
            .map(|(name, _)| (name.clone(), "the binding has rules or an object selector of its own".to_owned())),
    );
    expansion
}

/// CREATE and UPDATE as far as the rules cover Pods with them; `None` when they do not.
fn operations_on_pods(constraints: Option<&MatchResources>) -> Option<Vec<Operation>> {
    let of_pods = |rule: &&ResourceRule| rule.api_groups.iter().any(|g| g.is_empty() || g == "*") && rule.resources.iter().any(|r| r == "pods");
    let rules: Vec<&ResourceRule> = constraints?.resource_rules.iter().filter(of_pods).collect();
    let covers = |operation: Operation| rules.iter().any(|rule| rule.operations.iter().any(|one| *one == operation || *one == Operation::All));
    let operations: Vec<Operation> = [Operation::Create, Operation::Update].into_iter().filter(|one| covers(*one)).collect();
    (!operations.is_empty()).then_some(operations)
}

fn names_resources(resources: &MatchResources) -> bool {
    let selects = resources.object_selector.as_ref().is_some_and(|one| !one.match_labels.is_empty() || !one.match_expressions.is_empty());
    selects || !resources.resource_rules.is_empty() || !resources.exclude_resource_rules.is_empty()
}

fn bound(name: &str, spec: &BindingSpec, policy: &str, suffix: &str) -> Option<(String, BindingSpec)> {
    if spec.match_resources.as_ref().is_some_and(names_resources) {
        return None;
    }
    Some((format!("{name}{suffix}"), BindingSpec { policy_name: format!("{policy}{suffix}"), ..spec.clone() }))
}

fn policy(spec: &PolicySpec, operations: &[Operation], template: &str, resources: &[&str]) -> Result<PolicySpec, String> {
    let constraints = spec.match_constraints.clone().unwrap_or_default();
    let narrowed = MatchResources { resource_rules: Vec::new(), ..constraints.clone() };
    if names_resources(&narrowed) {
        return Err("its constraints select or exclude Pods by their labels, names or kind, and templates have others".into());
    }
    if constraints.resource_rules.iter().any(|rule| !rule.resource_names.is_empty()) {
        return Err("its rules name Pods, and templates have no name".into());
    }
    let mut groups: Vec<&str> = CONTROLLERS.iter().filter(|(_, _, name)| resources.contains(name)).map(|(group, _, _)| *group).collect();
    groups.dedup();
    let rule = |group: &str| ResourceRule {
        api_groups: vec![group.to_owned()],
        api_versions: vec!["v1".into()],
        operations: operations.to_vec(),
        resources: CONTROLLERS.iter().filter(|(of, _, name)| *of == group && resources.contains(name)).map(|(_, _, name)| (*name).to_owned()).collect(),
        ..ResourceRule::default()
    };
    let mut expanded = spec.clone();
    expanded.match_constraints = Some(MatchResources { resource_rules: groups.into_iter().map(rule).collect(), ..constraints });
    let conditions = expanded.match_conditions.iter_mut().map(|one| &mut one.expression);
    let variables = expanded.variables.iter_mut().map(|one| &mut one.expression);
    let annotations = expanded.audit_annotations.iter_mut().map(|one| &mut one.value_expression);
    let validations = expanded.validations.iter_mut().flat_map(|one| std::iter::once(&mut one.expression).chain(one.message_expression.as_mut()));
    for expression in conditions.chain(variables).chain(validations).chain(annotations) {
        *expression = rewrite(expression, template)?;
    }
    Ok(expanded)
}

/// The expression about the template instead of the Pod.
fn rewrite(source: &str, template: &str) -> Result<String, String> {
    const OF_TEMPLATES: [&str; 2] = ["spec", "metadata"];
    const OF_THE_WORKLOAD: [&str; 1] = ["namespace"];
    const OF_THE_POD: [&str; 11] = [
        "name",
        "generateName",
        "uid",
        "ownerReferences",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
        "selfLink",
        "deletionGracePeriodSeconds",
    ];
    let Ok(code) = tokens(source) else { return Err(format!("`{source:.200}` cannot be read")) };
    let code = Code { source, tokens: code };
    let refuse = |what: &str| Err(format!("`{source:.200}` looks at {what}, which a template has not"));
    let mut out = String::with_capacity(source.len() + 32);
    let mut copied = 0;
    for (index, token) in code.tokens.iter().enumerate() {
        let root = token.kind == TokenKind::Ident && !code.is_access(index);
        let name = code.text(index);
        if root && name == "request" {
            match code.accessed(index + 1) {
                Some((field @ ("kind" | "resource" | "requestKind" | "requestResource" | "name"), _)) => return refuse(&format!("request.{field}")),
                Some(_) => {}
                None => return refuse("the whole request"),
            }
        }
        if !root || !matches!(name, "object" | "oldObject") {
            continue;
        }
        let compared = matches!(code.text(index + 1), "==" | "!=") && code.text(index + 2) == "null";
        match code.accessed(index + 1) {
            None if compared => continue,
            None => return refuse("the whole object"),
            Some((field, _)) if !OF_TEMPLATES.contains(&field) => return refuse(&format!("{name}.{field}")),
            Some(("metadata", after)) => match code.accessed(after) {
                Some((part, _)) if OF_THE_WORKLOAD.contains(&part) => continue,
                Some((part, _)) if OF_THE_POD.contains(&part) => return refuse(&format!("metadata.{part}")),
                Some(_) => {}
                None => return refuse("all metadata"),
            },
            Some(_) => {}
        }
        out.push_str(source.get(copied..token.end).unwrap_or_default());
        out.push('.');
        out.push_str(template);
        copied = token.end;
    }
    out.push_str(source.get(copied..).unwrap_or_default());
    Ok(out)
}

/// A source and its tokens.
struct Code<'s> {
    source: &'s str,
    tokens: Vec<Token>,
}

// === impl Code ===

impl<'s> Code<'s> {
    fn text(&self, at: usize) -> &'s str {
        self.tokens.get(at).and_then(|token| self.source.get(token.start..token.end)).unwrap_or_default()
    }

    /// Whether the word at `at` is a field that is selected: after `.` or `.?`, but not after the `?` of a conditional.
    fn is_access(&self, at: usize) -> bool {
        let before = |by: usize| at.checked_sub(by).map_or("", |before| self.text(before));
        before(1) == "." || (before(1) == "?" && before(2) == ".")
    }

    /// The field that is selected at `at` by `.f`, `.?f`, `['f']` or `[?'f']`, and where the tokens after it begin.
    fn accessed(&self, at: usize) -> Option<(&'s str, usize)> {
        let optional = usize::from(self.text(at + 1) == "?");
        let name = at + 1 + optional;
        match self.text(at) {
            "." => Some((self.text(name), name + 1)),
            "[" if self.text(name + 1) == "]" && self.tokens.get(name)?.kind == TokenKind::String => {
                let inside = self.text(name).strip_prefix(['\'', '"'])?.strip_suffix(['\'', '"'])?;
                (!inside.contains(['\\', '\'', '"'])).then_some((inside, name + 2))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod cases;
