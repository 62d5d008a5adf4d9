//! Judges requests by policies: the `spec` of stock ValidatingAdmissionPolicies and their bindings, with the API server's
//! semantics, as guardrails for Assent's own writes.
//!
//! One function judges at planning, at admission, in CI and wherever else a verdict is wanted, so two places cannot disagree.
//! It does no I/O and has no clock. What cannot be loaded or evaluated denies, unless its failurePolicy says otherwise.
//!
//! `schema` is what an API server says of its kinds, `typing` what that says of a policy's expressions.
//!
//! `policy` is what one policy says of one request; `set` is many of them, compiled once; `lint`, `expand` and `export` are
//! what people ask of policies at their desks; `facts` is what guardrails
//! may know beside the request, `cases` what people expect of them.

pub mod cases;
pub mod cel;
pub mod expand;
pub mod export;
pub mod facts;
pub mod lint;
mod policy;
pub mod schema;
mod set;
pub mod typing;

pub use cel::library::authorizer::{self, Authorizer};
pub use facts::Facts;
pub use policy::audit::FAILURES;
pub use policy::explain::{Explanation, Seen};
pub use policy::language::Language;
pub use policy::outcome::{Asked, Decision, Evaluation, Outcome};
pub use policy::params::{NoParams, ParamScope, ParamTable, Params, WantedParams};
pub use policy::request::{Equivalent, Kind, Namespace, Objects, Request, Resource, User};
pub use policy::spec;
pub use set::{Lacks, Needs, Part, Problem, Said, Set, specs_of};
