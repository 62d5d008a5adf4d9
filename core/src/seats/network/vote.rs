//! From judgements to a vote: suspects below the alerting service, callers explained by their callees, and what the
//! network's figures say of each remedy.

use std::collections::BTreeSet;

use super::View;
use super::judge::{BAD, Fault, Judged, signed};
use super::links::{Links, Trouble, Troubled};
use super::pods::Lately;
use crate::action::Action;
use crate::ballot::{Edge, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Round};
use crate::ids::{Domain, Millionths, UnixMillis};
use crate::seats::opinion::{abstain, cause, evidence};
use crate::seats::{Asked, Position, Put, paths};
use crate::target::Service;

const REQUESTS: (EvidenceClass, Principal) = (EvidenceClass::Requests, Principal::Sidecar);
const TCP: (EvidenceClass, Principal) = (EvidenceClass::Tcp, Principal::Sidecar);
/// A service's own bad answers over healthy connections.
const CLEAR: Millionths = Millionths::new(800_000);
/// The same, while the connections under it are in trouble too.
const UNCLEAR: Millionths = Millionths::new(450_000);
/// A callee that went silent; the callers' stalling follows from it.
const SILENT: Millionths = Millionths::new(700_000);
/// A caller whose callee is ill as well: no more likely than before.
const EXPLAINED: Millionths = Millionths::new(200_000);
/// A program that is slow, where late answers have lasted.
const SLOW: Millionths = Millionths::new(550_000);
const LASTING_MS: i64 = 12_000;
/// Bad windows of a service that an ill one calls.
const SOON: usize = 1;
/// Clocks of pods and API server may differ by this much.
const CLOCKS_MS: i64 = 5_000;

struct Suspect<'a> {
    service: &'a Service,
    judged: Judged,
    fault: Fault,
}

// === impl View ===

impl View {
    pub(super) fn vote(&self, asked: &Asked<'_>) -> Opinion {
        let (since, now) = (asked.context.since, asked.now);
        let alert = &asked.context.service;
        let own = match self.judge(alert, since, now) {
            Ok(judged) => judged,
            Err(reason) => return abstain(Round::Cause, &reason),
        };
        let edges = self.edges();
        let below = paths::below(&edges, alert);
        let suspects: Vec<Suspect<'_>> =
            below.iter().filter_map(|service| self.suspect(service, since, now, if own.fault.is_some() && *service != alert { SOON } else { BAD })).collect();
        let links = self.connections(since, now);
        let mut hypotheses = Vec::new();
        for suspect in &suspects {
            let own = self.own_fault(asked, suspect, &suspects, &links, &edges);
            hypotheses.extend(slow(suspect, &own));
            hypotheses.push(own);
        }
        hypotheses.extend(silent(&links, &below, &edges, alert));
        hypotheses.extend(blamed(&links, &below, &edges, alert));
        let healthy = vec![judged_evidence(&own)];
        cause(hypotheses, healthy, edges)
    }

    fn suspect<'a>(&self, service: &'a Service, since: UnixMillis, now: UnixMillis, bad: usize) -> Option<Suspect<'a>> {
        let judged = self.judge_from(service, since, now, bad).ok()?;
        let fault = judged.fault?;
        Some(Suspect { service, judged, fault })
    }

    fn own_fault(&self, asked: &Asked<'_>, suspect: &Suspect<'_>, suspects: &[Suspect<'_>], links: &Links, edges: &BTreeSet<Edge>) -> Hypothesis {
        let service = suspect.service;
        let explained = paths::callees(edges, service).any(|callee| {
            suspects.iter().any(|other| other.service == callee) || links.silent().any(|t| t.edge.caller == *service && t.edge.callee == *callee)
        });
        let connections = links.troubled.iter().any(|t| t.trouble.is_of_network() && (t.edge.callee == *service || t.edge.caller == *service));
        let misdirected: Vec<&Troubled> = links.misdirected(service).collect();
        let (domain, fault) = match suspect.fault {
            // What it asks for at a place where nobody is cannot be had, whatever that looks like from outside.
            _ if !misdirected.is_empty() => (Domain::Application, "wrong-destination"),
            Fault::Errors => (Domain::Application, "errors"),
            Fault::Stalled => (Domain::Application, "stalled"),
            Fault::Saturation => (Domain::Compute, "saturation"),
        };
        Hypothesis {
            service: service.clone(),
            domain,
            fault: fault.into(),
            probability: if !misdirected.is_empty() {
                CLEAR
            } else if explained {
                EXPLAINED
            } else if connections {
                UNCLEAR
            } else {
                CLEAR
            },
            evidence: [Some(judged_evidence(&suspect.judged)), troubled_evidence(&misdirected)].into_iter().flatten().collect(),
            path: paths::path(edges, service, &asked.context.service),
            remedies: Vec::new(),
        }
    }

    pub(super) fn position(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        let target = put.proposal.target.service();
        let judged = match self.judge(&target, asked.usual_until(), asked.now) {
            Ok(judged) => judged,
            Err(reason) => return Position::no_objection(reason),
        };
        let grounds = || vec![judged_evidence(&judged)];
        match &put.proposal.action {
            Action::ScaleWorkload(scale) => {
                let now = asked.context.workloads.iter().find(|w| w.target == put.proposal.target).map_or(0, |w| w.replicas);
                if asked.context.symptom.is_routine() {
                    return Self::demand_position(&judged, scale.replicas < now);
                }
                let less = scale.replicas < now;
                let per_window = signed(judged.now.requests) / i64::try_from(judged.recent.max(1)).unwrap_or(1);
                if less && per_window.saturating_mul(10) >= judged.usual.requests.median.saturating_mul(7) {
                    return Position::veto("the requests are not fewer than usual", grounds());
                }
                match judged.fault {
                    Some(Fault::Saturation) if !less => Position::support("answers are late under an undiminished load", grounds()),
                    _ => Position::no_objection("its answers do not look like saturation"),
                }
            }
            Action::AdjustResources(_) if asked.context.symptom.is_routine() => Self::sizes_position(&judged),
            Action::AdjustResources(_) => Position::no_objection("its answers say nothing of what its containers need"),
            Action::EvictPod(evict) if judged.stuck.as_ref().is_some_and(|stuck| stuck.uid == evict.uid) => {
                Position::support("it alone of the pods takes requests and answers none", grounds())
            }
            Action::EvictPod(_) if judged.stuck.is_some() => Position::veto("it is another pod that answers nothing", grounds()),
            Action::EvictPod(evict) => match (self.lately(&target, &evict.uid, asked.now), judged.fault) {
                (Some(Lately::Answers), _) => Position::veto("that pod answers whoever asks it", grounds()),
                // Without a sidecar of its own all that is known is how the service does.
                (Some(Lately::IsSilent) | None, Some(Fault::Stalled)) => Position::support("it takes requests and answers none", grounds()),
                (Some(Lately::SaysNothing), _) => Position::no_objection("nobody was let down by that pod alone"),
                _ => Position::no_objection("its answers do not look like a stalled process"),
            },
            Action::RestartWorkload(_) => match judged.fault {
                Some(Fault::Stalled) => Position::support("it takes requests and answers none", grounds()),
                _ => Position::no_objection("its answers do not look like a stalled process"),
            },
            Action::RollbackWorkload(_) | Action::RevertConfig(_) => {
                let (Some(onset), Some(changed)) = (judged.onset, changed_at(put)) else {
                    return Position::no_objection("its own answers are as usual");
                };
                if onset >= changed.plus(-CLOCKS_MS) {
                    Position::support("its answers went bad after the change", grounds())
                } else {
                    Position::no_objection("its answers were bad before the change")
                }
            }
        }
    }
}

