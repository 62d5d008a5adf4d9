//! Cases of the network seat: what it makes of the shop's windows, in both rounds and by itself.

use super::*;
use crate::action::{Action, Restart, Scale};
use crate::ballot::{EvidenceClass, Proposal, StanceVerdict};
use crate::incident::{Context, Symptom};
use crate::seats::testing::*;

const FAILING: Beat = Beat { requests: 40, errors: 24, unanswered: 0, mean_us: 8_000 };
const SILENT: Beat = Beat { requests: 12, errors: 0, unanswered: 12, mean_us: 0 };
const LATE: Beat = Beat { requests: 60, errors: 0, unanswered: 20, mean_us: 900_000 };

/// Four windows of these after the onset, judged for the storefront's alert.
fn check(storefront: Beat, orders: Beat, postgres: Link, expected: &[&str]) {
    let (view, now) = network(&vec![(storefront, orders, postgres); 4]);
    let context = context("storefront", at(ONSET));
    let said = said(&view.cause(&Asked { context: &context, epoch: 1, now }));
    assert_eq!(said, expected);
}

#[test]
fn all_as_usual_is_a_vote() {
    check(USUAL, USUAL, CHATTY, &["healthy"]);
}

#[test]
fn the_deepest_service_whose_own_answers_are_bad_is_named() {
    check(FAILING, FAILING, CHATTY, &["orders application errors 80", "storefront application errors 20"]);
    check(FAILING, USUAL, CHATTY, &["storefront application errors 80"]);
}

#[test]
fn requests_taken_and_not_answered_are_a_stalled_process() {
    check(FAILING, SILENT, Link { sent: 0, received: 0, ..CHATTY }, &["orders application stalled 80", "storefront application errors 20"]);
}

#[test]
fn requests_that_are_usually_held_open_are_no_stall() {
    let held = |unanswered| Beat { requests: 40 + unanswered, errors: 0, unanswered, mean_us: 8_000 };
    for (now, fault) in [(30, "healthy"), (32, "healthy"), (60, "orders application stalled 80")] {
        let mut view = View::new(settings());
        for window in 0..ONSET + 4 {
            mesh(&mut view, window, USUAL, held(if window < ONSET { 30 } else { now }), CHATTY);
        }
        let context = context("orders", at(ONSET));
        let asked = Asked { context: &context, epoch: 1, now: at(ONSET + 4).plus(1_000) };
        assert_eq!(said(&view.cause(&asked)), [fault], "{now}");
    }
}

#[test]
fn late_answers_under_undiminished_load_are_saturation() {
    check(LATE, LATE, CHATTY, &["orders compute saturation 80", "storefront compute saturation 20"]);
}

#[test]
fn late_answers_that_last_may_be_a_slow_programs() {
    for (windows, expected) in [(5, &["orders compute saturation 80"][..]), (6, &["orders compute saturation 80", "orders application slow 55"])] {
        let (view, now) = network(&vec![(USUAL, LATE, CHATTY); windows]);
        let context = context("orders", at(ONSET));
        assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), expected, "{windows}");
    }
}

#[test]
fn a_silent_callee_explains_its_caller() {
    let silent = Link { received: 0, ..CHATTY };
    check(FAILING, SILENT, silent, &["postgres database silent 70", "orders application stalled 20", "storefront application errors 20"]);
}

#[test]
fn lost_segments_are_the_networks() {
    let lossy = Link { retransmits: 400, ..CHATTY };
    check(FAILING, FAILING, lossy, &["postgres network loss 70", "orders application errors 45", "storefront application errors 20"]);
}

#[test]
fn refused_connections_need_no_baseline() {
    let refused = Link { connect_failed: 5, opened: 0, sent: 0, received: 0, ..CHATTY };
    check(FAILING, FAILING, refused, &["postgres network unreachable 70", "orders application errors 45", "storefront application errors 20"]);
}

