//! What is decided by which figures, and what is said of it.

use super::*;
use crate::ids::Millionths;

const MINUTE: i64 = 60_000;
const NOW: UnixMillis = UnixMillis(1_000 * MINUTE);
const MEBIBYTE: u64 = 1 << 20;
const HOUR_MS: i64 = 60 * MINUTE;

/// A service of so many replicas, each of 500m and 512 MiB, for ten minutes at this use of them.
fn service(replicas: u32, cpu_percent: u64, latency_ms: u64) -> Observation {
    let each = u64::from(replicas);
    let sample = |i: i64| Sample {
        at: NOW.plus(-15_000 * (40 - i)),
        ready: replicas,
        cpu_milli: Some(each * 5 * cpu_percent),
        memory_bytes: Some(each * 205 * MEBIBYTE),
        latency_p95_us: Some(latency_ms * 1_000),
        errors: Some(Millionths::new(100)),
    };
    let container = Container {
        name: "app".into(),
        cpu: Allocation { request: 500, limit: Some(1_000), restarts: false },
        memory: Allocation { request: 512 * MEBIBYTE, limit: Some(512 * MEBIBYTE), restarts: false },
        ..Container::default()
    };
    Observation { replicas, ready: replicas, containers: vec![container], samples: (0..=40).map(sample).collect(), ..Observation::default() }
}

fn settings() -> Settings {
    let objectives = Objectives { latency_p95_us: Some(200_000), errors: Some(Millionths::new(10_000)) };
    Settings { objectives, ..Settings::default() }
}

fn ask(observation: &Observation) -> Decision {
    decide(&settings(), &State::default(), observation, NOW)
}

fn after(changes: &[(i64, u32, u32)]) -> State {
    let changes = changes.iter().map(|(minutes_ago, from, to)| Change { at: NOW.plus(-minutes_ago * MINUTE), from: *from, to: *to }).collect();
    State { changes, ..State::default() }
}

#[track_caller]
fn scales(decision: &Decision, from: u32, to: u32) {
    assert!(matches!(decision, Decision::Scale { from: f, to: t, .. } if (*f, *t) == (from, to)), "{decision:?}");
}

#[track_caller]
fn holds(decision: &Decision) -> Reason {
    let Decision::Hold { reason, .. } = decision else { panic!("{decision:?}") };
    reason.clone()
}

#[test]
fn above_the_level_up_below_it_down_and_nothing_between() {
    // Two services, one at 85 %, one at 45 %: the one scales 2 → 3, the other is left alone.
    scales(&ask(&service(2, 85, 90)), 2, 3);
    assert_eq!(holds(&ask(&service(2, 45, 90))), Reason::InBand);
    assert_eq!(holds(&ask(&service(4, 79, 90))), Reason::InBand);
    assert_eq!(holds(&ask(&service(4, 41, 90))), Reason::InBand);
    scales(&ask(&service(6, 20, 40)), 6, 3);
    assert_eq!(holds(&ask(&service(2, 10, 40))), Reason::AtMinimum);
}

#[test]
fn it_says_why_with_the_numbers() {
    let decision = ask(&service(2, 85, 90));
    for part in [
        "2 → 3 replicas",
        "CPU is above 80.0 %",
        "850m used",
        "at 500m each",
        "3 needed, 2 to 10 allowed",
        "2 of 2 ready",
        "CPU 85.0 %",
        "latency 45.0 %",
        "5 samples",
    ] {
        assert!(decision.rationale().contains(part), "`{part}` is not in: {}", decision.rationale());
    }
    let held = ask(&service(2, 45, 90));
    assert!(held.rationale().starts_with("hold: use is where it should be. 2 of 2 ready; CPU 45.0 %"), "{}", held.rationale());
}

#[test]
fn beyond_the_limits_it_says_what_people_may_allow() {
    let mut five = settings();
    five.replicas.max = 5;
    let decision = decide(&five, &State::default(), &service(5, 95, 90), NOW);
    assert_eq!(holds(&decision), Reason::AtMaximum { wanted: 7 });
    five.replicas.max = 6;
    scales(&decide(&five, &State::default(), &service(5, 95, 90), NOW), 5, 6);
}

