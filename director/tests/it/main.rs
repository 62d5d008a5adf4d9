//! The director against a real API server, under the rights that it is installed with, with seats that are real gRPC servers
//! and sign real ballots. No gate and no executor run here: the tests play the executor, and what the gate refuses is its
//! own crate's matter.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod approval;
mod bench;
mod keeps;
mod proposes;
mod replicas;
mod story;
mod survive;
