//! Cases: of several pods one that is asked and does not answer, and everything that only looks like it; and the word on single pods.

use super::*;
use crate::action::{Action, Evict, Restart};
use crate::ballot::{Opinion, Proposal, StanceVerdict};
use crate::seats::testing::*;
use crate::seats::{Asked, Indicator, Seat as _};

/// Requests that were begun, answered and are waited for, in a window of one pod.
type Told3 = (u64, u64, u64);
const WORKS: Told3 = (20, 20, 0);
const IGNORES: Told3 = (2, 0, 2);
const UNASKED: Told3 = (0, 0, 0);

fn tell(view: &mut View, uid: &str, window: i64, (requests, answered, stalled): Told3, peer: bool) {
    hear(view, uid, window, Counts { requests, success: answered, no_response: 0, server_error: 0, stalled, latency: latency(answered, 8_000) }, peer);
}

fn hear(view: &mut View, uid: &str, window: i64, counts: Counts, peer: bool) {
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

#[test]
fn pods_are_bounded() {
    let mut view = View::new(settings());
    for n in 0..MAX_PODS + 10 {
        tell(&mut view, &format!("p{n}"), 1, (u64::MAX, 1, u64::MAX), true);
    }
    tell(&mut view, "p3", 1, (u64::MAX, 1, u64::MAX), true);
    assert_eq!(view.pods.len(), MAX_PODS);
    assert!(size_of::<Heard>() <= 32, "there are {} of them", MAX_PODS * HISTORY);
    assert_eq!(word(&view, &["p3"], at(0), at(2).plus(1_000)).requests, u64::from(u32::MAX));
}

// --- the word on single pods ---

const FINE: Beat = Beat { requests: 20, errors: 0, unanswered: 0, mean_us: 8_000 };
const FAILS: Beat = Beat { errors: 20, ..FINE };
/// More than one in ten, of one pod; not of two.
const FAILS_SOME: Beat = Beat { errors: 3, ..FINE };
const HANGS: Beat = Beat { requests: 2, errors: 0, unanswered: 2, mean_us: 0 };
const ALONE: Beat = Beat { requests: 0, ..FINE };
/// What begins with the window of the onset begins after it.
const WRITTEN: UnixMillis = UnixMillis(START.0 + ONSET * GRID - 1);

/// Two pods that do as the first pair says until the onset and then as the second does, for so many windows.
fn then(before: [Beat; 2], after: [Beat; 2], windows: i64) -> (View, UnixMillis) {
    let mut view = View::new(settings());
    for window in 0..ONSET + windows {
        let [a, b] = if window < ONSET { before } else { after };
        hear(&mut view, "a", window, counts(a), true);
        hear(&mut view, "b", window, counts(b), true);
    }
    (view, at(ONSET + windows).plus(1_000))
}

fn word(view: &View, pods: &[&str], since: UnixMillis, now: UnixMillis) -> Indicator {
    let pods: Vec<String> = pods.iter().map(|uid| (*uid).to_owned()).collect();
    view.indicator_of(&service("orders"), &pods, since, now).unwrap()
}

/// Whether the pods are well since the onset; `None` without data.
fn well(view: &View, pods: &[&str], now: UnixMillis) -> Option<bool> {
    let word = word(view, pods, WRITTEN, now);
    assert!(word.live || !word.healthy, "{word:?}");
    word.live.then_some(word.healthy)
}

fn whole(view: &View, now: UnixMillis) -> Option<bool> {
    let word = view.indicator(&service("orders"), WRITTEN, now).unwrap();
    word.live.then_some(word.healthy)
}

#[test]
fn a_pod_is_judged_by_itself_whatever_the_others_do() {
    let (view, now) = then([FINE; 2], [FINE, FAILS], 4);
    assert_eq!((well(&view, &["a"], now), well(&view, &["b"], now), whole(&view, now)), (Some(true), Some(false), Some(false)));
    let (view, now) = then([FINE; 2], [FAILS_SOME, FINE], 4);
    assert_eq!((well(&view, &["a"], now), well(&view, &["b"], now), whole(&view, now)), (Some(false), Some(true), Some(true)));
    let told = word(&view, &["a"], WRITTEN, now);
    assert_eq!(told.summary, "pod a answers 20 a window, 12 of 80 failed, 0 unanswered, mean 8000 us, usual 8000 us");
    assert_eq!((told.requests, told.errors, told.windows.len(), told.p95_us, told.latency.len()), (80, 12, 4, 0, 0));
}

#[test]
fn a_pod_is_measured_by_its_share_of_what_is_usual() {
    // Half of its share is enough to call it late, though it is little for the service.
    let (view, now) = then([FINE; 2], [Beat { requests: 10, mean_us: 900_000, ..FINE }, FINE], 4);
    assert_eq!((well(&view, &["a"], now), well(&view, &["b"], now)), (Some(false), Some(true)));
    let holds = |unanswered| Beat { requests: 20 + unanswered, unanswered, ..FINE };
    for (now_held, expected) in [(15, Some(true)), (24, Some(false))] {
        let (view, now) = then([holds(15); 2], [holds(now_held), holds(15)], 4);
        assert_eq!(well(&view, &["a"], now), expected, "{now_held}");
    }
}

#[test]
fn a_pod_of_which_nothing_is_known_is_no_data() {
    let (view, now) = then([FINE; 2], [ALONE, FINE], 4);
    assert_eq!(well(&view, &["a"], now), None, "nobody asks it any more");
    let (mut view, now) = then([FINE; 2], [FINE; 2], 4);
    assert_eq!((well(&view, &["z"], now), well(&view, &[], now)), (None, None));
    assert_eq!(word(&view, &["z"], WRITTEN, now).summary, "no sidecar of a pod z of shop/orders has told of anything since");
    assert!(!view.indicator_of(&service("storefront"), &["a".into()], WRITTEN, now).unwrap().live, "it is another service's");
    assert_eq!(word(&view, &["a"], now, now), Indicator { summary: word(&view, &["a"], now, now).summary, ..Indicator::default() }, "not since");
    for window in ONSET + 4..ONSET + 8 {
        hear(&mut view, "b", window, counts(FINE), true);
    }
    assert_eq!(well(&view, &["a"], at(ONSET + 8).plus(1_000)), None, "its sidecar is gone");
}

#[test]
fn a_pod_that_is_asked_rarely_is_judged_by_a_few_answers() {
    let rarely = Beat { requests: 1, ..FINE };
    for (windows, expected) in [(2, None), (3, Some(true))] {
        let (view, now) = then([FINE; 2], [rarely, FINE], windows);
        assert_eq!(well(&view, &["a"], now), expected, "{windows}");
    }
    let mut view = then([FINE; 2], [FINE; 2], 0).0;
    for window in ONSET..ONSET + 12 {
        let asked = if window % 3 == 0 { Beat { requests: 1, errors: 1, ..FINE } } else { ALONE };
        hear(&mut view, "a", window, counts(asked), true);
        // As many as are let pass for probes must not hide that all others fail.
        hear(&mut view, "a", window, counts(Beat { requests: PROBES, ..FINE }), false);
        hear(&mut view, "b", window, counts(FINE), true);
    }
    assert_eq!(well(&view, &["a"], at(ONSET + 12).plus(1_000)), Some(false));
}

#[test]
fn what_was_before_does_not_count() {
    let (mut view, _) = then([FINE; 2], [FAILS, FINE], 4);
    for window in ONSET + 4..ONSET + 6 {
        hear(&mut view, "a", window, counts(FINE), true);
        hear(&mut view, "b", window, counts(FINE), true);
    }
    let now = at(ONSET + 6).plus(1_000);
    let told = word(&view, &["a"], at(ONSET + 4).plus(-1), now);
    assert!(told.live && told.healthy && told.requests == 40 && told.errors == 0, "{told:?}");
    assert_eq!(well(&view, &["a"], now), Some(false));
}

#[test]
fn a_pod_that_answers_nobody_is_ill() {
    for (windows, expected) in [(1, None), (2, Some(false)), (6, Some(false))] {
        let (view, now) = then([FINE; 2], [HANGS, FINE], windows);
        assert_eq!(well(&view, &["a"], now), expected, "{windows}");
        assert_eq!(well(&view, &["a", "b"], now), Some(expected.is_none()), "the other one does not hide it");
    }
    let (mut view, now) = then([FINE; 2], [HANGS, FINE], 4);
    assert_eq!(word(&view, &["a"], WRITTEN, now).summary, "pod a answers nothing, asked 8 times");
    hear(&mut view, "a", ONSET + 4, counts(FINE), true);
    assert_eq!(well(&view, &["a"], at(ONSET + 5).plus(1_000)), Some(true), "it answers again");

    let mut view = then([FINE; 2], [FINE; 2], 0).0;
    for window in ONSET..ONSET + 4 {
        tell(&mut view, "a", window, (u64::from(window == ONSET), 0, 1), true);
    }
    assert_eq!(well(&view, &["a"], at(ONSET + 4).plus(1_000)), None, "one answer that is slow");
    // Who waits for news by the service's own doing is not let down.
    let held = |requests| Beat { requests, unanswered: 5, ..FINE };
    let (view, now) = then([held(25); 2], [Beat { unanswered: 4, ..held(4) }, held(25)], 4);
    assert_eq!(well(&view, &["a"], now), None);
}

#[test]
fn probes_speak_neither_for_a_pod_nor_against_it() {
    let strangers = |requests, errors| Beat { requests, errors, ..FINE };
    let few = Beat { requests: 4, ..FINE };
    for (why, callers, strangers, expected) in [
        ("they alone are nobody", ALONE, strangers(2, 0), None),
        ("not even as many as they may be", ALONE, strangers(PROBES, PROBES), None),
        ("more than they may be are people", ALONE, strangers(40, 0), Some(true)),
        ("who see what is wrong", ALONE, strangers(40, 20), Some(false)),
        ("it refuses them while it starts", few, strangers(2, 2), Some(true)),
    ] {
        let mut view = then([FINE; 2], [FINE; 2], 0).0;
        for window in ONSET..ONSET + 4 {
            hear(&mut view, "a", window, counts(callers), true);
            hear(&mut view, "a", window, counts(strangers), false);
            hear(&mut view, "b", window, counts(FINE), true);
        }
        assert_eq!(well(&view, &["a"], at(ONSET + 4).plus(1_000)), expected, "{why}");
    }
    // Much of what is usual is probes here, which are quick.
    let mut view = View::new(settings());
    for window in 0..ONSET + 4 {
        for uid in ["a", "b"] {
            hear(&mut view, uid, window, counts(Beat { requests: 1, mean_us: 60_000, ..FINE }), true);
            hear(&mut view, uid, window, counts(Beat { requests: 2, mean_us: 1_000, ..FINE }), false);
        }
    }
    assert_eq!(well(&view, &["a"], at(ONSET + 4).plus(1_000)), Some(true), "it takes no longer than ever");
}

#[test]
fn several_pods_are_judged_together_and_none_is_well_for_another() {
    let (view, now) = then([FINE; 2], [FINE; 2], 4);
    assert_eq!((well(&view, &["a", "b"], now), well(&view, &["a", "z"], now)), (Some(true), None));
    assert_eq!(word(&view, &["a", "b"], WRITTEN, now).summary, "2 pods answer 40 a window, 0 of 160 failed, 0 unanswered, mean 8000 us, usual 8000 us");
    assert_eq!(word(&view, &["a", "a"], WRITTEN, now).requests, 80);
    let (view, now) = then([FINE; 2], [FAILS, FINE], 4);
    assert_eq!((well(&view, &["a", "b"], now), well(&view, &["a", "z"], now)), (Some(false), Some(false)));
}

#[test]
fn without_a_past_of_the_service_the_word_is_by_level_alone() {
    for (beat, expected) in [(FINE, Some(true)), (FAILS_SOME, Some(false))] {
        let mut view = View::new(settings());
        (ONSET..ONSET + 4).for_each(|window| hear(&mut view, "a", window, counts(beat), true));
        let now = at(ONSET + 4).plus(1_000);
        assert_eq!(well(&view, &["a"], now), expected);
        assert!(word(&view, &["a"], WRITTEN, now).summary.ends_with("mean 8000 us, by level alone"));
    }
}
