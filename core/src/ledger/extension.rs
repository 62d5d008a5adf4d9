//! Proof that one ledger is another with entries added at its end (a consistency proof of RFC 9162, 2.1.4). Its length grows
//! with the logarithm of the ledger; what lies between the two heads does not matter.
//!
//! From the later root, the way down to the point where the earlier ledger ended passes one sibling at each level. Those on
//! its left belong to both ledgers, those on its right were added later. One more digest is where the way ends. RFC 9162
//! leaves that one out where it is the earlier root; a head here is no root, so it always stands first.

use std::ops::Range;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Head, Subtree, tree};
use crate::canonical::Digest;

/// Most digests of a proof: one sibling for each level of a tree of 2^64 entries, and where the way ends.
pub const MAX_PROOF: usize = 65;

/// The digests of one proof, from the end of the way to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Proof(Vec<Digest>);

// === impl Proof ===

impl Proof {
    /// These digests. Whatever is longer than a proof can be is refused while it is read.
    pub fn new(digests: impl IntoIterator<Item = Result<Digest, String>>) -> Result<Self, String> {
        let mut kept = Vec::new();
        for digest in digests {
            if kept.len() == MAX_PROOF {
                return Err(too_long());
            }
            kept.push(digest?);
        }
        Ok(Self(kept))
    }

    /// The digests.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bounded)
    }
}

struct Bounded;

impl<'de> Visitor<'de> for Bounded {
    type Value = Proof;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at most {MAX_PROOF} digests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut digests: A) -> Result<Proof, A::Error> {
        // Whatever length is announced, nothing is allocated for it.
        let mut kept = Vec::new();
        while let Some(digest) = digests.next_element()? {
            if kept.len() == MAX_PROOF {
                return Err(A::Error::custom(too_long()));
            }
            kept.push(digest);
        }
        Ok(Proof(kept))
    }
}

fn too_long() -> String {
    format!("a proof has at most {MAX_PROOF} digests")
}

/// Where a sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from the root of `second` entries down to where `first` of them end: the siblings that it passes, lowest first, and
/// the entries where it ends.
fn way(first: u64, second: u64) -> (Vec<(Side, Range<u64>)>, Range<u64>) {
    let (mut low, mut high) = (0, second);
    let mut siblings = Vec::new();
    // An empty ledger ends before the whole tree, so the way does not begin.
    while 0 < first && first < high {
        // The left child holds the largest power of two entries that leaves something for the right one.
        let middle = high.saturating_sub(low).saturating_sub(1).checked_ilog2().map_or(high, |level| low.saturating_add(1 << level));
        if first <= middle {
            siblings.push((Side::Right, middle..high));
            high = middle;
        } else {
            siblings.push((Side::Left, low..middle));
            low = middle;
        }
    }
    siblings.reverse();
    (siblings, low..high)
}

/// For each digest of the proof from `first` to `second` entries, the subtrees that it is made of.
fn shape(first: u64, second: u64) -> Vec<Vec<Subtree>> {
    if first >= second {
        return Vec::new();
    }
    let (siblings, end) = way(first, second);
    std::iter::once(end).chain(siblings.into_iter().map(|(_, entries)| entries)).map(tree::cover).collect()
}

/// The subtrees that must be known to prove that the ledger of `second` entries extends that of `first`.
#[must_use]
pub fn wanted(first: u64, second: u64) -> Vec<Subtree> {
    shape(first, second).concat()
}

/// The proof that the ledger of `second` entries extends that of `first`; nothing when it cannot, or when `node` does not know
/// a wanted subtree.
pub fn prove(first: u64, second: u64, node: impl Fn(Subtree) -> Option<Digest>) -> Option<Proof> {
    if first > second {
        return None;
    }
    let digest = |subtrees: Vec<Subtree>| tree::join(&subtrees.into_iter().map(&node).collect::<Option<Vec<_>>>()?);
    Some(Proof(shape(first, second).into_iter().map(digest).collect::<Option<_>>()?))
}

/// Whether `proof` leads from `earlier` to `later`.
pub(super) fn holds(earlier: &Head, later: &Head, proof: &Proof) -> bool {
    let (first, second) = (earlier.sequence, later.sequence);
    if first >= second {
        return earlier == later && proof.0.is_empty();
    }
    let Some((end, rest)) = proof.0.split_first() else { return false };
    let (siblings, _) = way(first, second);
    if siblings.len() != rest.len() {
        return false;
    }
    let (mut old, mut new) = (end.clone(), end.clone());
    for ((side, _), sibling) in siblings.iter().zip(rest) {
        match side {
            Side::Left => {
                old = tree::node(sibling, &old);
                new = tree::node(sibling, &new);
            }
            Side::Right => new = tree::node(&new, sibling),
        }
    }
    let same = if first == 0 { *earlier == Head::empty() } else { Head::over(first, &old) == *earlier };
    same && Head::over(second, &new) == *later
}
