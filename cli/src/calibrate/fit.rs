//! From labelled cases to a configuration of the tally. Judging stays with the seats and the tally; here it is only counted what became
//! of their words.

use std::collections::BTreeSet;

use assent_core::consensus::TallyConfiguration;
use assent_core::consensus::calibration::{self, Answer, Experience};
use assent_core::diagnosis::{Recording, Suspicion};
use assent_core::ids::Millionths;
use assent_core::seats::recorded::{self, Diagnosis};

use super::data::{Label, Labelled};

/// From here on a seat supports what it suspects; the tally draws the same line.
const SUPPORT: Millionths = Millionths::new(500_000);

/// A case with what the seats and the tally made of it.
pub(super) type Judged<'a> = (&'a Labelled, Diagnosis);

/// A configuration with how it came about.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    pub(super) configuration: TallyConfiguration,
    /// What was decided about its weights, in words.
    pub(super) reason: String,
}

/// Judges all `cases` with `configuration`.
pub(super) fn judge<'a>(cases: &[&'a Labelled], configuration: &TallyConfiguration) -> Vec<Judged<'a>> {
    each(cases, |recording| recorded::judge(recording, configuration, &[]))
}

/// Judges all `cases` by `judge`, as many at once as there are processors.
pub(super) fn each<'a>(cases: &[&'a Labelled], judge: impl Fn(&Recording) -> Diagnosis + Sync) -> Vec<Judged<'a>> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let part = cases.len().div_ceil(processors).max(1);
    let one = |cases: &[&'a Labelled]| -> Vec<Judged<'a>> { cases.iter().map(|case| (*case, judge(&case.recording))).collect() };
    std::thread::scope(|scope| {
        let parts: Vec<_> = cases.chunks(part).map(|cases| scope.spawn(move || one(cases))).collect();
        let joined = parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    })
}

/// Fits the tally to `cases`. Weights are learned only where, application by application, those that the others teach come clearly nearer to
/// the truth than the shipped ones do.
pub(super) fn fit(cases: &[&Labelled]) -> Fitted {
    let shipped = TallyConfiguration::shipped();
    let as_shipped = judge(cases, &shipped);
    let (weights, reason) = weights(cases, &as_shipped, &shipped);
    let judged = if weights == shipped { as_shipped } else { judge(cases, &weights) };
    Fitted { configuration: calibration::bounded(&weights, &answers(&judged)), reason }
}

fn weights(cases: &[&Labelled], as_shipped: &[Judged<'_>], shipped: &TallyConfiguration) -> (TallyConfiguration, String) {
    let learned = calibration::weighted(shipped, &experience(as_shipped));
    if learned == *shipped {
        return (learned, "too few labels to learn weights from: those that are shipped".into());
    }
    let applications = applications(cases);
    if applications.len() < 2 {
        return (shipped.clone(), "weights learned on one application cannot be tried on another: those that are shipped".into());
    }
    let mut unseen = Vec::new();
    for application in applications {
        let others: Vec<Judged<'_>> = as_shipped.iter().filter(|(case, _)| case.application != application).cloned().collect();
        let taught = calibration::weighted(shipped, &experience(&others));
        let left_out: Vec<&Labelled> = cases.iter().copied().filter(|case| case.application == application).collect();
        unseen.extend(judge(&left_out, &taught));
    }
    let (before, after) = (calibration::brier(&answers(as_shipped)), calibration::brier(&answers(&unseen)));
    let figures = format!("mean square error {:.4} on applications they were not learned on, {:.4} with those that are shipped", part(after), part(before));
    if after < before {
        (learned, format!("learned weights: {figures}"))
    } else {
        (shipped.clone(), format!("shipped weights, learned ones are not clearly better: {figures}"))
    }
}

fn part(millionths: u32) -> f64 {
    f64::from(millionths) / 1e6
}

/// The applications of `cases`, each once.
pub(super) fn applications<'a>(cases: &[&'a Labelled]) -> BTreeSet<&'a str> {
    cases.iter().map(|case| case.application.as_str()).collect()
}

