//! The trouble, and what seats make of it: honest ones judge by the figures that they are given, a lying one says anything.

use assent_core::action::{Action, Adjust, Restart, Rollback, Scale, Sizes};
use assent_core::ballot::{
    Ballot, CastBallot, CauseVote, Edge, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, RemedyVote, Round, Stance, StanceVerdict,
};
use assent_core::canonical::Digest;
use assent_core::consensus::{Roster, Seat, TallyConfiguration, shipped_principals};
use assent_core::ids::{Domain, Millionths, UnixMillis};
use assent_core::incident::Context;
use assent_core::target::{Service, Target, is_system_namespace};
use serde_json::{Value, json};

use super::faults::SidecarLie;
use super::random::Random;

pub(crate) const SEATS: [(&str, Domain, Principal); 4] = [
    ("network", Domain::Network, Principal::Sidecar),
    ("compute", Domain::Compute, Principal::Kubelet),
    ("database", Domain::Database, Principal::Sidecar),
    ("change", Domain::Application, Principal::ApiServer),
];
/// The last one is no business of ours, and the one before it never fails.
pub(crate) const WORKLOADS: [(&str, &str); 5] = [("shop", "orders"), ("shop", "stock"), ("pay", "cards"), ("shop", "web"), ("kube-system", "dns")];
/// What lying sidecars blame.
pub(crate) const SCAPEGOAT: (&str, &str) = WORKLOADS[3];
/// Life of a ballot.
pub(crate) const BALLOT_MS: u32 = 120_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    Rollout,
    Stalled,
    Overload,
    Hungry,
}

/// What is truly wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    /// Index in [`WORKLOADS`].
    pub(crate) service: usize,
    pub(crate) kind: TroubleKind,
    /// The remedy does not help.
    pub(crate) stubborn: bool,
}

// === impl Trouble ===

impl Trouble {
    pub(crate) fn service(&self) -> Service {
        service(WORKLOADS[self.service])
    }

    pub(crate) fn domain(&self) -> Domain {
        if self.kind == TroubleKind::Rollout { Domain::Application } else { Domain::Compute }
    }

    /// Whether the seat of this index can see it.
    pub(crate) fn is_seen_by(&self, seat: usize) -> bool {
        seat == 0 || seat == if self.kind == TroubleKind::Rollout { 3 } else { 1 }
    }

    /// What helps. The values are absolute, so this is the action to the letter.
    pub(crate) fn remedy(&self, marker: &str) -> Action {
        match self.kind {
            TroubleKind::Rollout => rollback(),
            TroubleKind::Stalled => Action::RestartWorkload(Restart { marker: marker.into() }),
            TroubleKind::Overload => Action::ScaleWorkload(Scale { replicas: 3 }),
            TroubleKind::Hungry => adjust(128),
        }
    }

    /// Whether the service is well, as the workload now is.
    pub(crate) fn is_over(&self, workload: Option<&Value>) -> bool {
        let Some(workload) = workload.filter(|_| !self.stubborn) else { return false };
        match self.kind {
            TroubleKind::Rollout => workload["spec"]["template"]["spec"]["image"] != json!("x:2"),
            TroubleKind::Stalled => !workload["spec"]["template"]["metadata"]["annotations"].is_null(),
            TroubleKind::Overload => workload["spec"]["replicas"].as_u64() >= Some(3),
            TroubleKind::Hungry => workload.pointer("/spec/template/spec/containers/0/resources/requests/memory") == Some(&json!("128Mi")),
        }
    }
}

pub(crate) fn service((namespace, name): (&str, &str)) -> Service {
    Service { namespace: namespace.into(), name: name.into() }
}

/// The pod template that was seen healthy.
pub(crate) fn healthy_template() -> Value {
    template("x:1")
}

/// A pod template of one container with 64 MiB of at most 128.
pub(crate) fn template(image: &str) -> Value {
    let resources = json!({"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}});
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"image": image, "containers": [{"name": "app", "resources": resources}]}})
}

/// So many mebibytes of both.
pub(crate) fn adjust(mebibytes: u64) -> Action {
    let memory = Some(mebibytes << 20);
    let sizes = Sizes { container: "app".into(), cpu_request: None, cpu_limit: None, memory_request: memory, memory_limit: memory };
    Action::AdjustResources(Adjust { containers: vec![sizes] })
}

