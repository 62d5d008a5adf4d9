//! Hashes and shapes of the tree. Leaves, inner nodes and heads are hashed in different domains, so that none can pass for
//! another; a tree of any size is a row of perfect subtrees, which never change once they are complete.

use std::ops::Range;

use crate::canonical::Digest;

const LEAF: u8 = 0;
const NODE: u8 = 1;
const HEAD: u8 = 2;

/// A perfect subtree: 2^`level` entries, the `position`-th of that size from the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    level: u32,
    position: u64,
}

// === impl Subtree ===

impl Subtree {
    /// Its place, from 1, in the order in which appending completes subtrees: whoever keeps their hashes in this order only
    /// ever adds at the end.
    #[must_use]
    pub fn index(self) -> u64 {
        let (first, size) = (self.first(), 1 << self.level);
        subtrees(first.saturating_add(size).saturating_sub(1)).saturating_add(u64::from(self.level)).saturating_add(1)
    }

    /// Entries before it.
    fn first(self) -> u64 {
        self.position << self.level
    }
}

/// How many subtrees `size` entries complete.
#[must_use]
pub fn subtrees(size: u64) -> u64 {
    size.saturating_mul(2).saturating_sub(u64::from(size.count_ones()))
}

/// The largest perfect subtrees of the first `size` entries, from left to right.
#[must_use]
pub fn peaks(size: u64) -> Vec<Subtree> {
    cover(0..size)
}

/// The largest perfect subtrees of a range of entries, counted from 0, that begins at a multiple of a power of two which is not
/// smaller than its length: so does every node of a tree.
pub(super) fn cover(entries: Range<u64>) -> Vec<Subtree> {
    let mut subtrees = Vec::new();
    let mut at = entries.start;
    while let Some(level) = entries.end.saturating_sub(at).checked_ilog2() {
        subtrees.push(Subtree { level, position: at >> level });
        at = at.saturating_add(1 << level);
    }
    subtrees
}

/// The hash of one subtree from the leaves themselves, for whoever keeps only those.
#[must_use]
pub fn of_leaves(leaves: &[Digest], subtree: Subtree) -> Option<Digest> {
    let first = usize::try_from(subtree.first()).ok()?;
    let size = 1usize.checked_shl(subtree.level)?;
    let mut row = leaves.get(first..first.checked_add(size)?)?.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).filter_map(|pair| if let [left, right] = pair { Some(node(left, right)) } else { None }).collect();
    }
    row.pop()
}

/// The root over subtrees from left to right; nothing over none.
pub(super) fn join(hashes: &[Digest]) -> Option<Digest> {
    hashes.iter().rev().cloned().reduce(|right, left| node(&left, &right))
}

pub(super) fn empty() -> Digest {
    Digest::of_bytes(b"")
}

pub(super) fn leaf(text: &str) -> Digest {
    Digest::of_bytes(&[&[LEAF], text.as_bytes()].concat())
}

pub(super) fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of_bytes(&[&[NODE][..], &left.bytes(), &right.bytes()].concat())
}

pub(super) fn head(size: u64, root: &Digest) -> Digest {
    Digest::of_bytes(&[&[HEAD][..], &size.to_be_bytes(), &root.bytes()].concat())
}
