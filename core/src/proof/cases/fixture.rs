//! One voted action with all that it is judged by: four honest seats, a Blueprint that allows it, a target as it was judged.

use serde_json::{Value, json};

use super::super::*;
use crate::action::{Action, Adjust, Configuration, Evict, Restart, RevertConfig, Rollback, Scale, Sizes};
use crate::ballot::{Ballot, CauseVote, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, RemedyVote, Round, Stance, StanceVerdict};
use crate::blueprint::{effective, read};
use crate::breaker::Operation;
use crate::consensus::{Roster, Seat, TallyConfiguration};
use crate::ids::{Domain, Millionths};
use crate::ledger::{self, Frontier, Position};
use crate::plan::{BlueprintPin, LedgerPin};
use crate::target::Target;

pub(super) const SEATS: [(&str, Domain, Principal); 4] = [
    ("network", Domain::Network, Principal::Sidecar),
    ("compute", Domain::Compute, Principal::Kubelet),
    ("database", Domain::Database, Principal::Sidecar),
    ("change", Domain::Application, Principal::ApiServer),
];
/// When the ballots were stored.
pub(super) const VOTED: UnixMillis = UnixMillis(1_000_000);
/// When the plan was stored.
pub(super) const PLANNED: UnixMillis = UnixMillis(1_010_000);

/// A voted action; every field may be spoiled.
#[derive(Clone)]
pub(super) struct Fixture {
    pub(super) proposal: Proposal,
    pub(super) target: Value,
    pub(super) ballots: Vec<CastBallot>,
}

pub(super) fn incident() -> IncidentUid {
    IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap()
}

pub(super) fn other_incident() -> IncidentUid {
    IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8058".to_owned()).unwrap()
}

pub(super) fn roster() -> Roster {
    Roster {
        seats: SEATS
            .iter()
            .map(|(name, domain, _)| Seat {
                name: (*name).into(),
                domain: *domain,
                account: format!("assent-seat-{name}"),
                principals: crate::consensus::shipped_principals(*domain),
            })
            .collect(),
        quorum: 3,
        supporters: 2,
        tally: TallyConfiguration::shipped(),
        trust_roots: "roots".into(),
        gate: Digest::of_bytes(b"gate"),
        ledger: None,
    }
}

pub(super) fn blueprint() -> BlueprintFacts {
    let spec = json!({
        "target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous",
        "actions": crate::action::NAMES.map(|name| json!({"name": name})),
        "limits": {"minReplicas": 1, "maxReplicas": 5, "containers": [{"name": "c", "memory": {"min": "32Mi", "max": "1Gi"}}]},
    });
    BlueprintFacts {
        pin: BlueprintPin { name: "orders".into(), uid: "b".into(), generation: 1 },
        effective: effective(&[], &read(&spec).into_result().unwrap()),
        changed_at: VOTED.plus(-60_000),
    }
}

/// The leaves of a ledger of so many entries, the last of them an intent.
pub(super) fn ledger_of(entries: u64) -> Vec<Digest> {
    (1..=entries).map(|n| Digest::of_bytes(format!("entry {n}").as_bytes())).collect()
}

/// What a plan says of the ledger with these leaves, when it extends the first `since` of them.
pub(super) fn pin(era: u32, leaves: &[Digest], since: u64) -> LedgerPin {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(leaf.clone());
    }
    let proof = ledger::prove(since, frontier.sequence(), |subtree| ledger::of_leaves(leaves, subtree)).unwrap();
    LedgerPin { era, head: frontier.head(), proof }
}

/// The target: two replicas of `image`, at `generation`.
pub(super) fn deployment(generation: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "generation": generation, "resourceVersion": "7", "labels": {"app": "orders"},
            "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1":
                {"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                 "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}}}}}}]},
        "spec": {"replicas": 2, "strategy": {"type": "RollingUpdate"},
            "template": {"metadata": {"labels": {"app": "orders"}, "annotations": {"team": "shop"}}, "spec": {"containers": [
                {"name": "c", "image": image, "envFrom": [{"configMapRef": {"name": "settings"}}],
                    "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}}]}}},
        "status": {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    })
}

/// A pod of the target, with its ReplicaSet.
pub(super) fn owned() -> Owned {
    let by = |kind: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "n", "uid": uid, "controller": true}]);
    Owned {
        pod: json!({"metadata": {"namespace": "shop", "name": "orders-1-a", "uid": "p", "ownerReferences": by("ReplicaSet", "r")}}),
        between: Some(json!({"metadata": {"namespace": "shop", "name": "orders-1", "uid": "r", "ownerReferences": by("Deployment", "u")}})),
    }
}

/// `settings`, which was edited, as it was.
fn reverted() -> RevertConfig {
    let changed = Configuration { name: "settings".into(), digest: Digest::of_bytes(b"settings") };
    RevertConfig { changed, healthy: Digest::of_bytes(b"v1"), healthy_at: UnixMillis(1) }
}

