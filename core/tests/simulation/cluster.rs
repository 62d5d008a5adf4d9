//! The API server with etcd: objects with uid, generation and resourceVersion; what is created once; time. It stores what the
//! gate admits, and a write that was judged is stored only while the object is still the one that was judged.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use assent_core::ballot::CastBallot;
use assent_core::blueprint::{Effective, effective, read};
use assent_core::breaker::{End, History, Operation, Settings};
use assent_core::canonical::Digest;
use assent_core::consensus::{Outcome, Roster};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Position;
use assent_core::plan::{BlueprintFacts, BlueprintPin, Plan};
use assent_core::proof::{Admitted, Facts, WriteRequest, may_enter};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Service;
use serde_json::{Value, json};

use super::votes::{WORKLOADS, roster, service, template};

pub(crate) const CLUSTER: &str = "cluster";
/// Server time at the beginning.
pub(crate) const START: i64 = 1_000_000_000;

/// A Blueprint that allows every action.
static ALLOWED: LazyLock<Effective> = LazyLock::new(|| {
    let spec = json!({
        "target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous",
        "actions": assent_core::action::NAMES.map(|name| json!({"name": name})), "limits": {"minReplicas": 1, "maxReplicas": 4, "containers": [{"name": "app", "memory": {"max": "256Mi"}}]},
        // How often is the breaker's own affair, with properties of its own.
        "safety": {"cooldown": "1s", "operationsPerHour": 1000, "breaker": {"failures": 20, "wait": "1s"}, "strikes": 20, "canary": {"replicas": 2, "watch": "5s"}},
    });
    effective(&[], &read(&spec).into_result().unwrap())
});

/// How far a plan has come, as its status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlanPhase {
    Planned,
    Canary,
    Applied,
    Reverting,
    Verified,
    Reverted,
    Refused,
    Failed,
}

// === impl PlanPhase ===

impl PlanPhase {
    pub(crate) fn is_final(self) -> bool {
        self >= Self::Verified
    }
}

#[derive(Clone, Debug)]
pub(crate) struct StoredPlan {
    pub(crate) plan: Plan,
    pub(crate) created_at: UnixMillis,
    pub(crate) phase: PlanPhase,
    pub(crate) ended_at: Option<UnixMillis>,
    pub(crate) held_at: Option<UnixMillis>,
    pub(crate) applied_at: Option<UnixMillis>,
    pub(crate) message: String,
}

// === impl StoredPlan ===

impl StoredPlan {
    fn operation(&self, name: &str) -> Operation {
        let end = match self.phase {
            PlanPhase::Planned | PlanPhase::Canary | PlanPhase::Applied | PlanPhase::Reverting => None,
            PlanPhase::Verified => Some(End::Improved),
            PlanPhase::Reverted => Some(End::Worse),
            PlanPhase::Refused => Some(End::Refused),
            PlanPhase::Failed => Some(End::Failed),
        };
        Operation::of(name.to_owned(), &self.plan, self.created_at, end.map(|end| (self.ended_at.unwrap_or(self.created_at), end)))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct StoredBallot {
    pub(crate) cast: CastBallot,
    /// To the millisecond; what everybody sees is whole seconds.
    pub(crate) at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct StoredDecision {
    pub(crate) incident: IncidentUid,
    pub(crate) epoch: u32,
    pub(crate) outcome: Outcome,
}

/// A write by the executor's user that was stored.
#[derive(Clone, Debug)]
pub(crate) struct Landed {
    pub(crate) incident: IncidentUid,
    pub(crate) service: Service,
    pub(crate) admitted: Admitted,
    pub(crate) judged_at: i64,
    /// Whether a pause was in force when it was judged.
    pub(crate) paused: bool,
    /// The roster in force then.
    pub(crate) roster: Digest,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) now: i64,
    version: u64,
    pub(crate) workloads: BTreeMap<Service, Value>,
    pub(crate) ballots: BTreeMap<String, StoredBallot>,
    pub(crate) decisions: BTreeMap<String, StoredDecision>,
    pub(crate) plans: BTreeMap<String, StoredPlan>,
    /// Plans that entered each service's CircuitBreaker, oldest first.
    pub(crate) entered: BTreeMap<Service, Vec<String>>,
    pub(crate) paused: Option<String>,
    pub(crate) blueprint_changed_at: i64,
    pub(crate) blueprint_generation: i64,
    pub(crate) rules_changed_at: Option<i64>,
    pub(crate) rules: Digest,
    pub(crate) roster: Roster,
    pub(crate) landed: Vec<Landed>,
    /// Counts every change, so that whoever looks knows whether there is anything new.
    pub(crate) changes: u64,
}

/// Whole seconds, as timestamps of objects are.
pub(crate) fn second(at: i64) -> UnixMillis {
    UnixMillis(at - at.rem_euclid(1000))
}

fn workload(at: &Service, uid: &str, version: u64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": at.namespace, "name": at.name, "uid": uid, "generation": 1, "resourceVersion": version.to_string(), "labels": {"app": "a"}},
        "spec": {"replicas": 2, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}, "template": template("x:2")}
    })
}

