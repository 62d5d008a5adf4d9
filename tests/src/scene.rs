//! One cluster with everything around the executor, and the votes of four seats on one workload in it.

pub mod services;

use std::time::Duration;

use assent_api::names::{SYSTEM_NAMESPACE, accounts};
use assent_api::resources::{ApprovalPhase, ApprovalRequest, Decision, Remediation, RemediationPhase};
use assent_core::action::{Action, Restart};
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_core::plan;
use assent_core::target::Target;
use assent_core::workload::Kind;
use assent_runtime::CancellationToken;
use futures::TryStreamExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::processes::{Component, Process, Setting};
use crate::seats;
use crate::world::{World, complete, kind_of};
use services::{Record, Word, ledger, seat, serve};

/// What every workload runs first.
const FIRST: &str = "registry.invalid/x:1";
/// Longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster with a ledger and two seats of the test's, for an executor of its own.
pub struct Scene {
    /// The cluster.
    pub world: World,
    /// The ledger.
    pub record: Record,
    /// What the network seat says.
    pub network: Word,
    /// What the compute seat says.
    pub compute: Word,
    /// What executors are told.
    pub setting: Setting,
    files: TempDir,
    stop: CancellationToken,
}

/// A voted incident about one workload.
#[derive(Clone, Debug)]
pub struct Case {
    /// The incident.
    pub incident: IncidentUid,
    /// What the seats are for.
    pub proposal: Proposal,
    /// Name of the plan that it must come to.
    pub plan: String,
    /// The workload as it was judged.
    pub before: Value,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Scene ===

impl Scene {
    /// Everything but the executor.
    pub async fn start() -> Self {
        Self::around(World::start("executor").await).await
    }

    /// As [`Scene::start`], in a cluster that is there.
    pub async fn around(world: World) -> Self {
        let (record, network, compute) = (Record::default(), Word::default(), Word::default());
        let stop = CancellationToken::new();
        let director = serve(&world.authority, accounts::DIRECTOR, ledger(&record), &stop).await;
        let network_at = serve(&world.authority, &accounts::seat("network"), seat(&network), &stop).await;
        let compute_at = serve(&world.authority, &accounts::seat("compute"), seat(&compute), &stop).await;
        let files = tempfile::tempdir().unwrap();
        let setting = Setting {
            director: director.to_string(),
            network: network_at.to_string(),
            compute: compute_at.to_string(),
            soak_seconds: 2,
            apply_within_seconds: 60,
            verify_within_seconds: 40,
            approve_within_seconds: 3600,
        };
        Self { world, record, network, compute, setting, files, stop }
    }

    /// A running executor.
    #[must_use]
    pub fn executor(&self) -> Process {
        self.executor_with(&self.setting)
    }

    /// A running executor that is told this.
    #[must_use]
    pub fn executor_with(&self, setting: &Setting) -> Process {
        Component::executor(&self.world, self.files.path(), setting).start()
    }

    /// A workload of this kind, for which the seats want the action of this name: back to its first revision, restarted, with another
    /// replica, with more memory, with what its ConfigMap held before, without one of its pods. A kind that the action is not modelled for is another one.
    pub async fn of(&self, kind: Kind, action: &str, name: &str) -> Case {
        match action {
            "RollbackWorkload" => {
                let good = self.world.workload(kind, name, FIRST).await.pointer("/spec/template").unwrap().clone();
                self.world.workload(kind, name, "registry.invalid/x:2").await;
                self.vote(kind, name, |workload| seats::rollback(workload, &good)).await
            }
            "RestartWorkload" => {
                self.world.workload(kind, name, FIRST).await;
                self.vote(kind, name, restart_of).await
            }
            "ScaleWorkload" => {
                let kind = if kind.is_scaled() { kind } else { Kind::StatefulSet };
                self.world.workload(kind, name, FIRST).await;
                self.vote(kind, name, |workload| seats::scale(workload, 3)).await
            }
            "AdjustResources" => {
                self.world.workload(kind, name, FIRST).await;
                self.vote(kind, name, |workload| seats::adjust(workload, 128)).await
            }
            "RevertConfig" => {
                self.world.workload(kind, name, FIRST).await;
                let settings = format!("{name}-settings");
                let healthy = self.world.configuration(&settings, "v1").await;
                self.world.keep(&healthy).await.unwrap();
                self.world.refer(kind, name, &settings).await;
                let changed = self.world.configuration(&settings, "v2").await;
                self.vote(kind, name, |workload| seats::revert_config(workload, &changed, &healthy)).await
            }
            "EvictPod" => {
                // There is one node, so a DaemonSet has one pod, and the only one is left alone.
                let kind = if kind.is_scaled() { kind } else { Kind::StatefulSet };
                self.world.workload(kind, name, FIRST).await;
                let pod = self.world.pods_of(name).await.swap_remove(0);
                self.vote(kind, name, |workload| seats::evict(workload, &pod)).await
            }
            other => panic!("nobody votes for `{other}` here"),
        }
    }

