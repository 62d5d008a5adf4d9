//! Why something is refused: the rule, what was seen, and what would have passed. A refusal is data, not an error: it is
//! shown to people, written to the record and counted.

use serde::{Deserialize, Serialize};

/// The rule that refused. The code is stable: documentation, metrics and tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// There is no roster, or it cannot be read.
    NoRoster,
    /// The write does not name exactly one incident.
    IncidentExtra,
    /// The account may not do this at all.
    Account,
    /// No plan was admitted for this write.
    NoPlan,
    /// The plan's name is not the digest of what it holds.
    PlanName,
    /// Typed fields and signed payload differ, or the payload is not canonical.
    Payload,
    /// An object that never changes was to be changed or deleted.
    Immutable,
    /// Made for another cluster.
    Cluster,
    /// Made for another incident.
    Incident,
    /// Outside the epochs an incident may have.
    Epoch,
    /// A ballot whose signature, certificate or creator is not the seat's.
    BallotIdentity,
    /// Fewer seats with live data than the quorum.
    Quorum,
    /// Fewer seats than needed support both the cause and the remedy.
    Support,
    /// Evidence of fewer than two principals, or of sidecars only.
    Principals,
    /// A seat vetoed the remedy.
    Veto,
    /// The tally is not confident enough, or the runner-up is too close.
    Confidence,
    /// The tally chooses another action than the plan.
    Tally,
    /// Too old.
    Expired,
    /// The gate's clock and the API server's differ too much.
    Clock,
    /// The target is not as it was judged.
    Stale,
    /// The write changes something else than the action permits.
    Difference,
    /// It does not begin with one pod as it should, or the rest may not follow.
    Canary,
    /// The resource, sub-resource, verb or options are not those of the action.
    Resource,
    /// The target may never be acted on.
    ForbiddenTarget,
    /// A pause is in force.
    Paused,
    /// A freeze window is in force.
    Frozen,
    /// Too many operations of all services failed.
    Brake,
    /// The service's circuit is open, or one operation is trying whether it may close.
    Breaker,
    /// The same did not help, and it is too early or too often to try again.
    Strikes,
    /// The action has to ask, by people's word or by how often it was wrong.
    Autonomy,
    /// The service had as many operations within the hour as it may have.
    Rate,
    /// The last operation on the service has not had time to show what it did.
    Cooldown,
    /// Another operation on the same service is not over.
    Conflict,
    /// No Blueprint allows it, or the Blueprint is stricter than the action.
    Blueprint,
    /// It is never done, or on a list of what is forbidden; whoever watches over security is told.
    Forbidden,
    /// People have to agree, and did not, not yet, or to something else.
    Approval,
    /// A guardrail denied it.
    Guardrail,
    /// Another policy or webhook of the cluster denied it, or the API server itself.
    Denied,
    /// The roster, guardrails or blueprint differ from those the plan was made under.
    Authority,
    /// The ledger is not shown to be the one that the newest plan names, or that people vouch for, with entries added.
    Ledger,
    /// The revert is not owed, or was carried out.
    Revert,
    /// A configuration that the gate depends on was changed.
    GateConfiguration,
    /// What was read to decide could not be read: no verdict is no action.
    Unavailable,
    /// The request itself is malformed or too large.
    Request,
}

// === impl Rule ===

impl Rule {
    /// The stable code, kebab case.
    #[must_use]
    pub fn code(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub reason: String,
    /// What would have passed.
    pub would_pass: String,
}

// === impl Refusal ===

impl Refusal {
    /// A refusal under `rule`.
    pub fn new(rule: Rule, reason: impl Into<String>, would_pass: impl Into<String>) -> Self {
        Self { rule, reason: reason.into(), would_pass: would_pass.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "assent[{}]: {}; would pass: {}", self.rule.code(), self.reason, self.would_pass)
    }
}
