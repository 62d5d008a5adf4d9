//! What each part is worth: the same cases without a seat, without the graph, with votes merely counted; and each application judged by
//! what only the others teach.

use std::collections::BTreeMap;

use assent_core::consensus::TallyConfiguration;
use assent_core::diagnosis::Recording;
use assent_core::ids::Millionths;
use assent_core::seats::SEATS;
use assent_core::seats::recorded::{self, Diagnosis};
use serde::Serialize;

use super::data::{Label, Labelled};
use super::fit::{self, Judged};
use super::score::{Said, Score, score};

/// One row of a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Which cases.
    pub(super) of: String,
    #[serde(flatten)]
    pub(super) score: Score,
}

/// One change and what it does, folder by folder.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) rows: Vec<Row>,
}

/// A row for each folder, and one for all together if there are several.
pub(super) fn by_folder<'a>(answers: Vec<(&'a Labelled, Said)>) -> Vec<Row> {
    let mut folders: Vec<&str> = answers.iter().map(|(case, _)| case.folder.as_str()).collect();
    folders.dedup();
    let of = |folder: Option<&str>| -> Vec<(&'a Label, Said)> {
        let chosen = answers.iter().filter(|(case, _)| folder.is_none_or(|folder| case.folder == folder));
        chosen.map(|(case, said)| (&case.label, said.clone())).collect()
    };
    let mut rows: Vec<Row> = folders.iter().map(|folder| Row { of: (*folder).to_owned(), score: score(&of(Some(folder))) }).collect();
    if rows.len() > 1 {
        rows.push(Row { of: "all together".into(), score: score(&of(None)) });
    }
    rows
}

/// What the tally said about each case.
pub(super) fn said<'a>(judged: &[Judged<'a>]) -> Vec<(&'a Labelled, Said)> {
    judged.iter().map(|(case, diagnosis)| (*case, Said::of(diagnosis))).collect()
}

/// Each application judged with what the other ones teach. Nothing for a single one.
pub(super) fn left_out(cases: &[&Labelled]) -> Vec<Row> {
    let applications = fit::applications(cases);
    if applications.len() < 2 {
        return Vec::new();
    }
    let mut all = Vec::new();
    for application in applications {
        let (own, others): (Vec<&Labelled>, Vec<&Labelled>) = cases.iter().copied().partition(|case| case.application == application);
        all.extend(said(&fit::judge(&own, &fit::fit(&others).configuration)));
    }
    // In the order of the cases, so that folders stay together.
    let place = |case: &Labelled| cases.iter().position(|other| std::ptr::eq(*other, case));
    all.sort_by_key(|(case, _)| place(case));
    by_folder(all)
}

/// The same cases without this and that.
pub(super) fn ablation(cases: &[&Labelled], configuration: &TallyConfiguration, whole: &[Judged<'_>]) -> Vec<Variant> {
    let mut variants = vec![variant("everything", said(whole))];
    for seat in SEATS.iter().map(|entry| entry.name) {
        let judged = fit::each(cases, |recording| recorded::judge(recording, configuration, &[seat]));
        variants.push(variant(&format!("without {seat}"), said(&judged)));
    }
    variants.push(variant("votes counted", whole.iter().map(|(case, diagnosis)| (*case, majority(diagnosis))).collect()));
    for (name, change) in [("without graph.csv", no_graph as fn(&Recording) -> Recording), ("without any edge", no_edges)] {
        variants.push(variant(name, said(&fit::each(cases, |recording| recorded::judge(&change(recording), configuration, &[])))));
    }
    variants
}

fn variant(name: &str, answers: Vec<(&Labelled, Said)>) -> Variant {
    Variant { name: name.to_owned(), rows: by_folder(answers) }
}

/// Only what calls and traces tell of the graph.
fn no_graph(recording: &Recording) -> Recording {
    Recording { graph: std::collections::BTreeSet::new(), ..recording.clone() }
}

/// Nor that: figures of edges go with them, since they cannot be told apart.
fn no_edges(recording: &Recording) -> Recording {
    let mut changed = no_graph(recording);
    changed.calls.clear();
    for operation in changed.operations.iter_mut().chain(&mut changed.reference_operations) {
        operation.caller.clear();
        operation.peer.clear();
    }
    changed
}

/// Votes merely counted: each seat's first suspect is one vote, whatever its probability; most votes win, and more than half of
/// the seats that name anybody must agree before anything is done.
fn majority(diagnosis: &Diagnosis) -> Said {
    let mut votes: BTreeMap<&str, (u32, Millionths)> = BTreeMap::new();
    let mut voters = 0_u32;
    let mut domains: BTreeMap<&str, String> = BTreeMap::new();
    for suspicions in diagnosis.votes.values() {
        let Some(first) = fit::first(suspicions) else { continue };
        voters += 1;
        let vote = votes.entry(&first.service).or_default();
        if first.probability > vote.1 {
            domains.insert(&first.service, first.domain.to_string());
        }
        *vote = (vote.0 + 1, vote.1.max(first.probability));
    }
    let mut ranked: Vec<(&str, (u32, Millionths))> = votes.into_iter().collect();
    ranked.sort_by(|(a, votes_a), (b, votes_b)| votes_b.cmp(votes_a).then_with(|| a.cmp(b)));
    let most = ranked.first().map_or(0, |(_, (count, _))| *count);
    Said {
        domain: ranked.first().and_then(|(first, _)| domains.remove(first)),
        ranked: ranked.into_iter().map(|(service, _)| service.to_owned()).collect(),
        confidence: Some(Millionths::new(most * 1_000_000 / voters.max(1))),
        abstains: most * 2 <= voters,
    }
}

#[cfg(test)]
mod tests {
    use assent_core::ballot::{EvidenceClass, Principal};
    use assent_core::diagnosis::Suspicion;
    use assent_core::ids::Domain;

    use super::*;

    fn diagnosis(votes: &[(&str, &str, u32)]) -> Diagnosis {
        let mut diagnosis = recorded::judge(&Recording::default(), &TallyConfiguration::shipped(), &[]);
        let suspicion = |service: &str, percent: u32| Suspicion {
            service: service.into(),
            domain: Domain::Compute,
            fault: String::new(),
            probability: Millionths::new(percent * 10_000),
            source: (EvidenceClass::Resource, Principal::MetricStore),
            grounds: Vec::new(),
        };
        diagnosis.votes = votes.iter().map(|(seat, service, percent)| ((*seat).to_owned(), vec![suspicion(service, *percent)])).collect();
        diagnosis
    }

    #[test]
    fn most_votes_win_however_sure_the_others_are() {
        let said = majority(&diagnosis(&[("a", "x", 30), ("b", "x", 30), ("c", "y", 99)]));
        assert_eq!((said.ranked, said.abstains), (vec!["x".to_owned(), "y".to_owned()], false));
        assert_eq!(said.confidence, Some(Millionths::new(666_666)));
    }

    #[test]
    fn without_a_majority_nothing_is_done() {
        assert!(majority(&diagnosis(&[("a", "x", 90), ("b", "y", 30)])).abstains);
        assert!(majority(&diagnosis(&[])).abstains);
    }

    #[test]
    fn without_the_graph_no_edge_is_left() {
        let recording = Recording {
            graph: [("a".to_owned(), "b".to_owned())].into(),
            operations: vec![assent_core::diagnosis::Operation { caller: "a".into(), service: "b".into(), peer: "c".into(), ..Default::default() }],
            ..Recording::default()
        };
        assert_eq!(no_graph(&recording).edges().len(), 2);
        assert!(no_edges(&recording).edges().is_empty());
    }
}
