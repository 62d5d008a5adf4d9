//! What a request is judged by, read from the API server each time anew: roster, ballots, plans, Blueprint, guardrails and
//! what those ask for. The gate and the executor both read through here, so that what is seen before a write and at the write
//! is the same.
//!
//! It writes nothing but access reviews, and nothing that a verdict rests on comes from a cache, but for the cluster's
//! identity, which never changes, and compiled guardrails, which are kept by the digest of their source. Every failure to
//! read is a refusal, or where a guardrail asked for it, that guardrail's failure.

mod approvals;
mod authority;
mod authorizer;
mod change;
mod facts;
mod guardrails;
mod judging;
mod params;
mod reader;

pub use approvals::asked;
pub use authority::Authority;
pub use change::{Change, change, object_of, scale_of};
pub use guardrails::Rules;
pub use judging::{Said, Subject};
pub use reader::{Dated, Live, created_at, own_clock, plain_names, unavailable};
