//! Cases of the database seat: the contrast between clients, and what it refuses.

use super::*;
use crate::action::{Action, Restart, Scale};
use crate::ballot::{Proposal, StanceVerdict};
use crate::seats::testing::*;

const WAITING: Asks = Asks { exchanges: 0, stalled: 8, mean_us: 0 };
const SLOW: Asks = Asks { exchanges: 60, stalled: 0, mean_us: 80_000 };
const IDLE: Asks = Asks { exchanges: 0, stalled: 0, mean_us: 0 };

fn check(calls: &[(&str, &str, Asks)], expected: &[&str]) {
    let (view, now) = database(calls);
    let context = context("storefront", at(ONSET));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), expected);
}

#[test]
fn all_clients_waiting_is_the_server_one_of_several_is_not() {
    check(&[("orders", "postgres", ANSWERED)], &["healthy"]);
    check(&[("orders", "postgres", WAITING)], &["postgres database no-turnaround 80"]);
    check(&[("orders", "postgres", WAITING), ("reports", "postgres", WAITING)], &["postgres database no-turnaround 90"]);
    check(&[("orders", "postgres", SLOW)], &["postgres database slow 70"]);
    check(&[("orders", "postgres", SLOW), ("reports", "postgres", ANSWERED)], &["orders network one-client 40"]);
    // Nobody asks, so nobody waits.
    check(&[("orders", "postgres", IDLE)], &["healthy"]);
    check(&[("orders", "postgres", WAITING), ("storefront", "redis", ANSWERED)], &["postgres database no-turnaround 80"]);
}

#[test]
fn absence_is_an_abstention() {
    check(&[], &["abstains: no data about the services in question"]);
    let mut young = View::new(settings());
    for window in 0..5 {
        ask(&mut young, window, "orders", "postgres", ANSWERED);
    }
    let context = context("orders", at(4));
    let opinion = young.cause(&Asked { context: &context, epoch: 1, now: at(5).plus(1_000) });
    assert_eq!(said(&opinion), ["abstains: the usual turnaround of shop/postgres is not learned yet"]);
}

#[test]
fn nothing_is_proposed_and_what_holds_data_is_not_touched() {
    let (view, now) = database(&[("orders", "postgres", WAITING), ("storefront", "redis", ANSWERED)]);
    let context = context("storefront", at(ONSET));
    let Opinion::Cause(vote) = view.cause(&Asked { context: &context, epoch: 1, now }) else { panic!() };
    assert!(vote.hypotheses.iter().all(|hypothesis| hypothesis.remedies.is_empty()));
    let restart = Action::RestartWorkload(Restart { marker: "i.1".into() });
    let scale = Action::ScaleWorkload(Scale { replicas: 3 });
    for (name, action, expected) in [
        ("redis", &restart, StanceVerdict::Veto),
        ("postgres", &scale, StanceVerdict::Veto),
        // Its database is what fails.
        ("orders", &restart, StanceVerdict::Veto),
        ("orders", &scale, StanceVerdict::Veto),
        ("storefront", &restart, StanceVerdict::NoObjection),
    ] {
        let proposal = Proposal { action: action.clone(), target: target(name) };
        assert_eq!(bare_position(&view, &context, now, &proposal).verdict, expected, "{name} {action:?}");
    }
}

#[test]
fn refused_connections_are_seen_without_a_past() {
    let mut view = View::new(settings());
    for window in 0..4 {
        let counts = Exchanges { connect_failed: 3, ..Exchanges::default() };
        let flow = Flow { inbound: false, peer: Some(service("postgres")), counts };
        view.observe(&Observation { speaker: service("orders"), start: at(window), length_ms: 2_000, flows: vec![flow] }, at(window + 1));
    }
    let context = context("orders", at(0));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now: at(4).plus(1_000) });
    assert_eq!(said(&opinion), ["postgres database refused 75"]);
}

#[test]
fn the_servers_end_speaks_for_clients_without_a_sidecar() {
    let mut view = View::new(settings());
    for window in 0..ONSET + 4 {
        let asks = if window < ONSET { ANSWERED } else { WAITING };
        let counts = Exchanges { exchanges: asks.exchanges, stalled: asks.stalled, turnaround: latency(asks.exchanges, asks.mean_us), ..Exchanges::default() };
        let flow = Flow { inbound: true, peer: Some(service("orders")), counts };
        view.observe(&Observation { speaker: service("postgres"), start: at(window), length_ms: 2_000, flows: vec![flow] }, at(window + 1));
    }
    let context = context("orders", at(ONSET));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now: at(ONSET + 4).plus(1_000) });
    assert_eq!(said(&opinion), ["postgres database no-turnaround 80"]);
}