/// Of a Deployment, what its Scale shows.
pub(crate) fn scale_of(workload: &Value) -> Value {
    let metadata = &workload["metadata"];
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "spec": {"replicas": workload["spec"]["replicas"]}
    })
}

/// The object that a write to this sub-resource replaces.
pub(crate) fn object_of(subresource: &str, workload: &Value) -> Value {
    if subresource == "scale" { scale_of(workload) } else { workload.clone() }
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new() -> Self {
        let workloads = WORKLOADS.iter().enumerate().map(|(n, at)| (service(*at), workload(&service(*at), &format!("uid-{n}"), 1))).collect();
        Self {
            now: START,
            version: 1,
            workloads,
            ballots: BTreeMap::new(),
            decisions: BTreeMap::new(),
            plans: BTreeMap::new(),
            entered: BTreeMap::new(),
            paused: None,
            blueprint_changed_at: START - 60_000,
            blueprint_generation: 1,
            rules_changed_at: None,
            rules: Digest::of_bytes(b"rules"),
            roster: roster(),
            landed: Vec::new(),
            changes: 0,
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.changes += 1;
        self.version
    }

    fn blueprint(&self, at: &Service) -> BlueprintFacts {
        BlueprintFacts {
            pin: BlueprintPin { name: at.name.clone(), uid: format!("blueprint-{at}"), generation: self.blueprint_generation },
            effective: ALLOWED.clone(),
            changed_at: second(self.blueprint_changed_at),
        }
    }

    /// Everything that is live, as gate and executor read it. Whose clock `own_clock` is, is the reader's affair.
    pub(crate) fn facts(&self, incident: &IncidentUid, target: &Service, own_clock: i64) -> Facts {
        Facts {
            cluster: CLUSTER.into(),
            now: second(self.now),
            own_clock: UnixMillis(own_clock),
            roster: Ok(self.roster.clone()),
            ballots: Ok(self.ballots_of(incident)),
            plans: self.plans.values().filter(|stored| stored.plan.incident == *incident).map(|stored| (stored.plan.clone(), stored.created_at)).collect(),
            ledger: self.newest(),
            paused: self.paused.clone(),
            blueprint: Some(self.blueprint(target)),
            guardrails: self.rules.clone(),
            rules_changed_at: self.rules_changed_at.map(second),
            guardrail_denial: None,
            target: self.workloads.get(target).cloned(),
            pod: None,
            configurations: Vec::new(),
            approvals: Vec::new(),
            history: History { operations: self.plans.iter().map(|(name, stored)| stored.operation(name)).collect(), ..History::default() },
            breaker: Settings { failures_to_brake: 1000, ..Settings::default() },
            entered: self.entered.get(target).cloned().unwrap_or_default(),
        }
    }

    /// Where the ledger stood for the newest of all plans.
    pub(crate) fn newest(&self) -> Position {
        let all = self.plans.values().map(|stored| stored.plan.ledger.position());
        all.max_by_key(Position::order).unwrap_or_else(Position::start)
    }

    /// Enters a stored plan, as the gate lets one; asked again it is the last that did.
    pub(crate) fn enter(&mut self, name: &str, own_clock: i64) -> Result<(), Refusal> {
        let plan = self.plans[name].plan.clone();
        let service = plan.proposal.target.service();
        if self.entered.get(&service).and_then(|entered| entered.last()).is_some_and(|last| last == name) {
            return Ok(());
        }
        may_enter(&self.facts(&plan.incident, &service, own_clock), &plan)?;
        self.entered.entry(service).or_default().push(name.to_owned());
        self.changes += 1;
        Ok(())
    }

    pub(crate) fn ballots_of(&self, incident: &IncidentUid) -> Vec<CastBallot> {
        self.ballots.values().filter(|stored| stored.cast.ballot.incident == *incident).map(|stored| stored.cast.clone()).collect()
    }

    /// Creates a ballot, as the gate admits one: by its own seat, for this cluster, under this roster.
    pub(crate) fn create_ballot(&mut self, ballot: assent_core::ballot::Ballot, creator: &str) -> Result<(), Refusal> {
        let refuse = |rule| Err(Refusal::new(rule, "", ""));
        if ballot.seat != creator || self.roster.seat(creator).is_none() {
            return refuse(Rule::BallotIdentity);
        }
        if ballot.cluster != CLUSTER {
            return refuse(Rule::Cluster);
        }
        if ballot.roster != self.roster.digest().unwrap() {
            return refuse(Rule::Authority);
        }
        if let Err(reason) = ballot.check_bounds() {
            return Err(Refusal::new(Rule::Payload, reason, ""));
        }
        let name = ballot.name();
        if self.ballots.contains_key(&name) {
            return refuse(Rule::Immutable);
        }
        let cast = super::votes::cast(ballot, second(self.now));
        self.ballots.insert(name, StoredBallot { cast, at: self.now });
        self.changes += 1;
        Ok(())
    }

    /// Stores a plan that the gate has admitted; false when its name is taken.
    pub(crate) fn create_plan(&mut self, name: String, plan: Plan) -> bool {
        if self.plans.contains_key(&name) {
            return false;
        }
        let created_at = second(self.now);
        self.plans
            .insert(name, StoredPlan { plan, created_at, phase: PlanPhase::Planned, ended_at: None, held_at: None, applied_at: None, message: String::new() });
        self.changes += 1;
        true
    }

    pub(crate) fn set_status(&mut self, name: &str, change: impl FnOnce(&mut StoredPlan)) {
        self.plans.get_mut(name).map(change);
        self.changes += 1;
    }

    /// What would be stored for `request`: of what was sent, only what a client can set.
    pub(crate) fn merged(workload: &Value, request: &WriteRequest) -> Value {
        let mut after = workload.clone();
        if request.subresource == "scale" {
            after["spec"]["replicas"] = request.new["spec"]["replicas"].clone();
            return after;
        }
        after["spec"] = request.new["spec"].clone();
        for field in ["labels", "annotations", "ownerReferences", "finalizers"] {
            let sent = &request.new["metadata"][field];
            match after["metadata"].as_object_mut() {
                Some(metadata) if sent.is_null() => drop(metadata.remove(field)),
                Some(metadata) => drop(metadata.insert(field.into(), sent.clone())),
                None => {}
            }
        }
        after
    }

    /// Stores a workload under the next resourceVersion; another spec is another generation.
    pub(crate) fn store_workload(&mut self, at: &Service, mut after: Value) -> Value {
        let version = self.next_version();
        let before = &self.workloads[at];
        let generation = before["metadata"]["generation"].as_i64().unwrap() + i64::from(before["spec"] != after["spec"]);
        after["metadata"]["generation"] = generation.into();
        after["metadata"]["resourceVersion"] = version.to_string().into();
        self.workloads.insert(at.clone(), after.clone());
        after
    }

    /// Somebody deletes it and creates it again.
    pub(crate) fn recreate(&mut self, at: &Service) {
        let version = self.next_version();
        self.workloads.insert(at.clone(), workload(at, &format!("uid-again-{version}"), version));
    }
}
