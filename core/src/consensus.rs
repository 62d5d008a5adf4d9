//! From signed ballots to one outcome, the same for everybody who counts.
//!
//! The only inputs are the ballots and the roster, so the gate runs the same tally again at each write. Arithmetic is in
//! integers; order, copies and late arrival of ballots change nothing; two *different* ballots of one seat in the same epoch
//! and round void that seat. At least two seats, on evidence of two principals of which one is no sidecar, must support both
//! the cause and the remedy, and no seat may veto: so one lying seat can block an action and can never cause one.

pub mod calibration;
mod disagreement;
mod log_odds;
mod tally;

use serde::{Deserialize, Serialize};

use crate::action::Risk;
use crate::ballot::{Edge, Principal, Proposal};
use crate::canonical::{self, Digest};
use crate::ids::{Domain, Millionths};
use crate::ledger::Checkpoint;
use crate::refusal::Rule;
use crate::target::Service;

pub use disagreement::Question;
pub use tally::tally;

/// Epochs in which the seats are asked what they find.
pub const ASKING_EPOCHS: u32 = 3;
/// Most epochs of one incident: one more is the fresh vote on what people agreed to after the ballots had expired.
pub const MAX_EPOCHS: u32 = ASKING_EPOCHS + 1;

/// Who may vote, and how votes are counted. Only people change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roster {
    /// The seats; the quorum counts over all of them, present or not.
    pub seats: Vec<Seat>,
    /// Seats that must vote with live data, in each round.
    pub quorum: u32,
    /// Seats that must support both cause and remedy.
    pub supporters: u32,
    /// Thresholds and weights.
    pub tally: TallyConfiguration,
    /// PEM of the trust roots that seat certificates must chain to.
    pub trust_roots: String,
    /// Digest of the gate's webhook configuration, without its `caBundle`.
    pub gate: Digest,
    /// A ledger head that people vouch for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Checkpoint>,
}

/// One seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seat {
    /// For example `network`.
    pub name: String,
    /// What it judges.
    pub domain: Domain,
    /// Its service account in `assent-system`.
    pub account: String,
    /// Whose figures it may judge by. Evidence that it says comes from anybody else does not count towards the principals.
    pub principals: Vec<Principal>,
}

/// How ballots become a probability, and how sure is sure enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TallyConfiguration {
    /// Probability of any one named cause before anybody spoke.
    pub prior: Millionths,
    /// Posterior needed for an action of low, medium and high risk.
    pub threshold_low: Millionths,
    /// See `threshold_low`.
    pub threshold_medium: Millionths,
    /// See `threshold_low`.
    pub threshold_high: Millionths,
    /// Distance in log-odds (micro-nats) to the runner-up.
    pub margin: u32,
    /// Learned weights; a seat without one counts 1. Capped at three.
    pub weights: Vec<Weight>,
}

/// How much a seat's word counts in a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weight {
    /// The seat.
    pub seat: String,
    /// The domain of the hypothesis.
    pub domain: Domain,
    /// Millionths, at most 3,000,000.
    pub weight: u32,
}

// === impl Outcome ===

impl Outcome {
    /// The service of the first cause, if a seat supports it, nothing explains it away and it is at least as likely as not.
    #[must_use]
    pub fn cause(&self) -> Option<&Service> {
        let held = |cause: &&RankedCause| !cause.supporters.is_empty() && cause.explained_by.is_none() && cause.probability >= tally::SUPPORT;
        self.causes.first().filter(held).map(|cause| &cause.service)
    }

    /// The service that is to be acted on.
    #[must_use]
    pub fn target(&self) -> Option<Service> {
        match &self.verdict {
            Verdict::Act { proposal, .. } => Some(proposal.target.service()),
            Verdict::Hold { .. } => None,
        }
    }
}

// === impl Roster ===

impl Roster {
    /// What ballots and plans name it by.
    pub fn digest(&self) -> Result<Digest, canonical::Error> {
        Digest::of(self)
    }

    /// The seat of this name.
    #[must_use]
    pub fn seat(&self, name: &str) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.name == name)
    }
}

/// Whose figures the shipped seat of a domain judges by.
#[must_use]
pub fn shipped_principals(domain: Domain) -> Vec<Principal> {
    match domain {
        Domain::Network | Domain::Database => vec![Principal::Sidecar],
        Domain::Compute => vec![Principal::Kubelet, Principal::ApiServer],
        Domain::Application => vec![Principal::ApiServer],
    }
}

impl TallyConfiguration {
    /// The shipped thresholds. They are set by argument, not yet by calibration on data.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            prior: Millionths::new(200_000),
            threshold_low: Millionths::new(700_000),
            threshold_medium: Millionths::new(750_000),
            threshold_high: Millionths::new(950_000),
            margin: 700_000,
            weights: Vec::new(),
        }
    }

    fn threshold(&self, risk: Risk) -> Millionths {
        match risk {
            Risk::Low => self.threshold_low,
            Risk::Medium => self.threshold_medium,
            Risk::High => self.threshold_high,
        }
    }
}

/// What the tally says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Causes, most probable first.
    pub causes: Vec<RankedCause>,
    /// What to do, or why nothing.
    pub verdict: Verdict,
    /// Seats whose ballots counted in the first and second round, sorted.
    pub voted: Voted,
    /// Seats that cast two different ballots, sorted.
    pub void: Vec<String>,
    /// Who disagreed with the first cause or objected to the remedy, and why.
    pub dissent: Vec<Dissent>,
    /// How much the seats contradict each other: the product of their probabilities for causes at unconnected places.
    #[serde(default)]
    pub conflict: Millionths,
    /// What would change the answer most, where evidence is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
}

// === impl Outcome ===

impl Outcome {
    /// A verdict, and nothing that led to it.
    #[must_use]
    pub fn of(verdict: Verdict) -> Self {
        Self { causes: Vec::new(), verdict, voted: Voted::default(), void: Vec::new(), dissent: Vec::new(), conflict: Millionths::default(), question: None }
    }
}

/// Which seats took part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voted {
    /// In the first round, with data.
    pub cause: Vec<String>,
    /// In the second round, with data.
    pub remedy: Vec<String>,
}

/// A cause with its pooled probability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RankedCause {
    /// Where.
    pub service: Service,
    /// Of which kind.
    pub domain: Domain,
    /// Fault classes named for it, sorted.
    pub faults: Vec<String>,
    /// Pooled log-odds in micro-nats.
    pub log_odds: i64,
    /// The same as a probability.
    pub probability: Millionths,
    /// Seats that hold it for at least as likely as not, sorted.
    pub supporters: Vec<String>,
    /// The caller edge by which it was explained away, if it was.
    pub explained_by: Option<Edge>,
}

/// The tally's last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Do this.
    Act {
        /// The remedy.
        proposal: Box<Proposal>,
        /// Seats that support both the cause and the remedy, sorted.
        supporters: Vec<String>,
    },
    /// Do nothing.
    Hold {
        /// The rule that was not met.
        rule: Rule,
        /// In words.
        reason: String,
    },
}

/// A voice against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dissent {
    /// Who.
    pub seat: String,
    /// What it says.
    pub reason: String,
}