#[test]
fn a_step_is_no_larger_than_allowed() {
    let mut flooded = service(3, 200, 90);
    scales(&ask(&flooded), 3, 7);
    flooded.replicas = 3;
    let careful = Settings { pace: Pace { largest_up: 1_000_000, replicas_up: 1, ..Pace::default() }, ..settings() };
    scales(&decide(&careful, &State::default(), &flooded, NOW), 3, 4);
    scales(&ask(&service(10, 5, 20)), 10, 5);
}

#[test]
fn a_rise_is_followed_to_where_it_will_be() {
    let mut rising = service(4, 85, 90);
    let level = ask(&rising);
    scales(&level, 4, 5);
    for (sample, i) in rising.samples.iter_mut().rev().zip(0_u64..) {
        sample.cpu_milli = Some(1_900_u64.saturating_sub(i * 75));
    }
    let Decision::Scale { to, rationale, .. } = ask(&rising) else { panic!() };
    assert_eq!(to, 7, "{rationale}");
    assert!(rationale.contains("450m more by the present rise"), "{rationale}");
}

#[test]
fn one_wild_sample_moves_nothing() {
    let mut quiet = service(4, 60, 90);
    quiet.samples[39].cpu_milli = Some(90_000);
    assert_eq!(holds(&ask(&quiet)), Reason::InBand);
    let mut low = service(6, 20, 40);
    low.samples[30].cpu_milli = Some(0);
    low.samples[31].cpu_milli = Some(9_000);
    scales(&ask(&low), 6, 3);
}

#[test]
fn what_is_missing_or_old_is_no_ground() {
    let without = |change: &dyn Fn(&mut Sample)| {
        let mut busy = service(2, 95, 90);
        busy.samples.iter_mut().for_each(change);
        holds(&ask(&busy))
    };
    assert_eq!(without(&|sample| sample.cpu_milli = None), Reason::Missing { what: "CPU".into() });
    assert_eq!(without(&|sample| sample.memory_bytes = None), Reason::Missing { what: "memory".into() });
    assert_eq!(without(&|sample| sample.latency_p95_us = None), Reason::Missing { what: "latency".into() });
    assert_eq!(without(&|sample| sample.errors = None), Reason::Missing { what: "errors".into() });
    assert_eq!(without(&|sample| sample.at = sample.at.plus(-61_000)), Reason::Stale { age_ms: 61_000 });
    assert_eq!(without(&|sample| sample.at = sample.at.plus(HOUR_MS)), Reason::Missing { what: "any figure".into() });
    let mut few = service(2, 95, 90);
    few.samples.drain(..39);
    assert_eq!(holds(&ask(&few)), Reason::Missing { what: "CPU".into() });
    // With a gap in the longer window nobody knows how high it came.
    let mut gap = service(6, 20, 40);
    gap.samples.drain(25..32);
    assert!(matches!(holds(&ask(&gap)), Reason::Missing { .. }));
    assert_eq!(holds(&ask(&Observation::default())), Reason::ScaledToZero);
    assert_eq!(holds(&ask(&Observation { ready: 0, ..service(2, 95, 90) })), Reason::NothingReady);
}

#[test]
fn slow_requests_call_for_more_only_where_cpu_is_short() {
    scales(&ask(&service(4, 60, 190)), 4, 5);
    assert_eq!(holds(&ask(&service(4, 20, 500))), Reason::SlowButIdle);
}

#[test]
fn no_step_down_while_users_suffer_or_pods_mix() {
    let mut low = service(6, 15, 40);
    scales(&ask(&low), 6, 3);
    low.samples[30].latency_p95_us = Some(300_000);
    low.samples[31].latency_p95_us = Some(170_000);
    assert_eq!(holds(&ask(&low)), Reason::ObjectiveAtRisk);
    let mut failing = service(6, 15, 40);
    failing.samples.iter_mut().skip(30).for_each(|sample| sample.errors = Some(Millionths::new(20_000)));
    assert_eq!(holds(&ask(&failing)), Reason::ObjectiveAtRisk);
    assert_eq!(holds(&ask(&Observation { rolling_out: true, ..service(6, 15, 40) })), Reason::RollingOut);
    assert_eq!(holds(&ask(&Observation { ready: 5, ..service(6, 15, 40) })), Reason::Starting);
}

