//! Lines become counts here: by workload, template and minute. Of a template only its digest goes on.

use std::collections::BTreeMap;

use assent_core::canonical::Digest;
use assent_core::diagnosis::Series;

use super::templates::{Severity, template};

const MINUTE_S: i64 = 60;
/// Templates of one workload that are told apart; what comes later is counted as a line only.
const MAX_TEMPLATES: usize = 256;
/// Letters of a digest that tell templates apart.
const SHORT: usize = 12;

type Minutes = BTreeMap<i64, f64>;

#[derive(Debug, Default)]
struct Workload {
    lines: Minutes,
    templates: BTreeMap<(String, Severity), Minutes>,
}

/// Counts of lines.
#[derive(Debug, Default)]
pub(crate) struct Miner(BTreeMap<String, Workload>);

// === impl Miner ===

impl Miner {
    /// Counts a line that `workload` wrote at `time`, in seconds.
    pub(crate) fn add(&mut self, workload: &str, time: i64, line: &str) {
        let minute = time.div_euclid(MINUTE_S).saturating_mul(MINUTE_S);
        let known = self.0.entry(workload.to_owned()).or_default();
        *known.lines.entry(minute).or_default() += 1.0;
        let (template, severity) = template(line);
        if severity == Severity::Other || known.templates.len() >= MAX_TEMPLATES && !known.templates.contains_key(&(template.clone(), severity)) {
            return;
        }
        *known.templates.entry((template, severity)).or_default().entry(minute).or_default() += 1.0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The counts as series: of all lines, and of each template that is a warning or an error.
    pub(crate) fn series(self) -> Vec<Series> {
        let mut all = Vec::new();
        for (service, Workload { lines, templates }) in self.0 {
            let series = |metric: String, minutes: Minutes| Series { service: service.clone(), metric, points: minutes.into_iter().collect() };
            all.push(series("log_lines".into(), lines));
            for ((template, severity), minutes) in templates {
                let digest: String = Digest::of_bytes(template.as_bytes()).as_str().chars().take(SHORT).collect();
                all.push(series(format!("log_{}_{digest}", severity.as_str()), minutes));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counts_and_digests_go_on() {
        let mut miner = Miner::default();
        for second in [0, 30, 90] {
            miner.add("orders", second, &format!("ERROR no connection to host {second}"));
            miner.add("orders", second, "all is well with the secret");
        }
        let series = miner.series();
        assert_eq!(series.len(), 2);
        assert_eq!((series[0].metric.as_str(), series[0].points.as_slice()), ("log_lines", [(0, 4.0), (60, 2.0)].as_slice()));
        assert!(series[1].metric.starts_with("log_error_") && series[1].metric.len() == "log_error_".len() + SHORT);
        assert_eq!(series[1].points, [(0, 2.0), (60, 1.0)]);
        assert!(!format!("{series:?}").contains("secret"));
    }

    #[test]
    fn the_number_of_templates_is_bounded() {
        let mut miner = Miner::default();
        for number in 0..10_000_u32 {
            let word: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            miner.add("orders", 0, &format!("error {word}"));
        }
        let series = miner.series();
        assert_eq!((series.len(), series[0].points.as_slice()), (MAX_TEMPLATES + 1, [(0, 10_000.0)].as_slice()));
    }
}