/// How often the seats' words were right.
fn experience(judged: &[Judged<'_>]) -> Experience {
    let mut experience = Experience::default();
    for (case, diagnosis) in judged {
        for (seat, suspicions) in &diagnosis.votes {
            if let Some(claim) = claim(suspicions) {
                experience.claims.entry((seat.clone(), claim.domain)).or_default().add(case.label.root.contains(&claim.service));
            }
        }
        for cause in &diagnosis.causes {
            experience.causes.add(right(&case.label, &cause.service.name));
        }
    }
    experience
}

/// What a seat supports first.
fn claim(suspicions: &[Suspicion]) -> Option<&Suspicion> {
    first(suspicions).filter(|first| first.probability >= SUPPORT)
}

/// What a seat suspects most. Of equals, the first by name, as in its ballot.
pub(super) fn first(suspicions: &[Suspicion]) -> Option<&Suspicion> {
    suspicions.iter().min_by(|a, b| b.probability.cmp(&a.probability).then_with(|| (&a.service, a.domain).cmp(&(&b.service, b.domain))))
}

fn right(label: &Label, service: &str) -> bool {
    label.root.contains(service)
}

/// What became of the tally's answers. Where nobody named a cause, there is none.
fn answers(judged: &[Judged<'_>]) -> Vec<Answer> {
    let answer = |(case, diagnosis): &Judged<'_>| {
        let first = diagnosis.causes.first()?;
        let second = diagnosis.causes.iter().find(|cause| cause.service != first.service);
        let lead = second.map_or(i64::MAX, |second| first.log_odds.saturating_sub(second.log_odds));
        Some(Answer { confidence: diagnosis.confidence, lead, right: diagnosis.ranked.first().is_some_and(|service| right(&case.label, service)) })
    };
    judged.iter().filter_map(answer).collect()
}

#[cfg(test)]
mod tests {
    use assent_core::ballot::{EvidenceClass, Principal};
    use assent_core::ids::Domain;

    use super::*;

    fn suspicion(service: &str, percent: u32) -> Suspicion {
        Suspicion {
            service: service.into(),
            domain: Domain::Compute,
            fault: String::new(),
            probability: Millionths::new(percent * 10_000),
            source: (EvidenceClass::Resource, Principal::MetricStore),
            grounds: Vec::new(),
        }
    }

    fn case(application: &str, root: &str) -> Labelled {
        let label = serde_json::from_value(serde_json::json!({"case": "x", "root": [root]})).unwrap();
        Labelled { folder: application.into(), application: application.into(), recording: Recording::default(), label, reading: std::time::Duration::ZERO }
    }

    fn diagnosis(seat: &str, suspicions: Vec<Suspicion>) -> Diagnosis {
        let mut diagnosis = recorded::judge(&Recording::default(), &TallyConfiguration::shipped(), &[]);
        diagnosis.votes = [(seat.to_owned(), suspicions)].into();
        diagnosis
    }

    #[test]
    fn a_claim_is_what_a_seat_supports_most() {
        let all = [suspicion("c", 80), suspicion("b", 90), suspicion("a", 90), suspicion("d", 40)];
        assert_eq!(claim(&all).map(|claim| claim.service.as_str()), Some("a"));
        assert_eq!(claim(&all[3..]), None);
    }

    #[test]
    fn a_claim_counts_for_its_seat_and_domain_and_is_right_where_the_service_is() {
        let (hit, miss) = (case("shop", "a"), case("shop", "b"));
        let judged = [(&hit, diagnosis("compute", vec![suspicion("a", 90)])), (&miss, diagnosis("compute", vec![suspicion("a", 90)]))];
        let found = experience(&judged);
        let claims = found.claims.get(&("compute".to_owned(), Domain::Compute)).copied().unwrap();
        assert_eq!((claims.of, claims.right), (2, 1));
    }

    #[test]
    fn few_cases_give_what_is_shipped() {
        let cases = [case("shop", "a"), case("books", "b")];
        let fitted = fit(&cases.iter().collect::<Vec<_>>());
        assert_eq!(fitted.configuration, TallyConfiguration::shipped());
        assert!(fitted.reason.contains("too few"), "{}", fitted.reason);
    }
}
