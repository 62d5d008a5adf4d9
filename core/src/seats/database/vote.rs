//! From judged calls to a vote by the contrast between a server's clients, and what is refused for data's sake.

use std::collections::BTreeSet;

use super::Complaint;
use super::View;
use super::judge::{Call, Trouble};
use crate::ballot::{Edge, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Round};
use crate::ids::{Domain, Millionths, UnixMillis};
use crate::seats::opinion::{abstain, cause, evidence};
use crate::seats::{Asked, Position, Put, paths};
use crate::target::Service;

const EXCHANGE: (EvidenceClass, Principal) = (EvidenceClass::DatabaseExchange, Principal::Sidecar);

// === impl View ===

impl View {
    pub(super) fn vote(&self, asked: &Asked<'_>) -> Opinion {
        let alert = &asked.context.service;
        let edges: BTreeSet<Edge> = self.calls.keys().cloned().collect();
        let judged = self.judge_all(asked.context.since, asked.now);
        let near = judged.iter().filter(|(server, _)| server.namespace == alert.namespace);
        let mut hypotheses = Vec::new();
        let mut healthy = Vec::new();
        let mut unlearned = None;
        for (server, calls) in near {
            hypotheses.extend(calls.iter().filter(|call| call.held).map(|call| held(server, call, &edges, alert)));
            hypotheses.extend(calls.iter().filter(|call| call.between).map(|call| at_client(call, "between", 550_000, calls, &edges, alert)));
            let (ill, well): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| call.trouble.is_some());
            if ill.is_empty() {
                if calls.iter().any(|call| call.usual.is_some()) {
                    healthy.push(exchange(calls));
                } else {
                    unlearned = Some(format!("the usual turnaround of {server} is not learned yet"));
                }
            } else if well.iter().any(|call| call.now.exchanges > 0) && !ill.iter().any(|call| call.trouble.is_some_and(Trouble::is_servers_own)) {
                // Others are answered well, so the server is; what is left lies with these clients.
                hypotheses.extend(ill.iter().map(|call| at_client(call, "one-client", 400_000, calls, &edges, alert)));
            } else {
                hypotheses.push(at_server(server, &ill, &edges, alert));
            }
        }
        match unlearned.filter(|_| hypotheses.is_empty() && healthy.is_empty()) {
            Some(reason) => abstain(Round::Cause, &reason),
            None => cause(hypotheses, healthy, edges),
        }
    }

    pub(super) fn position(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        let target = put.proposal.target.service();
        let judged = self.judge_all(asked.context.since, asked.now);
        if let Some(calls) = judged.get(&target) {
            return Position::veto("it holds data for others: no autonomous action on it", vec![exchange(calls)]);
        }
        let silent = judged.iter().find(|(_, calls)| {
            let ill = |call: &Call| call.trouble.is_some();
            calls.iter().any(|call| call.client == target && ill(call)) && calls.iter().all(|call| ill(call) || call.now.exchanges == 0)
        });
        match silent {
            Some((server, calls)) => Position::veto(format!("its database {server} is what fails: this would only add connections"), vec![exchange(calls)]),
            None => Position::no_objection("no database of it is in trouble, and it holds no data for others"),
        }
    }
}

fn at_server(server: &Service, ill: &[&Call], edges: &BTreeSet<Edge>, alert: &Service) -> Hypothesis {
    let worst = ill.iter().filter_map(|call| call.trouble).min();
    let (fault, probability) = match worst {
        Some(Trouble::Complains(Complaint::TooManyConnections)) => ("too-many-connections", 850_000),
        Some(Trouble::Complains(Complaint::Resources)) => ("out-of-resources", 850_000),
        Some(Trouble::Complains(Complaint::Unavailable)) => ("unavailable", 800_000),
        Some(Trouble::Complains(Complaint::ReadOnly)) => ("read-only", 800_000),
        Some(Trouble::Complains(Complaint::Authentication)) => ("authentication", 750_000),
        Some(Trouble::Complains(Complaint::Locks)) => ("lock-contention", 800_000),
        Some(Trouble::Waiting) => ("lock-contention", 700_000),
        Some(Trouble::SlowStatement) => ("slow-statement", 800_000),
        Some(Trouble::NoTurnaround) => ("no-turnaround", 800_000),
        Some(Trouble::Refused) => ("refused", 750_000),
        _ => ("slow", 700_000),
    };
    // Several clients that wait alike rule the clients out.
    let contrast = if ill.len() > 1 { 100_000 } else { 0 };
    Hypothesis {
        service: server.clone(),
        domain: Domain::Database,
        fault: fault.into(),
        probability: Millionths::new(probability + contrast),
        evidence: vec![exchange(ill)],
        path: paths::path(edges, server, alert),
        remedies: Vec::new(),
    }
}

/// What a client of a server that is well waits for: the way, or itself.
fn at_client(call: &Call, fault: &str, probability: u32, calls: &[Call], edges: &BTreeSet<Edge>, alert: &Service) -> Hypothesis {
    Hypothesis {
        service: call.client.clone(),
        domain: Domain::Network,
        fault: fault.into(),
        probability: Millionths::new(probability),
        evidence: vec![exchange(calls)],
        path: paths::path(edges, &call.client, alert),
        remedies: Vec::new(),
    }
}

/// A client that keeps transactions open: what others wait for, and what its own pool lacks.
fn held(server: &Service, call: &Call, edges: &BTreeSet<Edge>, alert: &Service) -> Hypothesis {
    Hypothesis {
        service: call.client.clone(),
        domain: Domain::Database,
        fault: "connections-held".into(),
        probability: Millionths::new(if call.trouble.is_some() { 450_000 } else { 700_000 }),
        evidence: vec![exchange(&[call])],
        path: paths::path(edges, if call.client == *alert { &call.client } else { server }, alert),
        remedies: Vec::new(),
    }
}

fn exchange<C: std::borrow::Borrow<Call> + serde::Serialize>(calls: &[C]) -> Evidence {
    let calls: Vec<&Call> = calls.iter().map(std::borrow::Borrow::borrow).collect();
    let total = |of: fn(&Call) -> u64| calls.iter().map(|call| of(call)).fold(0, u64::saturating_add);
    let slowest = calls.iter().filter_map(|call| call.now.turnaround.mean_us()).max().unwrap_or(0);
    let summary = format!(
        "{} clients: {} exchanges, {} waiting, {} refused, {} complaints of the server, slowest mean {slowest} us",
        calls.len(),
        total(|call| call.now.exchanges),
        total(|call| call.now.stalled),
        total(|call| call.now.connect_failed.saturating_add(call.now.resets)),
        total(|call| call.now.complaints.values().copied().fold(0, u64::saturating_add)),
    );
    let from = calls.iter().map(|call| call.from).min().unwrap_or(UnixMillis(0));
    let to = calls.iter().map(|call| call.to).max().unwrap_or(UnixMillis(0));
    evidence(EXCHANGE, &calls, (from, to), &summary)
}
