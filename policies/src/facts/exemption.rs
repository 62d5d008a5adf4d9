//! Which exemptions hold for one target. An exemption lifts one guardrail for one object, in people's names and for a time;
//! guardrails that may be lifted ask for it in a match condition, and the others never ask.
//!
//! There are no patterns: a name is a name. When several speak of the same guardrail and target, the one that ends first
//! holds, so that adding an object never makes a rule milder for longer than the strictest of them says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An exemption of the target, as guardrails see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exemption {
    /// Name of the GuardrailExemption.
    pub name: String,
    /// Name of the guardrail that it lifts.
    pub guardrail: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    #[schemars(length(max = 300))]
    pub reason: String,
    /// First second in which it no longer holds.
    pub expires: String,
}

/// A stored exemption with the object that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptionSource {
    /// What guardrails will see.
    pub exemption: Exemption,
    /// `expires` in milliseconds since 1970.
    pub expires_ms: i64,
    /// Kind of the object.
    pub kind: String,
    /// Its namespace; empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub target: String,
}

/// The exemptions of `kind` `namespace`/`target` at `now_ms`, one for each guardrail, by guardrail.
#[must_use]
pub fn exemptions(all: &[ExemptionSource], kind: &str, namespace: &str, target: &str, now_ms: i64) -> Vec<Exemption> {
    let mut ours: Vec<&ExemptionSource> = all.iter().filter(|source| source.kind == kind && source.namespace == namespace && source.target == target).collect();
    // The first to end comes first and stands for all of its guardrail, even when it is over already.
    ours.sort_by(|a, b| (&a.exemption.guardrail, a.expires_ms, &a.exemption.name).cmp(&(&b.exemption.guardrail, b.expires_ms, &b.exemption.name)));
    ours.dedup_by(|later, first| later.exemption.guardrail == first.exemption.guardrail);
    ours.into_iter().filter(|source| source.expires_ms > now_ms).map(|source| source.exemption.clone()).collect()
}