#[test]
fn what_starts_is_waited_for() {
    let starting = Observation { replicas: 4, ..service(2, 90, 90) };
    assert_eq!(holds(&ask(&starting)), Reason::Starting);
}

#[test]
fn memory_alone_is_no_matter_of_replicas_unless_they_share_it() {
    let mut full = service(4, 50, 90);
    full.samples.iter_mut().for_each(|sample| sample.memory_bytes = Some(4 * 480 * MEBIBYTE));
    assert_eq!(holds(&ask(&full)), Reason::MemoryAlone);
    let shared = Settings { weights: Weights { memory_is_shared: true, ..Weights::default() }, ..settings() };
    scales(&decide(&shared, &State::default(), &full, NOW), 4, 6);
}

#[test]
fn it_rests_and_does_not_turn_round_at_once() {
    let (busy, idle) = (service(4, 95, 90), service(4, 15, 40));
    let decide = |state: &State, seen: &Observation| decide(&settings(), state, seen, NOW);
    assert_eq!(
        holds(&decide(&State { changes: vec![Change { at: NOW.plus(-30_000), from: 2, to: 4 }], ..State::default() }, &busy)),
        Reason::Cooldown { until: NOW.plus(30_000) }
    );
    scales(&decide(&after(&[(2, 2, 4)]), &busy), 4, 6);
    assert_eq!(holds(&decide(&after(&[(2, 2, 4)]), &idle)), Reason::Hysteresis { until: NOW.plus(3 * MINUTE) });
    scales(&decide(&after(&[(6, 2, 4)]), &idle), 4, 2);
    // Down again after down, and up after down, unless it had turned round just before.
    scales(&decide(&after(&[(2, 8, 4)]), &idle), 4, 2);
    scales(&decide(&after(&[(2, 8, 4)]), &busy), 4, 6);
    assert_eq!(holds(&decide(&after(&[(9, 4, 8), (3, 8, 4)]), &busy)), Reason::Hysteresis { until: NOW.plus(2 * MINUTE) });
    scales(&decide(&after(&[(12, 4, 8), (6, 8, 4), (2, 5, 4)]), &busy), 4, 6);
}

#[test]
fn the_hours_last_operations_are_kept_for_up() {
    let (busy, idle) = (service(4, 95, 90), service(4, 15, 40));
    let six: Vec<(i64, u32, u32)> = (0..6).map(|i| (50 - i * 8, 9 - i as u32, 8 - i as u32)).collect();
    assert_eq!(holds(&decide(&settings(), &after(&six), &idle, NOW)), Reason::KeptForUp { until: NOW.plus(10 * MINUTE) });
    scales(&decide(&settings(), &after(&six), &busy, NOW), 4, 6);
    let ten: Vec<(i64, u32, u32)> = (0..10).map(|i| (50 - i * 4, 2, 3)).collect();
    assert_eq!(holds(&decide(&settings(), &after(&ten), &busy, NOW)), Reason::Rate { until: NOW.plus(10 * MINUTE) });
}

#[test]
fn freezes_and_windows_hold_it_and_bad_settings_too() {
    let interval = |from: i64, until: i64| Interval { from: NOW.plus(from * MINUTE), until: NOW.plus(until * MINUTE), reason: "the sale".into() };
    let ask = |settings: Settings| holds(&decide(&settings, &State::default(), &service(2, 95, 90), NOW));
    assert_eq!(ask(Settings { freezes: vec![interval(-5, 5)], ..settings() }), Reason::Frozen { until: NOW.plus(5 * MINUTE), because: "the sale".into() });
    assert_eq!(ask(Settings { open: Some(vec![interval(-9, -5), interval(7, 9)]), ..settings() }), Reason::OutsideWindow { next: Some(NOW.plus(7 * MINUTE)) });
    assert!(matches!(ask(Settings { target: Millionths::new(900_000), ..settings() }), Reason::Settings { .. }));
    assert_eq!(Settings::default().problem(), None);
    scales(
        &decide(&Settings { open: Some(vec![interval(-1, 1)]), freezes: vec![interval(-3, 0)], ..settings() }, &State::default(), &service(2, 95, 90), NOW),
        2,
        3,
    );
}

