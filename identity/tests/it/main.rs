//! The certificate authority and discovery against a real API server, with exactly the grants that
//! they need and no more: token reviews, bound tokens, pods and endpoint slices are the real ones.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod authority;
mod discovery;
mod fixture;
mod memory;
mod rotation;
