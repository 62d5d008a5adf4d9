//! One vote of two witnesses: what a seat's own view says, and what the same seat's rules make of a recording that was read from
//! stores and traces when it was asked.
//!
//! A recording can raise a suspicion or confirm one; it cannot take one away, cannot say that all is well, and proposes nothing:
//! remedies, their stances and health stay the view's. Names come from strangers, so only workloads that the incident context
//! knows are spoken of.

use std::collections::BTreeSet;

use super::opinion::{self, LIKELY};
use super::recorded::rules;
use super::{Asked, Entry, change, paths};
use crate::ballot::{CauseVote, Edge, Evidence, Hypothesis, MAX_ITEMS, Opinion};
use crate::diagnosis::{Recording, Suspicion};
use crate::target::Service;

/// The seat's one opinion on the cause. Where the recording says nothing of the seat's classes, it is `live` as it was.
#[must_use]
pub fn merge(entry: &Entry, asked: &Asked<'_>, live: Opinion, mut recording: Recording) -> Opinion {
    let Some(rules) = rules(entry.name) else { return live };
    let known = Known::of(asked);
    let edges = edges(&live, &known, &recording);
    recording.graph.extend(edges.iter().filter_map(|edge| Some((known.name(&edge.caller)?, known.name(&edge.callee)?))));
    let mut said = rules(&recording).unwrap_or_default();
    if entry.name == change::ENTRY.name {
        said.extend(change::logs::suspect(&recording));
    }
    let said: Vec<(Service, Suspicion)> = said.into_iter().filter_map(|suspicion| Some((known.service(&suspicion.service)?, suspicion))).collect();
    let vote = match live {
        Opinion::Abstain { .. } if !said.is_empty() => CauseVote::default(),
        Opinion::Cause(vote) if !said.is_empty() => vote,
        _ => return live,
    };
    let mut hypotheses = vote.hypotheses;
    for (service, suspicion) in said {
        let evidence = evidence(asked, &suspicion);
        let own = Hypothesis {
            path: paths::path(&edges, &service, &asked.context.service),
            domain: suspicion.domain,
            fault: suspicion.fault,
            probability: suspicion.probability,
            evidence: vec![evidence],
            remedies: Vec::new(),
            service,
        };
        let same = hypotheses.iter_mut().filter(|known| (&known.service, known.domain) == (&own.service, own.domain));
        match same.max_by_key(|known| known.probability) {
            None => hypotheses.push(own),
            Some(known) => confirm(known, own),
        }
    }
    opinion::cause(hypotheses, vote.healthy, edges)
}

/// Both speak of the same: the surer probability counts.
fn confirm(known: &mut Hypothesis, own: Hypothesis) {
    // What held it for unlikely is no ground for holding it for likely: one witness must not borrow the other's figures.
    match (known.probability >= LIKELY, own.probability >= LIKELY) {
        (false, true) => known.evidence = own.evidence,
        (true, false) => {}
        _ => {
            known.evidence.extend(own.evidence);
            known.evidence.truncate(MAX_ITEMS);
        }
    }
    known.probability = known.probability.max(own.probability);
}

fn evidence(asked: &Asked<'_>, suspicion: &Suspicion) -> Evidence {
    let window = (asked.context.since, asked.now.max(asked.context.since));
    opinion::evidence(suspicion.source, &suspicion.grounds, window, &suspicion.grounds.join("; "))
}

/// Who calls whom, by the view and by the recording.
fn edges(live: &Opinion, known: &Known<'_>, recording: &Recording) -> BTreeSet<Edge> {
    let recorded = recording.edges().into_iter().filter_map(|(caller, callee)| Some(Edge { caller: known.service(caller)?, callee: known.service(callee)? }));
    let seen = match live {
        Opinion::Cause(vote) => vote.edges.as_slice(),
        _ => &[],
    };
    seen.iter().cloned().chain(recorded).collect()
}

/// The workloads that the context knows, which all stand in one namespace; recordings name them without it.
struct Known<'a> {
    namespace: &'a str,
    names: BTreeSet<&'a str>,
}

// === impl Known ===

impl<'a> Known<'a> {
    fn of(asked: &Asked<'a>) -> Self {
        let context = asked.context;
        let namespace = context.service.namespace.as_str();
        let workloads = context.workloads.iter().map(|workload| &workload.target).filter(|target| target.namespace == namespace);
        Self { namespace, names: workloads.map(|target| target.name.as_str()).chain([context.service.name.as_str()]).collect() }
    }

    fn service(&self, name: &str) -> Option<Service> {
        self.names.contains(name).then(|| Service { namespace: self.namespace.to_owned(), name: name.to_owned() })
    }

    fn name(&self, service: &Service) -> Option<String> {
        (service.namespace == self.namespace && self.names.contains(service.name.as_str())).then(|| service.name.clone())
    }
}

#[cfg(test)]
mod cases;
