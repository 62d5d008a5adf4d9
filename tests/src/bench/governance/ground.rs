//! What every part stands on: one cluster with the gate and an executor as processes, a ledger and two seats of the benchmark's, and
//! how a decided case ended.

use std::time::Duration;

use assent_api::resources::{ApprovalPhase, ApprovalRequest, Remediation, RemediationPhase, RemediationResult, Verdict};
use assent_core::plan::Plan;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::people::Person;
use crate::processes::{Component, Process, Setting};
use crate::scene::{Case, Scene};
use crate::seats;
use crate::world::{SHOP, World, apply};

/// Somebody on call.
pub(super) const ALICE: Person<'_> = Person { user: "alice", groups: &["oncall"] };
/// Another.
pub(super) const BOB: Person<'_> = Person { user: "bob", groups: &["oncall"] };

/// Entries with which a case ends.
const ENDS: [&str; 4] = ["verified", "reverted", "failed", "refused"];
/// What would hold up by the clock what a Blueprint may set shorter: the same rules once more, for guardrails of others.
const TIMED: [&str; 2] = ["rate-limit", "restart-storm"];

/// Everything.
#[derive(Debug)]
pub(super) struct Ground {
    /// The cluster, the ledger and the seats.
    pub(super) scene: Scene,

    _gate: Process,
    executor: Mutex<Option<Process>>,
}

/// How a case ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// `verified`, `reverted`, `failed`, `refused`, `asked` or `nothing`.
    pub(super) what: String,
    /// The rule, where one refused.
    pub(super) rule: String,
    /// In words.
    pub(super) words: String,
}

// === impl End ===

impl End {
    /// `refused by blueprint`, or only what.
    #[must_use]
    pub(super) fn told(&self) -> String {
        if self.rule.is_empty() { self.what.clone() } else { format!("{} by {}", self.what, self.rule) }
    }
}

// === impl Ground ===

