//! Rows and sections of the governance benchmark: every row says what is required and what was seen; what could not be measured
//! is not met, and says why.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::bench::rows::Figures;

/// One criterion.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Criterion {
    /// For example `SC-006 rollback after the failed check`.
    pub metric: String,
    /// In words.
    pub required: String,
    /// What was seen: the worst, or how many of `runs`; `None` where nothing was measured.
    pub ours: Option<f64>,
    /// Whether it suffices.
    pub met: bool,
    /// How often it was measured.
    pub runs: usize,
    /// Of `ours`.
    pub unit: String,
    /// Between the least and the most.
    pub spread: Option<f64>,
    /// What else is to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What was done for one criterion, and what was seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What was done.
    pub done: String,
    /// Cases: which, what was expected, what was seen, whether that is the same.
    pub cases: Vec<(String, String, String, bool)>,
    /// Rows.
    pub rows: Vec<Criterion>,
}

// === impl Criterion ===

impl Criterion {
    /// So many of so many as they must be.
    #[must_use]
    pub fn count(metric: &str, good: usize, all: usize, least: usize) -> Self {
        let required = format!("100 %, of {least} or more");
        let ours = u32::try_from(good).ok().map(f64::from);
        Self { metric: metric.into(), required, ours, met: good == all && all >= least, runs: all, unit: "cases".into(), spread: None, note: None }
    }

    /// The worst of these must be at most `bar`; the median is noted.
    #[must_use]
    pub fn worst(metric: &str, unit: &str, bar: f64, figures: &Figures) -> Self {
        let worst = figures.0.iter().copied().reduce(f64::max);
        Self {
            metric: metric.into(),
            required: format!("≤ {bar} {unit}"),
            ours: worst.map(rounded),
            met: worst.is_some_and(|worst| worst <= bar),
            runs: figures.0.len(),
            unit: unit.into(),
            spread: figures.spread().map(rounded),
            note: figures.median().map(|median| format!("worst; median {median:.3} {unit}")),
        }
    }

    /// A figure that nothing is required of.
    #[must_use]
    pub fn shown(metric: &str, unit: &str, figure: f64, note: &str) -> Self {
        Self {
            metric: metric.into(),
            required: "shown".into(),
            ours: Some(rounded(figure)),
            met: true,
            runs: 1,
            unit: unit.into(),
            spread: None,
            note: Some(note.into()),
        }
    }

    /// Nothing was measured.
    #[must_use]
    pub fn unmeasured(metric: &str, required: &str, why: &str) -> Self {
        Self { metric: metric.into(), required: required.into(), ours: None, met: false, runs: 0, unit: String::new(), spread: None, note: Some(why.into()) }
    }

    /// As a line of a table.
    #[must_use]
    pub fn line(&self) -> String {
        let ours = self.ours.map_or_else(|| "–".to_owned(), |ours| format!("{ours} {}", self.unit));
        let word = if self.met { "holds" } else { "MISSED" };
        format!("{:<58} {:<26} {ours:<14} {word:<7} runs {:<4} {}", self.metric, self.required, self.runs, self.note.as_deref().unwrap_or_default())
    }
}

// === impl Section ===

impl Section {
    /// An empty one.
    #[must_use]
    pub fn new(title: &str, done: &str) -> Self {
        Self { title: title.into(), done: done.into(), ..Self::default() }
    }

    /// One more case.
    pub fn case(&mut self, name: &str, expected: &str, seen: impl Into<String>, holds: bool) {
        self.cases.push((name.into(), expected.into(), seen.into(), holds));
    }

    /// The row that counts its cases.
    pub fn counted(&mut self, metric: &str, least: usize) {
        let good = self.cases.iter().filter(|(.., holds)| *holds).count();
        self.rows.push(Criterion::count(metric, good, self.cases.len(), least));
    }

    /// For people.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.done);
        if !self.rows.is_empty() {
            text.push_str("| metric | required | ours | met | runs | note |\n|---|---|---|---|---|---|\n");
        }
        for row in &self.rows {
            let ours = row.ours.map_or_else(|| "–".to_owned(), |ours| format!("{ours} {}", row.unit));
            let met = if row.met { "yes" } else { "**no**" };
            // Writing to a String does not fail.
            let _ = writeln!(text, "| {} | {} | {ours} | {met} | {} | {} |", row.metric, row.required, row.runs, cell(row.note.as_deref().unwrap_or_default()));
        }
        if !self.cases.is_empty() {
            text.push_str("\n| case | expected | seen | |\n|---|---|---|---|\n");
        }
        for (name, expected, seen, holds) in &self.cases {
            let _ = writeln!(text, "| {} | {} | {} | {} |", cell(name), cell(expected), cell(seen), if *holds { "✓" } else { "✗" });
        }
        text.push('\n');
        text
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_only_where_everything_was_as_it_must_be() {
        assert!(Criterion::count("x", 10, 10, 10).met);
        assert!(!Criterion::count("x", 9, 10, 10).met);
        assert!(!Criterion::count("x", 5, 5, 10).met, "too few");
        assert!(!Criterion::worst("x", "s", 1.0, &Figures::default()).met, "nothing measured");
        let worst = Criterion::worst("x", "s", 1.0, &Figures(vec![0.5, 1.5]));
        assert_eq!((worst.ours, worst.met), (Some(1.5), false));
    }

    #[test]
    fn a_section_shows_its_cases_and_counts_them() {
        let mut section = Section::new("SC", "done");
        section.case("a", "x", "y|z", false);
        section.counted("SC", 1);
        assert_eq!((section.rows[0].met, section.rows[0].runs), (false, 1));
        assert!(section.markdown().contains("| a | x | y\\|z | ✗ |"));
    }
}