    /// `name` at its second revision; the seats are for going back to the first.
    pub async fn rollback(&self, name: &str) -> Case {
        let first = self.world.deployment(name, FIRST).await;
        let good = first.pointer("/spec/template").unwrap().clone();
        // The first revision must exist as a ReplicaSet, or there is nothing to go back to.
        self.world.until_deployment(name, |d| d["status"]["observedGeneration"] == d["metadata"]["generation"] && !d["status"]["replicas"].is_null()).await;
        self.world.deployment(name, "registry.invalid/x:2").await;
        self.vote(Kind::Deployment, name, |workload| seats::rollback(workload, &good)).await
    }

    /// `name` with two replicas; the seats are for so many.
    pub async fn scale(&self, name: &str, replicas: u32) -> Case {
        self.world.deployment(name, FIRST).await;
        self.vote(Kind::Deployment, name, |workload| seats::scale(workload, replicas)).await
    }

    /// `name` with 64Mi of at most 128Mi; the seats are for so many mebibytes of both.
    pub async fn adjust(&self, name: &str, mebibytes: u64) -> Case {
        self.world.deployment(name, FIRST).await;
        self.vote(Kind::Deployment, name, |workload| seats::adjust(workload, mebibytes)).await
    }

    /// `name`, which the seats want restarted.
    pub async fn restart(&self, name: &str) -> Case {
        self.world.deployment(name, FIRST).await;
        self.vote(Kind::Deployment, name, restart_of).await
    }

    /// As [`Scene::scale`], where the Blueprint asks so many people on call before everything.
    pub async fn asking(&self, name: &str, replicas: u32, count: u32) -> Case {
        self.world.deployment(name, FIRST).await;
        self.world.asking_blueprint(name, &["group:oncall"], count).await;
        self.voted(name, |workload| seats::scale(workload, replicas)).await
    }

    /// The case with the plan that it must come to, once its incident is another one.
    #[must_use]
    pub fn renamed(&self, case: Case) -> Case {
        let plan = plan::name(&self.world.cluster_uid, &case.incident, 1, &case.proposal).unwrap();
        Case { plan, ..case }
    }

    async fn vote(&self, kind: Kind, name: &str, propose: impl Fn(&Value) -> Proposal) -> Case {
        self.world.blueprint_of(kind, name).await;
        self.voted_of(kind, name, propose).await
    }

    /// All seats are for what `propose` makes of the workload as it is now.
    pub async fn voted(&self, name: &str, propose: impl Fn(&Value) -> Proposal) -> Case {
        self.voted_of(Kind::Deployment, name, propose).await
    }

    /// As [`Scene::voted`], of any kind.
    pub async fn voted_of(&self, kind: Kind, name: &str, propose: impl Fn(&Value) -> Proposal) -> Case {
        let before = self.world.until(kind, name, complete).await;
        let incident = seats::incident();
        let proposal = propose(&before);
        self.world.quorum(&incident, &proposal).await;
        let plan = plan::name(&self.world.cluster_uid, &incident, 1, &proposal).unwrap();
        Case { incident, proposal, plan, before }
    }

    /// The director publishes the decision.
    pub async fn decide(&self, case: &Case) {
        let (director, decision) = self.deciding(case).await;
        director.create(&PostParams::default(), &decision).await.unwrap();
    }

    /// The decision, and with whose rights it is published.
    pub async fn deciding(&self, case: &Case) -> (Api<Decision>, Decision) {
        let director = self.world.account(accounts::DIRECTOR).await;
        (Api::namespaced(director, SYSTEM_NAMESPACE), self.world.decision(&case.incident).await)
    }

