//! The hash chain of the record: every entry's digest is folded over the head before it, so any edit, loss or reorder is
//! found. This module is the arithmetic; the director keeps the entries.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{self, Digest};
use crate::ids::{IncidentUid, UnixMillis};

/// Most links that a plan may carry between two heads.
pub const MAX_LINKS: usize = 4096;

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

/// Position and hash of the newest entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// Sequence of the newest entry; 0 when there is none.
    pub sequence: u64,
    /// The fold over all entries.
    pub hash: Digest,
}

// === impl Head ===

impl Head {
    /// The head of an empty ledger.
    #[must_use]
    pub fn empty() -> Self {
        Self { sequence: 0, hash: Digest::of_bytes(b"assent.dev/ledger/v1") }
    }

    /// The head after one more entry with digest `link`.
    #[must_use]
    pub fn then(&self, link: &Digest) -> Self {
        let mut bytes = self.hash.as_str().as_bytes().to_vec();
        bytes.extend_from_slice(link.as_str().as_bytes());
        Self { sequence: self.sequence.saturating_add(1), hash: Digest::of_bytes(&bytes) }
    }

    /// Whether `later` is this ledger with exactly `links` appended.
    #[must_use]
    pub fn extends_to(&self, later: &Self, links: &[Digest]) -> bool {
        links.len() <= MAX_LINKS && links.iter().fold(self.clone(), |head, link| head.then(link)) == *later
    }
}

/// Digest of an entry: its link in the chain.
pub fn link(entry: &Entry) -> Result<Digest, canonical::Error> {
    Digest::of(entry)
}

/// Folds a whole ledger; the error names the first entry that is out of place.
pub fn verify(entries: &[Entry]) -> Result<Head, String> {
    entries.iter().try_fold(Head::empty(), |head, entry| follow(&head, entry))
}

/// The head after `entry`, for whoever reads a ledger piece by piece; the error says why it cannot stand here.
pub fn follow(head: &Head, entry: &Entry) -> Result<Head, String> {
    if entry.sequence != head.sequence.saturating_add(1) {
        return Err(format!("entry {} stands after entry {}", entry.sequence, head.sequence));
    }
    Ok(head.then(&link(entry).map_err(|error| format!("entry {} has no digest: {error}", entry.sequence))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn entries(n: u64) -> Vec<Entry> {
        (1..=n)
            .map(|sequence| Entry {
                sequence,
                at: UnixMillis(1000 + i64::try_from(sequence).unwrap()),
                incident: IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap(),
                author: "director".into(),
                kind: "test".into(),
                body: json!({"n": sequence}),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_edit_loss_or_reorder_is_found(n in 2u64..20, at in 0usize..19, edit in 0u8..3) {
            let whole = entries(n);
            let at = at % whole.len();
            let head = verify(&whole).unwrap();
            let mut changed = whole.clone();
            match edit {
                0 => changed[at].body = json!({"n": "other"}),
                1 => { changed.remove(at); }
                _ => { let other = (at + 1) % whole.len(); changed.swap(at, other); }
            }
            prop_assert!(verify(&changed).ok() != Some(head));
        }

        #[test]
        fn a_later_head_extends_an_earlier_one_only_by_the_true_links(n in 1u64..20, from in 0u64..20) {
            let whole = entries(n);
            let from = usize::try_from(from.min(n)).unwrap();
            let earlier = verify(&whole[..from]).unwrap();
            let later = verify(&whole).unwrap();
            let links: Vec<_> = whole[from..].iter().map(|e| link(e).unwrap()).collect();
            prop_assert!(earlier.extends_to(&later, &links));
            if !links.is_empty() {
                prop_assert!(!earlier.extends_to(&later, &links[1..]));
            }
        }
    }
}
