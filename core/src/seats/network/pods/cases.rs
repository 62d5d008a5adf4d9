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
    let requests = vec![super::super::Requests { identified: peer, inbound: true, peer: peer.then(|| service("storefront")), counts }];
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

/// The pod that is told of unasked.
fn named(told: &[(Told3, Told3)]) -> Option<String> {
    let (view, now) = since(told);
    let stuck = view.stuck(&service("orders"), now).filter(|stuck| stuck.lasts).map(|stuck| stuck.uid);
    assert_eq!(stuck.is_some(), view.findings(now).iter().any(|finding| finding.summary.starts_with("pod ")), "{told:?}");
    stuck
}

#[test]
fn one_pod_that_ignores_whoever_asks_is_named() {
    let more = (36, 36, 0);
    assert_eq!(named(&[(IGNORES, WORKS), (IGNORES, more), (IGNORES, more), (IGNORES, more)]).as_deref(), Some("a"));
    // Callers leave it, and ask again now and then; that nobody asks is no answer.
    let left = [(IGNORES, more), (IGNORES, more), (UNASKED, more), (IGNORES, more), (IGNORES, more), (UNASKED, more), (UNASKED, more)];
    assert_eq!(named(&left).as_deref(), Some("a"));
    let within = [((20, 11, 9), WORKS), (IGNORES, more), (UNASKED, more), (IGNORES, more), (IGNORES, more), (IGNORES, more)];
    assert_eq!(named(&within).as_deref(), Some("a"), "it stopped in the middle of a window");
}

#[test]
fn what_only_looks_like_it_names_nobody() {
    for (why, told) in [
        ("it answers, late", &[((20, 8, 12), WORKS), ((20, 8, 12), WORKS)][..]),
        ("one worker that is busy for a while", &[(IGNORES, WORKS), (IGNORES, WORKS), (IGNORES, WORKS)]),
        ("one slow answer", &[((1, 0, 1), WORKS), ((0, 0, 1), WORKS), ((0, 0, 1), WORKS), ((0, 0, 1), WORKS), ((0, 0, 1), WORKS)]),
        ("nobody asks it", &[(UNASKED, WORKS), (UNASKED, WORKS), (UNASKED, WORKS)]),
        ("it answers again", &[(IGNORES, WORKS), (IGNORES, WORKS), (IGNORES, WORKS), (IGNORES, WORKS), (WORKS, WORKS)]),
        ("both do", &[(IGNORES, IGNORES); 5]),
        ("the other one may, too", &[(IGNORES, WORKS), (IGNORES, WORKS), (IGNORES, WORKS), (IGNORES, IGNORES)]),
        ("nobody asks the other one", &[(IGNORES, UNASKED); 5]),
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
fn who_is_asked_in_an_incident_suspects_sooner_than_it_tells_by_itself() {
    let (view, now) = since(&[(IGNORES, WORKS); 2]);
    assert!(view.findings(now).is_empty() && view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy);
    let context = context("orders", at(ONSET));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), ["orders application stalled 80"]);
}

#[test]
fn who_is_asked_little_is_given_more_time() {
    for (windows, expected) in [(2, None), (4, Some(false)), (7, Some(false)), (8, Some(true))] {
        let mut view = View::new(settings());
        for window in 0..ONSET + windows {
            tell(&mut view, "a", window, if window < ONSET { (1, 1, 0) } else { (1, 0, 2) }, true);
            tell(&mut view, "b", window, (1, 1, 0), true);
        }
        assert_eq!(view.stuck(&service("orders"), at(ONSET + windows).plus(1_000)).map(|stuck| stuck.lasts), expected, "{windows}");
    }
}

#[test]
fn a_pod_that_is_to_go_is_not_named() {
    let (mut view, _) = since(&[(IGNORES, WORKS)]);
    for window in ONSET + 1..ONSET + 6 {
        let counts = super::super::Counts { requests: 4, no_response: 4, ..super::super::Counts::default() };
        let requests = vec![super::super::Requests { identified: true, inbound: true, peer: Some(service("storefront")), counts }];
        let observation = Observation { speaker: service("orders"), pod: None, start: at(window), length_ms: 2_000, requests, connections: vec![] };
        view.observe(&observation, at(window + 1));
        tell(&mut view, "b", window, WORKS, true);
    }
    assert_eq!(view.stuck(&service("orders"), at(ONSET + 6).plus(1_000)), None);
}

#[test]
fn a_probe_speaks_for_nobody() {
    let (mut view, _) = since(&[(IGNORES, WORKS)]);
    let (mut served, _) = since(&[(IGNORES, WORKS)]);
    for window in ONSET + 1..ONSET + 4 {
        for (view, strangers) in [(&mut view, 2), (&mut served, 40)] {
            tell(view, "a", window, IGNORES, true);
            tell(view, "a", window, (strangers, strangers, 0), false);
            tell(view, "b", window, WORKS, true);
        }
    }
    let stuck = |view: &View| view.stuck(&service("orders"), at(ONSET + 4).plus(1_000)).map(|stuck| stuck.uid);
    assert_eq!(stuck(&view).as_deref(), Some("a"));
    assert_eq!(stuck(&served), None, "those who come from outside are answered");
}