fn rollback() -> Action {
    let template = Digest::of(&healthy_template()).unwrap();
    Action::RollbackWorkload(Rollback { revision: 1, template, images: vec![], configurations: vec![], healthy_at: UnixMillis(1) })
}

pub(crate) fn roster() -> Roster {
    let seat = |(name, domain, _): &(&str, Domain, Principal)| Seat {
        name: (*name).into(),
        domain: *domain,
        account: format!("assent-seat-{name}"),
        principals: shipped_principals(*domain),
    };
    Roster {
        seats: SEATS.iter().map(seat).collect(),
        quorum: 3,
        supporters: 2,
        tally: TallyConfiguration::shipped(),
        trust_roots: "roots".into(),
        gate: Digest::of_bytes(b"gate"),
        ledger: None,
    }
}

pub(crate) fn cast(ballot: Ballot, created_at: UnixMillis) -> CastBallot {
    CastBallot { digest: Digest::of(&ballot).unwrap(), created_at, ballot }
}

fn evidence(principal: Principal) -> Evidence {
    let digest = Digest::try_from("0".repeat(64)).unwrap();
    Evidence { class: EvidenceClass::Requests, principal, digest, from: UnixMillis(1), to: UnixMillis(2), summary: String::new() }
}

/// What a seat's figures say is wrong, and by whom they are.
pub(crate) struct Figures<'a> {
    pub(crate) seat: usize,
    /// The troubles that are not over.
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) sidecars: Option<SidecarLie>,
    pub(crate) context: &'a Context,
    pub(crate) epoch: u32,
    pub(crate) veto: bool,
}

// === impl Figures ===

impl Figures<'_> {
    fn principal(&self) -> Principal {
        SEATS[self.seat].2
    }

    /// What this seat holds for wrong: where, of which kind, what would help.
    fn beliefs(&self) -> Vec<(Service, Domain, Action)> {
        let marker = format!("{}.{}", self.context.incident, self.epoch);
        match self.sidecars.filter(|_| self.principal() == Principal::Sidecar) {
            Some(SidecarLie::Hides) => Vec::new(),
            Some(SidecarLie::Blames) => vec![(service(SCAPEGOAT), Domain::Application, Action::RestartWorkload(Restart { marker }))],
            Some(SidecarLie::Praises) | None => {
                let seen = self.troubles.iter().filter(|trouble| trouble.is_seen_by(self.seat));
                seen.map(|trouble| (trouble.service(), trouble.domain(), trouble.remedy(&marker))).collect()
            }
        }
    }

    pub(crate) fn cause(&self, random: &mut Random) -> Opinion {
        let hypotheses: Vec<Hypothesis> = self
            .beliefs()
            .into_iter()
            .filter(|(service, ..)| service.namespace == self.context.service.namespace)
            .map(|(service, domain, action)| {
                let target = self.context.workloads.iter().map(|workload| &workload.target).find(|target| target.service() == service);
                let remedies = target.map(|target| Proposal { action, target: target.clone() }).into_iter().collect();
                let probability = Millionths::new(u32::try_from(random.between(700_000, 950_000)).unwrap());
                Hypothesis { service, domain, fault: "fault".into(), probability, evidence: vec![evidence(self.principal())], path: vec![], remedies }
            })
            .collect();
        let healthy = if hypotheses.is_empty() { vec![evidence(self.principal())] } else { Vec::new() };
        Opinion::Cause(CauseVote { hypotheses, healthy, edges: vec![] })
    }

    /// Stances on all that was proposed, by the rule of all seats: it supports only what it argued for itself.
    pub(crate) fn remedy(&self, causes: &[CastBallot]) -> Opinion {
        let own = SEATS[self.seat].0;
        let beliefs = self.beliefs();
        let held = |service: &Service| {
            let mine = causes.iter().filter(|cast| cast.ballot.seat == own).flat_map(hypotheses);
            mine.filter(|mine| mine.service == *service).count() > 0
        };
        let mut stances = Vec::new();
        for proposal in causes.iter().flat_map(hypotheses).flat_map(|hypothesis| &hypothesis.remedies) {
            let digest = proposal.digest().unwrap();
            if stances.iter().any(|stance: &Stance| stance.proposal == digest) {
                continue;
            }
            let service = proposal.target.service();
            let wanted = beliefs.iter().any(|(at, _, action)| *at == service && *action == proposal.action);
            let pinned = self.context.workloads.iter().any(|workload| workload.target == proposal.target);
            let verdict = if is_system_namespace(&service.namespace) || self.veto {
                StanceVerdict::Veto
            } else if wanted && pinned && held(&service) {
                StanceVerdict::Support
            } else {
                StanceVerdict::NoObjection
            };
            stances.push(Stance { proposal: digest, verdict, reason: String::new(), evidence: vec![evidence(self.principal())] });
        }
        let mut causes: Vec<Digest> = causes.iter().map(|cast| cast.digest.clone()).collect();
        causes.sort_unstable();
        Opinion::Remedy(RemedyVote { causes, stances })
    }
}

