//! From findings to suspicions: what callees explain is taken off, what full nodes explain is halved, several aspects support each
//! other, and rollouts compete, because seldom two are bad at once.

use std::collections::BTreeMap;

use super::Suspicion;
use super::contrast::{self, Difference, Finding};
use super::fleet::{Fleet, Side};
use super::measure::Aspect;
use crate::diagnosis::vocabulary;
use crate::ids::Domain;

/// How much of what users feel an anomalous callee may explain.
const EXPLAINED: f64 = 0.85;
/// How far a change of old and new pods alike, at the right minute, may take a suspicion.
const SHARED: f64 = 0.4;
/// Seconds after the alert from which on a rollout can hardly be what it was given for.
const TOO_LATE: i64 = -180;
/// A node that is this full makes everything on it slow.
const FULL: f64 = 0.9;

/// Suspicions of all candidates, the strongest first.
pub(super) fn weigh(fleet: &Fleet, findings: &[Finding]) -> Vec<Suspicion> {
    let alone: BTreeMap<&str, f64> =
        fleet.candidates.iter().map(|service| (service.as_str(), together(&own(findings, service), |finding| finding.score))).collect();
    let mut weighed: Vec<(f64, &String, Vec<&Finding>)> = Vec::new();
    for service in &fleet.candidates {
        let mine = own(findings, service);
        let full = full_node(&mine);
        let explained = |finding: &Finding| {
            if !finding.aspect.is_felt() {
                return 1.0;
            }
            let node = if full { 0.5 } else { 1.0 };
            let below = fleet.below(service).into_iter().map(|callee| {
                let guilty = alone.get(callee).copied().unwrap_or(0.0);
                if finding.is_clean() { guilty * 0.3 } else { contrast::felt(fleet, callee, finding.window).max(guilty) * EXPLAINED }
            });
            node * (1.0 - below.fold(0.0, f64::max))
        };
        let kept: BTreeMap<usize, f64> = mine.iter().enumerate().map(|(place, finding)| (place, explained(finding))).collect();
        let share = |place: usize| kept.get(&place).copied().unwrap_or(1.0);
        let places: Vec<(usize, &Finding)> = mine.iter().copied().enumerate().collect();
        let direct = best_of(places.iter().map(|(place, finding)| (finding.aspect, finding.score * share(*place))));
        let shared = places.iter().map(|(place, finding)| if finding.aspect.is_felt() { finding.shared * share(*place) } else { 0.0 }).fold(0.0, f64::max);
        let timely = fleet.rollouts.get(service).is_some_and(|rollout| rollout.before_alert >= TOO_LATE);
        let strength = either(&direct).max(SHARED * shared) * if timely { 1.0 } else { 0.5 };
        weighed.push((strength, service, mine));
    }
    let all: f64 = weighed.iter().map(|(strength, ..)| strength * strength).sum();
    let mut suspicions: Vec<Suspicion> = weighed
        .into_iter()
        .map(|(strength, service, mine)| {
            let part = if all > 0.0 { strength * strength / all } else { 0.0 };
            let (domain, fault) = fault(&mine);
            Suspicion {
                service: service.clone(),
                domain,
                fault: fault.to_owned(),
                strength: strength * (0.4 + 0.6 * part),
                grounds: grounds(fleet, service, &mine),
            }
        })
        .collect();
    suspicions.sort_by(|one, other| other.strength.total_cmp(&one.strength).then_with(|| one.service.cmp(&other.service)));
    suspicions
}

fn own<'a>(findings: &'a [Finding], service: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.service == service).collect()
}

fn together(findings: &[&Finding], score: impl Fn(&Finding) -> f64) -> f64 {
    either(&best_of(findings.iter().map(|finding| (finding.aspect, score(finding)))))
}

/// Several signals of one aspect say one thing.
fn best_of(scores: impl Iterator<Item = (Aspect, f64)>) -> BTreeMap<Aspect, f64> {
    let mut best: BTreeMap<Aspect, f64> = BTreeMap::new();
    for (aspect, score) in scores {
        let kept = best.entry(aspect).or_insert(0.0);
        *kept = kept.max(score);
    }
    best
}

