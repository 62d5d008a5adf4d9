//! One cluster with everything around the executor, and the votes of four seats on one workload in it.

use std::time::Duration;

use assent_api::names::{SYSTEM_NAMESPACE, accounts};
use assent_api::resources::{Decision, Remediation, RemediationPhase};
use assent_core::action::{Action, Restart};
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_core::plan;
use assent_core::target::Target;
use assent_runtime::CancellationToken;
use assent_tests::processes::{Component, Process, Setting};
use assent_tests::seats;
use assent_tests::world::{World, complete};
use futures::TryStreamExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::services::{Record, Word, ledger, seat, serve};

/// Longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) record: Record,
    pub(crate) network: Word,
    pub(crate) compute: Word,
    pub(crate) setting: Setting,
    files: TempDir,
    stop: CancellationToken,
}

/// A voted incident about one workload.
pub(crate) struct Case {
    pub(crate) incident: IncidentUid,
    pub(crate) proposal: Proposal,
    /// Name of the plan that it must come to.
    pub(crate) plan: String,
    /// The workload as it was judged.
    pub(crate) before: Value,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Scene ===

impl Scene {
    pub(crate) async fn start() -> Self {
        let world = World::start("executor").await;
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
        };
        Self { world, record, network, compute, setting, files, stop }
    }

    pub(crate) fn executor(&self) -> Process {
        Component::executor(&self.world, self.files.path(), &self.setting).start()
    }

    /// `name` at its second revision; the seats are for going back to the first.
    pub(crate) async fn rollback(&self, name: &str) -> Case {
        let first = self.world.deployment(name, "registry.invalid/x:1").await;
        let good = first.pointer("/spec/template").unwrap().clone();
        // The first revision must exist as a ReplicaSet, or there is nothing to go back to.
        self.world.until_deployment(name, |d| d["status"]["observedGeneration"] == d["metadata"]["generation"] && !d["status"]["replicas"].is_null()).await;
        self.world.deployment(name, "registry.invalid/x:2").await;
        self.vote(name, |workload| seats::rollback(workload, &good)).await
    }

    pub(crate) async fn scale(&self, name: &str, replicas: u32) -> Case {
        self.world.deployment(name, "registry.invalid/x:1").await;
        self.vote(name, |workload| seats::scale(workload, replicas)).await
    }

    pub(crate) async fn restart(&self, name: &str) -> Case {
        self.world.deployment(name, "registry.invalid/x:1").await;
        let act =
            |workload: &Value| Proposal { action: Action::RestartWorkload(Restart { marker: "incident.1".into() }), target: Target::of(workload).unwrap() };
        self.vote(name, act).await
    }

    /// As [`Scene::scale`], where the Blueprint asks so many people on call before everything.
    pub(crate) async fn asking(&self, name: &str, replicas: u32, count: u32) -> Case {
        self.world.deployment(name, "registry.invalid/x:1").await;
        self.world.asking_blueprint(name, &["group:oncall"], count).await;
        self.voted(name, |workload| seats::scale(workload, replicas)).await
    }

    /// The case with the plan that it must come to, once its incident is another one.
    pub(crate) fn renamed(&self, case: Case) -> Case {
        let plan = plan::name(&self.world.cluster_uid, &case.incident, 1, &case.proposal).unwrap();
        Case { plan, ..case }
    }

    async fn vote(&self, name: &str, propose: impl Fn(&Value) -> Proposal) -> Case {
        self.world.blueprint(name).await;
        self.voted(name, propose).await
    }

    async fn voted(&self, name: &str, propose: impl Fn(&Value) -> Proposal) -> Case {
        let before = self.world.until_deployment(name, complete).await;
        let incident = seats::incident();
        let proposal = propose(&before);
        self.world.quorum(&incident, &proposal).await;
        let plan = plan::name(&self.world.cluster_uid, &incident, 1, &proposal).unwrap();
        Case { incident, proposal, plan, before }
    }

    /// The director publishes the decision.
    pub(crate) async fn decide(&self, case: &Case) {
        let director = self.world.account(accounts::DIRECTOR).await;
        let api: Api<Decision> = Api::namespaced(director, SYSTEM_NAMESPACE);
        api.create(&PostParams::default(), &self.world.decision(&case.incident).await).await.unwrap();
    }

    /// The first state of the plan for which `holds`.
    pub(crate) async fn until_plan(&self, case: &Case, holds: impl Fn(&Remediation) -> bool) -> Remediation {
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

    pub(crate) async fn until_phase(&self, case: &Case, phase: RemediationPhase) -> Remediation {
        self.until_plan(case, |plan| self.phase(plan) == Some(phase)).await
    }

    fn phase(&self, plan: &Remediation) -> Option<RemediationPhase> {
        plan.status.as_ref().and_then(|status| status.phase)
    }

    /// The workload as it is, with how many generations lie between it and the judged one.
    pub(crate) async fn now(&self, case: &Case) -> (Value, i64) {
        let now = self.world.read_deployment(&case.proposal.target.name).await;
        let later = now["metadata"]["generation"].as_i64().unwrap() - case.proposal.target.generation;
        (now, later)
    }

    /// Whether the plan exists.
    pub(crate) async fn planned(&self, case: &Case) -> bool {
        self.world.remediations(&self.world.admin).get_opt(&case.plan).await.unwrap().is_some()
    }

    /// Requests of the executor's user in the API server's audit log for `incident` that were stored.
    pub(crate) fn audited(&self, incident: &IncidentUid) -> Vec<Value> {
        let log = std::fs::read_to_string(self.world.cluster.audit_log()).unwrap();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = events.filter(|e| e["impersonatedUser"]["extra"]["assent.dev/incident-uid"] == json!([incident.as_str()]));
        ours.filter(|e| e["responseStatus"]["code"] == 200 && !e["requestURI"].as_str().unwrap().contains("dryRun")).collect()
    }
}
