//! The bars: every case of cel-spec that Kubernetes' language covers, every flattened policy, and the server's own costs.

#[path = "suite/suite.rs"]
mod suite;

use std::path::Path;

use suite::Mode;

/// Runs a suite; `None`, loudly, where its file is not.
fn run(mode: Mode, file: &Path) -> Option<suite::Outcome> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(suite::run(mode, &text)),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", file.display());
            None
        }
    }
}

fn shared(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance").join(name)
}

fn assert_all(outcome: &suite::Outcome, expected: usize) {
    assert!(outcome.disagreements.is_empty(), "{}", outcome.disagreements.join("\n"));
    assert_eq!(outcome.passed, expected);
}

#[test]
fn the_language_is_that_of_the_specification() {
    if let Some(outcome) = run(Mode::Cel, &shared("cel-spec.jsonl")) {
        assert_all(&outcome, 1693);
        // Two byte literals with a question mark, for which the data keeps an escape of its former format.
        assert_eq!(outcome.notes.len(), 2, "{:#?}", outcome.notes);
    }
}

#[test]
fn policies_come_to_the_verdicts_of_the_server() {
    if let Some(outcome) = run(Mode::Vap, &shared("vap-cases.jsonl")) {
        assert_all(&outcome, 934);
    }
}

#[test]
fn values_and_costs_are_the_servers() {
    if let Some(outcome) = run(Mode::Cost, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cost.jsonl")) {
        let known = |line: &&String| KNOWN.iter().any(|known| line.contains(known));
        let (known, new): (Vec<&String>, Vec<&String>) = outcome.disagreements.iter().partition(known);
        assert!(new.is_empty(), "{new:#?}");
        assert_eq!(known.len(), KNOWN.len(), "agrees now: {known:#?}");
    }
}

/// Go's sort is not stable from thirteen elements on; ours is.
const KNOWN: [&str; 1] = ["lists.range(20).reverse().sortBy(x, x % 5)"];

/// What the evaluator of Kubernetes 1.34 answers to a sample of every function, and what it charges.
#[test]
fn the_libraries_answer_and_charge_as_the_server() {
    if let Some(outcome) = run(Mode::Cost, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries.jsonl")) {
        assert_all(&outcome, 549);
    }
}