pub(crate) fn hypotheses(cast: &CastBallot) -> &[Hypothesis] {
    match &cast.ballot.opinion {
        Opinion::Cause(vote) => &vote.hypotheses,
        _ => &[],
    }
}

// --- the liar ---

/// Any cause that helps a lie: what it blames, what it would do, on whose figures, how sure.
pub(crate) fn lie_about_cause(random: &mut Random, context: &Context) -> Opinion {
    if random.chance(80) {
        return Opinion::Abstain { round: Round::Cause, reason: "silent".into() };
    }
    let mut lies = Vec::new();
    for _ in 0..=random.below(2) {
        let at = service(random.pick(&WORKLOADS));
        let target = context.workloads.iter().map(|workload| workload.target.clone()).find(|target| target.service() == at);
        let mut target = target.unwrap_or_else(|| forged(&at));
        match random.below(8) {
            0 => target.uid = "forged".into(),
            1 => target.generation += 1,
            2 => target.namespace = "kube-system".into(),
            _ => {}
        }
        let action = random.pick(&[
            Action::RestartWorkload(Restart { marker: format!("{}.1", context.incident) }),
            Action::ScaleWorkload(Scale { replicas: 3 }),
            Action::ScaleWorkload(Scale { replicas: 5 }),
            adjust(128),
            adjust(512),
            rollback(),
        ]);
        let principals = [Principal::Sidecar, Principal::Kubelet, Principal::ApiServer, Principal::MetricStore];
        lies.push(Hypothesis {
            service: at,
            domain: random.pick(&[Domain::Application, Domain::Compute, Domain::Network]),
            fault: "lie".into(),
            probability: Millionths::new(random.pick(&[1_000_000, 900_000, 600_000, 0])),
            evidence: (0..random.below(3)).map(|_| evidence(random.pick(&principals))).collect(),
            path: vec![],
            remedies: vec![Proposal { action, target }],
        });
    }
    let edge = Edge { caller: service(random.pick(&WORKLOADS)), callee: service(random.pick(&WORKLOADS)) };
    Opinion::Cause(CauseVote { hypotheses: lies, healthy: vec![evidence(Principal::ApiServer)], edges: vec![edge] })
}

fn forged(at: &Service) -> Target {
    Target {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: at.namespace.clone(),
        name: at.name.clone(),
        uid: "forged".into(),
        generation: 1,
        spec: Digest::of_bytes(b"forged"),
    }
}

/// Any stance on what was proposed.
pub(crate) fn lie_about_remedy(random: &mut Random, causes: &[CastBallot]) -> Opinion {
    let all = random.pick(&[StanceVerdict::Support, StanceVerdict::Support, StanceVerdict::Support, StanceVerdict::NoObjection, StanceVerdict::Veto]);
    let proposals = causes.iter().flat_map(hypotheses).flat_map(|hypothesis| &hypothesis.remedies);
    let stances = proposals.map(|proposal| Stance {
        proposal: proposal.digest().unwrap(),
        verdict: all,
        reason: String::new(),
        evidence: vec![evidence(Principal::Kubelet), evidence(Principal::ApiServer)],
    });
    let stances = stances.collect();
    let causes = causes.iter().filter(|_| random.chance(800)).map(|cast| cast.digest.clone()).collect();
    Opinion::Remedy(RemedyVote { causes, stances })
}
