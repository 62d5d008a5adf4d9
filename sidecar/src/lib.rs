//! The sidecar: every connection of a pod passes through it, over mTLS to those who can, and is observed on the way.
//!
//! ```text
//!   application ──► outbound :4140 ──► directory (who is there?) ──► mTLS + header ──► peer's :4143
//!   peer's sidecar ──► inbound :4143 ──► application's port            others ──► passed on as they are
//!                  relay ──► observe ──► telemetry ──► seats
//! ```
//! Applications fail open: without discovery or certificate their traffic passes in plain, except to a peer known to be
//! meshed. It decides nothing about incidents and reads no payload into what it sends. Connections run on worker threads
//! of their own, everything else on one thread.

mod args;
mod confined;
mod control;
mod directory;
mod dump;
mod failures;
mod hello;
mod inbound;
mod journey;
mod kept;
mod kernel;
mod listen;
mod metrics;
mod newcomers;
mod observe;
mod orig_proto;
mod origin;
mod otlp;
mod outbound;
mod policy;
mod prefixed;
mod proxy;
pub mod redirect;
mod relay;
mod sampled;
mod serve;
mod telemetry;
mod transport;
mod vouched;

pub use args::Args;
pub use serve::run;

#[cfg(test)]
mod end_to_end;