    /// The first state of the plan for which `holds`.
    pub async fn until_plan(&self, case: &Case, holds: impl Fn(&Remediation) -> bool) -> Remediation {
        let api = self.world.remediations(&self.world.admin);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", case.plan));
        let mut seen = None;
        let found = async {
            let mut events = std::pin::pin!(watcher(api, config));
            while let Some(event) = events.try_next().await.unwrap() {
                if let watcher::Event::Apply(plan) | watcher::Event::InitApply(plan) = event {
                    if holds(&plan) {
                        return plan;
                    }
                    seen = Some(plan);
                }
            }
            panic!("the watch ended");
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("the plan never came to it; ledger {:?}; last seen {seen:#?}", self.record.kinds(&case.incident)))
    }

    /// The plan once it is in this phase.
    pub async fn until_phase(&self, case: &Case, phase: RemediationPhase) -> Remediation {
        self.until_plan(case, |plan| self.phase(plan) == Some(phase)).await
    }

    fn phase(&self, plan: &Remediation) -> Option<RemediationPhase> {
        plan.status.as_ref().and_then(|status| status.phase)
    }

    /// What people are asked in the incident, once it is in this phase.
    pub async fn until_request(&self, case: &Case, phase: ApprovalPhase) -> ApprovalRequest {
        let found = self.request_in(case, phase);
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no request became {phase:?}"))
    }

    /// As [`Scene::until_request`], however long it takes.
    pub async fn request_in(&self, case: &Case, phase: ApprovalPhase) -> ApprovalRequest {
        self.request_for_which(case, |request| request.status.as_ref().and_then(|status| status.phase) == Some(phase)).await
    }

    /// What people are asked in the incident, once this holds of it.
    pub async fn until_request_is(&self, case: &Case, holds: impl Fn(&ApprovalRequest) -> bool) -> ApprovalRequest {
        let found = self.request_for_which(case, holds);
        tokio::time::timeout(PATIENCE, found).await.expect("the request never came to it")
    }

    async fn request_for_which(&self, case: &Case, holds: impl Fn(&ApprovalRequest) -> bool) -> ApprovalRequest {
        let api: Api<ApprovalRequest> = Api::namespaced(self.world.admin.clone(), SYSTEM_NAMESPACE);
        let config = watcher::Config::default().labels(&format!("assent.dev/incident-uid={}", case.incident));
        let mut events = std::pin::pin!(watcher(api, config));
        while let Some(event) = events.try_next().await.unwrap() {
            if let watcher::Event::Apply(request) | watcher::Event::InitApply(request) = event
                && holds(&request)
            {
                return request;
            }
        }
        panic!("the watch ended");
    }

    /// The workload as it is, with how many generations lie between it and the judged one.
    pub async fn now(&self, case: &Case) -> (Value, i64) {
        let now = self.world.read(kind_of(&case.proposal), &case.proposal.target.name).await;
        let later = now["metadata"]["generation"].as_i64().unwrap() - case.proposal.target.generation;
        (now, later)
    }

    /// Whether the plan exists.
    pub async fn planned(&self, case: &Case) -> bool {
        self.world.remediations(&self.world.admin).get_opt(&case.plan).await.unwrap().is_some()
    }

    /// Requests of the executor's user in the API server's audit log for `incident` that were stored.
    #[must_use]
    pub fn audited(&self, incident: &IncidentUid) -> Vec<Value> {
        let stored = |event: &Value| matches!(event["responseStatus"]["code"].as_u64(), Some(200 | 201));
        self.tried(incident).into_iter().filter(stored).collect()
    }

    /// Requests of the executor's user for `incident` that were meant to be stored, whatever became of them.
    #[must_use]
    pub fn tried(&self, incident: &IncidentUid) -> Vec<Value> {
        let ours = self.audit().into_iter().filter(|e| e["impersonatedUser"]["extra"]["assent.dev/incident-uid"] == json!([incident.as_str()]));
        ours.filter(|e| !e["requestURI"].as_str().unwrap().contains("dryRun")).collect()
    }

    /// The API server's audit log so far.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.world.cluster.audit_log()).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the audit log has more than `before` events for which `holds`.
    pub async fn until_audited(&self, before: usize, holds: impl Fn(&Value) -> bool) {
        let more = async {
            // A file offers no event that would be simpler than this.
            while self.audit().iter().filter(|event| holds(event)).count() <= before {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, more).await.unwrap_or_else(|_| panic!("the audit log never told of it"));
    }
}

/// Restart `workload`.
#[must_use]
pub fn restart_of(workload: &Value) -> Proposal {
    Proposal { action: Action::RestartWorkload(Restart { marker: "incident.1".into() }), target: Target::of(workload).unwrap() }
}
