//! The executor's own process against a real API server and the real gate, with a ledger, two seats and a kubelet of the
//! test's. It is killed with SIGKILL, not asked to stop: what it must remember is in the cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod applies;
mod asks;
mod canary;
mod disturbed;
mod evicts;
mod gitops;
mod near;
mod refuses;
mod reverts;
mod survives;