impl Ground {
    /// Servers, gate, ledger and seats; the brake of all is where no part reaches it by accident.
    pub(super) async fn start() -> Self {
        let mut world = World::start("governance").await;
        world.kill_gate().await;
        let gate = Component::gate(&world).start();
        while TcpStream::connect(world.gate_address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let bindings: Api<assent_api::resources::GuardrailBinding> = Api::all(world.admin.clone());
        for name in TIMED {
            bindings.delete(name, &DeleteParams::default()).await.unwrap();
        }
        let constraints =
            json!({"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}]});
        let validations = json!([{"expression": "object.metadata.name != 'guarded'", "message": "never that one"}]);
        let spec = json!({"matchConstraints": constraints, "validations": validations});
        apply(&world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": "not-that-one"}, "spec": spec})).await;
        let spec = json!({"policyName": "not-that-one", "validationActions": ["Deny"]});
        apply(&world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailBinding", "metadata": {"name": "not-that-one"}, "spec": spec}))
            .await;
        world.let_approve("oncall").await;
        let ground = Self { scene: Scene::around(world).await, _gate: gate, executor: Mutex::new(None) };
        ground.brake(10_000).await;
        // A guardrail of the same second is not older than the vote, and server times are whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        ground
    }

    /// So many failures of all services stop everything.
    pub(super) async fn brake(&self, failures: u32) {
        self.scene.world.brake(failures).await;
    }

    /// From now on this executor runs, and no other.
    pub(super) async fn executor(&self, change: impl FnOnce(&mut Setting)) {
        self.no_executor().await;
        let mut setting = self.scene.setting.clone();
        change(&mut setting);
        *self.executor.lock().await = Some(self.scene.executor_with(&setting));
    }

    /// From now on none runs.
    pub(super) async fn no_executor(&self) {
        if let Some(process) = self.executor.lock().await.take() {
            process.kill().await;
        }
    }

    /// A Blueprint of `name` in the shop: everything allowed up to five replicas, a second's rest, and what `spec` says instead.
    pub(super) async fn blueprint(&self, name: &str, spec: &Value) {
        let mut whole = json!({
            "target": {"kind": "Deployment", "name": name}, "mode": "autonomous", "limits": {"maxReplicas": 5}, "safety": {"cooldown": "1s"},
            "operations": {"allowed": ["RollbackWorkload", "RestartWorkload", "ScaleWorkload"], "approvers": ["group:oncall"]},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        let metadata = json!({"name": name, "namespace": SHOP});
        apply(&self.scene.world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": metadata, "spec": whole})).await;
    }

    /// `name` with two replicas under such a Blueprint, and all seats for so many replicas.
    pub(super) async fn scale(&self, name: &str, replicas: u32, spec: &Value) -> Case {
        self.scene.world.deployment(name, "registry.invalid/x:1").await;
        self.blueprint(name, spec).await;
        self.again(name, replicas).await
    }

    /// A further incident: all seats for so many replicas of the workload as it is now.
    pub(super) async fn again(&self, name: &str, replicas: u32) -> Case {
        self.scene.voted(name, |workload| seats::scale(workload, replicas)).await
    }

    /// The same is voted for in an incident of its own.
    pub(super) async fn anew(&self, case: &Case) -> Case {
        let case = Case { incident: seats::incident(), ..case.clone() };
        self.scene.world.quorum(&case.incident, &case.proposal).await;
        self.scene.renamed(case)
    }

    /// How the case ends, or `nothing` after so long.
    pub(super) async fn end(&self, case: &Case, patience: Duration) -> End {
        let ended = self.scene.record.first(&case.incident, &ENDS);
        let asked = self.scene.request_in(case, ApprovalPhase::Pending);
        tokio::select! {
            entry = ended => {
                let words = entry.body["reason"].as_str().unwrap_or_default().to_owned();
                let rule = entry.body["rule"].as_str().map_or_else(|| rule_in(&words), str::to_owned);
                End { what: entry.kind, rule, words }
            }
            request = asked => End { what: "asked".into(), rule: String::new(), words: request.spec.reasons.concat() },
            () = tokio::time::sleep(patience) => End { what: "nothing".into(), rule: String::new(), words: String::new() },
        }
    }

    /// Decides all of these and says how each ended, three at a time: guardrail `one-writer` lets no more plans be open.
    pub(super) async fn ends_of(&self, cases: &[Case], patience: Duration) -> Vec<End> {
        let one = async |case: &Case| {
            self.scene.decide(case).await;
            self.end(case, patience).await
        };
        let mut ends = Vec::new();
        for few in cases.chunks(3) {
            ends.extend(futures::future::join_all(few.iter().map(one)).await);
        }
        ends
    }

    /// `person` answers.
    pub(super) async fn says(&self, person: Person<'_>, request: &ApprovalRequest, verdict: Verdict) -> Result<Value, String> {
        self.scene.world.says(person, &self.scene.world.word(person, request, verdict)).await
    }

    /// What an honest executor would plan for the case, on the ledger as it stands.
    pub(super) async fn plan(&self, case: &Case) -> Plan {
        let world = &self.scene.world;
        let next = world.newest().await.next(world.roster.ledger.as_ref());
        Plan { ledger: self.scene.record.pin(&next), ..world.plan(&case.incident, &case.proposal).await }
    }

    /// The gate's word on the case's plan, which is not stored: nothing, or what it says.
    pub(super) async fn judged(&self, case: &Case) -> String {
        let plan = Remediation::of(&self.plan(case).await).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let api = self.scene.world.remediations(&self.scene.world.executor);
        api.create(&params, &plan).await.err().map_or_else(String::new, |error| error.to_string())
    }

    /// As [`Ground::judged`], as a rule; `admitted` where it says nothing.
    pub(super) async fn word(&self, case: &Case) -> String {
        let words = self.judged(case).await;
        if words.is_empty() { "admitted".into() } else { rule_in(&words) }
    }

    /// As [`Ground::word`], once a cooldown of a second is over, and the end of the operation before it is noted.
    pub(super) async fn rested(&self, case: &Case) -> String {
        let mut seen = self.word(case).await;
        for _ in 0..10 {
            if !["cooldown", "conflict"].contains(&seen.as_str()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            seen = self.word(case).await;
        }
        seen
    }

    /// Stores the case's plan, once its service has had its rest, and how it ended. No executor may run.
    pub(super) async fn ended(&self, case: &Case, phase: RemediationPhase, result: Option<RemediationResult>) -> Result<(), String> {
        let api = self.scene.world.remediations(&self.scene.world.executor);
        let mut stored = Err(String::new());
        for _ in 0..20 {
            stored = api.create(&PostParams::default(), &Remediation::of(&self.plan(case).await).unwrap()).await.map_err(|error| error.to_string());
            if !stored.as_ref().is_err_and(|words| words.contains("assent[cooldown]")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let name = stored?.name_any();
        self.ends(&name, phase, result).await
    }

    /// Notes how a stored plan ended.
    pub(super) async fn ends(&self, plan: &str, phase: RemediationPhase, result: Option<RemediationResult>) -> Result<(), String> {
        let api = self.scene.world.remediations(&self.scene.world.executor);
        let patch = json!({"status": {"phase": phase, "result": result}});
        api.patch_status(plan, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Changes a Blueprint's specification.
    pub(super) async fn edit(&self, name: &str, spec: &Value) {
        let api: Api<assent_api::resources::Blueprint> = Api::namespaced(self.scene.world.admin.clone(), SHOP);
        api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await.unwrap();
    }
}

/// The rule that a refusal names.
#[must_use]
pub(super) fn rule_in(words: &str) -> String {
    words.split_once("assent[").and_then(|(_, rest)| rest.split_once(']')).map_or_else(String::new, |(rule, _)| rule.to_owned())
}
