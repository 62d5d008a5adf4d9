//! Cases: the shop's storefront calls orders, which is written at the onset; who of its neighbours is told, and by whose word.

use super::super::{Observation, Requests};
use super::*;
use crate::seats::testing::*;

const FAILING: Beat = Beat { requests: 40, errors: 24, unanswered: 0, mean_us: 8_000 };
const SLOW: Beat = Beat { requests: 40, errors: 0, unanswered: 0, mean_us: 120_000 };
/// Enough for the ranks to tell it from chance.
const LASTS: i64 = 10;

/// Who tells what in a window: of the storefront by itself and by the ingress that calls it, and of orders as usual.
fn tell(view: &mut View, window: i64, own: Option<Beat>, callers: Option<Beat>) {
    let requests = |inbound, peer: &str, beat| Requests { identified: true, inbound, peer: Some(service(peer)), counts: counts(beat) };
    let mut speak = |speaker: &str, requests| {
        view.observe(
            &Observation { speaker: service(speaker), pod: pod(speaker), start: at(window), length_ms: 2_000, requests, connections: vec![] },
            at(window + 1),
        );
    };
    if let Some(own) = own {
        speak("storefront", vec![requests(true, "ingress", own), requests(false, "orders", USUAL)]);
    }
    if let Some(callers) = callers {
        speak("ingress", vec![requests(false, "storefront", callers)]);
    }
    speak("orders", vec![requests(true, "storefront", USUAL)]);
}

/// As usual but for what is said, window by window, from the onset on.
fn seen(before: [Option<Beat>; 2], after: [Option<Beat>; 2], windows: i64) -> Vec<(String, bool, Side, Side)> {
    let mut view = View::new(settings());
    // Long before the write all is well, so that there is something usual.
    for window in 0..ONSET {
        let [own, callers] = if window >= ONSET - 4 { before } else { [before[0].map(|_| USUAL), before[1].map(|_| USUAL)] };
        tell(&mut view, window, own, callers);
    }
    for window in ONSET..ONSET + windows {
        tell(&mut view, window, after[0], after[1]);
    }
    let now = at(ONSET + windows).plus(1_000);
    let told = view.indicate(&service("orders"), at(ONSET).plus(-1), now).neighbours;
    told.into_iter().map(|one| (one.service.name, one.calls, one.own, one.callers)).collect()
}

const WELL: [Option<Beat>; 2] = [Some(USUAL), Some(USUAL)];

#[test]
fn who_was_well_and_is_not_since_the_write_is_told_by_both_sides() {
    assert_eq!(seen(WELL, WELL, LASTS), []);
    for ill in [FAILING, SLOW] {
        assert_eq!(seen(WELL, [Some(ill), Some(ill)], LASTS), [("storefront".to_owned(), true, Side::Broken, Side::Broken)]);
        assert_eq!(seen(WELL, [Some(ill), Some(ill)], 4), [("storefront".to_owned(), true, Side::Turning, Side::Turning)], "for too short a time");
        assert_eq!(seen(WELL, [Some(ill), Some(USUAL)], LASTS), [("storefront".to_owned(), true, Side::Broken, Side::Well)], "nobody else sees it");
        assert_eq!(seen([Some(USUAL), None], [Some(ill), None], LASTS), [("storefront".to_owned(), true, Side::Broken, Side::Unknown)]);
    }
}

#[test]
fn who_was_ill_before_does_not_count_and_who_is_silent_says_nothing() {
    let ill = [Some(FAILING), Some(FAILING)];
    assert_eq!(seen(ill, ill, LASTS), []);
    assert_eq!(seen([Some(USUAL), Some(FAILING)], ill, LASTS), [("storefront".to_owned(), true, Side::Broken, Side::WasIll)]);
    assert_eq!(seen(WELL, [None, None], LASTS), []);
    assert_eq!(seen([None, None], ill, LASTS), [], "nothing is known from before");
}

