//! Rows of the result file, in the shape of all benchmarks: ours, a peer's, and the one by the other.

use std::time::Duration;

use assent_cli::calibrate::score::Score;
use serde::Serialize;

/// One row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    metric: String,
    unit: &'static str,
    ours: Option<f64>,
    peer: Option<f64>,
    peer_name: &'static str,
    ratio: Option<f64>,
    /// Cases.
    runs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// A measure of a score.
type Measure = fn(&Score) -> Option<f64>;

const MEASURES: [(&str, Measure); 3] = [("AC@1", |score| score.first), ("AC@3", |score| score.first_three), ("Avg@5", |score| score.average_five)];

/// All measures of a folder, ours beside a baseline's.
pub(crate) fn beside(folder: &str, ours: &(Score, Duration), name: &'static str, peer: Option<&(Score, Duration)>) -> Vec<Row> {
    let row = |metric: &str, unit, ours: Option<f64>, peer: Option<f64>| Row {
        metric: format!("{folder} {metric}"),
        unit,
        ours: ours.map(rounded),
        peer: peer.map(rounded),
        peer_name: name,
        ratio: ours.zip(peer).filter(|(_, peer)| *peer > 0.0).map(|(ours, peer)| rounded(ours / peer)),
        runs: 0,
        note: peer.is_none().then_some("the folder has no table of metrics, which is all that baselines read"),
    };
    let mut rows: Vec<Row> =
        MEASURES.iter().map(|(metric, of)| Row { runs: ours.0.faults, ..row(metric, "share", of(&ours.0), peer.and_then(|(score, _)| of(score))) }).collect();
    let time = row("time of a case, reading included", "ms", Some(millis(ours.1)), peer.map(|(_, time)| millis(*time)));
    rows.push(Row { runs: ours.0.faults + ours.0.quiet, ..time });
    rows
}

// === impl Row ===

impl Row {
    /// As a line of a table.
    pub(crate) fn line(&self) -> String {
        let number = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.3}"));
        let note = self.note.map_or_else(String::new, |note| format!("  ({note})"));
        format!("{:<60} {:>6} {:>9} {:>9} {}{note}", self.metric, self.unit, number(self.ours), number(self.peer), self.peer_name)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Four digits behind the point are more than any case is worth.
fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_ours_beside_the_peers_or_says_why_there_is_none() {
        let ours = (Score { faults: 4, first: Some(0.75), ..Score::default() }, Duration::from_millis(3));
        let peer = (Score { faults: 4, first: Some(0.5), ..Score::default() }, Duration::from_millis(6));
        let rows = beside("shop", &ours, "other", Some(&peer));
        assert_eq!((rows[0].metric.as_str(), rows[0].ours, rows[0].peer, rows[0].ratio), ("shop AC@1", Some(0.75), Some(0.5), Some(1.5)));
        assert_eq!((rows[3].unit, rows[3].ratio), ("ms", Some(0.5)));
        assert!(beside("shop", &ours, "other", None)[0].line().contains("no table of metrics"));
    }
}
