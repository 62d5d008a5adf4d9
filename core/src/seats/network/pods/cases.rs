//! Cases: of several pods one that is asked and does not answer, and everything that only looks like it.

use super::*;
use crate::action::{Action, Evict, Restart};
use crate::ballot::{Opinion, Proposal, StanceVerdict};
use crate::seats::testing::*;
use crate::seats::{Asked, Seat as _};

/// Requests that were begun, answered and are waited for, in a window of one pod.
type Told3 = (u64, u64, u64);
const WORKS: Told3 = (20, 20, 0);
const IGNORES: Told3 = (2, 0, 2);
const UNASKED: Told3 = (0, 0, 0);

fn tell(view: &mut View, uid: &str, window: i64, (requests, answered, stalled): Told3, peer: bool) {
    let counts = super::super::Counts { requests, success: answered, no_response: 0, server_error: 0, stalled, latency: latency(answered, 8_000) };
    let requests = vec![super::super::Requests { inbound: true, peer: peer.then(|| service("storefront")), counts }];
    let observation = Observation { speaker: service("orders"), pod: pod(uid), start: at(window), length_ms: 2_000, requests, connections: vec![] };
    view.observe(&observation, at(window + 1));
}

/// Two pods that work until the onset, and then do as told, window by window.
fn since(told: &[(Told3, Told3)]) -> (View, UnixMillis) {
    let mut view = View::new(settings());
    for window in 0..ONSET {
        tell(&mut view, "a", window, WORKS, true);
        tell(&mut view, "b", window, WORKS, true);
    }
    for ((a, b), window) in told.iter().zip(ONSET..) {
        tell(&mut view, "a", window, *a, true);
        tell(&mut view, "b", window, *b, true);
    }
    (view, at(ONSET + i64::try_from(told.len()).unwrap()).plus(1_000))
}

fn named(told: &[(Told3, Told3)]) -> Option<String> {
    let (view, now) = since(told);
    view.stuck(&service("orders"), now).map(|stuck| stuck.uid)
}

#[test]
fn one_pod_that_ignores_whoever_asks_is_named() {
    let more = (36, 36, 0);
    assert_eq!(named(&[(IGNORES, WORKS), (IGNORES, more)]).as_deref(), Some("a"));
    // Callers leave it, and ask again now and then; that nobody asks is no answer.
    assert_eq!(named(&[(IGNORES, more), (IGNORES, more), (UNASKED, more), (UNASKED, more), (UNASKED, more)]).as_deref(), Some("a"));
    assert_eq!(named(&[((20, 11, 9), WORKS), (IGNORES, more), (UNASKED, more), (IGNORES, more)]).as_deref(), Some("a"), "it stopped in the middle of a window");
}

#[test]
fn what_only_looks_like_it_names_nobody() {
    for (why, told) in [
        ("it answers, late", &[((20, 8, 12), WORKS), ((20, 8, 12), WORKS)][..]),
        ("one window", &[(IGNORES, WORKS)]),
        ("nobody asks it", &[(UNASKED, WORKS), (UNASKED, WORKS), (UNASKED, WORKS)]),
        ("it answers again", &[(IGNORES, WORKS), (IGNORES, WORKS), (WORKS, WORKS)]),
        ("both do", &[(IGNORES, IGNORES), (IGNORES, IGNORES)]),
        ("the other one may, too", &[(IGNORES, WORKS), (IGNORES, IGNORES)]),
        ("nobody asks the other one", &[(IGNORES, UNASKED), (IGNORES, UNASKED)]),
    ] {
        assert_eq!(named(told), None, "{why}");
    }
}

#[test]
fn who_has_always_held_requests_open_is_not_stuck() {
    let mut view = View::new(settings());
    for window in 0..ONSET + 3 {
        // Every other window somebody waits for news and gets none.
        tell(&mut view, "a", window, if window % 2 == 0 && window < ONSET { (2, 2, 1) } else { (1, 0, 2) }, true);
        tell(&mut view, "b", window, WORKS, true);
    }
    assert_eq!(view.stuck(&service("orders"), at(ONSET + 3).plus(1_000)), None);
}

#[test]
fn a_probe_speaks_for_nobody() {
    let (mut view, _) = since(&[(IGNORES, WORKS)]);
    for window in ONSET + 1..ONSET + 4 {
        tell(&mut view, "a", window, IGNORES, true);
        tell(&mut view, "a", window, (1, 1, 0), false);
        tell(&mut view, "b", window, WORKS, true);
    }
    assert_eq!(view.stuck(&service("orders"), at(ONSET + 4).plus(1_000)).map(|stuck| stuck.uid).as_deref(), Some("a"));
}

#[test]
fn a_pod_whose_sidecar_is_gone_is_not_named() {
    let (mut view, _) = since(&[(IGNORES, WORKS), (IGNORES, WORKS)]);
    for window in ONSET + 2..ONSET + 8 {
        tell(&mut view, "b", window, WORKS, true);
    }
    assert_eq!(view.stuck(&service("orders"), at(ONSET + 8).plus(1_000)), None);
    view.tick(at(ONSET + 100));
    assert_eq!(view.pods.len(), 0);
}

#[test]
fn it_is_found_voted_for_and_no_other_pod_goes() {
    let more = (38, 38, 0);
    // By what both do together nothing is wrong any more.
    let (view, now) = since(&[(IGNORES, more), (IGNORES, more), (UNASKED, more), (UNASKED, more), (UNASKED, more), ((1, 0, 0), more)]);
    let found = view.findings(now);
    assert_eq!((found.len(), found[0].service.clone(), found[0].since), (1, service("orders"), at(ONSET)), "{found:?}");
    assert!(found[0].summary.starts_with("pod a has answered nothing for 12 s, asked 5 times, while 1 others answer; "), "{}", found[0].summary);
    let context = context("orders", at(ONSET));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now });
    assert_eq!(said(&opinion), ["orders application stalled 80"]);
    let Opinion::Cause(vote) = opinion else { panic!() };
    assert_eq!(vote.hypotheses[0].evidence[0].from, at(ONSET));

    let evict = |pod: &str| Action::EvictPod(Evict { pod: pod.into(), uid: pod.into() });
    let restart = Action::RestartWorkload(Restart { marker: "i.1".into() });
    let position = |view: &View, now, action| bare_position(view, &context, now, &Proposal { action, target: target("orders") }).verdict;
    assert_eq!(position(&view, now, evict("a")), StanceVerdict::Support);
    assert_eq!(position(&view, now, evict("b")), StanceVerdict::Veto);
    assert_eq!(position(&view, now, restart), StanceVerdict::Support);
    assert!(!view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy);

    let (view, now) = since(&[(WORKS, WORKS); 4]);
    assert_eq!(position(&view, now, evict("a")), StanceVerdict::Veto, "it answers");
    assert_eq!(position(&view, now, evict("c")), StanceVerdict::NoObjection, "nothing is known of it");
    assert!(view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy);
}

#[test]
fn pods_are_bounded() {
    let mut view = View::new(settings());
    for n in 0..MAX_PODS + 10 {
        tell(&mut view, &format!("p{n}"), 1, (u64::MAX, 1, u64::MAX), true);
    }
    tell(&mut view, "p3", 1, (u64::MAX, 1, u64::MAX), true);
    assert_eq!(view.pods.len(), MAX_PODS);
}
