//! One policy with its bindings, asked about recorded requests by the function that judges everywhere. What it would read and
//! the log does not have keeps it from being judged: that is said, and never counted as allowed.

use assent_api::names::{self, accounts};
use assent_policies::spec::{BindingSpec, LabelSelector, ParamKind, PolicySpec};
use assent_policies::{Evaluation, Kind, Namespace, Outcome, Request, Resource, Set, User, export};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::recorded::Recorded;
use super::surroundings::{Surroundings, bare_namespace};
use crate::policy::read::Sources;

/// The label that every Namespace has, whatever the log shows of it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// See the module.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    set: Set,
    /// Says whether the constraints speak of a request, whatever its objects are.
    probe: Set,
    reads: Reads,
    pub(super) param_kind: Option<ParamKind>,
    /// Whether it judges nobody but Assent.
    only_assent: bool,
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    object: bool,
    old_object: bool,
    /// More of the Namespace than its name.
    namespace: bool,
    authorizer: bool,
    kind: bool,
    facts: bool,
}

/// What a policy says of a request.
#[derive(Debug)]
pub(super) enum Said {
    /// It does not speak of it.
    Nothing,
    /// It cannot be judged, for this reason.
    Unknown(String),
    /// It was judged.
    Judged(Outcome),
}

// === impl Subject ===

impl Subject {
    /// The bound policies of `sources`, and the names of those without a binding.
    pub(super) fn all(sources: &Sources, for_everybody: bool) -> anyhow::Result<(Vec<Self>, Vec<String>)> {
        let (mut bound, mut unbound) = (Vec::new(), Vec::new());
        for (name, spec) in &sources.policies {
            let bindings: Vec<(String, Value)> = sources.bindings.iter().filter(|(_, spec)| spec["policyName"] == **name).cloned().collect();
            if bindings.is_empty() {
                unbound.push(name.clone());
                continue;
            }
            let only_assent = !for_everybody && sources.guardrails.contains(name);
            bound.push(Self::new(name, spec, &bindings, only_assent)?);
        }
        Ok((bound, unbound))
    }

    fn new(name: &str, spec: &Value, bindings: &[(String, Value)], only_assent: bool) -> anyhow::Result<Self> {
        let set = Set::new(vec![(name.to_owned(), spec.clone())], bindings.to_vec());
        if let Some(problem) = set.broken().next() {
            anyhow::bail!("{problem}; `kubectl assent policy lint` tells all that is wrong");
        }
        // What the set has loaded can be read.
        let policy = PolicySpec::deserialize(spec)?;
        let specs = bindings.iter().map(|(_, spec)| BindingSpec::deserialize(spec)).collect::<Result<Vec<_>, _>>()?;
        let probe = probe(name, &policy, &specs)?;
        Ok(Self { name: name.to_owned(), set, probe, reads: Reads::of(&policy, &specs), param_kind: policy.param_kind, only_assent })
    }

    /// Why no request at all can be judged by it, if that is so.
    pub(super) fn not_replayable(&self) -> Option<&'static str> {
        match self.reads {
            Reads { facts: true, .. } => Some("it reads `Facts`, which are read live and are in no log"),
            Reads { authorizer: true, .. } => Some("it asks the authorizer, and who could do what is in no log"),
            _ => None,
        }
    }

    pub(super) fn judge(&self, recorded: &Recorded, surroundings: &Surroundings) -> Said {
        if self.only_assent && !of_assent(recorded) {
            return Said::Nothing;
        }
        let null = Value::Null;
        let bare = bare_namespace(&recorded.namespace);
        let namespace = surroundings.namespace(&recorded.namespace);
        let namespaced = !recorded.namespace.is_empty() && recorded.resource.2 != "namespaces";
        let request = Request {
            kind: Kind { group: &recorded.kind.0, version: &recorded.kind.1, kind: &recorded.kind.2 },
            resource: Resource { group: &recorded.resource.0, version: &recorded.resource.1, resource: &recorded.resource.2 },
            subresource: &recorded.subresource,
            operation: recorded.operation,
            name: &recorded.name,
            namespace: &recorded.namespace,
            user: User { username: &recorded.username, uid: &recorded.uid, groups: &recorded.groups, extra: &recorded.extra },
            dry_run: recorded.event.dry_run,
            options: &recorded.options,
            object: recorded.object.as_ref().unwrap_or(&null),
            old_object: recorded.old_object.as_ref().unwrap_or(&null),
            namespace_object: match namespace {
                // Selectors that ask for more than the name are then an error, and not "no".
                None if !namespaced || self.reads.namespace => Namespace::NotGiven,
                found => Namespace::Known(found.unwrap_or(&bare)),
            },
            params: surroundings,
            ..Request::default()
        };
        let spoken = self.probe.evaluate(&request);
        if spoken.asked.is_empty() && spoken.decisions.is_empty() {
            return Said::Nothing;
        }
        if let Some(reason) = self.missing(recorded, surroundings, namespaced && namespace.is_none()) {
            return Said::Unknown(reason);
        }
        if let Some(fault) = spoken.decisions.first() {
            return Said::Unknown(fault.message.clone());
        }
        surroundings.missed();
        let outcome = self.set.evaluate(&request);
        if surroundings.missed() {
            let kind = self.param_kind.as_ref().map_or("", |kind| kind.kind.as_str());
            return Said::Unknown(format!("its param, a {kind}, is neither given (--params) nor in the log"));
        }
        if outcome.asked.is_empty() && outcome.decisions.is_empty() {
            return Said::Nothing;
        }
        Said::Judged(outcome)
    }

    /// What it would read that nobody knows.
    fn missing(&self, recorded: &Recorded, surroundings: &Surroundings, namespace_unknown: bool) -> Option<String> {
        if let Some(reason) = self.not_replayable() {
            return Some(reason.to_owned());
        }
        let text = match &self.param_kind {
            Some(kind) if !surroundings.knows(kind) => format!("params of kind {} are neither given (--params) nor in the log", kind.kind),
            _ if self.reads.object && recorded.object.is_none() => "it reads object, which is not in the log".into(),
            _ if self.reads.old_object && recorded.old_object.is_none() => "it reads oldObject, which is not in the log".into(),
            _ if self.reads.namespace && namespace_unknown => "it reads the Namespace, which is neither given (--params) nor in the log".into(),
            _ if self.reads.kind && recorded.kind.2.is_empty() => "it reads the request's kind, which is not in the log".into(),
            _ => return None,
        };
        Some(text)
    }
}

