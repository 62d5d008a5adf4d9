//! What is needed of a ledger to append to it: the hashes of its largest perfect subtrees. Whoever reads entries one after the
//! other keeps this and nothing else.

use super::{Entry, Head, Subtree, leaf, peaks, tree};
use crate::canonical::Digest;

/// See the module; the default is the empty ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Hashes of `peaks(size)`.
    peaks: Vec<Digest>,
}

// === impl Frontier ===

impl Frontier {
    /// The frontier of `size` entries; nothing when `node` does not know one of their subtrees.
    pub fn at(size: u64, node: impl Fn(Subtree) -> Option<Digest>) -> Option<Self> {
        Some(Self { size, peaks: peaks(size).into_iter().map(node).collect::<Option<_>>()? })
    }

    /// How many entries there are.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.size
    }

    /// The head of all entries.
    #[must_use]
    pub fn head(&self) -> Head {
        Head::over(self.size, &tree::join(&self.peaks).unwrap_or_else(tree::empty))
    }

    /// Adds one entry by its leaf. Returns the hashes of the subtrees that it completes, the leaf first: they follow each other
    /// in the order of [`Subtree::index`].
    pub fn append(&mut self, leaf: Digest) -> Vec<Digest> {
        let mut completed = vec![leaf.clone()];
        let mut whole = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            whole = tree::node(&left, &whole);
            completed.push(whole.clone());
        }
        self.peaks.push(whole);
        self.size = self.size.saturating_add(1);
        completed
    }

    /// Adds `entry`, for whoever reads a ledger piece by piece; the error says why it cannot stand here.
    pub fn follow(&mut self, entry: &Entry) -> Result<Vec<Digest>, String> {
        if entry.sequence != self.size.saturating_add(1) {
            return Err(format!("entry {} stands after entry {}", entry.sequence, self.size));
        }
        Ok(self.append(leaf(entry).map_err(|error| format!("entry {} has no digest: {error}", entry.sequence))?))
    }
}
