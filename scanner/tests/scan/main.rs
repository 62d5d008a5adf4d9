//! The scanner's own process, as its own account, against a real API server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod broken;
mod fixture;
mod reports;
