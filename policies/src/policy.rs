//! ValidatingAdmissionPolicy semantics, as `k8s.io/apiserver` 0.34 has them: what a policy and a binding say about one
//! request. It knows nothing of files, clusters or clocks; a [`crate::Set`] asks it for every policy that could apply.
//!
//! | file | what it does |
//! |---|---|
//! | `spec.rs` | policies and bindings as they are written, and what an API server would refuse to store |
//! | `selector.rs` | label selectors |
//! | `request.rs` | what a policy may look at |
//! | `matching.rs` | whether constraints speak of a request |
//! | `params.rs` | the objects that parameterise a policy |
//! | `language.rs` | the one place that calls the expression language |
//! | `compile.rs` | a policy with its expressions compiled |
//! | `evaluate.rs` | one policy, one param, one request: conditions, variables, validations, messages, audit annotations |
//! | `message.rs`, `audit.rs` | the texts that come out |
//! | `explain.rs` | what a failed validation saw |
//! | `outcome.rs` | decisions, warnings, annotations |

pub(crate) mod audit;
pub(crate) mod compile;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod language;
pub(crate) mod matching;
pub(crate) mod message;
pub(crate) mod outcome;
pub(crate) mod params;
pub(crate) mod request;
pub(crate) mod selector;
pub mod spec;