#[test]
fn limits_that_people_changed_are_kept_at_once() {
    let limits = |min, max| Settings { replicas: Bounds { min, max }, ..settings() };
    scales(&decide(&limits(5, 10), &after(&[(9, 4, 8), (3, 8, 3)]), &service(3, 50, 90), NOW), 3, 5);
    scales(&decide(&limits(2, 4), &State::default(), &service(5, 50, 90), NOW), 5, 4);
    // Somebody needed them: it is not for us to take them away.
    assert_eq!(holds(&decide(&limits(2, 4), &State::default(), &service(6, 75, 90), NOW)), Reason::AboveMaximum);
    let mut busy = service(6, 85, 90);
    assert_eq!(holds(&decide(&limits(2, 4), &State::default(), &busy, NOW)), Reason::AboveMaximum);
    busy.replicas = 0;
    assert_eq!(holds(&decide(&limits(2, 4), &State::default(), &busy, NOW)), Reason::ScaledToZero);
}

fn autoscaler(min: u32, max: u32, active: bool) -> Autoscaler {
    Autoscaler { name: "orders".into(), min, max, active, by_cpu_request: true, by_memory_request: false }
}

#[test]
fn an_autoscaler_keeps_the_replicas_and_only_its_bounds_are_moved() {
    let with = |seen: Observation, autoscalers: Vec<Autoscaler>| ask(&Observation { autoscalers, ..seen });
    let left = Reason::LeftToAutoscaler { name: "orders".into() };
    assert_eq!(holds(&with(service(4, 95, 90), vec![autoscaler(2, 8, true)])), left);
    assert_eq!(holds(&with(service(4, 15, 40), vec![autoscaler(2, 8, true)])), left);
    let bounds = |decision: Decision| match decision {
        Decision::AdjustAutoscaler { to, .. } => (to.min, to.max),
        other => panic!("{other:?}"),
    };
    assert_eq!(bounds(with(service(4, 95, 90), vec![autoscaler(2, 4, true)])), (2, 6));
    assert_eq!(bounds(with(service(4, 15, 40), vec![autoscaler(4, 8, true)])), (2, 8));
    assert_eq!(bounds(with(service(4, 50, 40), vec![autoscaler(1, 20, true)])), (2, 10));
    assert_eq!(holds(&with(service(10, 95, 90), vec![autoscaler(2, 10, true)])), Reason::AtMaximum { wanted: 14 });
    // One that cannot read its metrics sets nothing, but will return to its bounds.
    scales(&with(service(4, 95, 90), vec![autoscaler(2, 5, false)]), 4, 5);
    assert_eq!(holds(&with(service(4, 95, 90), vec![autoscaler(2, 5, true), autoscaler(2, 6, true)])), Reason::Autoscalers);
}

/// Two days of history at this use of one container.
fn with_history(mut seen: Observation, cpu_milli: u64, memory_mebibytes: u64) -> Observation {
    let period = |hour: i64| Period { from: NOW.plus(-hour * HOUR_MS), cpu_p95_milli: cpu_milli, memory_peak_bytes: memory_mebibytes * MEBIBYTE };
    seen.containers[0].history = (1..=48).rev().map(period).collect();
    seen
}

fn tuned(seen: &Observation, state: &State) -> Option<(Resources, Way)> {
    let settings = Settings { tuning: Some(Tuning::default()), ..settings() };
    match decide(&settings, state, seen, NOW) {
        Decision::Tune { containers, way, rationale } => {
            assert!(rationale.contains("`app` CPU"), "{rationale}");
            Some((containers[0].clone(), way))
        }
        _ => None,
    }
}

