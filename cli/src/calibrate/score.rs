//! How right answers were, against labels: the field's measures, as one definition for the command, the baselines and the tests.

use assent_core::consensus::calibration::{self, Reliability};
use assent_core::ids::Millionths;
use assent_core::seats::recorded::Diagnosis;
use serde::Serialize;

use super::data::Label;

/// What somebody said about a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Services, most suspect first. Ranks count whether or not it would act.
    pub ranked: Vec<String>,
    /// Of which kind the trouble is.
    pub domain: Option<String>,
    /// How sure it is, if it says.
    pub confidence: Option<Millionths>,
    /// Whether no cause is sure enough to act on.
    pub abstains: bool,
}

/// The measures of one set of cases. What had nothing to be measured on is nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Cases with a fault.
    pub faults: usize,
    /// Quiet windows.
    pub quiet: usize,
    /// Share of faults with the service at fault first.
    pub first: Option<f64>,
    /// Among the first three.
    pub first_three: Option<f64>,
    /// Among the first five.
    pub first_five: Option<f64>,
    /// Mean of the shares among the first one to five.
    pub average_five: Option<f64>,
    /// Share of faults with the kind right.
    pub domain: Option<f64>,
    /// Share of faults with first service and kind right.
    pub joint: Option<f64>,
    /// Share of faults acted on.
    pub acted: Option<f64>,
    /// Of all acted on, quiet windows included, the share with the first service right.
    pub precision: Option<f64>,
    /// Share of quiet windows acted on.
    pub false_alarms: Option<f64>,
    /// Expected calibration error over all acted on.
    pub error: Option<f64>,
    /// What a perfectly calibrated answerer would stay under in 95 % of draws.
    pub band: Option<f64>,
}

// === impl Said ===

impl Said {
    /// What the seats and the tally said.
    #[must_use]
    pub fn of(diagnosis: &Diagnosis) -> Self {
        Self {
            ranked: diagnosis.ranked.clone(),
            domain: diagnosis.causes.first().map(|cause| cause.domain.to_string()),
            confidence: Some(diagnosis.confidence),
            abstains: diagnosis.abstain.is_some(),
        }
    }

    fn acts(&self) -> bool {
        !self.ranked.is_empty() && !self.abstains
    }

    fn hits(&self, label: &Label) -> bool {
        self.ranked.first().is_some_and(|first| label.root.contains(first))
    }
}

/// How confidence and outcome go together in everything acted on.
#[must_use]
pub fn reliability(answers: &[(&Label, Said)]) -> Reliability {
    let acted = answers.iter().filter(|(_, said)| said.acts());
    let outcomes: Vec<(Millionths, bool)> = acted.filter_map(|(label, said)| Some((said.confidence?, said.hits(label)))).collect();
    calibration::reliability(&outcomes)
}

/// Measures `answers`.
#[must_use]
pub fn score(answers: &[(&Label, Said)]) -> Score {
    let (faults, quiet): (Vec<_>, Vec<_>) = answers.iter().partition::<Vec<&(&Label, Said)>, _>(|(label, _)| !label.root.is_empty());
    let place = |(label, said): &&(&Label, Said)| said.ranked.iter().position(|service| label.root.contains(service));
    let places: Vec<Option<usize>> = faults.iter().map(place).collect();
    let among = |k: usize| share(places.iter().map(|place| place.is_some_and(|place| place < k)));
    let all: Option<Vec<f64>> = (1..=5).map(among).collect();
    let kind = |label: &Label, said: &Said| said.domain.is_some() && said.domain == label.domain;
    let reliability = reliability(answers);
    Score {
        faults: faults.len(),
        quiet: quiet.len(),
        first: among(1),
        first_three: among(3),
        first_five: among(5),
        average_five: all.map(|all| all.iter().sum::<f64>() / 5.0),
        domain: share(faults.iter().map(|(label, said)| kind(label, said))),
        joint: share(faults.iter().map(|(label, said)| said.hits(label) && kind(label, said))),
        acted: share(faults.iter().map(|(_, said)| said.acts())),
        precision: share(answers.iter().filter(|(_, said)| said.acts()).map(|(label, said)| said.hits(label))),
        false_alarms: share(quiet.iter().map(|(_, said)| said.acts())),
        error: reliability.error.map(part),
        band: reliability.band.map(part),
    }
}

