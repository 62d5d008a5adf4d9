//! Rows of figures: the median of several runs with its spread, ours beside a peer's.

use serde::Serialize;

/// Figures of one thing over several runs.
#[derive(Clone, Debug, Default)]
pub struct Figures(pub Vec<f64>);

/// One row of a result file.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub metric: String,
    /// Its unit.
    pub unit: &'static str,
    /// Ours: the median of the runs.
    pub ours: Option<f64>,
    /// The peer's: the median of its runs.
    pub peer: Option<f64>,
    /// Which peer, with version and kind of policy.
    pub peer_name: Option<String>,
    /// Ours divided by the peer's.
    pub ratio: Option<f64>,
    /// How many runs; each figure is from as many, unless the note says otherwise.
    pub runs: usize,
    /// Largest minus smallest of our runs.
    pub spread: Option<f64>,
    /// Largest minus smallest of the peer's runs.
    pub peer_spread: Option<f64>,
    /// What ours should be at most.
    pub bar: Option<f64>,
    /// What ours should be at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Anything that must be known to read the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

// === impl Figures ===

impl Figures {
    /// The one in the middle, if there is any.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Largest minus smallest.
    #[must_use]
    pub fn spread(&self) -> Option<f64> {
        let largest = self.0.iter().copied().max_by(f64::total_cmp)?;
        let smallest = self.0.iter().copied().min_by(f64::total_cmp)?;
        Some(largest - smallest)
    }
}

impl Figures {
    /// Run by run, divided by those of another thing measured in turn with it.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        self.0.iter().zip(&other.0).filter(|(_, other)| **other > 0.0).map(|(ours, other)| ours / other).collect()
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

// === impl Row ===

impl Row {
    /// Ours alone.
    #[must_use]
    pub fn ours(metric: &str, unit: &'static str, ours: &Figures) -> Self {
        Self {
            metric: metric.to_owned(),
            unit,
            ours: ours.median().map(rounded),
            peer: None,
            peer_name: None,
            ratio: None,
            runs: ours.0.len(),
            spread: ours.spread().map(rounded),
            peer_spread: None,
            bar: None,
            floor: None,
            note: None,
        }
    }

    /// Beside a peer's.
    #[must_use]
    pub fn beside(mut self, name: &str, peer: &Figures) -> Self {
        self.peer = peer.median().map(rounded);
        self.peer_spread = peer.spread().map(rounded);
        self.peer_name = Some(name.to_owned());
        self.ratio = self.ours.zip(self.peer).filter(|(_, peer)| *peer > 0.0).map(|(ours, peer)| rounded(ours / peer));
        self
    }

    /// With a bar.
    #[must_use]
    pub fn at_most(mut self, bar: f64) -> Self {
        self.bar = Some(bar);
        self
    }

    /// With a bar that it should reach.
    #[must_use]
    pub fn at_least(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    /// With a note.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// As a line of a table.
    #[must_use]
    pub fn line(&self) -> String {
        let number = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.3}"));
        let word = |holds: bool| if holds { "holds" } else { "MISSED" };
        let bar = match (self.bar, self.floor, self.ours) {
            (Some(bar), _, Some(ours)) => format!("≤ {bar} {}", word(ours <= bar)),
            (None, Some(floor), Some(ours)) => format!("≥ {floor} {}", word(ours >= floor)),
            _ => String::new(),
        };
        let peer = self.peer_name.as_deref().map_or_else(String::new, |name| format!("{:>10} ±{} {name}", number(self.peer), number(self.peer_spread)));
        let note = self.note.as_deref().map_or_else(String::new, |note| format!("  ({note})"));
        format!("{:<30} {:>6} {:>10} ±{:<8} {bar:<14} {peer}{note}", self.metric, self.unit, number(self.ours), number(self.spread))
    }
}

/// Four digits behind the point are more than any run repeats.
fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_median_with_the_spread_and_the_ratio_to_the_peer() {
        let row = Row::ours("p99_ms", "ms", &Figures(vec![3.0, 1.0, 2.0])).beside("other", &Figures(vec![4.0])).at_most(2.0);
        assert_eq!((row.ours, row.spread, row.peer, row.ratio, row.runs), (Some(2.0), Some(2.0), Some(4.0), Some(0.5), 3));
        assert!(row.line().contains("holds"));
    }

    #[test]
    fn without_runs_there_is_no_figure() {
        let row = Row::ours("p99_ms", "ms", &Figures::default()).beside("other", &Figures::default());
        assert_eq!((row.ours, row.peer, row.ratio), (None, None, None));
    }
}
