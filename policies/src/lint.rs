//! What a set of policies does not see: the ways around a rule that the rule's author did not name.
//!
//! Pure and static: rules are compared with a table of ways around, request by request of that table; expressions are not
//! evaluated. A gap of one policy that another bound policy of the set covers is none.

use crate::policy::matching::Constraints;
use crate::policy::request::{Kind, Request, Resource};
use crate::policy::spec::{BindingSpec, FailurePolicy, LabelSelector, MatchPolicy, MatchResources, Operation, PolicySpec, ResourceRule, ValidationAction};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The policy or binding.
    pub name: String,
    /// Stable code, kebab case.
    pub code: &'static str,
    /// What is not seen, and why that matters.
    pub text: String,
}

/// A write that somebody can make, for [`coverage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// Sub-resource or empty.
    pub subresource: &'a str,
    /// What is done.
    pub operation: Operation,
    /// Whether the object is in a namespace.
    pub namespaced: bool,
}

/// A way around a rule: whoever restricts the first has to restrict the second.
struct Detour {
    code: &'static str,
    group: &'static str,
    resources: &'static [&'static str],
    operation: Operation,
    instead: &'static [(&'static str, Operation)],
    why: &'static str,
}

const SCALED: &[&str] = &["deployments", "replicasets", "statefulsets"];
const DETOURS: [Detour; 8] = [
    Detour {
        code: "scale",
        group: "apps",
        resources: SCALED,
        operation: Operation::Update,
        instead: &[("scale", Operation::Update)],
        why: "replicas are changed through it, with a Scale as object and no workload labels",
    },
    Detour {
        code: "scale",
        group: "",
        resources: &["replicationcontrollers"],
        operation: Operation::Update,
        instead: &[("scale", Operation::Update)],
        why: "replicas are changed through it, with a Scale as object and no workload labels",
    },
    Detour {
        code: "ephemeralcontainers",
        group: "",
        resources: &["pods"],
        operation: Operation::Update,
        instead: &[("ephemeralcontainers", Operation::Update)],
        why: "containers are added to running Pods through it",
    },
    Detour {
        code: "ephemeralcontainers",
        group: "",
        resources: &["pods"],
        operation: Operation::Create,
        instead: &[("ephemeralcontainers", Operation::Update)],
        why: "containers are added to running Pods through it",
    },
    Detour {
        code: "resize",
        group: "",
        resources: &["pods"],
        operation: Operation::Create,
        instead: &[("resize", Operation::Update)],
        why: "requests and limits of running Pods are changed through it",
    },
    Detour {
        code: "eviction",
        group: "",
        resources: &["pods"],
        operation: Operation::Delete,
        instead: &[("eviction", Operation::Create)],
        why: "Pods are removed through it, with an Eviction as object",
    },
    Detour {
        code: "connect",
        group: "",
        resources: &["pods"],
        operation: Operation::Connect,
        instead: &[("exec", Operation::Connect), ("attach", Operation::Connect), ("portforward", Operation::Connect), ("proxy", Operation::Connect)],
        why: "connections go to sub-resources, never to Pods themselves",
    },
    Detour {
        code: "status",
        group: "*",
        resources: &[
            "pods",
            "nodes",
            "services",
            "namespaces",
            "deployments",
            "statefulsets",
            "daemonsets",
            "replicasets",
            "jobs",
            "cronjobs",
            "horizontalpodautoscalers",
            "poddisruptionbudgets",
        ],
        operation: Operation::Update,
        instead: &[("status", Operation::Update)],
        why: "labels, annotations and status are changed through it",
    },
];

/// Workloads whose Pods come from a template: group, version, resource.
pub(crate) const CONTROLLERS: [(&str, &str, &str); 7] = [
    ("apps", "v1", "deployments"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "daemonsets"),
    ("apps", "v1", "replicasets"),
    ("batch", "v1", "jobs"),
    ("batch", "v1", "cronjobs"),
    ("", "v1", "replicationcontrollers"),
];

