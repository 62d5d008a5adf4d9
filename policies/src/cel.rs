//! CEL as the Kubernetes API server runs it: parsed, checked, metered to the server's unit. It knows no Kubernetes object.
//!
//! | step | file |
//! |---|---|
//! | source to tree, macros expanded | `lexer.rs`, `literal.rs`, `parse.rs`, `macros.rs`, `expr.rs` |
//! | names, overloads, types | `check.rs`, `unify.rs`, `types.rs`, `environment.rs` |
//! | tree to plan, plan to value | `plan.rs`, `evaluate.rs`, `value.rs` |
//! | functions, their signatures and costs | `library.rs`, `library/*.rs`, `pattern.rs` |
//! | cost and estimated cost | `cost.rs`, `estimate.rs` |

mod check;
pub mod cost;
mod environment;
pub mod error;
pub mod estimate;
pub mod evaluate;
mod expr;
mod issue;
pub(crate) mod lexer;
pub mod library;
mod literal;
mod macros;
mod parse;
mod pattern;
mod plan;
mod program;
mod stack;
pub mod types;
mod unify;
mod unserved;
pub mod value;

pub use cost::Meter;
pub use environment::{Environment, Lookup, ObjectTypes, Version};
pub use error::EvalError;
pub use evaluate::{Bindings, Field};
pub use issue::Issue;
pub use program::Program;
pub use types::Type;
pub use value::Value;
