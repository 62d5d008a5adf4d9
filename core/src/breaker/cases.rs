//! Every rule of the breaker, with what it says: what, until when, and what to do.

use super::*;
use crate::incident::Mode;

const MINUTE: i64 = 60_000;

fn service(name: &str) -> Service {
    Service { namespace: "shop".into(), name: name.into() }
}

fn operation(number: i64, service_name: &str, action: &str, minute: i64, end: Option<End>) -> Operation {
    let at = UnixMillis(minute * MINUTE);
    Operation { plan: format!("rem-{number}"), service: service(service_name), action: action.into(), at, end: end.map(|end| (at.plus(10_000), end)) }
}

/// Operations on `orders`, two minutes apart, from minute `from` on.
fn restarts(from: i64, ends: &[End]) -> Vec<Operation> {
    ends.iter().enumerate().map(|(i, end)| operation(from + i as i64, "orders", "RestartWorkload", from + 2 * i as i64, Some(*end))).collect()
}

fn history(operations: Vec<Operation>) -> History {
    History { operations, ..History::default() }
}

fn request(service_name: &str, action: &str) -> Request {
    Request { plan: "rem-new".into(), service: service(service_name), action: action.into(), kind: Kind::Apply, approved: false }
}

fn ask(history: &History, minute: i64, request: &Request) -> Result<(), Refusal> {
    permits(&Settings::default(), history, UnixMillis(minute * MINUTE), request)
}

#[track_caller]
fn refused(result: Result<(), Refusal>, rule: Rule, says: &[&str]) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.rule, rule, "{refusal}");
    for part in says {
        assert!(refusal.to_string().contains(part), "`{part}` is not in: {refusal}");
    }
}

#[test]
fn three_failures_open_it_and_one_probe_decides() {
    let mut history = history(restarts(100, &[End::Worse, End::Failed, End::Unknown]));
    let scale = request("orders", "ScaleWorkload");
    // The third ended at minute 104 and ten seconds; it stays open for ten minutes.
    refused(ask(&history, 106, &scale), Rule::Breaker, &["circuit of shop/orders is open", "rem-102", "from 1970-01-01T01:54:10Z on", "lifted"]);
    assert_eq!(ask(&history, 106, &request("cart", "ScaleWorkload")), Ok(()), "another service has its own");
    assert_eq!(ask(&history, 115, &scale), Ok(()));
    let state = |history: &History, minute: i64| circuit(&Settings::default(), history, UnixMillis(minute * MINUTE), &service("orders"));
    assert!(matches!(state(&history, 115), Circuit::HalfOpen { probe: None, .. }));

    history.operations.push(operation(1, "orders", "ScaleWorkload", 115, None));
    refused(ask(&history, 117, &scale), Rule::Breaker, &["half open", "rem-1 is under way"]);
    let probe = Request { plan: "rem-1".into(), ..scale.clone() };
    assert_eq!(ask(&history, 115, &probe), Ok(()), "the probe itself may write");

    history.operations.last_mut().unwrap().end = Some((UnixMillis(116 * MINUTE), End::Improved));
    assert_eq!(state(&history, 118), Circuit::Closed { failures: 0 });
    assert_eq!(ask(&history, 118, &scale), Ok(()));

    history.operations.last_mut().unwrap().end = Some((UnixMillis(116 * MINUTE), End::NoEffect));
    refused(ask(&history, 127, &request("orders", "RollbackWorkload")), Rule::Breaker, &["open since 1970-01-01T01:56:00Z", "from 1970-01-01T02:16:00Z on"]);
}

#[test]
fn what_fails_late_shortens_no_wait() {
    let state = |history: &History, minute: i64| circuit(&Settings::default(), history, UnixMillis(minute * MINUTE), &service("orders"));
    let until = |history: &History, minute: i64| match state(history, minute) {
        Circuit::Open { until, .. } => until,
        other => panic!("{other:?}"),
    };
    // Open until 114:10; the probe begins then, fails, and twenty minutes follow.
    let mut history = history(restarts(100, &[End::Worse, End::Failed, End::Unknown]));
    history.operations.push(operation(1, "orders", "ScaleWorkload", 115, Some(End::Worse)));
    let without = until(&history, 117);
    // The same with one that had begun before it opened and failed while it was open: the probe has now begun too early.
    let begun = UnixMillis(103 * MINUTE);
    history.operations.push(Operation { at: begun, ..operation(2, "orders", "ScaleWorkload", 108, Some(End::Worse)) });
    assert!(until(&history, 117) >= without, "{:?}", state(&history, 117));
    // What is still under way when the wait is over is waited for, whenever it began.
    history.operations.truncate(3);
    history.operations.push(operation(3, "orders", "ScaleWorkload", 103, None));
    assert!(matches!(state(&history, 115), Circuit::HalfOpen { probe: Some(plan), .. } if plan == "rem-3"));
}

