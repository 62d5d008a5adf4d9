//! Director, seats, executor, gate and API server over a faulty network, in thousands of schedules of which each is decided by
//! its seed alone. What decides is `core` itself; here is only what processes do between two decisions, and what can go wrong.
//!
//! `SIMULATION_SCHEDULES` says how many; a failing one is printed with its seed, and `SIMULATION_SEED` plays it again with
//! everything that happens.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod cluster;
mod director;
mod executor;
mod faults;
mod hostile;
mod invariants;
mod random;
mod rules;
mod simulation;
mod store;
mod votes;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use invariants::Violation;
use rules::Rules;
use simulation::{Report, Simulation};

const SCHEDULES: u64 = 10_000;
/// A broken rule must be noticed within so many.
const TO_NOTICE: u64 = 20_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The first seed below `count` whose schedule breaks an invariant, or all reports together.
fn explore(count: u64, rules: Rules) -> Result<Report, (u64, Violation)> {
    let next = AtomicU64::new(0);
    let result: Mutex<Result<Report, (u64, Violation)>> = Mutex::new(Ok(Report::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let ran = Simulation::new(seed, rules, false).run();
                    let mut all = result.lock().unwrap();
                    match (ran, &mut *all) {
                        (Ok(report), Ok(sum)) => sum.add(&report),
                        (Err(violation), Ok(_)) => {
                            *all = Err((seed, violation));
                            next.store(count, Ordering::Relaxed);
                        }
                        (Err(violation), Err(first)) if seed < first.0 => *first = (seed, violation),
                        _ => {}
                    }
                }
            });
        }
    });
    result.into_inner().unwrap()
}

/// One schedule with all that happens in it.
fn replay(seed: u64, rules: Rules) -> (Result<Report, Violation>, String) {
    let mut simulation = Simulation::new(seed, rules, true);
    let ran = simulation.run();
    let faults = format!("{:?}", simulation.faults);
    (ran, format!("{faults}\n{}", simulation.trace.unwrap_or_default().join("\n")))
}

#[test]
fn no_wrong_action_in_any_schedule() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let (ran, story) = replay(seed, Rules::CORE);
        println!("{story}");
        ran.unwrap_or_else(|violation| panic!("seed {seed}: {}", violation.0));
        return;
    }
    let count = number("SIMULATION_SCHEDULES").unwrap_or(SCHEDULES);
    match explore(count, Rules::CORE) {
        Ok(report) => {
            println!("{count} schedules: {report:?}");
            // They are worth something only if enough happens in them.
            let share = |of: u64, per_mille: u64| assert!(of * 1000 >= count * per_mille, "too little happens: {report:?}");
            share(report.applied, 300);
            share(report.reverted, 20);
            share(report.resolved, 200);
            share(report.escalated, 100);
            share(report.crashes, 500);
            share(report.refused, 300);
        }
        Err((seed, violation)) => {
            let (_, story) = replay(seed, Rules::CORE);
            panic!("{story}\n\n{}\nplay it again with SIMULATION_SEED={seed}", violation.0);
        }
    }
}

#[test]
fn a_seed_is_a_schedule() {
    for seed in 0..20 {
        let (first, second) = (replay(seed, Rules::CORE), replay(seed, Rules::CORE));
        assert_eq!(first.1, second.1, "seed {seed}");
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let mut unnoticed = Vec::new();
    for (name, rules) in rules::broken() {
        match explore(TO_NOTICE, rules) {
            Err((seed, violation)) => println!("{name:<60} seed {seed:>5}: {}", violation.0),
            Ok(report) => {
                println!("{name:<60} NOT NOTICED: {report:?}");
                unnoticed.push(name);
            }
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
