//! From `(name, spec)` pairs to a set: reading, compiling, keeping what was good, and the digest.

use std::collections::HashMap;
use std::sync::Arc;

use assent_core::canonical::Digest;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::index::Index;
use super::{Group, Loaded, Set};
use crate::policy::compile::{Binding, Policy, Programs};
use crate::policy::message::bounded;
use crate::policy::spec::{BindingSpec, PolicySpec, binding_problems, policy_problems};

/// Longest reason of a problem, in bytes.
const MAX_REASON: usize = 2 * 1024;

/// What a problem is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A policy.
    Policy,
    /// A binding.
    Binding,
}

/// What is wrong with a policy or binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// With which of the two.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// Where in its spec.
    pub place: String,
    /// In words.
    pub reason: String,
    /// Whether it does not load. Else it is only that no API server would store it.
    pub fatal: bool,
    /// Whether the last good version stays in force.
    pub kept: bool,
}

/// What a set remembers of one policy or binding.
#[derive(Debug)]
pub(super) struct Known<T> {
    given: Digest,
    in_force: Arc<T>,
    /// The last version that loaded, and its digest.
    good: Option<(Digest, Arc<T>)>,
    problems: Vec<Problem>,
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self { given: self.given.clone(), in_force: Arc::clone(&self.in_force), good: self.good.clone(), problems: self.problems.clone() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = if self.part == Part::Policy { "policy" } else { "binding" };
        write!(f, "{part} `{}`, {}: {}{}", self.name, self.place, self.reason, if self.kept { "; its last good version stays in force" } else { "" })
    }
}

pub(super) fn load(mut programs: Programs, before: Option<&Set>, mut policies: Vec<(String, Value)>, mut bindings: Vec<(String, Value)>) -> Set {
    policies.sort_by(|a, b| a.0.cmp(&b.0));
    bindings.sort_by(|a, b| a.0.cmp(&b.0));
    let mut parts = Vec::with_capacity(policies.len() + bindings.len());
    let mut problems = Vec::new();
    let (mut known_policies, mut known_bindings) = (HashMap::new(), HashMap::new());
    let mut in_force = Vec::with_capacity(policies.len());
    for (name, spec) in policies {
        let known = known(before.and_then(|set| set.known_policies.get(&name)), &spec, || policy(&name, &spec, &mut programs, before.map(|set| &set.programs)));
        remember(&name, &name, known, &mut parts, &mut problems, &mut in_force, &mut known_policies);
    }
    let mut bindings_in_force = Vec::with_capacity(bindings.len());
    for (name, spec) in bindings {
        let known = known(before.and_then(|set| set.known_bindings.get(&name)), &spec, || binding(&name, &spec));
        remember(&name, &format!("binding/{name}"), known, &mut parts, &mut problems, &mut bindings_in_force, &mut known_bindings);
    }
    programs.finish();
    let (policies, unbound) = bind(in_force, &bindings_in_force);
    let (groups, index) = groups(&policies);
    let digest = Digest::of_bytes(parts.join("\n").as_bytes());
    Set { digest, problems, policies, groups, index, programs, known_policies, known_bindings, unbound }
}

/// What is known of a spec now: what was known, if it is the same; else what loading says, with the last good version where
/// that is not good.
fn known<T>(before: Option<&Known<T>>, spec: &Value, load: impl FnOnce() -> (T, Vec<Problem>)) -> Known<T> {
    let given = spec_digest(spec);
    if let Some(before) = before.filter(|before| before.given == given) {
        return before.clone();
    }
    let (loaded, mut problems) = load();
    let loaded = Arc::new(loaded);
    if !problems.iter().any(|problem| problem.fatal) {
        return Known { good: Some((given.clone(), Arc::clone(&loaded))), given, in_force: loaded, problems };
    }
    match before.and_then(|before| before.good.clone()) {
        None => Known { given, in_force: loaded, good: None, problems },
        Some((digest, good)) => {
            for problem in &mut problems {
                problem.kept = problem.fatal;
            }
            Known { given, in_force: Arc::clone(&good), good: Some((digest, good)), problems }
        }
    }
}

fn remember<T>(
    name: &str,
    label: &str,
    known: Known<T>,
    parts: &mut Vec<String>,
    problems: &mut Vec<Problem>,
    in_force: &mut Vec<Arc<T>>,
    all: &mut HashMap<String, Known<T>>,
) {
    parts.push(format!("{label}={}", known.given));
    if let Some((digest, _)) = known.good.as_ref().filter(|(digest, _)| *digest != known.given) {
        parts.push(format!("{label}~{digest}"));
    }
    problems.extend(known.problems.iter().cloned());
    in_force.push(Arc::clone(&known.in_force));
    all.insert(name.to_owned(), known);
}

/// A spec with a fraction in it has no canonical form; its text stands in, so that the digest still changes with it.
fn spec_digest(spec: &Value) -> Digest {
    Digest::of(spec).unwrap_or_else(|_| Digest::of_bytes(spec.to_string().as_bytes()))
}

