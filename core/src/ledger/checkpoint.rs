//! The way on after a lost ledger: people name the head of the ledger that goes on, and the one that it supersedes.
//!
//! A checkpoint holds for exactly one situation: while the newest admitted plan is of the era before it and names exactly the
//! superseded head. The first plan under it begins its era, and eras never go back; so a checkpoint that was used, or that
//! was made for another moment, hides nothing that came later, wherever it is still written down.

use serde::{Deserialize, Serialize};

use super::Head;

/// Where the record stands, as a plan names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Position {
    /// How often people began a ledger anew.
    pub era: u32,
    /// Its head.
    pub head: Head,
}

/// A head that people vouch for, in place of one that no ledger extends any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// What the next plan extends, in the era that it begins.
    pub begins: Position,
    /// The head of the newest plan when it was made.
    pub supersedes: Head,
}

// === impl Position ===

impl Position {
    /// Where the record stands before the first plan.
    #[must_use]
    pub fn start() -> Self {
        Self { era: 0, head: Head::empty() }
    }

    /// What newer and older mean: an era counts for more than any length.
    #[must_use]
    pub fn order(&self) -> (u32, u64) {
        (self.era, self.head.sequence)
    }

    /// What the next plan must extend, when this is the newest plan's.
    #[must_use]
    pub fn next(&self, checkpoint: Option<&Checkpoint>) -> Self {
        checkpoint.filter(|checkpoint| checkpoint.follows(self)).map_or_else(|| self.clone(), |checkpoint| checkpoint.begins.clone())
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// The checkpoint that lets `head` go on where `newest` is the newest plan's; nothing after the last era there can be.
    #[must_use]
    pub fn new(newest: &Position, head: Head) -> Option<Self> {
        Some(Self { begins: Position { era: newest.era.checked_add(1)?, head }, supersedes: newest.head.clone() })
    }

    /// Whether it was made for the situation in which `newest` is the newest plan's.
    #[must_use]
    pub fn follows(&self, newest: &Position) -> bool {
        newest.era.checked_add(1) == Some(self.begins.era) && newest.head == self.supersedes
    }
}
