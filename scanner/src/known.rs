//! The guardrails and bindings of the cluster as they were read, raw, and the set that follows from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use assent_core::canonical::Digest;
use assent_policies::Set;
use serde_json::{Value, json};

use crate::judge::About;

/// One guardrail or binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Generation of its spec.
    pub generation: Option<i64>,
    /// Annotations of ours.
    pub annotations: BTreeMap<String, String>,
    /// As it is stored.
    pub spec: Value,
    /// As it is stored.
    pub status: Value,
}

/// Everything that was read, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Guardrails.
    pub guardrails: BTreeMap<String, Item>,
    /// Bindings.
    pub bindings: BTreeMap<String, Item>,
}

/// What objects are judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Digest of specs and annotations, by which a change is known.
    pub version: Digest,
    /// The set.
    pub set: Arc<Set>,
    /// What people say of guardrails, by name.
    pub about: Arc<BTreeMap<String, About>>,
    /// Whether any guardrail is bound.
    pub any: bool,
}

// === impl Known ===

impl Known {
    /// Names a state of specs and annotations; statuses do not count.
    #[must_use]
    pub fn version(&self) -> Digest {
        let part = |items: &BTreeMap<String, Item>| items.iter().map(|(name, item)| json!([name, item.annotations, item.spec])).collect::<Value>();
        Digest::of_bytes(json!([part(&self.guardrails), part(&self.bindings)]).to_string().as_bytes())
    }

    /// The rules that follow, going on from those `before`: what no longer loads keeps its last good version.
    #[must_use]
    pub fn rules(&self, before: Option<&Rules>) -> Rules {
        let guardrails = self.guardrails.iter().map(|(name, item)| (name.clone(), unforgiving(&item.spec))).collect();
        let bindings: Vec<(String, Value)> = self.bindings.iter().map(|(name, item)| (name.clone(), item.spec.clone())).collect();
        let set = match before {
            Some(rules) => rules.set.updated(guardrails, bindings),
            None => Set::new(guardrails, bindings),
        };
        let about = self.guardrails.iter().map(|(name, item)| (name.clone(), About::of(&item.annotations, &item.spec))).collect();
        let any = self.guardrails.keys().any(|name| self.is_bound(name)) || self.bindings.values().any(|item| policy_name(&item.spec).is_empty());
        Rules { version: self.version(), set: Arc::new(set), about: Arc::new(about), any }
    }

    /// Whether a binding names this guardrail.
    #[must_use]
    pub fn is_bound(&self, guardrail: &str) -> bool {
        self.bindings.values().any(|item| policy_name(&item.spec) == guardrail)
    }
}

/// The guardrail that a binding names; empty if it names none.
#[must_use]
pub fn policy_name(binding: &Value) -> &str {
    binding.get("policyName").and_then(Value::as_str).unwrap_or_default()
}

/// The spec with errors that count: `failurePolicy: Ignore` lets a write through, and a report must still say that it could
/// not be judged.
fn unforgiving(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(policy) = spec.get_mut("failurePolicy").filter(|policy| *policy == "Ignore") {
        *policy = "Fail".into();
    }
    spec
}
