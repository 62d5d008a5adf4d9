//! The same policies in an API server and in our engine, and whether both say the same of the same requests.
//!
//! Policies and objects are generated, always the same ones. Each policy is bound to a namespace of its own, so that all of
//! them are active at once and a request still meets one; requests are dry runs. Nothing here knows what is right: only
//! that two answers differ. The authorizer is left out: what a policy may ask it is RBAC's to say, not ours.

mod engine;
mod objects;
mod policies;
mod server;

use std::collections::BTreeMap;

pub use engine::{Engine, Possible};
pub use objects::{Asked, asked};
pub use policies::{Guarded, guarded};
pub use server::Server;

/// What was said of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Code, reason and words of the refusal, if it was refused.
    pub refusal: Option<(u16, String, String)>,
    /// Warnings in order, without repeats.
    pub warnings: Vec<String>,
    /// Audit annotations of policies.
    pub annotations: BTreeMap<String, String>,
}

/// One of a table, by chance that is always the same.
fn pick<T: Copy>(table: &[T], seed: u64) -> T {
    table[usize::try_from(mixed(seed) % table.len() as u64).unwrap()]
}

/// Splitmix: neighbours have nothing in common.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
