//! Which incident an alert belongs to. One fault raises many alerts, senders repeat themselves, and our own action makes a
//! service look ill for a while: none of that is another incident.

use serde::{Deserialize, Serialize};

use super::{Calls, Phase};
use crate::consensus::Outcome;
use crate::ids::{IncidentUid, UnixMillis};
use crate::target::Service;

/// After an incident was resolved, alerts of its services are its echo for this long.
const SETTLING_MS: i64 = 30_000;
/// After a person was told, further alerts of the service tell nothing new for this long.
const TOLD_MS: i64 = 2 * 60_000;
/// After a person was told, the same alert again tells nothing new for this long.
const TOLD_SAME_MS: i64 = 30 * 60_000;

/// What was routine and came to nothing is not looked at again for this long.
const ROUTINE_MS: i64 = 5 * 60_000;

/// After a person was told, trouble that began this much later is new trouble: what they were told of was over.
const ANEW_MS: i64 = 45_000;

/// A firing alert, as far as routing looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing<'a> {
    /// The service that alerts.
    pub service: &'a Service,
    /// Whether this very alert was received before.
    pub again: bool,
    /// When its trouble began, by whoever says so.
    pub since: UnixMillis,
    /// Whether nothing is wrong.
    pub routine: bool,
}

/// What routing needs to know of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Its name.
    pub uid: IncidentUid,
    /// The service that alerted first.
    pub service: Service,
    /// The service that is acted on, once decided.
    pub target: Option<Service>,
    /// The service that the seats hold for the cause, once they do.
    pub cause: Option<Service>,
    /// Where it stands.
    pub phase: Phase,
    /// When it came there.
    pub changed_at: UnixMillis,
    /// Whether another incident acts for it.
    pub covered: bool,
    /// Whether nothing was wrong.
    pub routine: bool,
}

/// Where a firing alert belongs: to the incident that is returned, or to a new one.
///
/// An alert joins what explains it: callers fail with what they call. Where the calls of a service are not known, its namespace
/// stands for them. Trouble of its own is reported again when the incident is over.
#[must_use]
pub fn route(firing: &Firing<'_>, known: &[Known], calls: &Calls, now: UnixMillis) -> Option<IncidentUid> {
    if firing.routine {
        return hindrance(firing.service, known, calls, now);
    }
    let service = firing.service;
    // Trouble is not explained by what is routine, unless that is at work on the service, or was just now: then it may be its doing.
    let acted = |incident: &Known| matches!(incident.phase, Phase::Remediating | Phase::Verifying | Phase::Resolved | Phase::RolledBack);
    let troubles = || known.iter().filter(|incident| !incident.routine || acted(incident));
    let about = |incident: &&Known| [Some(&incident.service), incident.target.as_ref(), incident.cause.as_ref()].contains(&Some(service));
    let explaining = |incident: &&Known| !incident.routine && explains(incident, service, calls);
    let going_on = |incident: &&Known| !incident.phase.is_final();
    let open = troubles().filter(about).filter(going_on).min_by_key(|incident| &incident.uid);
    let open = open.or_else(|| troubles().filter(explaining).filter(going_on).min_by_key(|incident| &incident.uid));
    let settling = || {
        let over = |incident: &&Known| incident.phase == Phase::Resolved && now.since(incident.changed_at) < SETTLING_MS;
        troubles().filter(explaining).filter(over).max_by_key(|incident| (incident.changed_at, &incident.uid))
    };
    let echo = || {
        let last = troubles().filter(about).max_by_key(|incident| (incident.changed_at, &incident.uid))?;
        if last.phase.is_final() && firing.since.since(last.changed_at) >= ANEW_MS {
            return None;
        }
        let quiet = match (last.phase, firing.again) {
            _ if last.routine => SETTLING_MS,
            (Phase::Resolved, _) => SETTLING_MS,
            (_, true) => TOLD_SAME_MS,
            (_, false) => TOLD_MS,
        };
        (now.since(last.changed_at) < quiet).then_some(last)
    };
    open.or_else(echo).or_else(settling).map(|incident| incident.uid.clone())
}

/// The incident because of which nothing routine is begun for `service` now: trouble that may be its own, or the like that is under way or
/// came to nothing just now.
fn hindrance(service: &Service, known: &[Known], calls: &Calls, now: UnixMillis) -> Option<IncidentUid> {
    let own = |incident: &Known| incident.service == *service || incident.target.as_ref() == Some(service);
    let hinders = |incident: &&Known| match (incident.routine, incident.phase) {
        (false, phase) if !phase.is_final() => own(incident) || explains(incident, service, calls),
        (false, _) => own(incident) && now.since(incident.changed_at) < TOLD_MS,
        (true, phase) if !phase.is_final() => own(incident),
        (true, Phase::Resolved) => own(incident) && now.since(incident.changed_at) < SETTLING_MS,
        (true, _) => own(incident) && now.since(incident.changed_at) < ROUTINE_MS,
    };
    known.iter().filter(hinders).max_by_key(|incident| (!incident.phase.is_final(), incident.changed_at, &incident.uid)).map(|incident| incident.uid.clone())
}

/// Whether `service` may well be ill because of what `incident` is about.
fn explains(incident: &Known, service: &Service, calls: &Calls) -> bool {
    if !calls.knows(service) || !calls.knows(&incident.service) {
        return incident.service.namespace == service.namespace;
    }
    let below = calls.below(service);
    let blamed: Vec<&Service> = incident.target.iter().chain(&incident.cause).collect();
    if !blamed.is_empty() {
        return blamed.iter().any(|blamed| below.contains(*blamed));
    }
    // Before anything is known of the cause, it may be either of the two, or what both of them call.
    !below.is_disjoint(&calls.below(&incident.service))
}

/// The incident that already acts on what `outcome` of incident `own` names: on the same target, or against the same cause. One
/// cause has one action, so `own` becomes its child and waits for its end. One that has not decided covers nobody.
#[must_use]
pub fn parent(own: &IncidentUid, outcome: &Outcome, known: &[Known]) -> Option<IncidentUid> {
    let named = [outcome.target(), outcome.cause().cloned()];
    let same = |other: &&Known| [&other.target, &other.cause].into_iter().any(|of| of.is_some() && named.contains(of));
    let acts = |other: &&Known| matches!(other.phase, Phase::Decided | Phase::AwaitingApproval | Phase::Remediating | Phase::Verifying);
    let others = known.iter().filter(|other| other.uid != *own && !other.covered);
    others.filter(acts).filter(same).map(|other| &other.uid).min().cloned()
}

#[cfg(test)]
mod tests;