// === impl Said ===

impl Said {
    pub(super) fn denies(&self) -> bool {
        matches!(self, Self::Judged(outcome) if !outcome.allowed())
    }

    pub(super) fn has_errors(outcome: &Outcome) -> bool {
        outcome.decisions.iter().any(|decision| decision.evaluation != Evaluation::Deny)
    }
}

// === impl Reads ===

impl Reads {
    fn of(policy: &PolicySpec, bindings: &[BindingSpec]) -> Self {
        let conditions = policy.match_conditions.iter().map(|one| one.expression.as_str());
        let variables = policy.variables.iter().map(|one| one.expression.as_str());
        let validations = policy.validations.iter().flat_map(|one| [Some(one.expression.as_str()), one.message_expression.as_deref()]).flatten();
        let annotations = policy.audit_annotations.iter().map(|one| one.value_expression.as_str());
        let sources: Vec<&str> = conditions.chain(variables).chain(validations).chain(annotations).collect();
        let reads = |word: &str| sources.iter().any(|source| names_word(source, word));
        let constraints = policy.match_constraints.iter().chain(bindings.iter().filter_map(|binding| binding.match_resources.as_ref()));
        let (mut by_object, mut by_namespace) = (false, false);
        for constraint in constraints {
            by_object |= constraint.object_selector.as_ref().is_some_and(|selector| keys(selector).next().is_some());
            by_namespace |= constraint.namespace_selector.as_ref().is_some_and(|selector| keys(selector).any(|key| key != NAME_LABEL));
        }
        let (group, kind) = export::FACTS;
        Self {
            object: by_object || reads("object"),
            old_object: by_object || reads("oldObject"),
            namespace: by_namespace || reads("namespaceObject"),
            authorizer: reads("authorizer"),
            kind: reads("kind") || reads("requestKind"),
            facts: policy.param_kind.as_ref().is_some_and(|of| of.kind == kind && of.api_version.split('/').next() == Some(group)),
        }
    }
}

fn keys(selector: &LabelSelector) -> impl Iterator<Item = &str> {
    selector.match_labels.keys().map(String::as_str).chain(selector.match_expressions.iter().map(|one| one.key.as_str()))
}

/// Whether a source has this word. In a string literal it counts too: then less is judged, and nothing wrongly.
fn names_word(source: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    source.match_indices(word).any(|(at, _)| {
        let before = source.get(..at).and_then(|text| text.chars().next_back());
        let after = source.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The same constraints, in policy and bindings, with a rule that always holds and nothing that looks at objects.
fn probe(name: &str, policy: &PolicySpec, bindings: &[BindingSpec]) -> anyhow::Result<Set> {
    let open = |constraints: &Option<assent_policies::spec::MatchResources>| {
        constraints.clone().map(|mut constraints| {
            constraints.object_selector = None;
            constraints
        })
    };
    let spec = json!({"matchConstraints": open(&policy.match_constraints), "validations": [{"expression": "true"}]});
    let bindings = bindings.iter().enumerate().map(|(at, binding)| {
        (format!("{name}-{at}"), json!({"policyName": name, "validationActions": ["Deny"], "matchResources": open(&binding.match_resources)}))
    });
    let set = Set::new(vec![(name.to_owned(), spec)], bindings.collect());
    anyhow::ensure!(set.broken().next().is_none(), "`{name}`: its constraints cannot be read");
    Ok(set)
}

/// Whether the gate would ask guardrails of it: Assent's writes, by its user, and its account's to our own kinds.
fn of_assent(recorded: &Recorded) -> bool {
    recorded.username == names::EXECUTOR_USER || recorded.resource.0 == names::GROUP && recorded.username == names::account_user(accounts::EXECUTOR)
}

#[cfg(test)]
mod tests {
    use super::names_word;

    #[test]
    fn words_are_whole() {
        assert!(names_word("object.spec", "object") && names_word("has(object)", "object"));
        assert!(!names_word("oldObject.spec == namespaceObject", "object") && !names_word("objects_x", "object"));
    }
}
