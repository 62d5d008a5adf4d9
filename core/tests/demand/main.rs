//! The demand engine and a stock HorizontalPodAutoscaler's rule, each with a simulated service of its own under the same load,
//! in thousands of traces of which each is decided by its seed alone. What decides is `core` itself; what must hold is
//! judged from what was done, and what it cost is printed.
//!
//! `DEMAND_TRACES` says how many; a failing one is printed with its seed, and `DEMAND_SEED` plays it again with every decision.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod autoscaler;
mod judge;
#[path = "../simulation/random.rs"]
mod random;
mod report;
mod rules;
mod run;
#[path = "../seeded/mod.rs"]
mod seeded;
mod service;
mod trace;

use report::Report;
use rules::Rules;
use run::{Violation, play};
use seeded::number;

const TRACES: u64 = 10_000;
/// A broken rule must be noticed within so many.
const TO_NOTICE: u64 = 2_000;

/// The first seed below `count` in whose trace something does not hold, or all reports together.
fn explore(count: u64, rules: Rules) -> Result<Report, (u64, Violation)> {
    seeded::explore(count, |seed| play(seed, rules, None), Report::add)
}

/// One trace with every decision.
fn replay(seed: u64) -> (Result<Report, Violation>, String) {
    let mut story = Vec::new();
    let played = play(seed, Rules::CORE, Some(&mut story));
    (played, story.join("\n"))
}

#[test]
fn no_oscillation_and_no_bound_exceeded_in_any_trace() {
    if let Some(seed) = number("DEMAND_SEED") {
        let (played, story) = replay(seed);
        println!("{story}");
        println!("{}", played.unwrap_or_else(|violation| panic!("seed {seed}: {}", violation.0)));
        return;
    }
    let count = number("DEMAND_TRACES").unwrap_or(TRACES);
    match explore(count, Rules::CORE) {
        Ok(report) => {
            println!("{report}");
            let total = report.total();
            // They are worth something only if enough happens in them.
            assert!(total.ours.ups > 2 * count && total.ours.downs > count / 2, "too little happens");
            assert!(total.ours.reversals > count / 2, "too little turns round");
            assert!(total.held_for_want_of_figures > count, "figures never lacked");
            // The same eyes see a rule oscillate that has no such window.
            assert!(total.stock.early_reversals > 0, "the stock rule never turned round early, so nothing was looked at");
            assert_eq!(total.ours.early_reversals, 0);
            // Users are no worse off than with the stock rule, and nobody pays much for that.
            assert!(total.ours.violated_s <= total.stock.violated_s, "more violations than the stock rule");
            assert!(total.ours.replica_s * 100 <= total.stock.replica_s * 125, "costs more than a quarter more");
        }
        Err((seed, violation)) => {
            let (_, story) = replay(seed);
            panic!("{story}\n\n{}\nplay it again with DEMAND_SEED={seed}", violation.0);
        }
    }
}

#[test]
fn a_seed_is_a_trace() {
    for seed in 0..14 {
        let (first, second) = (replay(seed), replay(seed));
        assert_eq!(first.1, second.1, "seed {seed}");
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let mut unnoticed = Vec::new();
    for (name, says, rules) in rules::broken() {
        match explore(TO_NOTICE, rules) {
            Err((seed, violation)) if violation.0.contains(says) => println!("{name:<48} seed {seed:>5}: {}", violation.0),
            Err((seed, violation)) => unnoticed.push(format!("{name}: seed {seed} breaks something else: {}", violation.0)),
            Ok(_) => unnoticed.push(name.to_owned()),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