/// What a set does not cover. Policies and bindings are `(name, spec)` pairs.
#[must_use]
pub fn gaps(policies: &[(String, PolicySpec)], bindings: &[(String, BindingSpec)]) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let bound: Vec<Bound> = policies.iter().filter_map(|(name, spec)| Bound::new(name, spec, bindings)).collect();
    for (name, spec) in policies {
        let of: Vec<&(String, BindingSpec)> = bindings.iter().filter(|(_, binding)| binding.policy_name == *name).collect();
        if of.is_empty() {
            gaps.push(gap(name, "unbound", "no binding names it, so it has no effect".into()));
        } else if !of.iter().any(|(_, binding)| binding.validation_actions.contains(&ValidationAction::Deny)) {
            gaps.push(gap(name, "not-enforced", "no binding of it denies".into()));
        }
        if spec.on_error() == FailurePolicy::Ignore {
            gaps.push(gap(name, "ignores-errors", "failurePolicy is Ignore: what it cannot judge passes".into()));
        }
        if let Some(constraints) = &spec.match_constraints {
            of_policy(name, spec, constraints, &bound, &mut gaps);
        }
        image_prefixes(name, spec, &mut gaps);
    }
    for (name, binding) in bindings {
        if !policies.iter().any(|(policy, _)| *policy == binding.policy_name) {
            gaps.push(gap(name, "no-policy", format!("binds `{}`, which does not exist", binding.policy_name)));
        }
    }
    gaps
}

/// The bound policies that see `write`, whatever its labels and namespace.
#[must_use]
pub fn coverage<'p>(policies: &'p [(String, PolicySpec)], bindings: &[(String, BindingSpec)], write: Write<'_>) -> Vec<&'p str> {
    policies.iter().filter(|(name, spec)| Bound::new(name, spec, bindings).is_some_and(|bound| bound.sees(write))).map(|(name, _)| name.as_str()).collect()
}

/// A policy with the rules of its bindings; selectors are left out, they narrow by object and not by kind of request.
struct Bound {
    policy: Constraints,
    bindings: Vec<Constraints>,
}

// === impl Bound ===

impl Bound {
    fn new(name: &str, spec: &PolicySpec, bindings: &[(String, BindingSpec)]) -> Option<Self> {
        let rules_only = |resources: &MatchResources| {
            let selects_nothing_out = None::<LabelSelector>;
            Constraints::compile(&MatchResources { namespace_selector: selects_nothing_out.clone(), object_selector: selects_nothing_out, ..resources.clone() })
        };
        let of = bindings.iter().filter(|(_, binding)| binding.policy_name == name);
        let bindings: Vec<Constraints> = of.map(|(_, binding)| rules_only(&binding.match_resources.clone().unwrap_or_default())).collect();
        let policy = rules_only(spec.match_constraints.as_ref()?);
        (!bindings.is_empty()).then_some(Self { policy, bindings })
    }

    fn sees(&self, write: Write<'_>) -> bool {
        let request = Request {
            kind: Kind { group: write.group, version: write.version, kind: "" },
            resource: Resource { group: write.group, version: write.version, resource: write.resource },
            subresource: write.subresource,
            operation: write.operation,
            namespace: if write.namespaced { "n" } else { "" },
            equivalents: Some(&[]),
            ..Request::default()
        };
        let one = |constraints: &Constraints| matches!(constraints.matches(&request), Ok(Some(_)));
        one(&self.policy) && self.bindings.iter().any(one)
    }
}

