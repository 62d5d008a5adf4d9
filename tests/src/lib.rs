//! What the end-to-end, attack and fault suites stand on: a world with a real API server, the shipped manifests, the gate in
//! this process, and seats whose keys the test holds. Nothing here is a fake of the part under test.
#![expect(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "a test stops at the first surprise")]

pub mod addresses;
pub mod alertmanager;
pub mod alike;
pub mod bench;
pub mod entry;
mod hook;
pub mod images;
pub mod install;
pub mod kubelet;
pub mod mutator;
pub mod onlooker;
pub mod people;
pub mod place;
pub mod pods;
pub mod postgres;
pub mod privileges;
pub mod processes;
pub mod prometheus;
pub mod pruned;
pub mod replica;
pub mod scene;
pub mod scripted;
pub mod seats;
pub mod shop;
pub mod slack;
pub mod stage;
pub mod story;
pub mod world;

/// Whether this process may start a node, which needs root. CI always may.
#[must_use]
pub fn nodes_can_run() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI runs the node tests, and they need root");
        eprintln!("SKIPPED: the node tests need root");
    }
    root
}

/// The secret in the intake's paths, wherever a test starts a director.
pub const INTAKE_SECRET: &str = "a-secret-of-sixteen-bytes-or-more";