fn policy(name: &str, spec: &Value, programs: &mut Programs, before: Option<&Programs>) -> (Policy, Vec<Problem>) {
    let problem = |place: &str, reason: &str, fatal| Problem {
        part: Part::Policy,
        name: name.to_owned(),
        place: place.to_owned(),
        reason: bounded(reason, MAX_REASON),
        fatal,
        kept: false,
    };
    match PolicySpec::deserialize_from(spec) {
        Err(reason) => {
            // As much of it as can be read still says what it speaks of and what an error means.
            let readable =
                PolicySpec { match_constraints: field(spec, "matchConstraints"), failure_policy: field(spec, "failurePolicy"), ..PolicySpec::default() };
            let policy = Policy::unusable(name, readable, format!("the spec cannot be read: {}", bounded(&reason, MAX_REASON)));
            (policy, vec![problem("spec", &reason, true)])
        }
        Ok(spec) => {
            let mut problems: Vec<Problem> = policy_problems(name, &spec).iter().map(|reason| problem("spec", reason, false)).collect();
            let (policy, faults) = Policy::compile(name, spec, programs, before);
            problems.extend(faults.iter().map(|(place, reason)| problem(place, reason, true)));
            (policy, problems)
        }
    }
}

fn binding(name: &str, spec: &Value) -> (Binding, Vec<Problem>) {
    let problem = |reason: &str, fatal| Problem {
        part: Part::Binding,
        name: name.to_owned(),
        place: "spec".to_owned(),
        reason: bounded(reason, MAX_REASON),
        fatal,
        kept: false,
    };
    match BindingSpec::deserialize_from(spec) {
        Ok(spec) => (Binding::compile(name, &spec), binding_problems(&spec).iter().map(|reason| problem(reason, false)).collect()),
        Err(reason) => {
            let policy = field(spec, "policyName").unwrap_or_default();
            let text = format!("the spec cannot be read: {}", bounded(&reason, MAX_REASON));
            (Binding::unusable(name, policy, text), vec![problem(&reason, true)])
        }
    }
}

/// Policies that are bound, with their bindings, and the names of those that are not. A binding that does not even say
/// which policy it binds stands as a policy of its own, of which nothing can be judged.
fn bind(policies: Vec<Arc<Policy>>, bindings: &[Arc<Binding>]) -> (Vec<Loaded>, Vec<String>) {
    let mut by_policy: HashMap<&str, Vec<Arc<Binding>>> = HashMap::new();
    for binding in bindings {
        by_policy.entry(&binding.policy_name).or_default().push(Arc::clone(binding));
    }
    let mut bound = Vec::new();
    let mut unbound = Vec::new();
    for policy in policies {
        match by_policy.get(policy.name.as_str()) {
            Some(bindings) => bound.push(Loaded { policy, bindings: bindings.clone() }),
            None => unbound.push(policy.name.clone()),
        }
    }
    for binding in bindings.iter().filter(|binding| binding.policy_name.is_empty()) {
        if let Some(reason) = &binding.unusable {
            let policy = Policy::unusable(&binding.name, PolicySpec::default(), format!("binding `{}`: {reason}", binding.name));
            bound.push(Loaded { policy: Arc::new(policy), bindings: vec![Arc::clone(binding)] });
        }
    }
    (bound, unbound)
}

fn groups(policies: &[Loaded]) -> (Vec<Group>, Index) {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_spec: HashMap<String, usize> = HashMap::new();
    for (number, loaded) in (0_u32..).zip(policies) {
        let policy = &loaded.policy;
        let spec = serde_json::to_string(&policy.spec.match_constraints).unwrap_or_else(|_| format!("policy {number}"));
        let at = *by_spec.entry(spec).or_insert_with(|| {
            groups.push(Group {
                constraints: policy.constraints.clone(),
                policies: Vec::new(),
                unusable: Vec::new(),
                param_kinds: Vec::new(),
                pairs: Vec::new(),
                index: Index::default(),
            });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(at) else { continue };
        group.policies.push(number);
        if policy.unusable.is_some() {
            group.unusable.push(number);
        }
        if let Some(kind) = &policy.spec.param_kind {
            match group.param_kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, users)) => users.push(number),
                None => group.param_kinds.push((kind.clone(), vec![number])),
            }
        }
        for (at, binding) in (0_u32..).zip(&loaded.bindings) {
            let pair = u32::try_from(group.pairs.len()).unwrap_or(u32::MAX);
            // What cannot be judged has to say so whatever it would match.
            let constraints = binding.constraints.as_ref().filter(|_| binding.unusable.is_none());
            group.index.add(pair, constraints);
            group.pairs.push((number, at));
        }
    }
    let mut index = Index::default();
    for (number, group) in (0_u32..).zip(&groups) {
        index.add(number, group.constraints.as_ref());
    }
    (groups, index)
}

/// `(name, spec)` of every item of a list as the API server answers it.
#[must_use]
pub fn specs_of(list: &Value) -> Vec<(String, Value)> {
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    let name = |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    items.map(|item| (name(item), item.get("spec").cloned().unwrap_or(Value::Null))).collect()
}

/// One field, if it can be read by itself.
fn field<T: DeserializeOwned>(spec: &Value, name: &str) -> Option<T> {
    serde_json::from_value(spec.get(name)?.clone()).ok()
}

/// Reading a spec, with the place of what is wrong as far as the reader knows it.
trait FromSpec: DeserializeOwned {
    fn deserialize_from(spec: &Value) -> Result<Self, String> {
        Self::deserialize(spec).map_err(|error| error.to_string())
    }
}

impl FromSpec for PolicySpec {}
impl FromSpec for BindingSpec {}
