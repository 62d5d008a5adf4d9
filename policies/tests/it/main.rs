//! Suites over the guardrail library, in one binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod assembled;
mod folder;
mod library;
mod types;
mod verdicts;
