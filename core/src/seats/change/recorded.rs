//! The change seat over a recording: whose work has another shape. A service that no longer does what it did for each call is suspect;
//! where several do, and all call the same one, that one turned them away.

use std::collections::{BTreeMap, BTreeSet};

use crate::ballot::{EvidenceClass, Principal};
use crate::diagnosis::operations::{self, Change};
use crate::diagnosis::{Recording, Suspicion, graded};
use crate::ids::{Domain, Millionths};

/// Who it suspects. Nothing: no figures of its classes that can be judged.
#[must_use]
pub fn suspect(recording: &Recording) -> Option<Vec<Suspicion>> {
    let changes = operations::changes(recording)?;
    let mut by_service: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in &changes {
        by_service.entry(&change.service).or_default().push(change);
    }
    let edges = recording.edges();
    let changed: BTreeSet<&str> = by_service.keys().copied().collect();
    let mut suspicions = Vec::new();
    for (service, changes) in &by_service {
        // Whoever calls a changed service changes with it.
        let calls_changed = edges.iter().any(|(caller, callee)| caller == service && changed.contains(callee));
        let most = changes.iter().map(|change| change.surprise.abs()).fold(0.0, f64::max);
        let (low, high) = if calls_changed { (250, 400) } else { (600, 880) };
        suspicions.push(suspicion(service, graded(most, (2.0, 10.0), (low, high)), changes));
    }
    if changed.len() > 1
        && let Some(turned) = common(&edges, &changed)
    {
        let all: Vec<&Change> = by_service.values().flatten().copied().collect();
        suspicions.push(suspicion(turned, Millionths::new(750_000), &all));
    }
    Some(suspicions)
}

/// The one service that all changed ones call.
fn common<'a>(edges: &BTreeSet<(&'a str, &'a str)>, changed: &BTreeSet<&str>) -> Option<&'a str> {
    let callees: BTreeSet<&str> = edges.iter().map(|(_, callee)| *callee).filter(|callee| !changed.contains(callee)).collect();
    let mut shared = callees.into_iter().filter(|callee| changed.iter().all(|caller| edges.contains(&(*caller, *callee))));
    let first = shared.next()?;
    shared.next().is_none().then_some(first)
}

fn suspicion(service: &str, probability: Millionths, changes: &[&Change]) -> Suspicion {
    let mut clearest: Vec<&&Change> = changes.iter().collect();
    clearest.sort_by(|a, b| b.surprise.abs().total_cmp(&a.surprise.abs()).then_with(|| a.operation.cmp(&b.operation)));
    let ground = |change: &&Change| format!("an operation of {} was done {:.0} times, expected {:.0}", change.service, change.seen, change.expected);
    Suspicion {
        service: service.to_owned(),
        domain: Domain::Application,
        fault: "changed-shape".into(),
        probability,
        source: (EvidenceClass::Requests, Principal::Traces),
        grounds: clearest.into_iter().take(4).map(ground).collect(),
    }
}