#[test]
fn whose_trouble_comes_from_elsewhere_is_left_out() {
    for (redis, says_so) in [(USUAL, true), (FAILING, true), (FAILING, false)] {
        let mut view = View::new(settings());
        for window in 0..ONSET + LASTS {
            let now = |beat| if window < ONSET { USUAL } else { beat };
            tell(&mut view, window, Some(now(FAILING)), Some(now(FAILING)));
            let requests = |inbound, peer: &str| Requests { identified: true, inbound, peer: Some(service(peer)), counts: counts(now(redis)) };
            let mut speak = |speaker: &str, requests| {
                view.observe(
                    &Observation { speaker: service(speaker), pod: pod(speaker), start: at(window), length_ms: 2_000, requests, connections: vec![] },
                    at(window + 1),
                );
            };
            speak("redis", vec![requests(true, "storefront")]);
            if says_so {
                speak("storefront", vec![requests(false, "redis")]);
            }
        }
        let told = view.neighbours(&service("orders"), at(ONSET), at(ONSET + LASTS).plus(1_000));
        assert_eq!(told.is_empty(), redis.errors > 0 && says_so, "{told:?}");
    }
}

#[test]
fn one_bad_window_is_no_illness() {
    let mut view = View::new(settings());
    for window in 0..ONSET + LASTS {
        let beat = if window == ONSET + LASTS - 1 { FAILING } else { USUAL };
        tell(&mut view, window, Some(beat), Some(beat));
    }
    assert_eq!(view.neighbours(&service("orders"), at(ONSET), at(ONSET + LASTS).plus(1_000)), []);
}

#[test]
fn a_stranger_makes_itself_no_neighbour_and_a_newcomer_is_none() {
    for (told, from) in [("mallory", 0), ("orders", ONSET + 1)] {
        let mut view = View::new(settings());
        for window in 0..ONSET + LASTS {
            tell(&mut view, window, Some(USUAL), Some(USUAL));
            let beat = if window < ONSET { USUAL } else { FAILING };
            let requests = |inbound, peer: &str| Requests { identified: true, inbound, peer: Some(service(peer)), counts: counts(beat) };
            let mut speak = |speaker: &str, requests| {
                view.observe(
                    &Observation { speaker: service(speaker), pod: pod(speaker), start: at(window), length_ms: 2_000, requests, connections: vec![] },
                    at(window + 1),
                );
            };
            // It tells of itself, another one of it, and only one of both of its call: itself all along, or orders after the write.
            let call = if told == "mallory" { vec![requests(false, "orders")] } else { vec![] };
            speak("mallory", [vec![requests(true, "ingress")], call].concat());
            speak("ingress", vec![requests(false, "mallory")]);
            if told == "orders" && window >= from {
                speak("orders", vec![requests(true, "mallory")]);
            }
        }
        assert_eq!(view.neighbours(&service("orders"), at(ONSET), at(ONSET + LASTS).plus(1_000)), [], "{told}");
    }
}

#[test]
fn nobody_vouches_for_itself_as_its_own_caller() {
    let mut view = View::new(settings());
    for window in 0..ONSET + LASTS {
        let beat = if window < ONSET { USUAL } else { FAILING };
        tell(&mut view, window, Some(beat), None);
        let itself = vec![Requests { identified: true, inbound: false, peer: Some(service("storefront")), counts: counts(beat) }];
        view.observe(
            &Observation { speaker: service("storefront"), pod: pod("storefront"), start: at(window), length_ms: 2_000, requests: itself, connections: vec![] },
            at(window + 1),
        );
    }
    let told = view.neighbours(&service("orders"), at(ONSET), at(ONSET + LASTS).plus(1_000));
    assert_eq!(told.iter().map(|one| (one.own, one.callers)).collect::<Vec<_>>(), [(Side::Broken, Side::Unknown)]);
}

#[test]
fn whoever_it_calls_is_near_too_and_only_so_many_are_told() {
    let mut view = View::new(settings());
    for window in 0..ONSET + LASTS {
        let beat = if window < ONSET { USUAL } else { FAILING };
        let callees: Vec<String> = (0..100).map(|n| format!("callee-{n}")).collect();
        let requests = |inbound, peer: &str| Requests { identified: true, inbound, peer: Some(service(peer)), counts: counts(beat) };
        let mut speak = |speaker: &str, requests| {
            view.observe(
                &Observation { speaker: service(speaker), pod: pod(speaker), start: at(window), length_ms: 2_000, requests, connections: vec![] },
                at(window + 1),
            );
        };
        speak("orders", callees.iter().map(|callee| requests(false, callee)).collect());
        callees.iter().for_each(|callee| speak(callee, vec![requests(true, "orders")]));
    }
    let told = view.neighbours(&service("orders"), at(ONSET), at(ONSET + LASTS).plus(1_000));
    assert_eq!(told.len(), MOST_TOLD);
    assert!(told.iter().all(|one| !one.calls && (one.own, one.callers) == (Side::Broken, Side::Broken)), "{told:?}");
}