#[test]
fn sizes_follow_what_was_used() {
    // At the fewest replicas and still too large: 140m at 70 % is 200m, and one step halves at most.
    let (smaller, way) = tuned(&with_history(service(2, 28, 40), 140, 400), &State::default()).unwrap();
    assert_eq!((smaller.cpu_request_milli, smaller.cpu_limit_milli, smaller.larger), (250, Some(500), false));
    assert_eq!(smaller.memory_request_bytes, 512 * MEBIBYTE);
    assert_eq!(way, Way::InPlace);
    // At the most replicas and too small.
    let (larger, _) = tuned(&with_history(service(10, 95, 90), 475, 400), &State::default()).unwrap();
    assert_eq!((larger.cpu_request_milli, larger.cpu_limit_milli, larger.larger), (679, Some(1_000), true));
    // In between, replicas are the answer.
    assert_eq!(tuned(&with_history(service(5, 45, 90), 140, 400), &State::default()), None);
    // The difference is not worth it.
    assert_eq!(tuned(&with_history(service(2, 45, 90), 300, 400), &State::default()), None);
}

#[test]
fn memory_is_sized_by_its_peak_and_shrinks_by_new_pods() {
    let (larger, way) = tuned(&with_history(service(4, 50, 90), 250, 500), &State::default()).unwrap();
    assert_eq!((larger.memory_request_bytes, larger.memory_limit_bytes), (614 * MEBIBYTE, Some(614 * MEBIBYTE)));
    assert_eq!(way, Way::InPlace);
    let (smaller, way) = tuned(&with_history(service(4, 50, 90), 250, 240), &State::default()).unwrap();
    assert_eq!((smaller.memory_request_bytes, smaller.larger), (276 * MEBIBYTE, false));
    assert_eq!(way, Way::Rollout);
}

#[test]
fn what_is_killed_for_want_of_memory_has_more_at_once() {
    let mut killed = service(4, 50, 90);
    killed.containers[0].out_of_memory = 2;
    let (larger, way) = tuned(&killed, &State::default()).unwrap();
    assert_eq!((larger.memory_request_bytes, larger.memory_limit_bytes, way), (614 * MEBIBYTE, Some(614 * MEBIBYTE), Way::InPlace));
    killed.containers[0].memory.restarts = true;
    assert_eq!(tuned(&killed, &State::default()).unwrap().1, Way::Rollout);
    killed.containers[0].memory = Allocation { request: 2_048 * MEBIBYTE, limit: Some(2_048 * MEBIBYTE), restarts: false };
    assert_eq!(tuned(&killed, &State::default()), None, "there is no more to give");
}

#[test]
fn sizes_are_left_alone_without_history_after_a_change_and_where_others_set_them() {
    let large = with_history(service(2, 28, 40), 140, 400);
    let tuned_before = |hours: i64, larger: bool| State { tunings: vec![Tuned { at: NOW.plus(-hours * HOUR_MS), larger }], ..State::default() };
    assert_eq!(tuned(&large, &tuned_before(5, false)), None);
    assert!(tuned(&large, &tuned_before(7, false)).is_some());
    assert_eq!(tuned(&large, &tuned_before(7, true)), None, "it was made larger the same day");
    assert_eq!(tuned(&Observation { resources_are_owned: true, ..large.clone() }, &State::default()), None);
    assert_eq!(
        tuned(&Observation { autoscalers: vec![autoscaler(2, 10, true)], ..large.clone() }, &State::default()),
        None,
        "its use of the request would change"
    );
    let mut short = large.clone();
    short.containers[0].history.drain(..30);
    assert_eq!(tuned(&short, &State::default()), None);
    let mut old = large;
    old.containers[0].history.iter_mut().for_each(|period| period.from = period.from.plus(-5 * HOUR_MS));
    assert_eq!(tuned(&old, &State::default()), None);
}
