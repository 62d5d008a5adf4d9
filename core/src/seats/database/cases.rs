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
fn answers_that_left_the_server_in_time_are_late_on_the_way() {
    for (server, expected) in [(ANSWERED, "orders network between 55"), (SLOW, "postgres database slow 70"), (IDLE, "postgres database slow 70")] {
        let mut view = View::new(settings());
        for window in 0..ONSET + 4 {
            let (client, server) = if window < ONSET { (ANSWERED, ANSWERED) } else { (SLOW, server) };
            ask(&mut view, window, "orders", "postgres", client);
            let counts = Exchanges { exchanges: server.exchanges, turnaround: latency(server.exchanges, server.mean_us), ..Exchanges::default() };
            let flows = vec![Flow { inbound: true, peer: Some(service("orders")), counts }];
            view.observe(&Observation { speaker: service("postgres"), start: at(window), length_ms: 2_000, flows }, at(window + 1));
        }
        let context = context("storefront", at(ONSET));
        assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now: at(ONSET + 4).plus(1_000) })), [expected]);
    }
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

/// A client's windows: `usual` until the onset, `now` from then on.
fn told(usual: &Exchanges, now: &Exchanges) -> (View, UnixMillis) {
    let mut view = View::new(settings());
    for window in 0..ONSET + 4 {
        let counts = if window < ONSET { usual } else { now }.clone();
        let flow = Flow { inbound: false, peer: Some(service("postgres")), counts };
        view.observe(&Observation { speaker: service("orders"), start: at(window), length_ms: 2_000, flows: vec![flow] }, at(window + 1));
    }
    (view, at(ONSET + 4).plus(1_000))
}

fn two_statements(one_us: u64, other_us: u64) -> Exchanges {
    let durations = |each: u64| Durations { ended: 20, sum_us: 20 * each };
    let statements = BTreeMap::from([(1, durations(one_us)), (2, durations(other_us))]);
    Exchanges { exchanges: 40, turnaround: latency(40, one_us.midpoint(other_us)), statements, ..Exchanges::default() }
}

#[test]
fn what_the_server_says_and_what_only_some_statements_feel_is_the_servers() {
    let usual = two_statements(4_000, 4_000);
    let complains = |complaint| Exchanges { complaints: BTreeMap::from([(complaint, 3)]), ..usual.clone() };
    let waiting = Exchanges { stalled: 2, ..usual.clone() };
    let holding = Exchanges { idle_in_transaction_us: 1_900_000, ..usual.clone() };
    for (now, expected) in [
        (usual.clone(), "healthy"),
        (complains(Complaint::TooManyConnections), "postgres database too-many-connections 85"),
        (complains(Complaint::Locks), "postgres database lock-contention 80"),
        (complains(Complaint::ReadOnly), "postgres database read-only 80"),
        (complains(Complaint::Authentication), "postgres database authentication 75"),
        (two_statements(4_000, 400_000), "postgres database slow-statement 80"),
        (two_statements(400_000, 400_000), "postgres database slow 70"),
        (waiting, "postgres database lock-contention 70"),
        (holding, "orders database connections-held 70"),
    ] {
        let (view, asked_at) = told(&usual, &now);
        let context = context("orders", at(ONSET));
        assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now: asked_at })), [expected], "{now:?}");
    }
}

#[test]
fn one_window_that_is_amiss_is_waited_for() {
    let mut view = View::new(settings());
    let asked = |view: &View, windows: i64| {
        let context = context("orders", at(ONSET));
        let asked = Asked { context: &context, epoch: 1, now: at(ONSET + windows).plus(1_000) };
        (view.informed(&asked), said(&view.cause(&asked)))
    };
    for window in 0..ONSET {
        ask(&mut view, window, "orders", "postgres", ANSWERED);
    }
    assert!(asked(&view, 0).0, "all is well, and there is enough of it");
    ask(&mut view, ONSET, "orders", "postgres", SLOW);
    assert_eq!(asked(&view, 1), (false, vec!["healthy".into()]));
    // One more of them, or one that is well again.
    ask(&mut view, ONSET + 1, "orders", "postgres", SLOW);
    assert_eq!(asked(&view, 2), (true, vec!["postgres database slow 70".into()]));
    ask(&mut view, ONSET + 2, "orders", "postgres", ANSWERED);
    assert!(asked(&view, 3).0);
}

#[test]
fn statements_that_always_wait_are_work() {
    let always = Exchanges { stalled: 2, ..two_statements(4_000, 4_000) };
    let (view, now) = told(&always, &always);
    let context = context("orders", at(ONSET));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), ["healthy"]);
}
