//! Judges requests by guardrails: the `spec` of stock ValidatingAdmissionPolicies, for Assent's own writes.
//!
//! One function judges at planning, at admission and wherever else a verdict is wanted, so two places cannot disagree. It
//! does no I/O. In this form the `cel` crate evaluates; what it cannot do (params, the authorizer, the Kubernetes libraries,
//! a cost limit) is refused when the set is loaded, and a guardrail that cannot be loaded or evaluated denies.

mod evaluate;
mod set;
mod spec;

pub use evaluate::Request;
pub use set::{LoadError, Set};
pub use spec::{MatchCondition, MatchResources, Policy, ResourceRule, Validation, Variable};