/// Late answers that last are as well those of a program that is slow: too little of everything and too much work look alike from
/// outside, and other seats tell them apart. A start is over by then.
fn slow(suspect: &Suspect<'_>, own: &Hypothesis) -> Option<Hypothesis> {
    let lasts = suspect.judged.onset.is_some_and(|onset| suspect.judged.to.since(onset) >= LASTING_MS);
    let clear = suspect.fault == Fault::Saturation && own.domain == Domain::Compute && own.probability == CLEAR;
    (lasts && clear).then(|| Hypothesis { domain: Domain::Application, fault: "slow".into(), probability: SLOW, ..own.clone() })
}

/// When what is to be undone was changed: the start of the change evidence for it.
fn changed_at(put: &Put<'_>) -> Option<UnixMillis> {
    let evidence = put.grounds.iter().flat_map(|(_, hypothesis)| &hypothesis.evidence);
    evidence.filter(|item| item.class == EvidenceClass::Change).map(|item| item.from).max()
}

fn silent(links: &Links, below: &BTreeSet<&Service>, edges: &BTreeSet<Edge>, alert: &Service) -> Vec<Hypothesis> {
    let callees: BTreeSet<&Service> = links.silent().map(|t| &t.edge.callee).filter(|callee| below.contains(callee)).collect();
    let hypothesis = |callee: &Service| {
        let mine: Vec<&Troubled> = links.silent().filter(|t| t.edge.callee == *callee).collect();
        Hypothesis {
            service: callee.clone(),
            domain: if mine.iter().any(|t| t.database) { Domain::Database } else { Domain::Application },
            fault: "silent".into(),
            probability: SILENT,
            evidence: troubled_evidence(&mine).into_iter().collect(),
            path: paths::path(edges, callee, alert),
            remedies: Vec::new(),
        }
    };
    callees.into_iter().map(hypothesis).collect()
}

fn blamed(links: &Links, below: &BTreeSet<&Service>, edges: &BTreeSet<Edge>, alert: &Service) -> Vec<Hypothesis> {
    let within = links.blamed().into_iter().filter(|(service, ..)| below.contains(service));
    within
        .map(|(service, share, mine)| {
            // One call in trouble says little of the node; most of them say much.
            let probability = Millionths::new(u32::try_from(400_000 + share.min(1_000_000) * 3 / 10).unwrap_or(0));
            let fault = match mine.iter().map(|t| t.trouble).min() {
                Some(Trouble::Loss) => "loss",
                Some(Trouble::Delay) => "delay",
                _ => "unreachable",
            };
            Hypothesis {
                path: paths::path(edges, &service, alert),
                evidence: troubled_evidence(&mine).into_iter().collect(),
                service,
                domain: Domain::Network,
                fault: fault.into(),
                probability,
                remedies: Vec::new(),
            }
        })
        .collect()
}

pub(super) fn judged_evidence(judged: &Judged) -> Evidence {
    evidence(REQUESTS, judged, (judged.onset.unwrap_or(judged.from), judged.to), &judged.summary())
}

fn troubled_evidence(troubled: &[&Troubled]) -> Option<Evidence> {
    let first = troubled.first()?;
    let failed: u64 = troubled.iter().map(|t| t.now.connect_failed).fold(0, u64::saturating_add);
    let again: u64 = troubled.iter().map(|t| t.now.retransmits).fold(0, u64::saturating_add);
    let summary = format!(
        "{} of its calls in trouble: {failed} connections refused, {again} segments sent again, {} bytes answered",
        troubled.len(),
        troubled.iter().map(|t| t.now.received).fold(0, u64::saturating_add)
    );
    Some(evidence(TCP, &troubled, (first.from, first.to), &summary))
}