#[test]
fn what_helped_begins_the_count_anew_and_no_effect_neither_counts_nor_clears() {
    let scale = request("orders", "ScaleWorkload");
    assert_eq!(ask(&history(restarts(100, &[End::Worse, End::Worse, End::Improved, End::Worse])), 120, &scale), Ok(()));
    assert_eq!(ask(&history(restarts(100, &[End::Worse, End::Worse, End::Refused])), 120, &scale), Ok(()));
    refused(ask(&history(restarts(100, &[End::Worse, End::NoEffect, End::Worse, End::Worse])), 110, &scale), Rule::Breaker, &[]);
}

#[test]
fn an_operation_of_which_nobody_says_how_it_ended_failed() {
    let silent: Vec<Operation> = (0..3).map(|i| operation(i, "orders", "RestartWorkload", 100 + 2 * i, None)).collect();
    assert_eq!(ask(&history(silent.clone()), 140, &request("orders", "ScaleWorkload")), Ok(()), "it may still end well");
    refused(ask(&history(silent), 150, &request("orders", "ScaleWorkload")), Rule::Breaker, &["rem-2"]);
}

#[test]
fn a_service_rests_a_minute_and_has_ten_operations_an_hour() {
    let mut history = history(restarts(100, &[End::Improved]));
    let again = request("orders", "RestartWorkload");
    refused(ask(&history, 101, &again), Rule::Cooldown, &["rem-100", "60 s", "from 1970-01-01T01:41:10Z on"]);
    assert_eq!(permits(&Settings::default(), &history, UnixMillis(101 * MINUTE + 10_000), &again), Ok(()));
    history.operations = restarts(100, &[End::Improved; 10]);
    refused(ask(&history, 130, &again), Rule::Rate, &["10 operations within the hour, of at most 10", "from 1970-01-01T02:40:00Z on"]);
    assert_eq!(ask(&history, 160, &again), Ok(()));
    // Whoever says that nothing was written has still had his plan.
    history.operations = restarts(100, &[End::Refused; 10]);
    refused(ask(&history, 130, &again), Rule::Rate, &[]);
}

#[test]
fn the_same_that_did_not_help_waits_twice_as_long_and_then_for_a_person() {
    let again = request("orders", "RestartWorkload");
    let one = history(restarts(100, &[End::NoEffect]));
    refused(ask(&one, 104, &again), Rule::Strikes, &["did not help once by", "rem-100", "from 1970-01-01T01:45:10Z on", "approval"]);
    assert_eq!(ask(&one, 106, &again), Ok(()));
    let two = history(restarts(100, &[End::NoEffect, End::NoEffect]));
    refused(ask(&two, 111, &again), Rule::Strikes, &["from 1970-01-01T01:52:10Z on"]);
    assert_eq!(ask(&two, 111, &request("orders", "ScaleWorkload")), Ok(()), "another action");

    let mut three = history(restarts(100, &[End::NoEffect; 3]));
    refused(ask(&three, 900, &again), Rule::Strikes, &["did not help 3 times", "a person's approval of this very change"]);
    assert_eq!(ask(&three, 900, &Request { approved: true, ..again.clone() }), Ok(()));
    three.lifts.push(Lift { scope: Scope::Action(service("orders"), "RestartWorkload".into()), at: UnixMillis(200 * MINUTE), by: "ann".into() });
    assert_eq!(ask(&three, 900, &again), Ok(()));
    refused(ask(&three, 199, &again), Rule::Strikes, &[]);
}

