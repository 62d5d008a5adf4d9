//! Which alerts change the picture of an incident that is under way. One fault repeats itself in thousands of alerts; the seats are
//! asked again only for what they could not know.

use std::collections::BTreeSet;

use super::{Alert, AlertSource, Symptom};
use crate::target::Service;

/// What was said of one incident so far: where, what, and whether a seat says so itself.
pub type Picture = BTreeSet<(Service, Symptom, bool)>;

/// Whether `alert` of `service` says something that is not in `picture`: trouble at another service, of another kind, or a
/// seat's own word for what only strangers said. That it is said again, or less exactly, is nothing new.
#[must_use]
pub fn is_new(alert: &Alert, service: &Service, picture: &Picture) -> bool {
    let by_seat = alert.source == AlertSource::Seat;
    let said = |symptom, by_seat| picture.contains(&(service.clone(), symptom, by_seat));
    let known = |symptom| said(symptom, true) || (!by_seat && said(symptom, false));
    let vague = alert.symptom == Symptom::Unspecified;
    let anything = || [Symptom::Errors, Symptom::Latency, Symptom::NoResponse].into_iter().any(known);
    !(alert.resolved || alert.symptom.is_routine() || known(alert.symptom) || vague && anything())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UnixMillis;

    fn service(name: &str) -> Service {
        Service { namespace: "shop".into(), name: name.into() }
    }

    fn alert(source: AlertSource, symptom: Symptom, resolved: bool) -> Alert {
        Alert { source, key: "k".into(), service: None, symptom, resolved, since: UnixMillis(1), summary: "s".into() }
    }

    #[test]
    fn another_service_another_kind_and_a_seats_own_word_are_new_and_repetitions_are_not() {
        use AlertSource::{Alertmanager, Seat};
        use Symptom::{Errors, Latency, Unspecified};
        let told = Picture::from([(service("web"), Errors, false)]);
        let seen = Picture::from([(service("web"), Errors, true)]);
        let table = [
            ("the same", alert(Alertmanager, Errors, false), "web", &told, false),
            ("the same, now seen by a seat", alert(Seat, Errors, false), "web", &told, true),
            ("what a seat saw, told by strangers", alert(Alertmanager, Errors, false), "web", &seen, false),
            ("another kind", alert(Alertmanager, Latency, false), "web", &seen, true),
            ("another service", alert(Alertmanager, Errors, false), "orders", &seen, true),
            ("less exactly", alert(Alertmanager, Unspecified, false), "web", &seen, false),
            ("the end of another trouble", alert(Alertmanager, Latency, true), "web", &seen, false),
        ];
        for (case, alert, at, picture, new) in table {
            assert_eq!(is_new(&alert, &service(at), picture), new, "{case}");
        }
    }
}
