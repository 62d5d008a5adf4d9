//! Which kinds a policy speaks of, as apiserver's `typechecking.go` finds them: by rules without wildcards, and not by
//! sub-resources.

use std::collections::BTreeSet;

use crate::policy::spec::{PolicySpec, ResourceRule};
use crate::schema::{GroupVersionKind, Root, Schemas};

/// Most kinds that a policy is checked for.
pub(super) const MAX_KINDS: usize = 32;
/// Most of one rule; the server's bound.
const MAX_OF_RULE: usize = 10;

/// The kinds of a policy.
pub(super) struct Kinds {
    pub(super) known: Vec<(GroupVersionKind, Root)>,
    /// Resources that no document describes, `RESOURCE.VERSION.GROUP`.
    pub(super) unknown: Vec<String>,
    /// Whether there are more.
    pub(super) left: bool,
    /// Whether these are all that the policy can meet: nothing by wildcard, no sub-resource, nothing unknown.
    pub(super) whole: bool,
}

/// The groups and versions whose documents say what there is to say of a policy: `apps/v1`, `v1`.
#[must_use]
pub fn group_versions(spec: &PolicySpec) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    for (group, version, _) in rules(spec).flat_map(named) {
        if all.len() < MAX_KINDS {
            all.insert(GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: String::new() }.api_version());
        }
    }
    // What is computed is described here.
    all.extend(params_kind(spec).map(|kind| kind.api_version()).filter(|of| of != crate::facts::API_VERSION));
    all
}

/// The kind of `params`.
pub(super) fn params_kind(spec: &PolicySpec) -> Option<GroupVersionKind> {
    spec.param_kind.as_ref().map(|kind| GroupVersionKind::of(&kind.api_version, &kind.kind))
}

pub(super) fn kinds(spec: &PolicySpec, schemas: &Schemas) -> Kinds {
    let mut kinds = Kinds { known: Vec::new(), unknown: Vec::new(), left: false, whole: false };
    let mut seen = BTreeSet::new();
    let mut described = true;
    'rules: for rule in rules(spec) {
        let mut count = 0;
        for (group, version, resource) in named(rule) {
            // A rule with as many ends it all, as at the server.
            if count == MAX_OF_RULE || kinds.known.len() == MAX_KINDS {
                kinds.left = true;
                break 'rules;
            }
            let found = schemas.kind_of(group, version, resource).and_then(|kind| Some((schemas.root(&kind)?, kind)));
            if let Some((root, kind)) = found {
                count += 1;
                if seen.insert(kind.clone()) {
                    kinds.known.push((kind, root));
                }
                continue;
            }
            // What a described version does not have, no request is for.
            let of = GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: String::new() };
            described &= schemas.has(&of.api_version());
            let name = format!("{resource:.80}.{version:.80}.{group:.80}").trim_end_matches('.').to_owned();
            if kinds.unknown.len() < MAX_KINDS && !kinds.unknown.contains(&name) {
                kinds.unknown.push(name);
            }
        }
        if count == MAX_OF_RULE {
            break;
        }
    }
    kinds.known.sort_by(|(a, _), (b, _)| a.cmp(b));
    let all = spec.match_constraints.iter().flat_map(|constraints| &constraints.resource_rules);
    let plain = |rule: &ResourceRule| !has_wildcard(rule) && !rule.resources.iter().any(|resource| resource.contains(['*', '/']));
    kinds.whole = !kinds.left && described && all.into_iter().all(plain);
    kinds
}

fn rules(spec: &PolicySpec) -> impl Iterator<Item = &ResourceRule> {
    spec.match_constraints.iter().flat_map(|constraints| &constraints.resource_rules).filter(|rule| !has_wildcard(rule))
}

/// Group, version and resource of what a rule names, each list in order.
fn named(rule: &ResourceRule) -> impl Iterator<Item = (&str, &str, &str)> {
    sorted(&rule.api_groups).into_iter().flat_map(move |group| {
        sorted(&rule.api_versions).into_iter().flat_map(move |version| {
            let resources = sorted(&rule.resources).into_iter().filter(|resource| !resource.contains(['*', '/']));
            resources.map(move |resource| (group, version, resource))
        })
    })
}

fn has_wildcard(rule: &ResourceRule) -> bool {
    rule.api_groups.iter().chain(&rule.api_versions).any(|name| name.contains('*'))
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}