pub(super) fn good_template() -> Value {
    deployment(0, "x:1").pointer("/spec/template").unwrap().clone()
}

fn scale_of(workload: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": workload["metadata"]["resourceVersion"]},
        "spec": {"replicas": workload["spec"]["replicas"]}, "status": {"replicas": 2}
    })
}

pub(super) fn evidence(principal: Principal) -> Evidence {
    Evidence {
        class: EvidenceClass::Requests,
        principal,
        digest: Digest::of_bytes(b"figures"),
        from: UnixMillis(1),
        to: UnixMillis(2),
        summary: "figures".into(),
    }
}

pub(super) fn cast(seat: &str, opinion: Opinion) -> CastBallot {
    let ballot = Ballot {
        cluster: "cluster".into(),
        incident: incident(),
        seat: seat.into(),
        epoch: 1,
        issued_at: VOTED,
        expires_after_ms: 600_000,
        context: Digest::of_bytes(b"context"),
        roster: roster().digest().unwrap(),
        rules: "test".into(),
        opinion,
    };
    recast(ballot, VOTED)
}

/// The ballot as it would be stored after a change.
pub(super) fn recast(ballot: Ballot, created_at: UnixMillis) -> CastBallot {
    CastBallot { digest: Digest::of(&ballot).unwrap(), created_at, ballot }
}

pub(super) fn abstain(round: Round) -> Opinion {
    Opinion::Abstain { round, reason: "no data".into() }
}

fn votes(proposal: &Proposal) -> Vec<CastBallot> {
    let service = proposal.target.service();
    let blames = |seat: &str| matches!(seat, "network" | "change");
    let mut ballots: Vec<CastBallot> = Vec::new();
    for (seat, _, principal) in SEATS {
        let hypothesis = Hypothesis {
            service: service.clone(),
            domain: Domain::Application,
            fault: "bad-rollout".into(),
            probability: Millionths::new(900_000),
            evidence: vec![evidence(principal)],
            path: vec![service.clone()],
            remedies: if seat == "change" { vec![proposal.clone()] } else { vec![] },
        };
        let vote = if blames(seat) {
            CauseVote { hypotheses: vec![hypothesis], ..CauseVote::default() }
        } else {
            CauseVote { healthy: vec![evidence(principal)], ..CauseVote::default() }
        };
        ballots.push(cast(seat, Opinion::Cause(vote)));
    }
    let mut causes: Vec<Digest> = ballots.iter().map(|cast| cast.digest.clone()).collect();
    causes.sort_unstable();
    for (seat, _, principal) in SEATS {
        let verdict = if blames(seat) { StanceVerdict::Support } else { StanceVerdict::NoObjection };
        let stance = Stance { proposal: proposal.digest().unwrap(), verdict, reason: "seen".into(), evidence: vec![evidence(principal)] };
        ballots.push(cast(seat, Opinion::Remedy(RemedyVote { causes: causes.clone(), stances: vec![stance] })));
    }
    ballots
}

// === impl Fixture ===

impl Fixture {
    pub(super) fn of(action: Action) -> Self {
        Self::on(deployment(4, "x:2"), action)
    }

    /// An action on this target.
    pub(super) fn on(target: Value, action: Action) -> Self {
        let proposal = Proposal { action, target: Target::of(&target).unwrap() };
        Self { ballots: votes(&proposal), proposal, target }
    }

    pub(super) fn scale() -> Self {
        Self::of(Action::ScaleWorkload(Scale { replicas: 3 }))
    }

    pub(super) fn restart() -> Self {
        Self::of(Action::RestartWorkload(Restart { marker: "i.1".into() }))
    }

    pub(super) fn rollback() -> Self {
        Self::of(Action::RollbackWorkload(Rollback {
            revision: 1,
            template: Digest::of(&good_template()).unwrap(),
            images: vec![],
            configurations: vec![Configuration { name: "settings".into(), digest: Digest::of_bytes(b"settings") }],
            healthy_at: UnixMillis(1),
        }))
    }

    /// What `settings` held before.
    pub(super) fn revert_config() -> Self {
        Self::of(Action::RevertConfig(reverted()))
    }

    /// Container `c` with so many mebibytes of both.
    pub(super) fn adjust(mebibytes: u64) -> Self {
        let memory = Some(mebibytes << 20);
        let sizes = Sizes { container: "c".into(), cpu_request: None, cpu_limit: None, memory_request: memory, memory_limit: memory };
        Self::of(Action::AdjustResources(Adjust { containers: vec![sizes] }))
    }

    /// Pod `orders-1-a` of the target.
    pub(super) fn evict() -> Self {
        Self::of(Action::EvictPod(Evict { pod: "orders-1-a".into(), uid: "p".into() }))
    }

