//! What a set says of a request: decisions, warnings and audit annotations. It is data; whoever asked acts on it, and may keep
//! a bounded part of it for people who ask later.

use std::collections::BTreeMap;

use assent_core::refusal::{Refusal, Rule};
use serde::{Deserialize, Serialize};

use super::message::{MAX_TEXT, bounded};
use super::spec::ValidationAction;

/// Most decisions that are kept; the first that denies always is.
const MAX_DECISIONS: usize = 256;
/// Most warnings that are kept.
const MAX_WARNINGS: usize = 64;
/// Most that is remembered of what was asked.
const MAX_ASKED: usize = 256;
/// Longest part of a refusal, in bytes.
const MAX_REFUSAL: usize = 2 * 1024;
/// Longest text of a decision that is kept, in bytes.
const MAX_KEPT: usize = 2 * 1024;
/// Longest warning that is kept, in bytes.
const MAX_KEPT_WARNING: usize = 256;
/// Most warnings, names and costs that are kept.
const MAX_KEPT_ITEMS: usize = 32;

/// How a decision came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Evaluation {
    /// A validation was not true.
    Deny,
    /// An expression could not be evaluated, and failurePolicy is Fail.
    Error,
    /// The policy or binding could not be judged at all, and failurePolicy is Fail.
    Configuration,
}

/// One failed validation, or what could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Name of the policy.
    pub policy: String,
    /// Name of the binding; absent where the policy itself is at fault.
    pub binding: Option<String>,
    /// Namespace and name of the param, if there is one.
    pub param: Option<String>,
    /// What follows; not empty.
    pub actions: Vec<ValidationAction>,
    /// How it came about.
    pub evaluation: Evaluation,
    /// Which validation.
    pub index: Option<usize>,
    /// Machine-readable reason; `Invalid` where none is given.
    pub reason: String,
    /// In words, as the API server would say it.
    pub message: String,
    /// What the validation saw, if it could be told.
    pub explanation: Option<crate::policy::explain::Explanation>,
}

/// A policy in a binding with a param that spoke of the request: its constraints and match conditions held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Name of the policy.
    pub policy: String,
    /// Name of the binding.
    pub binding: String,
    /// Namespace and name of the param, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

/// What a set says of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outcome {
    /// In order of policies and bindings; all of them are failures.
    pub decisions: Vec<Decision>,
    /// Decisions that were left out because there were too many.
    pub omitted: usize,
    /// For the client.
    pub warnings: Vec<String>,
    /// For the audit log.
    pub annotations: BTreeMap<String, String>,
    /// Cost by policy, in the API server's unit, of those that were evaluated.
    pub costs: Vec<(String, u64)>,
    /// What spoke of the request, whether it objected or not; the first 256.
    pub asked: Vec<Asked>,
}

// === impl Decision ===

