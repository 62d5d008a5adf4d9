//! `GuardrailExemption`: one guardrail does not hold for one object until a time, and somebody answers for it. It is
//! cluster-scoped, so that only those who administer the cluster can give one, and it has no patterns.
//!
//! A guardrail asks for exemptions itself; one that does not ask cannot be lifted. When several speak of the same guardrail
//! and object, the one that ends first holds.

use assent_core::ids::UnixMillis;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest life of an exemption from the moment it is written; after that somebody must want it again.
pub const MAX_EXEMPTION_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Lifts a guardrail for one object.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "GuardrailExemption",
    shortname = "gre",
    category = "assent",
    printcolumn = r#"{"name":"Guardrail","type":"string","jsonPath":".spec.guardrail"}"#,
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.target.namespace"}"#,
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.target.name"}"#,
    printcolumn = r#"{"name":"Owner","type":"string","jsonPath":".spec.owner"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".spec.expires"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GuardrailExemptionSpec {
    /// Name of the guardrail.
    #[schemars(length(min = 1, max = 253))]
    pub guardrail: String,
    /// The object.
    pub target: ExemptTarget,
    /// Who answers for it: a person or a team that can be reached.
    #[schemars(length(min = 1, max = 253))]
    pub owner: String,
    /// Why.
    #[schemars(length(min = 1, max = 300))]
    pub reason: String,
    /// First second in which it no longer holds, RFC 3339; at most 30 days ahead.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub expires: String,
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptTarget {
    /// For example `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Empty for an object that is in none.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

// === impl GuardrailExemptionSpec ===

impl GuardrailExemptionSpec {
    /// When it ends.
    ///
    /// # Errors
    /// If that is no time.
    pub fn expires_at(&self) -> Result<UnixMillis, String> {
        super::freeze::instant("expires", &self.expires)
    }

    /// Whether somebody may write this at `now`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self, now: UnixMillis) -> Result<(), String> {
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.');
        let named = |name: &str| !name.is_empty() && plain(name);
        if !named(&self.guardrail) || !named(&self.target.name) || !plain(&self.target.namespace) {
            return Err("guardrail, namespace and name are names; there are no patterns".into());
        }
        if !self.target.kind.starts_with(|first: char| first.is_ascii_uppercase()) || !self.target.kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("`{:.63}` is no kind", self.target.kind));
        }
        if self.owner.trim().is_empty() || self.reason.trim().is_empty() {
            return Err("an exemption has an owner and a reason".into());
        }
        let left = self.expires_at()?.since(now);
        if left <= 0 {
            return Err(format!("it expired at {}", self.expires));
        }
        if left > MAX_EXEMPTION_MS {
            return Err(format!("it expires in {} days; at most {} are given at a time", left / 86_400_000, MAX_EXEMPTION_MS / 86_400_000));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemption() -> GuardrailExemptionSpec {
        let target = ExemptTarget { kind: "Deployment".into(), namespace: "shop".into(), name: "orders".into() };
        GuardrailExemptionSpec {
            guardrail: "scale-step".into(),
            target,
            owner: "jane@example.com".into(),
            reason: "sale".into(),
            expires: "1970-01-02T00:00:00Z".into(),
        }
    }

    #[test]
    fn it_holds_for_a_time_and_not_for_ever() {
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(exemption().check(UnixMillis(0)), Ok(()));
        assert_eq!(exemption().check(UnixMillis(day - 1)), Ok(()));
        assert!(exemption().check(UnixMillis(day)).unwrap_err().contains("expired"));
        assert_eq!(exemption().check(UnixMillis(day - MAX_EXEMPTION_MS)), Ok(()));
        assert!(exemption().check(UnixMillis(day - MAX_EXEMPTION_MS - day)).unwrap_err().contains("31 days"));
        for no_time in ["", "tomorrow", "1970-01-02"] {
            assert!(GuardrailExemptionSpec { expires: no_time.into(), ..exemption() }.check(UnixMillis(0)).is_err(), "{no_time}");
        }
    }

    #[test]
    fn names_are_not_patterns_and_somebody_answers_for_it() {
        let refused = |change: fn(&mut GuardrailExemptionSpec)| {
            let mut spec = exemption();
            change(&mut spec);
            spec.check(UnixMillis(0)).unwrap_err()
        };
        assert!(refused(|spec| spec.target.name = "*".into()).contains("no patterns"));
        assert!(refused(|spec| spec.target.namespace = "shop*".into()).contains("no patterns"));
        assert!(refused(|spec| spec.guardrail = "scale-?".into()).contains("no patterns"));
        assert!(refused(|spec| spec.guardrail.clear()).contains("no patterns"));
        assert!(refused(|spec| spec.target.kind = "*".into()).contains("no kind"));
        assert!(refused(|spec| spec.owner = " ".into()).contains("owner"));
        assert!(refused(|spec| spec.reason.clear()).contains("reason"));
    }

    #[test]
    fn an_object_in_no_namespace_can_be_named() {
        let mut spec = exemption();
        spec.target = ExemptTarget { kind: "Node".into(), namespace: String::new(), name: "worker-3".into() };
        assert_eq!(spec.check(UnixMillis(0)), Ok(()));
    }
}
