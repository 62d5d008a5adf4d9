//! Suites of conformance cases, one JSON object a line. Shared by the tests and the example that prints disagreements.

mod cost;
mod language;
mod policies;
mod value;

use serde_json::Value as Json;

/// What the lines of a suite are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// cel-spec's cases of the language.
    Cel,
    /// Policies flattened to variables, match conditions and validations.
    Vap,
    /// Expressions with the value and the cost that the API server finds.
    Cost,
}

/// What came out of a suite.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Cases that agree.
    pub(crate) passed: usize,
    /// A line for each that does not.
    pub(crate) disagreements: Vec<String>,
    /// A line for each that agrees but for a mistake in the data.
    pub(crate) notes: Vec<String>,
}

/// The verdict on one case, with what is to be noted of one that agrees; `None` if it is left out.
type Verdict = Option<Result<Option<String>, String>>;

/// Runs every line of a suite.
pub(crate) fn run(mode: Mode, text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let verdict = match serde_json::from_str::<Json>(line) {
            Ok(case) => match mode {
                Mode::Cel => language::judge(&case),
                Mode::Vap => policies::judge(&case),
                Mode::Cost => cost::judge(&case),
            },
            Err(error) => Some(Err(format!("is not JSON: {error}"))),
        };
        match verdict {
            None => {}
            Some(Ok(note)) => {
                outcome.passed += 1;
                outcome.notes.extend(note.map(|note| format!("line {}: {note}", number + 1)));
            }
            Some(Err(reason)) => outcome.disagreements.push(format!("line {}: {reason}", number + 1)),
        }
    }
    outcome
}
