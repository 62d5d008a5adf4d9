//! One concrete plan: immutable, complete, named by what it is, with its undoing inside. The executor chooses nothing after
//! it is written; the gate re-proves it at every write.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::Inverse;
use crate::ballot::Proposal;
use crate::blueprint::Effective;
use crate::canary::{self, Canary};
use crate::canonical::{self, Digest};
use crate::ids::{IncidentUid, UnixMillis};
use crate::ledger::{Head, Position, Proof};

/// Longest time from a plan's creation to its write.
pub const MAX_EXPIRY_MS: u32 = 5 * 60 * 1000;
/// Longest time from a plan's creation to the end of its revert.
pub const MAX_REVERT_MS: u32 = 30 * 60 * 1000;
/// A plan and its ballots are kept for this long after the revert's deadline.
pub const KEEP_MS: i64 = 24 * 60 * 60 * 1000;

/// A plan, in the shape whose canonical text is the payload of a `Remediation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// The incident.
    pub incident: IncidentUid,
    /// The epoch whose ballots carry it.
    pub epoch: u32,
    /// What is done to what.
    pub proposal: Proposal,
    /// How it is undone.
    pub inverse: Inverse,
    /// How it begins with one pod, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Digests of the ballots that were counted, sorted. For the record: the gate lists ballots itself.
    pub ballots: Vec<Digest>,
    /// Digest of the roster.
    pub roster: Digest,
    /// Digest of the set of guardrails.
    pub guardrails: Digest,
    /// The Blueprint that allows it.
    pub blueprint: BlueprintPin,
    /// The ledger when the intent was recorded.
    pub ledger: LedgerPin,
    /// How long the service must stay well before it counts as verified.
    pub soak_ms: u32,
    /// Life of the right to apply, from the server-set creation time.
    pub expires_after_ms: u32,
    /// Life of the right to revert, from the server-set creation time.
    pub revert_within_ms: u32,
}

/// A Blueprint, pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueprintPin {
    /// Its name, in the target's namespace.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// Where the ledger stood, with the proof that it extends the one of the newest plan before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerPin {
    /// How often people had begun the ledger anew.
    pub era: u32,
    /// The head after the intent to apply was recorded.
    pub head: Head,
    /// From the head that it must extend to this one.
    pub proof: Proof,
}

/// A Blueprint as the gate reads it live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlueprintFacts {
    /// Its name, UID and generation.
    pub pin: BlueprintPin,
    /// What it says, below what stands above it.
    pub effective: Effective,
    /// When its specification last changed.
    pub changed_at: UnixMillis,
}

// === impl LedgerPin ===

impl LedgerPin {
    /// Where the ledger stood, without the proof.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { era: self.era, head: self.head.clone() }
    }
}

// === impl Plan ===

impl Plan {
    /// The one name that this action on this target in this epoch can have. A second use would need the same name.
    pub fn name(&self) -> Result<String, canonical::Error> {
        name(&self.cluster, &self.incident, self.epoch, &self.proposal)
    }

    /// The object after the revert, from the object as it is. `None` when there is nothing to write.
    ///
    /// # Errors
    /// If the object cannot be put back.
    pub fn restored(&self, old: &Value) -> Result<Option<Value>, String> {
        let restored = self.inverse.expected(old)?;
        match (&self.canary, restored) {
            (Some(canary), Some(restored)) => canary.release(&restored).map(Some),
            (_, restored) => Ok(restored),
        }
    }

    /// The paths (JSON pointers) of what it writes below which anything may change, and others may lose what they own.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        canary::roots(&self.proposal, self.canary.as_ref())
    }

    /// How long after its creation it may write anything but the revert.
    #[must_use]
    pub fn writes_within_ms(&self) -> i64 {
        i64::from(self.expires_after_ms) + self.canary.as_ref().map_or(0, |canary| i64::from(canary.within_ms()))
    }
}

/// See [`Plan::name`].
pub fn name(cluster: &str, incident: &IncidentUid, epoch: u32, proposal: &Proposal) -> Result<String, canonical::Error> {
    let digest = Digest::of(&(cluster, incident, epoch, &proposal.action, &proposal.target.uid))?;
    Ok(format!("rem-{}", digest.as_str().get(..40).unwrap_or_default()))
}
