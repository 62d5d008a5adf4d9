//! How much speaks for each kind of fault: figures first, words as far as they go with figures.

use std::collections::{BTreeMap, BTreeSet};

use super::Incident;
use super::classes::{self, Class, Signs};
use super::shifts::Shift;
use super::spans::Calls;
use super::templates::{Miner, template};
use super::words::{begins, mentions, words};
use crate::ids::Domain;

/// What a sign that says it is worth, of a figure as strong as figures get.
const SAYS: f64 = 0.6;
/// What a sign that goes with it is worth.
const GOES_WITH: f64 = 0.25;
/// The part that figures make of the whole.
const FIGURES: f64 = 0.65;
/// The part that words make when figures agree; without figures they make a third of it.
const WORDS: f64 = 0.35;
/// The share of severe lines that is enough to say it.
const ENOUGH: f64 = 0.3;

/// For each class what share of the words speaks for it, 0 to 1.
pub(super) type Texts = BTreeMap<&'static str, f64>;

/// What speaks for one kind of fault at one service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) class: &'static Class,
    pub(super) domain: Domain,
    /// 0 to 1.
    pub(super) figures: f64,
    /// 0 to 1.
    pub(super) all: f64,
    /// When the first of its figures moved.
    pub(super) onset: Option<i64>,
    /// When the first of them moved at once.
    pub(super) leapt: Option<i64>,
    /// Whether its figures crept.
    pub(super) crept: bool,
    pub(super) grounds: Vec<String>,
}

/// How much each class has, for a fault that would lie at `suspect`. In the order of the table.
pub(super) fn weigh(incident: &Incident, shifts: &[Shift<'_>], calls: &Calls<'_>, texts: &Texts, suspect: &str) -> Vec<Weight> {
    let callers: BTreeSet<&str> = calls.edges.iter().filter(|(caller, callee)| *callee == suspect && *caller != suspect).map(|(caller, _)| *caller).collect();
    let alert = words(&incident.alert.metric);
    classes::all()
        .map(|(domain, class)| {
            let mut weight = Weight { class, domain, leapt: None, figures: 0.0, all: 0.0, onset: None, crept: false, grounds: Vec::new() };
            let mut parts: Vec<(f64, &Shift<'_>)> = Vec::new();
            for shift in shifts {
                let name = words(shift.metric);
                let sign = strength(class.metrics, |pattern| begins(&name, pattern));
                let near = if shift.service == suspect {
                    1.0
                } else if class.own {
                    0.0
                } else if callers.contains(shift.service) {
                    0.4
                } else {
                    0.85
                };
                if sign * near > 0.0 {
                    parts.push((sign * near * shift.strength, shift));
                }
            }
            parts.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (part, shift) in parts.iter().take(4) {
                weight.figures = either(weight.figures, *part);
                weight.onset = Some(weight.onset.map_or(shift.onset, |first| first.min(shift.onset)));
                weight.crept |= shift.crept;
                if !shift.crept {
                    weight.leapt = Some(weight.leapt.map_or(shift.onset, |first| first.min(shift.onset)));
                }
                weight.grounds.push(format!("{} {}: {:.3} became {:.3}", shift.service, shift.metric, shift.figures.0, shift.figures.1));
            }
            if incident.alert.service.as_deref().is_some_and(|service| service == suspect || !class.own) {
                weight.figures = either(weight.figures, strength(class.metrics, |pattern| begins(&alert, pattern)) * 0.8);
            }
            weight.figures = either(weight.figures, shape(class, calls, suspect));
            let said = texts.get(class.name).copied().unwrap_or_default();
            let backed = if weight.figures > 0.0 { 1.0 } else { 0.33 };
            weight.all = FIGURES * weight.figures + WORDS * backed * said;
            if said > 0.0 {
                weight.grounds.push(format!("words that go with it: {said:.2}"));
            }
            weight
        })
        .collect()
}

/// What the shape of the traces says.
fn shape(class: &Class, calls: &Calls<'_>, suspect: &str) -> f64 {
    match class.name {
        "query for each item" if calls.repeating.contains(suspect) => SAYS,
        "deadline too short" if calls.abandoning.contains(suspect) => SAYS,
        _ => 0.0,
    }
}

/// Two things that speak for the same.
pub(super) fn either(one: f64, other: f64) -> f64 {
    1.0 - (1.0 - one) * (1.0 - other)
}

fn strength((says, goes_with): Signs, holds: impl Fn(&str) -> bool) -> f64 {
    if says.iter().any(|sign| holds(sign)) {
        SAYS
    } else if goes_with.iter().any(|sign| holds(sign)) {
        GOES_WITH
    } else {
        0.0
    }
}

/// Weighs the words of logs since `onset`, of patterns, failed work, notices and the alert.
pub(super) fn texts(incident: &Incident, onset: Option<i64>) -> Texts {
    let mut miners: BTreeMap<&str, Miner> = BTreeMap::new();
    for line in &incident.lines {
        let during = onset.is_none_or(|onset| line.at >= onset);
        if line.severe || !during {
            miners.entry(&line.service).or_default().add(&line.text, during && line.severe);
        }
    }
    let lines: Vec<(String, f64)> = miners.values().flat_map(|miner| miner.risen().map(|(template, count)| (template.to_owned(), capped(count)))).collect();
    let patterns: Vec<(String, f64)> = incident
        .patterns
        .iter()
        .filter(|pattern| pattern.negative && pattern.more > 0)
        .map(|pattern| (template(&pattern.text), capped(pattern.more.unsigned_abs())))
        .collect();
    let errors: Vec<(String, f64)> =
        incident.spans.iter().filter(|span| span.failed && !span.error.is_empty()).map(|span| (template(&span.error), 1.0)).collect();
    let notices: Vec<(String, f64)> = incident.notices.iter().map(|notice| (template(&notice.text), 1.0)).collect();
    let summary = [(template(&incident.alert.summary), 1.0)];
    let mut all: BTreeMap<&'static str, f64> = BTreeMap::new();
    for (texts, most) in [(lines.as_slice(), 0.7), (patterns.as_slice(), 0.7), (errors.as_slice(), 0.4), (notices.as_slice(), 0.6), (summary.as_slice(), 0.4)] {
        for (class, share) in shares(texts) {
            let entry = all.entry(class).or_default();
            *entry = either(*entry, most * (share / ENOUGH).min(1.0));
        }
    }
    all
}

/// A template that is seen often says no more than one that is seen now and then: an attacker is loud for free.
#[expect(clippy::cast_precision_loss, reason = "at most fifty")]
fn capped(count: u64) -> f64 {
    (count.min(50) as f64).sqrt()
}

/// The share of `texts` that speaks for each class. A text that says one thing does not also count for what goes with others.
fn shares(texts: &[(String, f64)]) -> BTreeMap<&'static str, f64> {
    let total: f64 = texts.iter().map(|(_, count)| count).sum();
    let mut shares: BTreeMap<&'static str, f64> = BTreeMap::new();
    for (text, count) in texts {
        let said = |class: &&Class| class.phrases.0.iter().any(|phrase| mentions(text, phrase));
        let spoken: Vec<&Class> = classes::all().map(|(_, class)| class).filter(said).collect();
        if spoken.is_empty() {
            for (_, class) in classes::all().filter(|(_, class)| class.phrases.1.iter().any(|phrase| mentions(text, phrase))) {
                *shares.entry(class.name).or_default() += count / total * 0.4;
            }
        }
        for class in spoken {
            *shares.entry(class.name).or_default() += count / total;
        }
    }
    shares
}
