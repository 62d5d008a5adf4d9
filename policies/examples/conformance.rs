//! Runs a suite of conformance cases: `conformance cel|vap|cost FILE.jsonl`. Lists every disagreement with both answers, ends with
//! `N passed, M failed`, and exits with 1 if any failed.

#[path = "../tests/suite/suite.rs"]
mod suite;

use std::io::Write as _;
use std::process::ExitCode;

use suite::Mode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(mode), Some(file)) = (args.first().and_then(|name| mode(name)), args.get(1)) else {
        return fail("usage: conformance cel|vap|cost FILE.jsonl");
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return fail(&format!("{file}: {error}")),
    };
    let outcome = suite::run(mode, &text);
    let mut out = std::io::stdout().lock();
    let notes = outcome.notes.iter().try_for_each(|line| writeln!(out, "note, {line}"));
    let printed = notes.and_then(|()| outcome.disagreements.iter().try_for_each(|line| writeln!(out, "{line}")));
    let printed = printed.and_then(|()| writeln!(out, "{} passed, {} failed", outcome.passed, outcome.disagreements.len()));
    match printed {
        Ok(()) if outcome.disagreements.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string()),
    }
}

fn mode(name: &str) -> Option<Mode> {
    match name {
        "cel" => Some(Mode::Cel),
        "vap" => Some(Mode::Vap),
        "cost" => Some(Mode::Cost),
        _ => None,
    }
}

fn fail(words: &str) -> ExitCode {
    // Nothing is left to do if stderr is closed.
    drop(writeln!(std::io::stderr(), "{words}"));
    ExitCode::FAILURE
}
