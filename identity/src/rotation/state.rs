//! The states of a rotation and the steps between them, as values: one root; two, of which the first issues; two, of which the
//! second does; one again. Each step waits for what makes it harmless, or says what it waits for.

use std::time::Duration;

use assent_runtime::workload::rotation::Outcome;
use assent_runtime::workload::{MAX_COMPROMISED, compromised_line};
use serde::{Deserialize, Serialize};

use crate::ca::Material;

/// Longest life that leafs can be configured to have; assumed of those signed before anything was on record.
const LONGEST_LIFE: u64 = 604_800;
/// A leaf lives ten seconds longer than it is said to, and may be signed for a request that was being answered meanwhile.
const MARGIN: u64 = 30;

/// Everything that must outlive the process. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whose leafs are signed.
    pub issuing: Party,
    /// Trusted beside it.
    pub other: Option<Party>,
    /// Since when every namespace's bundle has had both roots.
    pub both_since: Option<u64>,
    /// How long leafs live that the issuing party signs.
    pub life: Option<u64>,
    /// What became of the last command.
    pub outcome: Option<Outcome>,
    /// Fingerprints of the last roots that were dropped as compromised, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compromised: Vec<String>,
}

/// A root with its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// Root, issuer and key.
    pub material: Material,
    /// No leaf lives longer that was signed before it issued as it does now; zero if it never did.
    pub used_until: u64,
}

/// Why a step is not taken. The text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `begin` during a rotation.
    #[error("a rotation is under way: two roots are trusted already")]
    UnderWay,
    /// `issue` or `drop` outside of one.
    #[error("no rotation is under way: only one root is trusted")]
    NotUnderWay,
    /// `issue` while somebody may not trust the new root.
    #[error("the bundle with both roots is not yet in every namespace; the identity service's log says where it cannot be written")]
    NotPublished,
    /// `issue` before everybody has read the bundle.
    #[error("the bundle with both roots must be out for {propagation} s before the other root issues; {left} s are left")]
    TooSoon {
        /// How long it must be out.
        propagation: u64,
        /// How much of it is left.
        left: u64,
    },
    /// `drop` of something else than the root that does not issue.
    #[error("this is not the root that is trusted and does not issue")]
    AnotherRoot,
    /// `drop` while certificates under it may be valid.
    #[error("certificates under this root may be valid for {left} s more; workloads that have one would be cut off")]
    InUse {
        /// For how long.
        left: u64,
    },
    /// `drop` of the new root as compromised.
    #[error("this root has never issued: let it issue first, then drop the compromised one")]
    NeverUsed,
}

// === impl State ===

impl State {
    /// One party, of which nothing else is on record.
    pub fn stable(material: Material) -> Self {
        Self { issuing: Party { material, used_until: 0 }, other: None, both_since: None, life: None, outcome: None, compromised: Vec::new() }
    }

    /// One party that was made just now and has signed nothing.
    pub fn new(material: Material) -> Self {
        Self { life: Some(0), ..Self::stable(material) }
    }

    /// The roots in PEM. That of the issuing party comes first, which tells workloads where certificates come from now; before it
    /// are the names of those whose peers' connections are to end.
    pub fn bundle(&self) -> String {
        let compromised: String = self.compromised.iter().map(|root| compromised_line(root)).collect();
        let other = self.other.as_ref().map_or("", |other| &other.material.bundle);
        format!("{compromised}{}{other}", self.issuing.material.bundle)
    }

    /// A process signs leafs that live for `life` from `now` on.
    #[must_use]
    pub fn started(mut self, now: u64, life: Duration) -> Self {
        if self.life != Some(life.as_secs()) {
            // Those of the process before it may live longer.
            self.issuing.used_until = self.used_until(now, self.life.unwrap_or(LONGEST_LIFE));
            self.life = Some(life.as_secs());
        }
        self
    }

    /// Every namespace has the bundle.
    #[must_use]
    pub fn published(mut self, now: u64) -> Self {
        if self.other.is_some() {
            self.both_since = self.both_since.or(Some(now));
        }
        self
    }

    /// Trusts also the root of `material`, which does not issue yet.
    ///
    /// # Errors
    /// [`Refusal::UnderWay`].
    pub fn begin(mut self, material: Material) -> Result<Self, Refusal> {
        if self.other.is_some() {
            return Err(Refusal::UnderWay);
        }
        self.other = Some(Party { material, used_until: 0 });
        self.both_since = None;
        Ok(self)
    }

    /// Lets the other party issue, once its root has been trusted everywhere for `propagation`. The first one's is trusted on, so
    /// this can be taken back by doing it again.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn issue(mut self, now: u64, propagation: Duration) -> Result<Self, Refusal> {
        let mut next = self.other.take().ok_or(Refusal::NotUnderWay)?;
        let propagation = propagation.as_secs();
        let ready = self.both_since.ok_or(Refusal::NotPublished)? + propagation;
        if now < ready {
            return Err(Refusal::TooSoon { propagation, left: ready - now });
        }
        self.issuing.used_until = self.used_until(now, self.life.unwrap_or(LONGEST_LIFE));
        std::mem::swap(&mut self.issuing, &mut next);
        self.other = Some(next);
        Ok(self)
    }

    /// Trusts the root no more that does not issue, if `is_meant` for it. `compromised` is its fingerprint if its key is in wrong
    /// hands: then connections made under it end.
    ///
    /// # Errors
    /// See [`Refusal`]; that certificates under it may be valid does not count if it is `compromised`.
    pub fn drop_other(mut self, now: u64, is_meant: impl FnOnce(&Material) -> bool, compromised: Option<&str>) -> Result<Self, Refusal> {
        let other = self.other.take().ok_or(Refusal::NotUnderWay)?;
        if !is_meant(&other.material) {
            return Err(Refusal::AnotherRoot);
        }
        if compromised.is_some() && other.used_until == 0 {
            return Err(Refusal::NeverUsed);
        }
        if compromised.is_none() && now < other.used_until {
            return Err(Refusal::InUse { left: other.used_until - now });
        }
        if let Some(root) = compromised {
            self.compromised.insert(0, root.to_ascii_lowercase());
            self.compromised.truncate(MAX_COMPROMISED);
        }
        self.both_since = None;
        Ok(self)
    }

    /// The last moment of every leaf that the issuing party has signed by `now`, the newest of which live for `life`.
    fn used_until(&self, now: u64, life: u64) -> u64 {
        self.issuing.used_until.max(now + life + MARGIN)
    }
}

#[cfg(test)]
mod tests;
