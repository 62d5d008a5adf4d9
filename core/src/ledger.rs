//! The record as a Merkle tree over its entries, as in Certificate Transparency (RFC 9162): any edit, loss or reorder gives
//! another head, and that a head extends an earlier one is proven by a few digests, however many entries lie between. This
//! module is the arithmetic; the director keeps the entries.
//!
//! A root alone does not say how many entries stand under it: from one entry, the proofs to three and to four have the same
//! shape. RFC 9162 signs size and root together; here the head's hash covers both.

mod checkpoint;
mod extension;
mod frontier;
mod tree;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{self, Digest};
use crate::ids::{IncidentUid, UnixMillis};

pub use checkpoint::{Checkpoint, Position};
pub use extension::{MAX_PROOF, Proof, prove, wanted};
pub use frontier::Frontier;
pub use tree::{Subtree, of_leaves, peaks, subtrees};

/// One entry, in the shape that is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// 1, 2, 3 …
    pub sequence: u64,
    /// When it was appended, by the director's clock.
    pub at: UnixMillis,
    /// The incident it belongs to.
    pub incident: IncidentUid,
    /// Who caused it, as a workload identity.
    pub author: String,
    /// What happened, for example `incident-opened`, `apply-intended`.
    pub kind: String,
    /// Its content; integers only.
    pub body: Value,
}

/// How long the record is, and the hash of all of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// Sequence of the newest entry; 0 when there is none.
    pub sequence: u64,
    /// Covers the sequence and the root of the tree over all entries.
    pub hash: Digest,
}

// === impl Head ===

impl Head {
    /// The head of an empty ledger.
    #[must_use]
    pub fn empty() -> Self {
        Self::over(0, &tree::empty())
    }

    /// The head of `sequence` entries whose tree has this root.
    fn over(sequence: u64, root: &Digest) -> Self {
        Self { sequence, hash: tree::head(sequence, root) }
    }

    /// The head of the first `sequence` entries; nothing when `node` does not know a subtree of them.
    pub fn at(sequence: u64, node: impl Fn(Subtree) -> Option<Digest>) -> Option<Self> {
        let hashes = peaks(sequence).into_iter().map(node).collect::<Option<Vec<_>>>()?;
        Some(Self::over(sequence, &tree::join(&hashes).unwrap_or_else(tree::empty)))
    }

    /// Whether `later` is this ledger with nothing but entries added at its end.
    #[must_use]
    pub fn extends_to(&self, later: &Self, proof: &Proof) -> bool {
        extension::holds(self, later, proof)
    }
}

/// Digest of an entry: its leaf in the tree.
pub fn leaf(entry: &Entry) -> Result<Digest, canonical::Error> {
    Ok(tree::leaf(&canonical::text(entry)?))
}

/// The head of a whole ledger; the error names the first entry that is out of place.
pub fn verify(entries: &[Entry]) -> Result<Head, String> {
    let mut frontier = Frontier::default();
    for entry in entries {
        frontier.follow(entry)?;
    }
    Ok(frontier.head())
}

#[cfg(test)]
mod tests;
