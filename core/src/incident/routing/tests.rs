//! Alerts in services that call each other, and what becomes of a second incident with the same cause.

use super::*;
use crate::action::{Action, Restart};
use crate::ballot::{Edge, Proposal};
use crate::canonical::Digest;
use crate::consensus::{RankedCause, Verdict};
use crate::ids::{Domain, Millionths};
use crate::refusal::Rule;
use crate::target::Target;

fn service(name: &str) -> Service {
    match name.split_once('/') {
        Some((namespace, name)) => Service { namespace: namespace.into(), name: name.into() },
        None => Service { namespace: "shop".into(), name: name.into() },
    }
}

fn calls(pairs: &[(&str, &str)]) -> Calls {
    Calls::new(pairs.iter().map(|(caller, callee)| Edge { caller: service(caller), callee: service(callee) }))
}

fn known(number: u8, alerted: &str, target: Option<&str>, phase: Phase, changed_at: i64) -> Known {
    let uid = IncidentUid::try_from(format!("01890a5d-ac96-774b-bcce-b302099a80{number:02}")).unwrap();
    Known {
        uid,
        service: service(alerted),
        target: target.map(service),
        cause: None,
        phase,
        changed_at: UnixMillis(changed_at),
        covered: false,
        routine: false,
    }
}

fn firing(service: &Service, again: bool, since: i64) -> Firing<'_> {
    Firing { service, again, since: UnixMillis(since), routine: false }
}

fn routed(alerting: &str, known: &[Known], calls: &Calls) -> Option<IncidentUid> {
    route(&firing(&service(alerting), false, 0), known, calls, UnixMillis(9_000_000))
}

#[test]
fn without_known_calls_an_alert_joins_the_open_incident_of_its_service_its_target_or_its_namespace() {
    let acting = known(1, "web", Some("orders"), Phase::Remediating, 0);
    let other = known(0, "stock", None, Phase::Open, 0);
    for (alerting, joins) in [("web", &acting), ("orders", &acting), ("stock", &other), ("callers", &other)] {
        let all = [acting.clone(), other.clone()];
        assert_eq!(routed(alerting, &all, &Calls::default()).as_ref(), Some(&joins.uid), "{alerting}");
    }
    assert_eq!(routed("other/web", &[acting], &Calls::default()), None, "a service is its namespace too");
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
        let routed = route(&firing(&service("web"), again, 0), &[over], &Calls::default(), UnixMillis(after));
        assert_eq!(routed.is_some(), joins, "{phase:?} {again} {after}");
    }
}

#[test]
fn trouble_that_began_well_after_a_person_was_told_is_another() {
    let table = [(Phase::Escalated, 44_999, true), (Phase::Escalated, 45_000, false), (Phase::Open, 45_000, true), (Phase::RolledBack, 60_000, false)];
    for (phase, since, joins) in table {
        for again in [false, true] {
            let told = known(1, "web", None, phase, 0);
            let routed = route(&firing(&service("web"), again, since), &[told], &Calls::default(), UnixMillis(70_000));
            assert_eq!(routed.is_some(), joins, "{phase:?} {since} {again}");
        }
    }
}

#[test]
fn an_open_incident_goes_before_an_echo_and_the_older_before_the_newer() {
    let all = [known(1, "web", None, Phase::Escalated, 900), known(3, "web", None, Phase::Open, 800), known(2, "web", None, Phase::Verifying, 0)];
    assert_eq!(route(&firing(&service("web"), false, 0), &all, &Calls::default(), UnixMillis(1000)), Some(all[2].uid.clone()));
}

#[test]
fn callers_join_the_incident_of_what_they_call_and_strangers_do_not() {
    let shop = calls(&[("web", "orders"), ("orders", "postgres"), ("edge/gateway", "web"), ("mail", "smtp"), ("stock", "postgres")]);
    let open = known(1, "orders", None, Phase::Investigating, 0);
    // While the cause is unknown: callers near and far, what is called, and who calls the same.
    for (alerting, joins) in [("web", true), ("edge/gateway", true), ("postgres", true), ("stock", true), ("mail", false), ("smtp", false)] {
        assert_eq!(routed(alerting, std::slice::from_ref(&open), &shop).is_some(), joins, "{alerting}");
    }
    // Once it is known: who calls it, however far away, and nobody else.
    let decided = Known { cause: Some(service("orders")), phase: Phase::Remediating, ..open };
    for (alerting, joins) in [("web", true), ("edge/gateway", true), ("orders", true), ("postgres", false), ("stock", false), ("mail", false)] {
        assert_eq!(routed(alerting, std::slice::from_ref(&decided), &shop).is_some(), joins, "{alerting}");
    }
    assert!(routed("new", &[decided], &shop).is_some(), "of whom nothing is known is judged by the namespace");
}

#[test]
fn mutual_callers_do_not_explain_each_other() {
    let decided = Known { cause: Some(service("a")), ..known(1, "a", None, Phase::Remediating, 0) };
    assert_eq!(routed("b", std::slice::from_ref(&decided), &calls(&[("a", "b"), ("b", "a")])), None);
    assert!(routed("b", &[decided], &calls(&[("b", "a")])).is_some());
}