#[test]
fn five_failures_anywhere_stop_everything_for_an_hour_or_until_a_person_lifts_it() {
    let mut history = history((0..5).map(|i| operation(i, &format!("s{i}"), "RestartWorkload", 100 + i, Some(End::Worse))).collect());
    let other = request("untouched", "ScaleWorkload");
    refused(ask(&history, 110, &other), Rule::Brake, &["5 operations of all services failed", "from 1970-01-01T02:44:10Z on", "lifted the brake"]);
    assert_eq!(ask(&history, 165, &other), Ok(()));
    history.lifts.push(Lift { scope: Scope::Everything, at: UnixMillis(108 * MINUTE), by: "ann".into() });
    assert_eq!(ask(&history, 110, &other), Ok(()));
    history.operations.pop();
    history.lifts.clear();
    assert_eq!(ask(&history, 110, &other), Ok(()));
}

#[test]
fn pause_and_freeze_stop_everything_but_what_must_be_put_back() {
    let pause = Some(Pause { since: UnixMillis(0), reason: "we look".into() });
    let freeze = |namespaces: &[&str]| Freeze {
        name: "sale".into(),
        namespaces: namespaces.iter().map(|name| (*name).into()).collect(),
        from: UnixMillis(90 * MINUTE),
        until: UnixMillis(120 * MINUTE),
        reason: "the sale".into(),
    };
    let scale = request("orders", "ScaleWorkload");
    let paused = History { pause, freezes: vec![freeze(&[])], ..history(restarts(100, &[End::Worse; 10])) };
    refused(ask(&paused, 110, &scale), Rule::Paused, &["we look", "deleted the Pause"]);
    assert_eq!(ask(&paused, 110, &Request { kind: Kind::Revert, ..scale.clone() }), Ok(()));
    let frozen = |namespaces| History { freezes: vec![freeze(namespaces)], ..History::default() };
    refused(ask(&frozen(&["shop"]), 110, &scale), Rule::Frozen, &["`sale`: the sale", "from 1970-01-01T02:00:00Z on"]);
    assert_eq!(ask(&frozen(&["bank"]), 110, &scale), Ok(()));
    assert_eq!(ask(&frozen(&[]), 120, &scale), Ok(()));
}

#[test]
fn an_action_that_is_wrong_too_often_asks_until_a_person_promotes_it_again() {
    let ends = [End::Improved, End::NoEffect, End::Improved, End::Improved, End::NoEffect];
    let operations: Vec<Operation> =
        ends.iter().enumerate().map(|(i, end)| operation(i as i64, "orders", "RestartWorkload", i as i64 * 100, Some(*end))).collect();
    let mut history = history(operations);
    let again = request("orders", "RestartWorkload");
    refused(ask(&history, 600, &again), Rule::Autonomy, &["3 of its last 5 operations helped, and 80.00 % must", "promotes"]);
    assert_eq!(ask(&history, 600, &Request { approved: true, ..again.clone() }), Ok(()));
    let shown = standing(&Settings::default(), &history, UnixMillis(600 * MINUTE), &service("orders"), "RestartWorkload");
    assert_eq!((shown.operations, shown.helped, shown.evidence.len()), (5, 3, 5));

    // Success while it is asked makes it no freer.
    for number in 5..15 {
        history.operations.push(operation(number, "orders", "RestartWorkload", number * 100, Some(End::Improved)));
    }
    refused(ask(&history, 1600, &again), Rule::Autonomy, &[]);
    let promote = |to| Promotion { service: service("orders"), action: "RestartWorkload".into(), to, at: UnixMillis(1500 * MINUTE), by: "ann".into() };
    history.promotions.push(promote(Mode::Autonomous));
    assert_eq!(ask(&history, 1600, &again), Ok(()));
    history.promotions = vec![promote(Mode::Approve)];
    refused(ask(&history, 1600, &again), Rule::Autonomy, &["as far as Approve"]);
}

#[test]
fn settings_that_contradict_themselves_let_nothing_pass() {
    let settings = Settings { failures_to_open: 0, ..Settings::default() };
    refused(permits(&settings, &History::default(), UnixMillis(0), &request("orders", "ScaleWorkload")), Rule::Breaker, &["a count is 0"]);
    assert_eq!(Settings::default().problem(), None);
}