fn share(values: impl Iterator<Item = bool>) -> Option<f64> {
    let (all, held) = values.fold((0_u32, 0_u32), |(all, held), value| (all + 1, held + u32::from(value)));
    (all > 0).then(|| f64::from(held) / f64::from(all))
}

fn part(millionths: Millionths) -> f64 {
    f64::from(millionths.get()) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels, each with what was said: root, domain; ranked, domain, confidence in percent, abstains.
    type Line = (&'static [&'static str], &'static str, &'static [&'static str], &'static str, u32, bool);

    const LINES: [Line; 10] = [
        (&["a"], "compute", &["a", "b"], "compute", 95, false),
        (&["b"], "network", &["b", "a"], "network", 90, false),
        (&["c"], "network", &["a", "b", "c"], "network", 85, false),
        (&["d", "e"], "database", &["e"], "compute", 80, false),
        (&["a"], "application", &["b", "c", "d", "e", "a"], "application", 40, true),
        (&["b"], "compute", &["b"], "compute", 60, true),
        (&["c"], "compute", &[], "none", 20, true),
        (&["d"], "compute", &["a", "b", "c", "e", "f", "d"], "compute", 75, false),
        (&[], "none", &["a"], "compute", 30, true),
        (&[], "none", &["a"], "compute", 72, false),
    ];

    fn answers(labels: &[Label]) -> Vec<(&Label, Said)> {
        let said = |(.., ranked, domain, percent, abstains): &Line| Said {
            ranked: ranked.iter().map(|name| (*name).to_owned()).collect(),
            domain: Some((*domain).to_owned()),
            confidence: Some(Millionths::new(percent * 10_000)),
            abstains: *abstains,
        };
        labels.iter().zip(LINES.iter().map(said)).collect()
    }

    fn labels() -> Vec<Label> {
        let label = |(n, (root, domain, ..)): (usize, &Line)| Label {
            case: format!("case-{n}"),
            root: root.iter().map(|name| (*name).to_owned()).collect(),
            domain: Some((*domain).to_owned()),
            fault: String::new(),
        };
        LINES.iter().enumerate().map(label).collect()
    }

    /// The expected figures are those of the script that comes with the development data, over the same lines.
    #[test]
    fn measures_are_those_of_the_published_script() {
        let labels = labels();
        let found = score(&answers(&labels));
        assert_eq!((found.faults, found.quiet), (8, 2));
        for (name, found, expected) in [
            ("AC@1", found.first, 0.5),
            ("AC@3", found.first_three, 0.625),
            ("AC@5", found.first_five, 0.75),
            ("Avg@5", found.average_five, 0.6),
            ("domain", found.domain, 0.75),
            ("joint", found.joint, 0.375),
            ("acted", found.acted, 0.625),
            ("precision", found.precision, 0.5),
            ("false_alarm", found.false_alarms, 0.5),
            ("ece", found.error, 0.378),
        ] {
            let found = found.unwrap();
            assert!((found - expected).abs() < 5.1e-4, "{name}: {found}, and the script says {expected}");
        }
        // Its draws come from another generator.
        assert!((found.band.unwrap() - 0.378).abs() < 0.03, "{:?}", found.band);
    }

    #[test]
    fn nothing_to_measure_is_no_figure() {
        assert_eq!(score(&[]), Score::default());
        let labels = labels();
        let silent: Vec<(&Label, Said)> = labels.iter().map(|label| (label, Said::default())).collect();
        let found = score(&silent);
        assert_eq!((found.first, found.acted, found.precision, found.error), (Some(0.0), Some(0.0), None, None));
    }
}