#[test]
fn two_causes_in_one_namespace_are_two_incidents_and_each_takes_its_own_storm() {
    let shop = calls(&[("web", "orders"), ("mail", "smtp")]);
    let (orders, smtp) = (known(1, "orders", None, Phase::Investigating, 0), known(2, "smtp", None, Phase::Investigating, 0));
    let both = [orders.clone(), smtp.clone()];
    assert_eq!(routed("smtp", std::slice::from_ref(&orders), &shop), None, "the first one opens its own");
    assert_eq!((routed("web", &both, &shop), routed("mail", &both, &shop)), (Some(orders.uid), Some(smtp.uid)));
}

/// What the seats found: `cause` with this probability, and perhaps a restart of `target`.
fn outcome(cause: &str, probability: u32, target: Option<&str>) -> Outcome {
    let cause = RankedCause {
        service: service(cause),
        domain: Domain::Application,
        faults: vec![],
        log_odds: 0,
        probability: Millionths::new(probability),
        supporters: vec!["change".into()],
        explained_by: None,
    };
    let verdict = match target {
        Some(name) => {
            let target = Target {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: name.into(),
                uid: "u".into(),
                generation: 1,
                spec: Digest::of_bytes(b"spec"),
            };
            let action = Action::RestartWorkload(Restart { marker: "m".into() });
            Verdict::Act { proposal: Box::new(Proposal { action, target }), supporters: vec![] }
        }
        None => Verdict::Hold { rule: Rule::Quorum, reason: String::new() },
    };
    Outcome { causes: vec![cause], ..Outcome::of(verdict) }
}

#[test]
fn a_second_incident_with_the_same_cause_or_target_becomes_the_child_of_the_one_that_acts() {
    let own = known(9, "web", None, Phase::Investigating, 0).uid;
    let acts = |cause: &str, target: &str| Known { cause: Some(service(cause)), ..known(1, "orders", Some(target), Phase::Remediating, 0) };
    let table = [
        ("the same target", outcome("web", 900_000, Some("orders")), acts("orders", "orders"), true),
        ("the same cause, another target", outcome("orders", 900_000, Some("web")), acts("orders", "orders"), true),
        ("the same cause, nothing chosen", outcome("orders", 900_000, None), acts("orders", "orders"), true),
        ("the same cause, hardly believed", outcome("orders", 400_000, None), acts("orders", "orders"), false),
        ("another cause and target", outcome("stock", 900_000, Some("stock")), acts("orders", "orders"), false),
        ("one that itself waits", outcome("orders", 900_000, None), Known { covered: true, ..acts("orders", "orders") }, false),
        ("one that has not decided", outcome("orders", 900_000, None), Known { phase: Phase::Investigating, ..acts("orders", "orders") }, false),
        ("one that is over", outcome("orders", 900_000, None), Known { phase: Phase::Resolved, ..acts("orders", "orders") }, false),
        ("itself", outcome("orders", 900_000, None), Known { uid: own.clone(), ..acts("orders", "orders") }, false),
    ];
    for (case, outcome, other, covered) in table {
        assert_eq!(parent(&own, &outcome, std::slice::from_ref(&other)), covered.then_some(other.uid), "{case}");
    }
}

#[test]
fn what_is_routine_waits_for_trouble_and_trouble_does_not_wait_for_it() {
    let routine = |phase, changed_at| Known { routine: true, ..known(1, "web", None, phase, changed_at) };
    let web = service("web");
    let asks = |incident: Known, routine: bool, now: i64| {
        let firing = Firing { service: &web, again: true, since: UnixMillis(0), routine };
        route(&firing, &[incident], &Calls::default(), UnixMillis(now)).is_some()
    };
    let table = [
        ("trouble of the service", known(1, "web", None, Phase::Investigating, 0), 9_000_000, true),
        ("trouble near it", known(1, "orders", None, Phase::Verifying, 0), 9_000_000, true),
        ("trouble that people were just told of", known(1, "web", None, Phase::Escalated, 0), 119_999, true),
        ("trouble that was told of", known(1, "web", None, Phase::Escalated, 0), 120_000, false),
        ("the like under way", routine(Phase::Verifying, 0), 9_000_000, true),
        ("the like that was just done", routine(Phase::Resolved, 0), 29_999, true),
        ("the like that was done", routine(Phase::Resolved, 0), 30_000, false),
        ("the like that just came to nothing", routine(Phase::Watching, 0), 299_999, true),
        ("the like that came to nothing", routine(Phase::Watching, 0), 300_000, false),
        ("the like of a neighbour", Known { routine: true, ..known(1, "orders", None, Phase::Verifying, 0) }, 0, false),
    ];
    for (case, incident, now, waits) in table {
        assert_eq!(asks(incident, true, now), waits, "{case}");
    }
    for (phase, now, joins) in [
        (Phase::Investigating, 1, false),
        (Phase::Verifying, 1, true),
        (Phase::RolledBack, 29_999, true),
        (Phase::RolledBack, 30_000, false),
        (Phase::Watching, 1, false),
        (Phase::Escalated, 1, false),
    ] {
        assert_eq!(asks(routine(phase, 0), false, now), joins, "trouble {now} ms into {phase:?} that may be the doing of what is routine");
    }
}
