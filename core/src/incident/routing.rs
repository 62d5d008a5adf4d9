//! Which incident an alert belongs to. One fault raises many alerts, senders repeat themselves, and our own action makes a
//! service look ill for a while: none of that is another incident.

use serde::{Deserialize, Serialize};

use super::Phase;
use crate::ids::{IncidentUid, UnixMillis};
use crate::target::Service;

/// After an incident was resolved, alerts of its services are its echo for this long.
const SETTLING_MS: i64 = 30_000;
/// After a person was told, further alerts of the service tell nothing new for this long.
const TOLD_MS: i64 = 2 * 60_000;
/// After a person was told, the same alert again tells nothing new for this long.
const TOLD_SAME_MS: i64 = 30 * 60_000;

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
    /// Where it stands.
    pub phase: Phase,
    /// When it came there.
    pub changed_at: UnixMillis,
}

/// Where a firing alert for `service` belongs: to the incident that is returned, or to a new one. `again` is whether this
/// very alert was received before.
///
/// While an incident is open in a namespace, or its echo lasts, the other services there alert because of it more likely than
/// not (callers fail with what they call). Trouble of their own is reported again when it is over.
#[must_use]
pub fn route(service: &Service, known: &[Known], again: bool, now: UnixMillis) -> Option<IncidentUid> {
    let about = |incident: &&Known| incident.service == *service || incident.target.as_ref() == Some(service);
    let nearby = |incident: &&Known| incident.service.namespace == service.namespace;
    let going_on = |incident: &&Known| !incident.phase.is_final();
    let open = known.iter().filter(about).filter(going_on).min_by_key(|incident| &incident.uid);
    let open = open.or_else(|| known.iter().filter(nearby).filter(going_on).min_by_key(|incident| &incident.uid));
    let settling = || {
        let over = |incident: &&Known| incident.phase == Phase::Resolved && now.since(incident.changed_at) < SETTLING_MS;
        known.iter().filter(nearby).filter(over).max_by_key(|incident| (incident.changed_at, &incident.uid))
    };
    let echo = || {
        let last = known.iter().filter(about).max_by_key(|incident| (incident.changed_at, &incident.uid))?;
        let quiet = match (last.phase, again) {
            (Phase::Resolved, _) => SETTLING_MS,
            (_, true) => TOLD_SAME_MS,
            (_, false) => TOLD_MS,
        };
        (now.since(last.changed_at) < quiet).then_some(last)
    };
    open.or_else(echo).or_else(settling).map(|incident| incident.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { namespace: "shop".into(), name: name.into() }
    }

    fn known(number: u8, alerted: &str, target: Option<&str>, phase: Phase, changed_at: i64) -> Known {
        let uid = IncidentUid::try_from(format!("01890a5d-ac96-774b-bcce-b302099a80{number:02}")).unwrap();
        Known { uid, service: service(alerted), target: target.map(service), phase, changed_at: UnixMillis(changed_at) }
    }

    #[test]
    fn an_alert_joins_the_open_incident_of_its_service_or_of_what_is_acted_on() {
        let acting = known(1, "web", Some("orders"), Phase::Remediating, 0);
        let other = known(0, "stock", None, Phase::Open, 0);
        for (alerting, joins) in [("web", &acting), ("orders", &acting), ("stock", &other), ("callers", &other)] {
            let all = [acting.clone(), other.clone()];
            assert_eq!(route(&service(alerting), &all, false, UnixMillis(9_000_000)).as_ref(), Some(&joins.uid), "{alerting}");
        }
        let elsewhere = Service { namespace: "other".into(), name: "web".into() };
        assert_eq!(route(&elsewhere, &[acting], false, UnixMillis(1)), None, "a service is its namespace too");
    }

    #[test]
    fn what_is_over_takes_alerts_only_while_they_are_its_echo() {
        let table = [
            (Phase::Resolved, false, 29_999, true),
            (Phase::Resolved, true, 30_000, false),
            (Phase::Escalated, false, 119_999, true),
            (Phase::Escalated, false, 120_000, false),
            (Phase::Escalated, true, 1_799_999, true),
            (Phase::RolledBack, true, 1_800_000, false),
            (Phase::Watching, true, 120_000, true),
        ];
        for (phase, again, after, joins) in table {
            let over = known(1, "web", None, phase, 0);
            assert_eq!(route(&service("web"), &[over], again, UnixMillis(after)).is_some(), joins, "{phase:?} {again} {after}");
        }
    }

    #[test]
    fn an_open_incident_goes_before_an_echo_and_the_older_before_the_newer() {
        let all = [known(1, "web", None, Phase::Escalated, 900), known(3, "web", None, Phase::Open, 800), known(2, "web", None, Phase::Verifying, 0)];
        assert_eq!(route(&service("web"), &all, false, UnixMillis(1000)), Some(all[2].uid.clone()));
    }
}