#[test]
fn a_pod_whose_sidecar_is_gone_is_not_named() {
    let (mut view, _) = since(&[(IGNORES, WORKS); 5]);
    for window in ONSET + 5..ONSET + 11 {
        tell(&mut view, "b", window, WORKS, true);
    }
    assert_eq!(view.stuck(&service("orders"), at(ONSET + 11).plus(1_000)), None);
    view.tick(at(ONSET + 100));
    assert_eq!(view.pods.len(), 0);
}

#[test]
fn it_is_found_voted_for_and_no_other_pod_goes() {
    let more = (38, 38, 0);
    // By what both do together nothing is wrong any more.
    let left = [(IGNORES, more), (IGNORES, more), (IGNORES, more), (IGNORES, more), (UNASKED, more), (UNASKED, more), (UNASKED, more), ((1, 0, 0), more)];
    let (view, now) = since(&left);
    let found = view.findings(now);
    assert_eq!((found.len(), found[0].service.clone(), found[0].since), (1, service("orders"), at(ONSET)), "{found:?}");
    assert!(found[0].summary.starts_with("pod a has answered nothing for 16 s, asked 9 times, while 1 others answer; "), "{}", found[0].summary);
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
    // The whole service stands still, and whom nobody asks any more lets nobody down.
    let (stalls, now) = since(&[(UNASKED, (40, 2, 38)); 5]);
    assert_eq!(stalls.judge(&service("orders"), at(ONSET), now).unwrap().fault, Some(super::super::judge::Fault::Stalled));
    assert_eq!(position(&stalls, now, evict("a")), StanceVerdict::NoObjection);
    assert_eq!(position(&stalls, now, evict("unmeshed")), StanceVerdict::Support, "of a pod without a sidecar nobody knows more");
    assert!(view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy);
}

/// The word on pod `a` alone, from the onset on, where `b` does its work; a window is how many ask, are answered, get errors and wait, and the mean in milliseconds.
fn word(windows: &[(u64, u64, u64, u64, u64)], uid: &str, since: i64) -> crate::seats::Indicator {
    let mut view = View::new(settings());
    let observe = |view: &mut View, uid: &str, window: i64, (requests, answered, server_error, stalled, ms): (u64, u64, u64, u64, u64), identified: bool| {
        let counts =
            super::super::Counts { requests, success: answered - server_error, no_response: 0, server_error, stalled, latency: latency(answered, ms * 1_000) };
        let peer = identified.then(|| service("storefront"));
        let requests = vec![super::super::Requests { identified, inbound: true, peer, counts }];
        let observation = Observation { speaker: service("orders"), pod: pod(uid), start: at(window), length_ms: 2_000, requests, connections: vec![] };
        view.observe(&observation, at(window + 1));
    };
    for window in 0..ONSET {
        observe(&mut view, "a", window, (20, 20, 0, 0, 8), true);
        observe(&mut view, "b", window, (20, 20, 0, 0, 8), true);
    }
    for (told, window) in windows.iter().zip(ONSET..) {
        observe(&mut view, "a", window, *told, true);
        observe(&mut view, "b", window, (20, 20, 14, 0, 8), true);
        observe(&mut view, "probed", window, (4, 4, 0, 0, 1), false);
    }
    let now = at(ONSET + i64::try_from(windows.len()).unwrap()).plus(1_000);
    assert!(!view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy || windows.is_empty(), "the service as a whole is ill");
    view.indicator_of(&service("orders"), &[uid.to_owned(), "unknown".to_owned()], at(since), now).unwrap()
}

#[test]
fn one_pod_is_judged_by_its_own_answers_and_the_services_usual_ones() {
    const FINE: (u64, u64, u64, u64, u64) = (5, 5, 0, 0, 9);
    let fine = word(&[FINE; 4], "a", ONSET - 1);
    assert!(fine.live && fine.healthy && (fine.requests, fine.errors) == (20, 0), "{fine:?}");
    assert!(fine.summary.contains("20 answers") && !fine.summary.contains("level alone"), "{fine:?}");
    for (why, window) in [("errors", (5, 5, 2, 0, 9)), ("late", (5, 5, 0, 0, 90)), ("asked and silent", (3, 0, 0, 3, 0))] {
        let ill = word(&[window; 4], "a", ONSET - 1);
        assert!(ill.live && !ill.healthy && ill.errors + u64::from(why == "late") > 0, "{why}: {ill:?}");
    }
    // Its newest windows count, and those since then alone.
    let mended = word(&[(5, 5, 5, 0, 9), FINE, FINE, FINE, FINE], "a", ONSET - 1);
    assert!(mended.live && mended.healthy && mended.errors == 5, "{mended:?}");
    let (early, late) = (word(&[(5, 5, 5, 0, 9), FINE, FINE], "a", ONSET - 1), word(&[(5, 5, 5, 0, 9), FINE, FINE], "a", ONSET));
    assert!(!early.healthy && late.live && late.healthy, "{early:?} {late:?}");
    // Nobody asks it, it is too few to tell, kubelets alone ask it, or nobody knows it.
    for (why, told, uid) in
        [("unasked", vec![(0, 0, 0, 0, 0); 4], "a"), ("few", vec![(2, 2, 2, 0, 9)], "a"), ("probed", vec![FINE; 4], "probed"), ("unknown", vec![FINE; 4], "c")]
    {
        let nothing = word(&told, uid, ONSET - 1);
        assert!(!nothing.live && !nothing.healthy, "{why}: {nothing:?}");
    }
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
