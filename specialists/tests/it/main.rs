//! The seats as processes against a real API server: their own accounts and rights, proven streams, signed ballots. Pods
//! run on no node; their states are written by the test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod change;
mod compute;
mod network;
mod sources;
mod world;