/// That at least one aspect is right.
fn either(scores: &BTreeMap<Aspect, f64>) -> f64 {
    1.0 - scores.values().map(|score| 1.0 - score).product::<f64>()
}

/// New pods stand on a full node and old ones do not.
fn full_node(findings: &[&Finding]) -> bool {
    findings.iter().any(|finding| finding.aspect == Aspect::Node && finding.levels.0 >= FULL && finding.beside.is_some_and(|beside| beside.size >= 0.1))
}

/// What kind of fault the findings look like. Whether old pods suffer with new ones does not matter to it.
fn fault(findings: &[&Finding]) -> (Domain, &'static str) {
    let most =
        |aspect: Aspect, of: fn(&Finding) -> f64| findings.iter().filter(|finding| finding.aspect == aspect).map(|finding| of(finding)).fold(0.0, f64::max);
    let (failing, slow) = (most(Aspect::Failing, |finding| finding.clear), most(Aspect::Slow, |finding| finding.clear));
    let (cpu, memory, restarts) =
        (most(Aspect::Cpu, |finding| finding.score), most(Aspect::Memory, |finding| finding.score), most(Aspect::Restarts, |finding| finding.score));
    let asks_store = |finding: &&&Finding| matches!(&finding.side, Side::To(callee) if vocabulary::is_store(callee));
    let store = findings.iter().filter(asks_store).map(|finding| finding.score).fold(0.0, f64::max);
    let idles = findings.iter().any(|finding| finding.aspect == Aspect::Cpu && fell(finding));
    match () {
        () if memory >= 0.3 && memory >= cpu => (Domain::Compute, "memory leak"),
        () if cpu >= 0.3 => (Domain::Compute, "CPU use"),
        () if restarts >= 0.3 => (Domain::Application, "crash loop"),
        () if store >= 0.3 => (Domain::Database, "slow or failing queries"),
        // Some wait for a connection until they give up, the others get one late.
        () if failing >= 0.3 && slow >= 0.3 => (Domain::Database, "connection pool"),
        () if failing >= slow => (Domain::Application, "errors"),
        // Who waits for somebody else computes less meanwhile.
        () if idles => (Domain::Database, "slow queries"),
        () => (Domain::Application, "latency"),
    }
}

fn fell(finding: &Finding) -> bool {
    let clear = |difference: Difference| difference.size <= -0.1 && difference.sure <= -1.5;
    match (finding.since, finding.beside) {
        (Some(since), beside) => clear(since) && beside.is_none_or(|beside| beside.size < 0.0),
        (None, beside) => beside.is_some_and(clear),
    }
}

fn grounds(fleet: &Fleet, service: &str, findings: &[&Finding]) -> Vec<String> {
    let mut told: Vec<&Finding> = findings.iter().copied().filter(|finding| finding.score >= 0.1).collect();
    told.sort_by(|one, other| other.score.total_cmp(&one.score));
    told.truncate(4);
    let mut lines: Vec<String> = told.into_iter().map(line).collect();
    match fleet.rollouts.get(service) {
        Some(rollout) => lines.push(format!("{} steps, the first ready {} s before the alert", rollout.steps, rollout.before_alert)),
        None => lines.push("no step of a rollout is known".to_owned()),
    }
    lines
}

fn line(finding: &Finding) -> String {
    let edge = match &finding.side {
        Side::Whole => String::new(),
        Side::From(caller) => format!(" from {caller}"),
        Side::To(callee) => format!(" to {callee}"),
    };
    let (new, old, past) = finding.levels;
    let mut line = format!("{} ({}{edge}): new pods {new:.3}", finding.aspect.name(), finding.signal);
    if let (Some(old), Some(beside)) = (old, finding.beside) {
        line += &format!(", old pods at the same {} minutes {old:.3}", beside.minutes);
    }
    if let Some(past) = past {
        line += &format!(", before {past:.3}");
    }
    if finding.aspect == Aspect::Memory {
        line += &format!(", growing {:.2} % a step", finding.growth * 100.0);
    }
    line
}
