//! The kinds of fault that are known: by which figures and words each shows, what sort of change makes it, and what helps.
//!
//! Words only choose among these lines. A metric pattern is a list of stems that must all begin a word of the name; a phrase
//! must begin where a word of the template begins.

mod application;
mod compute;
mod database;
mod network;

use super::Remedy;
use super::diff::Effect;
use crate::ids::Domain;

/// Signs that say it, and signs that go with it.
pub(super) type Signs = (&'static [&'static str], &'static [&'static str]);

/// One kind of fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// In the field's words.
    pub(super) name: &'static str,
    /// It comes from outside what a team deploys, unless a change of just this sort was made.
    pub(super) ambient: bool,
    /// Only figures of the suspected service count.
    pub(super) own: bool,
    pub(super) metrics: Signs,
    pub(super) phrases: Signs,
    /// Which effects of a change make it, in percent.
    pub(super) changes: &'static [(Effect, u8)],
    /// What helps when no change made it.
    pub(super) otherwise: Remedy,
}

/// The table, by domain.
const TABLE: [(Domain, &[Class]); 4] = [
    (Domain::Database, database::CLASSES),
    (Domain::Network, network::CLASSES),
    (Domain::Compute, compute::CLASSES),
    (Domain::Application, application::CLASSES),
];

/// Every class with its domain.
pub(super) fn all() -> impl Iterator<Item = (Domain, &'static Class)> {
    TABLE.iter().flat_map(|(domain, classes)| classes.iter().map(|class| (*domain, class)))
}
