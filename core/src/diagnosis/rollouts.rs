//! Which of several parallel rollouts is to be undone, or none. A rollout is guilty when its new pods do worse than the old pods of
//! the same service at the same minutes *and* worse than the service did before, beyond what drifts everywhere; what a callee
//! explains, what a full node explains and what began before the rollout speaks against it. It never asks who was last.

mod contrast;
mod fleet;
mod measure;
mod weigh;

use std::collections::BTreeSet;

pub use super::recording::Seconds;
use crate::ids::Domain;

/// What one pod did on one call edge in one while, as its sidecar tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When the while began.
    pub time: Seconds,
    /// Which pod.
    pub pod: String,
    /// Whose pod.
    pub service: String,
    /// Of which version; empty when nobody says.
    pub version: String,
    /// Who called.
    pub caller: String,
    /// Who was called.
    pub callee: String,
    /// One value for each of [`Rollouts::signals`]; a missing one is no zero.
    pub values: Vec<Option<f64>>,
}

/// One step of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// When it was begun.
    pub start: Seconds,
    /// When its pods were ready.
    pub done: Seconds,
    /// What is rolled out.
    pub service: String,
    /// How many pods of the old version then run.
    pub old: Option<u32>,
    /// How many of the new one.
    pub new: Option<u32>,
    /// What the old version is called; empty when nobody says.
    pub old_version: String,
    /// What the new one is called.
    pub new_version: String,
    /// Pods that came.
    pub came: Vec<String>,
    /// Pods that went.
    pub gone: Vec<String>,
}

/// Everything that is known of rollouts around an alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollouts {
    /// Names of the signals.
    pub signals: Vec<String>,
    /// What pods did, in any order.
    pub samples: Vec<Sample>,
    /// Steps of rollouts, in any order.
    pub steps: Vec<Step>,
    /// Callers and callees; edges of samples are added.
    pub graph: BTreeSet<(String, String)>,
    /// Whose rollout may be blamed; all with a step, if none is named.
    pub candidates: Vec<String>,
    /// When the alert was given.
    pub alert: Seconds,
}

/// A rollout, and how much speaks for undoing it.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// What was rolled out.
    pub service: String,
    /// What kind of fault it brought.
    pub domain: Domain,
    /// The fault in the field's words.
    pub fault: String,
    /// 0: nothing; 1: surely to be undone. From a half on it is worth acting on.
    pub strength: f64,
    /// Figures, a line each.
    pub grounds: Vec<String>,
}

/// Judges every candidate, the most suspicious first. Total: any values, even none, have an answer.
#[must_use]
pub fn judge(rollouts: &Rollouts) -> Vec<Suspicion> {
    let fleet = fleet::Fleet::of(rollouts);
    let findings = contrast::findings(&fleet);
    weigh::weigh(&fleet, &findings)
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod generator;