#[test]
fn a_port_where_nobody_ever_listened_is_its_callers_fault() {
    let mut view = View::new(settings());
    for window in 0..ONSET + 4 {
        let ill = window >= ONSET;
        mesh(&mut view, window, if ill { FAILING } else { USUAL }, if ill { Beat { requests: 0, ..USUAL } } else { USUAL }, CHATTY);
        let failed = Link { port: 8081, connect_failed: 9, ..Link::default() };
        let connections = if ill { vec![failed] } else { vec![Link { port: 8080, opened: 1, sent: 900, received: 900, ..Link::default() }] };
        let connections = connections.into_iter().map(|counts| Connections { inbound: false, peer: Some(service("orders")), port: counts.port, counts });
        let observation = Observation {
            speaker: service("storefront"),
            pod: pod("storefront"),
            start: at(window),
            length_ms: 2_000,
            requests: vec![],
            connections: connections.collect(),
        };
        view.observe(&observation, at(window + 1));
    }
    let context = context("storefront", at(ONSET));
    let asked = Asked { context: &context, epoch: 1, now: at(ONSET + 4).plus(1_000) };
    assert_eq!(said(&view.cause(&asked)), ["storefront application wrong-destination 80"]);
}

#[test]
fn one_bad_window_is_not_enough() {
    let (view, now) = network(&[(FAILING, FAILING, CHATTY)]);
    assert_eq!(view.findings(now), []);
    let context = context("storefront", at(ONSET));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), ["healthy"]);
}

#[test]
fn it_finds_the_deepest_by_itself_with_the_onset() {
    let (view, now) = network(&[(FAILING, FAILING, CHATTY), (FAILING, FAILING, CHATTY)]);
    let findings = view.findings(now);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].service.clone(), findings[0].symptom, findings[0].since), (service("orders"), Symptom::Errors, at(ONSET)));
}

#[test]
fn without_a_past_or_without_data_it_abstains() {
    let mut young = View::new(settings());
    for window in 0..5 {
        mesh(&mut young, window, USUAL, USUAL, CHATTY);
    }
    let context = context("storefront", at(3));
    let said_by = |view: &View, now| said(&view.cause(&Asked { context: &context, epoch: 1, now })).join("");
    assert_eq!(said_by(&young, at(5).plus(1_000)), "abstains: learned 1 of 8 windows");
    assert_eq!(said_by(&View::new(settings()), at(5)), "abstains: no sidecar has told of shop/storefront");
    let (view, now) = network(&[]);
    assert_eq!(said_by(&view, now.plus(60_000)), "abstains: no sidecar has told of shop/storefront for 8 s");
}

#[test]
fn a_callee_whose_sidecar_is_silent_is_judged_by_its_callers() {
    let (mut view, _) = network(&[]);
    for window in ONSET..ONSET + 4 {
        let requests = |inbound, peer: &str, beat| Requests { identified: true, inbound, peer: Some(service(peer)), counts: counts(beat) };
        let observation = Observation {
            speaker: service("storefront"),
            pod: pod("storefront"),
            start: at(window),
            length_ms: 2_000,
            requests: vec![requests(true, "load", FAILING), requests(false, "orders", SILENT)],
            connections: vec![],
        };
        view.observe(&observation, at(window + 1));
    }
    let context = context("storefront", at(ONSET));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now: at(ONSET + 4).plus(1_000) });
    assert_eq!(said(&opinion), ["orders application stalled 80", "storefront application errors 20"]);
}

#[test]
fn the_edges_and_the_path_are_signed() {
    let (view, now) = network(&vec![(FAILING, FAILING, CHATTY); 4]);
    let context = context("storefront", at(ONSET));
    let Opinion::Cause(vote) = view.cause(&Asked { context: &context, epoch: 1, now }) else { panic!() };
    assert!(vote.edges.contains(&Edge { caller: service("storefront"), callee: service("orders") }));
    assert!(vote.edges.contains(&Edge { caller: service("orders"), callee: service("postgres") }));
    assert_eq!(vote.hypotheses[0].path, [service("orders"), service("storefront")]);
    assert_eq!((vote.hypotheses[0].evidence[0].class, vote.hypotheses[0].evidence[0].from), (EvidenceClass::Requests, at(ONSET)));
}

fn position_on(action: Action, orders: Beat) -> StanceVerdict {
    let (view, now) = network(&vec![(USUAL, orders, CHATTY); 4]);
    let mut context = context("orders", at(ONSET));
    context.workloads[1].replicas = 3;
    bare_position(&view, &context, now, &Proposal { action, target: target("orders") }).verdict
}

