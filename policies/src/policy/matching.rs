//! Whether constraints speak of a request, in the API server's order: namespace selector, object selector, excluded rules,
//! rules. An error of a selector or an exclusion counts only where the rules match, and then it is an error, never "no".
//!
//! A request in another version than a rule names is matched by an equivalent form that the caller gave. Where the caller
//! does not know the equivalents, a rule that might speak of the request is an error too: it is not skipped.

use serde_json::Value;

use super::request::{Form, Kind, Namespace, Request, Resource};
use super::selector::{Selector, labels_of};
use super::spec::{LabelSelector, MatchPolicy, MatchResources, Operation, ResourceRule, Scope};

/// Compiled constraints.
#[derive(Clone, Debug)]
pub(crate) struct Constraints {
    namespace: Result<Selector, String>,
    object: Result<Selector, String>,
    excluded: Vec<Rule>,
    rules: Vec<Rule>,
    policy: MatchPolicy,
}

#[derive(Clone, Debug)]
struct Rule {
    names: Vec<String>,
    operations: Vec<Operation>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<(String, String)>,
    scope: Scope,
}

// === impl Constraints ===

impl Constraints {
    pub(crate) fn compile(resources: &MatchResources) -> Self {
        let selector = |one: &Option<LabelSelector>| {
            let compiled = one.as_ref().map_or_else(|| Ok(Selector::default()), Selector::compile);
            compiled.map_err(|reason| format!("Internal error occurred: {reason}"))
        };
        let rules = |rules: &[ResourceRule]| rules.iter().map(Rule::compile).collect();
        Self {
            namespace: selector(&resources.namespace_selector),
            object: selector(&resources.object_selector),
            excluded: rules(&resources.exclude_resource_rules),
            rules: rules(&resources.resource_rules),
            policy: resources.match_policy.unwrap_or_default(),
        }
    }

    /// The form in which the constraints speak of the request, if they do.
    pub(crate) fn matches<'a>(&self, request: &Request<'a>) -> Result<Option<Form<'a>>, String> {
        let by_namespace = self.namespace_matches(request);
        if by_namespace == Ok(false) {
            return Ok(None);
        }
        let by_object = self.object_matches(request);
        if by_object == Ok(false) {
            return Ok(None);
        }
        let excluded = self.any(&self.excluded, request);
        if matches!(excluded, Ok(Some(_))) {
            return Ok(None);
        }
        let matched = if self.rules.is_empty() { Some(request.own()) } else { self.any(&self.rules, request)? };
        if matched.is_some() {
            excluded?;
            by_namespace?;
            by_object?;
        }
        Ok(matched)
    }

    fn namespace_matches(&self, request: &Request<'_>) -> Result<bool, String> {
        let resource = request.own().resource.resource;
        if request.namespace.is_empty() && resource != "namespaces" {
            return Ok(true);
        }
        let selector = self.namespace.as_ref().map_err(String::clone)?;
        if selector.is_empty() {
            return Ok(true);
        }
        namespace_labels(request).map(|labels| selector.matches(labels))
    }

    fn object_matches(&self, request: &Request<'_>) -> Result<bool, String> {
        let selector = self.object.as_ref().map_err(String::clone)?;
        let one = |object: &Value| !object.is_null() && selector.matches(labels_of(object));
        Ok(selector.is_empty() || one(request.object) || one(request.old_object))
    }

    fn any<'a>(&self, rules: &[Rule], request: &Request<'a>) -> Result<Option<Form<'a>>, String> {
        let own = request.own();
        if rules.iter().any(|rule| rule.covers(own.resource, request) && rule.names(request.name)) {
            return Ok(Some(own));
        }
        if self.policy == MatchPolicy::Exact {
            return Ok(None);
        }
        for rule in rules {
            if let Some(other) = request.others().find(|other| rule.covers(other.resource, request) && rule.names(request.name)) {
                if other.kind == Kind::default() {
                    return Err(format!("unable to convert to {}: unknown kind", other.resource));
                }
                return Ok(Some(other));
            }
        }
        if request.equivalents.is_none()
            && let Some(rule) = rules.iter().find(|rule| rule.might_cover(own.resource, request) && rule.names(request.name))
        {
            return Err(format!(
                "a rule names {} of {}, the request is for {}, and whether they are the same objects is not known here",
                rule.versions.join("|"),
                rule.groups.join("|"),
                own.resource
            ));
        }
        Ok(None)
    }

    /// Whether it asks for labels of namespaces.
    pub(crate) fn selects_by_namespace(&self) -> bool {
        self.namespace.as_ref().is_ok_and(|selector| !selector.is_empty())
    }

    /// For an index: labels of the namespace without which the constraints certainly do not match a namespaced request.
    pub(crate) fn needs_namespace_label(&self) -> Option<(&str, &[String])> {
        self.namespace.as_ref().ok()?.needs()
    }

    /// For an index: labels of the object without which the constraints certainly do not match.
    pub(crate) fn needs_object_label(&self) -> Option<(&str, &[String])> {
        // An invalid namespace selector is an error where the object matches; it changes nothing where it does not.
        self.object.as_ref().ok()?.needs()
    }

    /// For an index: plural resources and sub-resources outside which the constraints certainly do not match; `None` for any.
    pub(crate) fn needs_resources(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        let resources = || self.rules.iter().flat_map(|rule| &rule.resources);
        let any = self.rules.is_empty() || resources().any(|(name, part)| name == "*" || part == "*");
        (!any).then(|| resources().map(|(name, part)| (name.as_str(), part.as_str())))
    }

    /// For an index: object names outside which the constraints certainly do not match; `None` for any.
    pub(crate) fn needs_names(&self) -> Option<impl Iterator<Item = &str>> {
        let any = self.rules.is_empty() || self.rules.iter().any(|rule| rule.names.is_empty());
        (!any).then(|| self.rules.iter().flat_map(|rule| rule.names.iter().map(String::as_str)))
    }
}

