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
#[path = "../seeded/mod.rs"]
mod seeded;
mod simulation;
mod store;
mod votes;

use invariants::Violation;
use rules::Rules;
use seeded::number;
use simulation::{Report, Simulation};

const SCHEDULES: u64 = 10_000;
/// A broken rule must be noticed within so many.
const TO_NOTICE: u64 = 20_000;

/// The first seed below `count` whose schedule breaks an invariant, or all reports together.
fn explore(count: u64, rules: Rules) -> Result<Report, (u64, Violation)> {
    seeded::explore(count, |seed| Simulation::new(seed, rules, false).run(), Report::add)
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
            Err((seed, violation)) => {
                println!("{name:<60} seed {seed:>5}: {}", violation.0);
                // It is the rule that is missed, and not something that is wrong with it as well.
                let (ran, _) = replay(seed, Rules::CORE);
                assert!(ran.is_ok(), "seed {seed} breaks an invariant with every rule in force: {}", ran.unwrap_err().0);
            }
            Ok(report) => {
                println!("{name:<60} NOT NOTICED: {report:?}");
                unnoticed.push(name);
            }
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
