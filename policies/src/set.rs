//! A set of policies and bindings: compiled once, named by one digest, immutable.
//!
//! Programs are shared by source, constraints by spec, and an index offers only what could match. A policy or binding that
//! does not load is reported; one that loaded before stays in force as it was, one that never did denies.

mod each;
mod index;
mod judge;
mod load;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use assent_core::canonical::Digest;
use serde_json::Value;

use crate::policy::compile::{Binding, Policy, Programs};
use crate::policy::language::Language;
use crate::policy::matching::Constraints;
use crate::policy::params::WantedParams;
use crate::policy::request::Request;
use crate::policy::spec::ParamKind;
pub use each::{Lacks, Said};
use index::Index;
pub use load::{Part, Problem, specs_of};

/// Policies and bindings in force.
#[derive(Debug)]
pub struct Set {
    digest: Digest,
    problems: Vec<Problem>,
    /// By name; only what is bound has an effect.
    policies: Vec<Loaded>,
    groups: Vec<Group>,
    index: Index,
    programs: Programs,
    /// What the next set may go on with.
    known_policies: HashMap<String, load::Known<Policy>>,
    known_bindings: HashMap<String, load::Known<Binding>>,
    unbound: Vec<String>,
}

/// A policy with its bindings by name.
#[derive(Debug)]
struct Loaded {
    policy: Arc<Policy>,
    bindings: Vec<Arc<Binding>>,
}

/// Policies with the same constraints, which are matched once for all of them.
#[derive(Debug)]
struct Group {
    constraints: Option<Constraints>,
    policies: Vec<u32>,
    /// Those that cannot be judged.
    unusable: Vec<u32>,
    param_kinds: Vec<(ParamKind, Vec<u32>)>,
    /// Policy and binding by number in the index.
    pairs: Vec<(u32, u32)>,
    index: Index,
}

/// What a set needs to know to judge a request, for callers that fetch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs<'s> {
    /// The Namespace that the request is in.
    pub namespace: bool,
    /// An authorizer.
    pub authorizer: bool,
    /// Params.
    pub params: Vec<WantedParams<'s>>,
}

// === impl Set ===

impl Set {
    /// Compiles `(name, spec)` pairs of policies and of bindings; their order does not matter.
    #[must_use]
    pub fn new(policies: Vec<(String, Value)>, bindings: Vec<(String, Value)>) -> Self {
        Self::with_language(Language::default(), policies, bindings)
    }

    /// Like [`Set::new`], in the expression language of another version.
    #[must_use]
    pub fn with_language(language: Language, policies: Vec<(String, Value)>, bindings: Vec<(String, Value)>) -> Self {
        load::load(Programs::new(language), None, policies, bindings)
    }

    /// The set of these policies and bindings. What has not changed is not compiled again; of what no longer loads the last
    /// good version stays in force, and is reported.
    #[must_use]
    pub fn updated(&self, policies: Vec<(String, Value)>, bindings: Vec<(String, Value)>) -> Self {
        load::load(Programs::new(self.programs.language()), Some(self), policies, bindings)
    }

    /// The digest of names and specs: what a plan pins. Where a last good version stands in, it counts too, so that two
    /// sets which judge differently differ.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What is wrong with policies and bindings.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What does not load: unreadable specs and expressions that do not compile.
    pub fn broken(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.fatal)
    }

    /// Policies that no binding names; they have no effect.
    #[must_use]
    pub fn unbound(&self) -> &[String] {
        &self.unbound
    }

    /// How many distinct programs the set has.
    #[must_use]
    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    /// Every kind of params that some bound policy names.
    pub fn param_kinds(&self) -> impl Iterator<Item = &ParamKind> {
        let kinds: BTreeMap<&ParamKind, ()> = self.policies.iter().filter_map(|loaded| Some((loaded.policy.spec.param_kind.as_ref()?, ()))).collect();
        kinds.into_keys()
    }

    /// What is needed to judge `request`. Namespaces count as needed when a selector might ask for their labels.
    #[must_use]
    pub fn needs(&self, request: &Request<'_>) -> Needs<'_> {
        let mut needs = Needs { namespace: self.groups.iter().any(Group::selects_by_namespace), ..Needs::default() };
        for (policy, bindings) in self.concerned(request) {
            needs.namespace |= policy.looks_at_namespace();
            needs.authorizer |= policy.asks_authorizer();
            for binding in bindings {
                needs.namespace |= binding.constraints.as_ref().is_some_and(Constraints::selects_by_namespace);
                if let (Some(kind), Some(reference)) = (&policy.spec.param_kind, &binding.reference) {
                    let wanted = reference.wants(kind);
                    if !needs.params.contains(&wanted) {
                        needs.params.push(wanted);
                    }
                }
            }
        }
        needs
    }
}

// === impl Group ===

impl Group {
    fn selects_by_namespace(&self) -> bool {
        self.constraints.as_ref().is_some_and(Constraints::selects_by_namespace)
    }
}

#[cfg(test)]
mod cases;