#[test]
fn it_supports_what_its_own_figures_call_for() {
    let restart = || Action::RestartWorkload(Restart { marker: "i.1".into() });
    let scale = |replicas| Action::ScaleWorkload(Scale { replicas });
    for (action, orders, expected) in [
        (restart(), SILENT, StanceVerdict::Support),
        (restart(), FAILING, StanceVerdict::NoObjection),
        (restart(), USUAL, StanceVerdict::NoObjection),
        (scale(5), LATE, StanceVerdict::Support),
        (scale(5), SILENT, StanceVerdict::NoObjection),
        (scale(1), USUAL, StanceVerdict::Veto),
        (scale(1), Beat { requests: 4, ..USUAL }, StanceVerdict::NoObjection),
    ] {
        assert_eq!(position_on(action.clone(), orders), expected, "{action:?}");
    }
}

#[test]
fn the_indicator_follows_the_recovery_and_says_when_nobody_calls() {
    let (mut view, now) = network(&vec![(FAILING, FAILING, CHATTY); 4]);
    view.incident_began(at(ONSET));
    let ill = view.indicator(&service("orders"), at(ONSET), now).unwrap();
    assert!(ill.live && !ill.healthy && ill.errors == 3 * 24, "{ill:?}");
    for window in ONSET + 4..ONSET + 10 {
        mesh(&mut view, window, USUAL, USUAL, CHATTY);
    }
    let well = view.indicator(&service("orders"), at(ONSET + 4), at(ONSET + 10).plus(1_000)).unwrap();
    assert!(well.live && well.healthy && well.errors == 0 && well.requests == 5 * 40, "{well:?}");
    let nobody = view.indicator(&service("orders"), at(ONSET + 20), at(ONSET + 30)).unwrap();
    assert!(!nobody.live && !nobody.healthy);
}

#[test]
fn an_incident_teaches_nothing_until_it_is_over() {
    let (mut view, _) = network(&[]);
    view.incident_began(at(ONSET));
    for window in ONSET..ONSET + 20 {
        mesh(&mut view, window, FAILING, FAILING, CHATTY);
        view.tick(at(window + 1));
    }
    let now = at(ONSET + 20).plus(1_000);
    let judged = view.judge(&service("orders"), now, now).unwrap();
    assert_eq!(judged.usual.errors.median, 0);
    for window in ONSET + 20..ONSET + 40 {
        mesh(&mut view, window, USUAL, USUAL, CHATTY);
        view.tick(at(window + 1).plus(1_000));
    }
    assert_eq!(view.masks.is_open(), None);
}

#[test]
fn hostile_counts_and_names_are_bounded() {
    let mut view = View::new(settings());
    let wild = Counts { requests: u64::MAX, success: u64::MAX, server_error: u64::MAX, no_response: u64::MAX, stalled: u64::MAX, latency: latency(1, 1) };
    for n in 0..3_000 {
        let peer = Some(service(&format!("p{n}")));
        let requests = vec![Requests { identified: true, inbound: n % 2 == 0, peer: peer.clone(), counts: wild.clone() }];
        let counts = Link { port: 1, opened: u64::MAX, connect_failed: u64::MAX, sent: u64::MAX, received: u64::MAX, retransmits: u64::MAX, rtt_us: u64::MAX };
        let connections = vec![Connections { inbound: false, peer, port: 5432, counts }];
        let speaker = service(&format!("s{}", n % 500));
        view.observe(&Observation { pod: pod(&speaker.name), speaker, start: at(n % 7), length_ms: u32::MAX, requests, connections }, at(8));
    }
    assert!(view.told_by_callee.len() <= MAX_SERVICES && view.told_by_callers.len() <= MAX_SERVICES);
    assert!(view.links.len() <= MAX_EDGES && view.edges.len() <= MAX_EDGES);
    view.findings(at(8));
    let context = context("s1", at(4));
    let opinion = view.cause(&Asked { context: &Context { service: service("s1"), ..context }, epoch: 1, now: at(8) });
    cast("network", opinion);
}