fn of_policy(name: &str, spec: &PolicySpec, constraints: &MatchResources, bound: &[Bound], gaps: &mut Vec<Gap>) {
    let seen_by_any = |write: Write<'_>| bound.iter().any(|bound| bound.sees(write));
    let own = Bound::new(name, spec, &[(name.to_owned(), BindingSpec { policy_name: name.to_owned(), ..BindingSpec::default() })]);
    let sees = |write: Write<'_>| own.as_ref().is_some_and(|own| own.sees(write));
    for rule in &constraints.resource_rules {
        for (group, version, resource) in named(rule) {
            let write = |subresource, operation| Write { group, version, resource, subresource, operation, namespaced: is_namespaced(resource) };
            for detour in DETOURS.iter().filter(|d| (d.group == "*" || d.group == group) && d.resources.contains(&resource)) {
                if !sees(write("", detour.operation)) {
                    continue;
                }
                for (part, operation) in detour.instead {
                    if !seen_by_any(write(part, *operation)) {
                        gaps.push(gap(name, detour.code, format!("{} of {resource}/{part} is not seen: {}", operation.name(), detour.why)));
                    }
                }
            }
            if sees(write("", Operation::Create)) && !seen_by_any(write("", Operation::Update)) {
                gaps.push(gap(name, "create-only", format!("UPDATE of {resource} is not seen: what may not be created can be reached by a change")));
            }
        }
        if !rule.resource_names.is_empty() && rule.operations.iter().any(|one| matches!(one, Operation::Create | Operation::All)) {
            gaps.push(gap(name, "generated-names", "a rule names objects and covers CREATE: a request with generateName has no name yet".into()));
        }
    }
    if constraints.match_policy == Some(MatchPolicy::Exact) && constraints.resource_rules.iter().any(|rule| !rule.api_versions.iter().any(|v| v == "*")) {
        gaps.push(gap(name, "exact-versions", "matchPolicy is Exact: the same objects in another version are not seen".into()));
    }
    makers_of_pods(name, &sees, &seen_by_any, gaps);
}

fn makers_of_pods(name: &str, sees: &dyn Fn(Write<'_>) -> bool, seen_by_any: &dyn Fn(Write<'_>) -> bool, gaps: &mut Vec<Gap>) {
    let write = |(group, version, resource)| Write { group, version, resource, subresource: "", operation: Operation::Create, namespaced: true };
    let pods = write(("", "v1", "pods"));
    let unseen: Vec<&str> = CONTROLLERS.iter().filter(|one| !seen_by_any(write(**one))).map(|(_, _, resource)| *resource).collect();
    let some = CONTROLLERS.iter().any(|one| sees(write(*one)));
    if (sees(pods) || some) && !unseen.is_empty() {
        let what = if some { "makes Pods all the same" } else { "is accepted although its Pods will be refused" };
        gaps.push(gap(name, "controllers", format!("CREATE of {} is not seen: such an object {what}", unseen.join(", "))));
    }
    if some && !seen_by_any(pods) {
        gaps.push(gap(name, "controllers", "CREATE of pods is not seen: a Pod needs no controller".into()));
    }
}

/// Lookalike registries: `registry.example` is a prefix of `registry.example.evil.org`.
fn image_prefixes(name: &str, spec: &PolicySpec, gaps: &mut Vec<Gap>) {
    let validations = spec.validations.iter().map(|v| v.expression.as_str());
    let others = spec.variables.iter().map(|v| v.expression.as_str()).chain(spec.match_conditions.iter().map(|c| c.expression.as_str()));
    for expression in validations.chain(others) {
        for (at, call) in expression.match_indices(".startsWith(") {
            let about_image = expression.get(..at).is_some_and(|before| before.to_ascii_lowercase().ends_with("image"));
            let rest = expression.get(at + call.len()..).unwrap_or_default().trim_start();
            let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
            let literal = quote.and_then(|quote| rest.get(1..)?.split(quote).next());
            if let Some(prefix) = literal.filter(|text| about_image && !text.ends_with(['/', '@', ':'])) {
                gaps.push(gap(name, "image-prefix", format!("images that start with `{prefix:.80}` include those of lookalike registries: end it with `/`")));
            }
        }
    }
}

/// The plain resources that a rule names, with one group and version each.
fn named(rule: &ResourceRule) -> Vec<(&str, &str, &str)> {
    let version = rule.api_versions.first().map_or("v1", |version| if version == "*" { "v1" } else { version });
    let mut found = Vec::new();
    for resource in rule.resources.iter().filter(|resource| !resource.contains('/') && *resource != "*") {
        for group in &rule.api_groups {
            let known = || CONTROLLERS.iter().find(|(_, _, name)| name == resource).map_or("", |(group, _, _)| group);
            found.push((if group == "*" { known() } else { group.as_str() }, version, resource.as_str()));
        }
    }
    found
}

fn is_namespaced(resource: &str) -> bool {
    !matches!(resource, "nodes" | "namespaces" | "persistentvolumes" | "clusterroles" | "clusterrolebindings")
}

fn gap(name: &str, code: &'static str, text: String) -> Gap {
    Gap { name: name.to_owned(), code, text }
}

#[cfg(test)]
mod cases;
