//! Votes for tests: what each of the four seats would say of a bad rollout of one Deployment, and how to twist it.

use assent_api::copies;
use assent_core::action::{Action, Adjust, Evict, RevertConfig, Rollback, Scale, Sizes};
use assent_core::ballot::{Ballot, CauseVote, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, RemedyVote, Round, Stance, StanceVerdict};
use assent_core::canonical::Digest;
use assent_core::ids::{Domain, IncidentUid, Millionths, UnixMillis};
use assent_core::target::{Service, Target};
use serde_json::Value;

/// The seats of the test roster with their domains.
pub const SEATS: [(&str, Domain); 4] =
    [("network", Domain::Network), ("compute", Domain::Compute), ("database", Domain::Database), ("change", Domain::Application)];

/// A fresh incident.
#[must_use]
pub fn incident() -> IncidentUid {
    IncidentUid::try_from(uuid::Uuid::now_v7().to_string()).unwrap()
}

/// This moment.
#[must_use]
pub fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

/// Scale `workload` to `replicas`.
#[must_use]
pub fn scale(workload: &Value, replicas: u32) -> Proposal {
    Proposal { action: Action::ScaleWorkload(Scale { replicas }), target: Target::of(workload).unwrap() }
}

/// Let container `main` of `workload` have so many mebibytes, as request and as limit.
#[must_use]
pub fn adjust(workload: &Value, mebibytes: u64) -> Proposal {
    let memory = Some(mebibytes << 20);
    let sizes = Sizes { container: "main".into(), cpu_request: None, cpu_limit: None, memory_request: memory, memory_limit: memory };
    Proposal { action: Action::AdjustResources(Adjust { containers: vec![sizes] }), target: Target::of(workload).unwrap() }
}

/// Let `pod` of `workload` go.
#[must_use]
pub fn evict(workload: &Value, pod: &Value) -> Proposal {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    Proposal { action: Action::EvictPod(Evict { pod: text("/metadata/name"), uid: text("/metadata/uid") }), target: Target::of(workload).unwrap() }
}

/// Let `workload` read again what the ConfigMap `changed` held when it was `healthy`.
#[must_use]
pub fn revert_config(workload: &Value, changed: &Value, healthy: &Value) -> Proposal {
    let (changed, healthy) = (copies::content(changed).unwrap(), copies::content(healthy).unwrap());
    let action = RevertConfig { changed, healthy: healthy.digest, healthy_at: now() };
    Proposal { action: Action::RevertConfig(action), target: Target::of(workload).unwrap() }
}

/// Roll `workload` back to `template`.
#[must_use]
pub fn rollback(workload: &Value, template: &Value) -> Proposal {
    let action = Rollback { revision: 1, template: Digest::of(template).unwrap(), images: vec![], configurations: vec![], healthy_at: now() };
    Proposal { action: Action::RollbackWorkload(action), target: Target::of(workload).unwrap() }
}

/// Some evidence of `principal`.
#[must_use]
pub fn evidence(principal: Principal) -> Evidence {
    let class = match principal {
        Principal::Sidecar | Principal::MetricStore | Principal::Traces => EvidenceClass::Requests,
        Principal::Kubelet => EvidenceClass::Resource,
        Principal::ApiServer | Principal::LogStore => EvidenceClass::Change,
    };
    Evidence { class, principal, digest: Digest::of_bytes(b"figures"), from: UnixMillis(1), to: UnixMillis(2), summary: "figures".into() }
}

/// Whose figures a seat judges by.
#[must_use]
pub fn principal_of(seat: &str) -> Principal {
    match seat {
        "compute" => Principal::Kubelet,
        "change" => Principal::ApiServer,
        _ => Principal::Sidecar,
    }
}

/// The cause vote of a seat: `network` and `change` blame the target's code and `change` proposes the remedy; the others are
/// healthy in their domain.
#[must_use]
pub fn cause(seat: &str, proposal: &Proposal) -> Opinion {
    if !matches!(seat, "network" | "change") {
        return Opinion::Cause(CauseVote { healthy: vec![evidence(principal_of(seat))], ..CauseVote::default() });
    }
    let service = proposal.target.service();
    let hypothesis = Hypothesis {
        service: service.clone(),
        domain: Domain::Application,
        fault: "bad-rollout".into(),
        probability: Millionths::new(if seat == "change" { 900_000 } else { 800_000 }),
        evidence: vec![evidence(principal_of(seat))],
        path: vec![service],
        remedies: if seat == "change" { vec![proposal.clone()] } else { vec![] },
    };
    Opinion::Cause(CauseVote { hypotheses: vec![hypothesis], ..CauseVote::default() })
}

/// The remedy vote of a seat over `proposal`, after it saw `causes`.
#[must_use]
pub fn remedy(seat: &str, proposal: &Proposal, causes: Vec<Digest>) -> Opinion {
    let verdict = if matches!(seat, "network" | "change") { StanceVerdict::Support } else { StanceVerdict::NoObjection };
    stance(seat, proposal, causes, verdict)
}

/// A remedy vote with a verdict of the test's choice.
#[must_use]
pub fn stance(seat: &str, proposal: &Proposal, causes: Vec<Digest>, verdict: StanceVerdict) -> Opinion {
    let stance = Stance { proposal: proposal.digest().unwrap(), verdict, reason: "as seen".into(), evidence: vec![evidence(principal_of(seat))] };
    Opinion::Remedy(RemedyVote { causes, stances: vec![stance] })
}

/// An abstention.
#[must_use]
pub fn abstain(round: Round) -> Opinion {
    Opinion::Abstain { round, reason: "no data".into() }
}

/// A vote with every field filled as an honest seat would.
#[must_use]
pub fn ballot(cluster: &str, roster: &Digest, incident: &IncidentUid, epoch: u32, seat: &str, opinion: Opinion) -> Ballot {
    Ballot {
        cluster: cluster.into(),
        incident: incident.clone(),
        seat: seat.into(),
        epoch,
        issued_at: now(),
        expires_after_ms: 600_000,
        context: Digest::of_bytes(b"context"),
        roster: roster.clone(),
        rules: "test".into(),
        opinion,
    }
}

/// A service name.
#[must_use]
pub fn service(namespace: &str, name: &str) -> Service {
    Service { namespace: namespace.into(), name: name.into() }
}
