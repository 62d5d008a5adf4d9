//! What holds for every history.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000;
const NOW: i64 = 8 * 3_600 * SECOND;

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Improved),
        1 => Just(End::Refused),
        2 => Just(End::NoEffect),
        2 => Just(End::Unknown),
        3 => Just(End::Worse),
        2 => Just(End::Failed),
    ]
}

fn service(number: u8) -> Service {
    Service { namespace: "shop".into(), name: format!("s{number}") }
}

fn operation() -> impl Strategy<Value = Operation> {
    (0_u32..10_000, 0_u8..3, 0_u8..2, 0..NOW / SECOND, 1_i64..900, ends()).prop_map(|(plan, of, action, at, lasts, end)| Operation {
        plan: format!("rem-{plan}"),
        service: service(of),
        action: format!("Action{action}"),
        at: UnixMillis(at * SECOND),
        end: Some((UnixMillis((at + lasts) * SECOND), end)),
    })
}

fn histories() -> impl Strategy<Value = History> {
    (prop::collection::vec(operation(), 0..40), prop::option::weighted(0.1, 0..NOW)).prop_map(|(operations, lifted)| History {
        operations,
        lifts: lifted.map(|at| Lift { scope: Scope::Service(service(0)), at: UnixMillis(at), by: "ann".into() }).into_iter().collect(),
        ..History::default()
    })
}

fn request(kind: Kind) -> Request {
    Request { plan: "rem-new".into(), service: service(0), action: "Action0".into(), kind, approved: false }
}

/// Rules of a service, without the brake that all share: of its default five failures, random histories are full.
fn settings() -> Settings {
    Settings { failures_to_brake: 1_000, ..Settings::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_revert_always_passes(history in histories(), now in 0..NOW) {
        prop_assert_eq!(permits(&Settings::default(), &history, UnixMillis(now), &request(Kind::Revert)), Ok(()));
    }

    #[test]
    fn neither_order_nor_repetition_changes_the_answer(history in histories(), now in 0..NOW, by in any::<prop::sample::Index>()) {
        let answer = permits(&settings(), &history, UnixMillis(now), &request(Kind::Apply));
        let mut other = history.clone();
        if !other.operations.is_empty() {
            let at = by.index(other.operations.len());
            other.operations.rotate_left(at);
            other.operations.push(history.operations[at].clone());
            other.operations.reverse();
        }
        prop_assert_eq!(answer, permits(&settings(), &other, UnixMillis(now), &request(Kind::Apply)));
    }

    #[test]
    fn one_more_failure_lets_nothing_pass_that_did_not(history in histories(), failed in operation(), now in 0..NOW) {
        let end = failed.end.map(|(at, _)| (at, End::Worse));
        let failed = Operation { plan: "rem-worse".into(), service: service(0), end, ..failed };
        let mut worse = history.clone();
        worse.operations.push(failed);
        for settings in [settings(), Settings::default()] {
            if permits(&settings, &worse, UnixMillis(now), &request(Kind::Apply)).is_ok() {
                prop_assert_eq!(permits(&settings, &history, UnixMillis(now), &request(Kind::Apply)), Ok(()));
            }
        }
    }

    #[test]
    fn a_refusal_that_says_until_when_keeps_its_word(history in histories(), now in NOW / 2..NOW) {
        let mut history = history;
        // What is still going on may end in the meantime.
        history.operations.retain(|operation| operation.end.is_some_and(|(at, _)| at.0 <= now));
        // And a person who lifts it in the meantime lets it pass sooner, rightly.
        history.lifts.retain(|lift| lift.at.0 <= now);
        if let Some(Held { refusal, until: Some(until) }) = held(&Settings::default(), &history, UnixMillis(now), &request(Kind::Apply)) {
            prop_assert!(until.0 > now);
            let before = held(&Settings::default(), &history, UnixMillis(until.0 - 1), &request(Kind::Apply));
            prop_assert_eq!(before.map(|held| held.refusal.rule), Some(refusal.rule));
            let then = held(&Settings::default(), &history, until, &request(Kind::Apply));
            prop_assert_ne!(then.map(|held| held.refusal.rule), Some(refusal.rule));
        }
    }

    /// Whoever asks every few seconds and acts whenever it may is held to every limit.
    #[test]
    fn whoever_acts_whenever_it_may_stays_within_every_limit(steps in prop::collection::vec((5_i64..90, 10_i64..200, ends()), 50..400)) {
        let settings = settings();
        let mut history = History::default();
        let mut now = 0;
        for (wait, lasts, end) in steps {
            now += wait * SECOND;
            let ask = Request { plan: format!("rem-{now}"), ..request(Kind::Apply) };
            let state = circuit(&settings, &history, UnixMillis(now), &service(0));
            let may = permits(&settings, &history, UnixMillis(now), &ask).and_then(|()| undisturbed(&settings, &history, UnixMillis(now), &ask, None));
            if may.is_err() {
                continue;
            }
            let begun: Vec<i64> = history.operations.iter().map(|operation| operation.at.0).collect();
            let mut wrote = history.operations.iter().filter_map(|operation| operation.end).filter(|(_, end)| *end != End::Refused);
            prop_assert!(wrote.all(|(at, _)| now - at.0 >= settings.cooldown_ms), "cooldown");
            prop_assert!(begun.iter().filter(|at| now - **at < 3_600 * SECOND).count() < 10, "ten an hour");
            prop_assert!(!matches!(state, Circuit::Open { .. } | Circuit::HalfOpen { probe: Some(_), .. }), "{state:?}");
            let mut ended: Vec<(UnixMillis, End)> = history.operations.iter().filter_map(|operation| operation.end).filter(|(at, _)| at.0 <= now).collect();
            ended.sort();
            if let [.., (_, third), (_, second), (last, first)] = ended.as_slice() {
                let failed = [third, second, first].into_iter().all(|end| end.is_failure());
                prop_assert!(!failed || now - last.0 >= settings.open_ms, "three failures and no wait");
            }
            history.operations.push(Operation { plan: ask.plan, service: ask.service, action: ask.action, at: UnixMillis(now), end: Some((UnixMillis(now + lasts * SECOND), end)) });
        }
    }
}
