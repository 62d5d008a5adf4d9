//! The manifests and the plugin against a real API server. Each test starts one of its own, without nodes: nothing runs, but
//! everything is admitted, authorised, defaulted and audited as in any cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod blueprint;
mod explains;
mod install;
mod native;
mod policy;
mod replay;
mod rights;
mod world;
