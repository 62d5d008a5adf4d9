//! The life of an incident, readable top to bottom: one state, one `step`, effects as values.
//!
//! `Open → Investigating → Decided → (AwaitingApproval →) Remediating → Verifying → Resolved | RolledBack | Escalated`, or
//! `Watching` where nothing may be written. Effects carry idempotency keys: carrying one out again does nothing new, so a
//! crash between any two of them loses nothing and repeats nothing. The director carries them out and feeds what happened
//! back in; the executor works from the `Decision` alone.

mod calls;
mod context;
mod evidence;
pub mod masking;
mod routing;
mod step;

use serde::{Deserialize, Serialize};

use crate::ids::{IncidentUid, UnixMillis};
use crate::target::Service;

pub use calls::Calls;
pub use context::{Alert, AlertSource, Anomaly, Configuration, Context, Revision, Symptom, Workload};
pub use evidence::{Picture, is_new};
pub use routing::{Firing, Known, parent, route};
pub use step::{DELIBERATION_MS, Effect, Event, RemediationResult};

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Recorded; the context is being gathered.
    Open,
    /// The seats were asked.
    Investigating,
    /// The tally is written.
    Decided,
    /// A person must agree before anything is written.
    AwaitingApproval,
    /// The executor carries out the plan.
    Remediating,
    /// The write is done; its effect is watched.
    Verifying,
    /// The symptom is gone and stayed gone.
    Resolved,
    /// It did not help, and what was changed was put back; a person was told.
    RolledBack,
    /// A person must act.
    Escalated,
    /// Nothing is done and nobody is called: the target is only observed, or it was routine and nothing came of it.
    Watching,
}

// === impl Phase ===

impl Phase {
    /// Whether nothing will follow, unless new evidence reopens it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Resolved | Self::RolledBack | Self::Escalated | Self::Watching)
    }

    /// The word as it stands in `status.phase`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Investigating => "Investigating",
            Self::Decided => "Decided",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Remediating => "Remediating",
            Self::Verifying => "Verifying",
            Self::Resolved => "Resolved",
            Self::RolledBack => "RolledBack",
            Self::Escalated => "Escalated",
            Self::Watching => "Watching",
        }
    }
}

/// How far Assent may go for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Diagnose and record only.
    Observe,
    /// Every action asks a person.
    Approve,
    /// Act within the limits.
    Autonomous,
}

/// Everything that must survive a crash of the director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Its name from the first anomaly to the last write.
    pub uid: IncidentUid,
    /// The service that alerted.
    pub service: Service,
    /// When it was opened.
    pub opened_at: UnixMillis,
    /// Where it stands.
    pub phase: Phase,
    /// The current epoch, 1 to 4.
    pub epoch: u32,
    /// Whether the one question for missing evidence was asked.
    pub asked_again: bool,
    /// By when the current phase must have moved on.
    pub deadline: UnixMillis,
    /// The incident context as canonical text, once gathered.
    pub context: Option<String>,
    /// Why it ended as it did.
    pub outcome: Option<String>,
    /// The incident that already acts on the same target, if the seats came to the same remedy for both: one fault seen
    /// from two services. This one waits for the other's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_by: Option<IncidentUid>,
    /// Whether evidence came after the context was gathered that the seats have not been shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub news: bool,
    /// Whether a person was told only because the evidence did not suffice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undecided: bool,
    /// Whether nothing was wrong: it is about load, and where the seats do not agree nobody is called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub routine: bool,
    /// Whether new evidence opened it again after a person was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reopened: bool,
}

#[cfg(test)]
mod cases;
