//! Contracts between the processes of Assent: custom resources, protobuf, and the conversions from wire to domain.
//!
//! Binaries never depend on each other; they meet here. Nothing in this crate opens a socket or decides anything: it says
//! what the words on the wire are and refuses those that are not.
#![deny(missing_docs)]

pub mod copies;
pub mod facts;
pub mod gate;
pub mod mesh;
pub mod names;
pub mod resources;
pub mod signed;
pub mod slack;

mod cast;

pub use cast::{cast, parse_plan, told_plan};

/// Messages and services of `assent.v1`, generated from `api/proto`.
#[expect(missing_docs, clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod proto {
    tonic::include_proto!("assent.v1");
}
