//! What a set says of a request: decisions, warnings and audit annotations. It is data; whoever asked acts on it.

use std::collections::BTreeMap;

use assent_core::refusal::{Refusal, Rule};

use super::message::{MAX_TEXT, bounded};
use super::spec::ValidationAction;

/// Most decisions that are kept; the first that denies always is.
const MAX_DECISIONS: usize = 256;
/// Most warnings that are kept.
const MAX_WARNINGS: usize = 64;
/// Longest part of a refusal, in bytes.
const MAX_REFUSAL: usize = 2 * 1024;

/// How a decision came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// A validation was not true.
    Deny,
    /// An expression could not be evaluated, and failurePolicy is Fail.
    Error,
    /// The policy or binding could not be judged at all, and failurePolicy is Fail.
    Configuration,
}

/// One failed validation, or what could not be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What a set says of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

    pub(crate) fn warn(&mut self, text: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(bounded(&text, MAX_TEXT));
        }
    }
}