impl Decision {
    /// Whether it refuses the request.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.actions.contains(&ValidationAction::Deny)
    }

    /// The words of the API server.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.binding {
            Some(binding) => format!("ValidatingAdmissionPolicy '{}' with binding '{binding}' denied request: {}", self.policy, self.message),
            None => format!("ValidatingAdmissionPolicy '{}' denied request: {}", self.policy, self.message),
        }
    }

    fn kept(&self) -> Self {
        let mut kept = self.clone();
        kept.message = bounded(&self.message, MAX_KEPT);
        for seen in kept.explanation.iter_mut().flat_map(|explanation| &mut explanation.seen) {
            seen.what = bounded(&seen.what, MAX_KEPT_WARNING);
        }
        kept
    }

    /// The HTTP code that belongs to its reason.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self.reason.as_str() {
            "Forbidden" => 403,
            "Unauthorized" => 401,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// The decision that refuses the request, if one does.
    #[must_use]
    pub fn denial(&self) -> Option<&Decision> {
        self.decisions.iter().find(|decision| decision.denies())
    }

    /// Whether the request may go on.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.denial().is_none()
    }

    /// The denial as a refusal of Assent's.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let denial = self.denial()?;
        let reason = match denial.evaluation {
            Evaluation::Deny => format!("guardrail `{}`: {}", denial.policy, denial.message),
            Evaluation::Error | Evaluation::Configuration => format!("guardrail `{}` could not be evaluated: {}", denial.policy, denial.message),
        };
        let would_pass = match (&denial.explanation, denial.evaluation) {
            (Some(explanation), _) => explanation.would_pass(),
            (None, Evaluation::Deny) => "a request for which its validation is true".to_owned(),
            (None, _) => "a request that the guardrail can judge".to_owned(),
        };
        Some(Refusal::new(Rule::Guardrail, bounded(&reason, MAX_REFUSAL), bounded(&would_pass, MAX_REFUSAL)))
    }

    pub(crate) fn push(&mut self, mut decision: Decision) {
        decision.message = bounded(&decision.message, MAX_TEXT);
        let first_denial = decision.denies() && self.allowed();
        if self.decisions.len() < MAX_DECISIONS || first_denial {
            self.decisions.push(decision);
        } else {
            self.omitted += 1;
        }
    }

    /// As much of it as fits into about `most` bytes of JSON, for keeping: what denies comes first, and what is left out is
    /// counted. Audit annotations are not kept, since the API server has them.
    #[must_use]
    pub fn kept(&self, most: usize) -> Self {
        let mut kept = Self {
            omitted: self.omitted,
            warnings: self.warnings.iter().take(MAX_KEPT_ITEMS).map(|text| bounded(text, MAX_KEPT_WARNING)).collect(),
            costs: self.costs.iter().take(MAX_KEPT_ITEMS).cloned().collect(),
            asked: self.asked.iter().take(MAX_KEPT_ITEMS).cloned().collect(),
            ..Self::default()
        };
        let mut left = most.saturating_sub(size(&kept));
        let (denials, others): (Vec<&Decision>, Vec<&Decision>) = self.decisions.iter().partition(|decision| decision.denies());
        for decision in denials.into_iter().chain(others) {
            let decision = decision.kept();
            match left.checked_sub(size(&decision)) {
                Some(rest) => {
                    left = rest;
                    kept.decisions.push(decision);
                }
                None => kept.omitted += 1,
            }
        }
        kept
    }

    pub(crate) fn ask(&mut self, asked: impl FnOnce() -> Asked) {
        if self.asked.len() < MAX_ASKED {
            self.asked.push(asked());
        }
    }

    pub(crate) fn warn(&mut self, text: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(bounded(&text, MAX_TEXT));
        }
    }
}

/// Bytes of JSON.
fn size(part: &impl Serialize) -> usize {
    serde_json::to_string(part).map_or(usize::MAX, |text| text.len())
}

#[cfg(test)]
mod cases {
    use super::*;
    use crate::policy::explain::{Explanation, Seen};

    fn decision(policy: &str, action: ValidationAction, letters: usize) -> Decision {
        Decision {
            policy: policy.into(),
            binding: Some("b".into()),
            param: None,
            actions: vec![action],
            evaluation: Evaluation::Deny,
            index: Some(0),
            reason: "Invalid".into(),
            message: "m".repeat(letters),
            explanation: Some(Explanation { expression: "e".into(), seen: vec![Seen { what: "w".repeat(letters), value: "v".into() }] }),
        }
    }

    #[test]
    fn what_is_kept_is_bounded_tells_denials_first_and_reads_back() {
        let outcome = Outcome {
            decisions: vec![
                decision("warns", ValidationAction::Warn, 9_000),
                decision("first", ValidationAction::Deny, 9_000),
                decision("second", ValidationAction::Deny, 1),
            ],
            omitted: 2,
            costs: vec![("first".into(), 7)],
            asked: vec![Asked { policy: "first".into(), binding: "b".into(), param: None }; 300],
            ..Outcome::default()
        };
        let kept = outcome.kept(6_000);
        assert!(size(&kept) <= 6_200, "{}", size(&kept));
        let names: Vec<&str> = kept.decisions.iter().map(|decision| decision.policy.as_str()).collect();
        assert_eq!((names, kept.omitted), (vec!["first", "second"], 3));
        assert_eq!((kept.denial().map(Decision::denies), kept.asked.len()), (Some(true), MAX_KEPT_ITEMS));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), kept);
    }
}
