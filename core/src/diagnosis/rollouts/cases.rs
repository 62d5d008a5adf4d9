//! Cases of the judgement: recordings from a seeded generator, plain and harsh, and what must not change an answer.

mod same_answer;

use super::generator::{Fault, Manner, Scenario};
use super::{Suspicion, judge};
use crate::ids::Domain;

const SEEDS: u64 = 6;
const FAULTS: [Fault; 6] = [Fault::Slow, Fault::Query, Fault::Errors, Fault::Pool, Fault::Cpu, Fault::Leak];

/// Whether a judgement blames exactly this rollout, or none.
fn is_right(judged: &[Suspicion], bad: Option<&str>) -> bool {
    let blamed: Vec<&str> = judged.iter().filter(|suspicion| suspicion.strength >= 0.5).map(|suspicion| suspicion.service.as_str()).collect();
    blamed == bad.into_iter().collect::<Vec<&str>>() && judged.first().map(|first| first.service.as_str()).filter(|_| bad.is_some()) == bad
}

/// Of six seeds, at most `misses` are judged wrong.
fn check(name: &str, misses: usize, make: impl Fn(&mut Scenario)) {
    let mut wrong = Vec::new();
    for seed in 0..SEEDS {
        let mut scenario = Scenario { seed, ..Scenario::default() };
        make(&mut scenario);
        let judged = judge(&scenario.recording());
        if !is_right(&judged, scenario.bad.map(|(bad, _)| bad)) {
            wrong.push((seed, judged));
        }
    }
    assert!(wrong.len() <= misses, "{name}: wrong in {} of {SEEDS}: {wrong:#?}", wrong.len());
}

fn each_fault(name: &str, misses: usize, make: impl Fn(&mut Scenario)) {
    for fault in FAULTS {
        check(&format!("{fault:?} {name}"), misses, |scenario| {
            scenario.bad = Some(("orders", fault));
            make(scenario);
        });
    }
}

fn all_from(scenario: &mut Scenario, minute: i64, manner: Manner) {
    scenario.rolled.iter_mut().for_each(|rolled| (rolled.1, rolled.2) = (minute, manner));
}

#[test]
fn the_bad_one_of_three_is_blamed() {
    each_fault("plain", 0, |_| ());
    each_fault("at the bottom, callers suffer too", 0, |scenario| scenario.bad = scenario.bad.map(|(_, fault)| ("stock", fault)));
    each_fault("pods tell both sides of a call", 0, |scenario| scenario.both_sides = true);
}

#[test]
fn noise_three_times_as_loud_and_half_the_dose_are_borne() {
    each_fault("in noise", 1, |scenario| scenario.noise = 0.36);
    each_fault("at half the dose", 0, |scenario| scenario.dose = 0.5);
}

#[test]
fn one_new_pod_is_enough() {
    each_fault("in a canary", 0, |scenario| scenario.rolled[0].2 = Manner::Canary);
}

#[test]
fn without_old_pods_beside_new_ones_the_past_and_the_minute_decide() {
    each_fault("recreated", 0, |scenario| scenario.rolled[0].2 = Manner::Recreated);
    each_fault("at the bottom, all recreated at once", 0, |scenario| {
        scenario.bad = scenario.bad.map(|(_, fault)| ("stock", fault));
        all_from(scenario, 24, Manner::Recreated);
    });
}

#[test]
fn a_slow_rollout_that_began_half_an_hour_ago_is_blamed() {
    each_fault("long ago", 0, |scenario| (scenario.rolled[0].1, scenario.rolled[0].2) = (3, Manner::Slowly));
    check("slow leak", 0, |scenario| {
        scenario.bad = Some(("orders", Fault::SlowLeak));
        (scenario.rolled[0].1, scenario.rolled[0].2) = (6, Manner::Slowly);
    });
}

#[test]
fn success_and_latency_are_enough_where_users_feel_it() {
    for fault in [Fault::Slow, Fault::Query, Fault::Errors, Fault::Pool] {
        check(&format!("{fault:?} by success and latency"), 0, |scenario| {
            scenario.bad = Some(("orders", fault));
            scenario.signals = vec!["success_pct", "latency"];
        });
    }
}

#[test]
fn innocent_rollouts_are_not_blamed() {
    for noise in [0.12, 0.36] {
        for manner in [Manner::Rolling, Manner::Slowly, Manner::Recreated, Manner::Canary] {
            check(&format!("none, {manner:?}, noise {noise}"), 0, |scenario| {
                scenario.noise = noise;
                scenario.rolled.iter_mut().for_each(|rolled| rolled.2 = manner);
            });
        }
    }
}

#[test]
fn what_breaks_meanwhile_is_no_rollouts_doing() {
    for (broken, minute) in [("bank", 20), ("bank", 26), ("books", 24), ("stock", 19), ("stock", 25), ("orders", 24), ("gate", 24)] {
        check(&format!("{broken} breaks in minute {minute}"), 0, |scenario| scenario.broken = Some((broken, minute)));
    }
    check("books break as all are recreated", 0, |scenario| {
        scenario.broken = Some(("books", 24));
        all_from(scenario, 24, Manner::Recreated);
    });
}

#[test]
fn the_kind_of_fault_shows() {
    let kinds = [
        (Fault::Slow, Domain::Application),
        (Fault::Query, Domain::Database),
        (Fault::Errors, Domain::Application),
        (Fault::Pool, Domain::Database),
        (Fault::Cpu, Domain::Compute),
        (Fault::Leak, Domain::Compute),
    ];
    for (fault, domain) in kinds {
        let right = (0..SEEDS).filter(|seed| {
            let scenario = Scenario { seed: *seed, bad: Some(("orders", fault)), ..Scenario::default() };
            judge(&scenario.recording()).first().map(|first| first.domain) == Some(domain)
        });
        assert!(right.count() >= 5, "{fault:?}");
    }
}

#[test]
fn grounds_are_figures() {
    let judged = judge(&Scenario { bad: Some(("orders", Fault::Slow)), ..Scenario::default() }.recording());
    let grounds = &judged[0].grounds;
    assert!(grounds[0].contains("new pods") && grounds[0].contains("old pods at the same") && grounds[0].contains("before"), "{grounds:?}");
    assert!(grounds.last().unwrap().contains("before the alert"), "{grounds:?}");
}