/// The labels of the request's namespace: a Namespace that is written has its own.
pub(crate) fn namespace_labels<'a>(request: &Request<'a>) -> Result<Option<&'a serde_json::Map<String, Value>>, String> {
    let written = matches!(request.operation, Operation::Create | Operation::Update);
    if request.own().resource.resource == "namespaces" && request.subresource.is_empty() && written {
        return Ok(labels_of(request.object));
    }
    match request.namespace_object {
        Namespace::Known(namespace) => Ok(labels_of(namespace)),
        Namespace::Missing => Err(format!("namespaces \"{:.253}\" not found", request.namespace)),
        Namespace::Unreadable(reason) => Err(format!("namespace \"{:.253}\" cannot be read: {reason:.500}", request.namespace)),
        Namespace::NotGiven => Err(format!("the labels of namespace \"{:.253}\" are not known here", request.namespace)),
    }
}

// === impl Rule ===

impl Rule {
    fn compile(rule: &ResourceRule) -> Self {
        let split = |pattern: &String| match pattern.split_once('/') {
            Some((name, part)) => (name.to_owned(), part.to_owned()),
            None => (pattern.clone(), String::new()),
        };
        Self {
            names: rule.resource_names.clone(),
            operations: rule.operations.clone(),
            groups: rule.api_groups.clone(),
            versions: rule.api_versions.clone(),
            resources: rule.resources.iter().map(split).collect(),
            scope: rule.scope.unwrap_or_default(),
        }
    }

    fn covers(&self, resource: Resource<'_>, request: &Request<'_>) -> bool {
        has(&self.groups, resource.group) && has(&self.versions, resource.version) && self.covers_but_version(resource, request)
    }

    /// Everything but group and version.
    fn covers_but_version(&self, resource: Resource<'_>, request: &Request<'_>) -> bool {
        let named = self.resources.iter().any(|(name, part)| (name == "*" || name == resource.resource) && (part == "*" || part == request.subresource));
        let cluster = request.namespace.is_empty() || resource == Resource { group: "", version: "v1", resource: "namespaces" };
        let scope = match self.scope {
            Scope::All => true,
            Scope::Cluster => cluster,
            Scope::Namespaced => !cluster,
        };
        named && scope && self.operations.iter().any(|one| *one == Operation::All || *one == request.operation)
    }

    /// Whether it would cover the request, were the version that it names one that the same objects are served in.
    fn might_cover(&self, own: Resource<'_>, request: &Request<'_>) -> bool {
        let group = has(&self.groups, own.group) || self.groups.iter().any(|group| may_share(group, own.group, own.resource));
        group && self.covers_but_version(own, request)
    }

    fn names(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|one| one == name)
    }
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

/// Groups that have served the same objects under one plural.
fn may_share(one: &str, other: &str, resource: &str) -> bool {
    const SHARED: [(&str, &[&str]); 3] =
        [("events", &["", "events.k8s.io"]), ("ingresses", &["extensions", "networking.k8s.io"]), ("networkpolicies", &["extensions", "networking.k8s.io"])];
    const WORKLOADS: [&str; 3] = ["deployments", "daemonsets", "replicasets"];
    let both = |groups: &[&str]| groups.contains(&one) && groups.contains(&other);
    SHARED.iter().any(|(plural, groups)| *plural == resource && both(groups)) || (WORKLOADS.contains(&resource) && both(&["extensions", "apps"]))
}

#[cfg(test)]
mod cases;
