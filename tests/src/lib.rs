//! What the end-to-end, attack and fault suites stand on: a world with a real API server, the shipped manifests, the gate in
//! this process, and seats whose keys the test holds. Nothing here is a fake of the part under test.
#![expect(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "a test stops at the first surprise")]

pub mod images;
pub mod install;
pub mod mutator;
pub mod privileges;
pub mod seats;
pub mod shop;
pub mod story;
pub mod world;