    pub(super) fn all() -> [Self; 6] {
        [Self::scale(), Self::restart(), Self::rollback(), Self::adjust(256), Self::evict(), Self::revert_config()]
    }

    /// The facts as they are when the plan is made.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            cluster: "cluster".into(),
            now: PLANNED,
            own_clock: PLANNED,
            roster: Ok(roster()),
            ballots: Ok(self.ballots.clone()),
            plans: vec![],
            ledger: Position::start(),
            paused: None,
            blueprint: Some(blueprint()),
            guardrails: Digest::of_bytes(b"guardrails"),
            rules_changed_at: None,
            guardrail_denial: None,
            target: Some(self.target.clone()),
            pod: self.proposal.action.evicts().map(|_| owned()),
            configurations: vec![("settings".into(), Digest::of_bytes(b"settings")), (reverted().copy().name, Digest::of_bytes(b"v1"))],
            approvals: vec![],
            history: History::default(),
            breaker: Settings::default(),
            entered: vec![],
        }
    }

    /// The plan as an honest executor makes it.
    pub(super) fn plan(&self) -> Plan {
        let mut ballots: Vec<Digest> = self.ballots.iter().map(|cast| cast.digest.clone()).collect();
        ballots.sort_unstable();
        Plan {
            cluster: "cluster".into(),
            incident: incident(),
            epoch: 1,
            proposal: self.proposal.clone(),
            inverse: self.proposal.action.act().inverse(&self.target).unwrap(),
            canary: canary(&self.facts(), &self.proposal),
            ballots,
            roster: roster().digest().unwrap(),
            guardrails: Digest::of_bytes(b"guardrails"),
            blueprint: blueprint().pin,
            ledger: pin(0, &ledger_of(1), 0),
            soak_ms: 1_000,
            expires_after_ms: 60_000,
            revert_within_ms: 600_000,
        }
    }

    /// The facts with the plan admitted, and entered.
    pub(super) fn planned(&self) -> Facts {
        let plan = self.plan();
        let name = plan.name().unwrap();
        let history = History { operations: vec![Operation::of(name.clone(), &plan, PLANNED, None)], ..History::default() };
        Facts { plans: vec![(plan, PLANNED)], history, entered: vec![name], ..self.facts() }
    }

    /// What the action's write replaces, from the target `workload`.
    fn object(&self, workload: &Value) -> Value {
        match self.proposal.action.act().part().subresource {
            "scale" => scale_of(workload),
            "eviction" => Value::Null,
            _ => workload.clone(),
        }
    }

    /// The target after the write.
    pub(super) fn after(&self) -> Value {
        if self.proposal.action.evicts().is_some() {
            return self.target.clone();
        }
        let mut after = self.held(self.proposal.action.act().expected(&self.target, Some(&good_template())).unwrap());
        after["metadata"]["generation"] = json!(5);
        after["metadata"]["resourceVersion"] = json!("8");
        after
    }

    /// With the rest held back, where it begins with one pod.
    fn held(&self, changed: Value) -> Value {
        crate::canary::first(self.plan().canary.as_ref(), changed).unwrap()
    }

    pub(super) fn request(&self, old: Value, new: Value) -> WriteRequest {
        let write = self.proposal.write().unwrap();
        WriteRequest {
            incidents: vec![incident().to_string()],
            group: write.group.into(),
            version: write.version.into(),
            resource: write.resource.into(),
            subresource: write.subresource.into(),
            operation: write.verb.operation().into(),
            namespace: "shop".into(),
            name: self.proposal.object_name().into(),
            dry_run: false,
            field_manager: "assent-executor".into(),
            old,
            new,
        }
    }

    /// The voted write.
    pub(super) fn apply(&self) -> WriteRequest {
        let old = self.object(&self.target);
        let material = if self.proposal.action.evicts().is_some() { owned().pod } else { good_template() };
        let new = self.proposal.action.act().expected(&old, Some(&material)).unwrap();
        let new = self.held(new);
        self.request(old, new)
    }

    /// The facts after the write.
    pub(super) fn applied(&self) -> Facts {
        Facts { target: Some(self.after()), pod: None, ..self.planned() }
    }

    /// The inverse of the voted write.
    pub(super) fn revert(&self) -> WriteRequest {
        let old = self.object(&self.after());
        let new = self.plan().restored(&old).unwrap().unwrap_or(old.clone());
        self.request(old, new)
    }

    /// Changes the ballots of `seat`.
    pub(super) fn spoil(&mut self, seat: &str, change: impl Fn(&mut Ballot)) {
        for cast in self.ballots.iter_mut().filter(|cast| cast.ballot.seat == seat) {
            change(&mut cast.ballot);
            *cast = recast(cast.ballot.clone(), cast.created_at);
        }
    }
}
