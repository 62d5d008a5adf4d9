//! The whole loop with a real director: how long a decision takes, that nothing is lost by kills, what is on record of each decision,
//! and a thousand Blueprints.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::parse_plan;
use assent_api::resources::{Blueprint, Decision, GuardrailBinding, Incident, OperationProposal, Remediation, RemediationPhase, decision_name};
use assent_core::blueprint::NEVER;
use assent_core::ledger::Entry;
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::report::{Criterion, Section};
use super::violations;
use crate::addresses;
use crate::alertmanager::Alertmanager;
use crate::bench::rows::Figures;
use crate::stage::Stage;
use crate::world::{SHOP, World, apply};
use crate::{images, privileges};

/// Longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Decisions that are timed.
const DECISIONS: usize = 5;
/// Blueprints that are there at once.
const MANY: usize = 1000;
/// Components that are killed.
const KILLED: [&str; 2] = ["assent-director", "assent-executor"];

/// Everything that needs a director.
struct Whole {
    world: World,
    stage: Stage,
    files: tempfile::TempDir,
    known: BTreeSet<String>,
}

/// SC-005, the decision's time, restarts, and a thousand Blueprints.
pub(super) async fn whole() -> Vec<Section> {
    let mut world = World::start("whole").await;
    world.kill_gate().await;
    let files = tempfile::tempdir().unwrap();
    let address = addresses::free();
    let security = Alertmanager::start(address).await.expect("an Alertmanager is needed");
    let stage = Stage::start(&world, files.path(), Some(address)).await;
    // It would allow ten restarts an hour; here each decision is one.
    let bindings: Api<GuardrailBinding> = Api::all(world.admin.clone());
    bindings.delete("restart-storm", &DeleteParams::default()).await.unwrap();
    let mut whole = Whole { world, stage, files, known: BTreeSet::new() };
    let mut sections = vec![whole.times().await];
    sections.push(whole.kills().await);
    sections.push(whole.audits().await);
    sections.push(whole.alarms(&security).await);
    sections.push(whole.many().await);
    let log = std::fs::read_to_string(whole.world.cluster.audit_log()).unwrap();
    let plans = whole.world.remediations(&whole.world.admin).list(&ListParams::default()).await.unwrap().items;
    sections.push(violations::section("SC-004 governance compliance, the whole loop", &log, &plans));
    whole.stage.stop().await;
    sections
}

// === impl Whole ===

impl Whole {
    /// A workload and its Blueprint, reported; the incident.
    async fn incident(&mut self, name: &str) -> (String, Instant) {
        self.world.deployment(name, "registry.invalid/x:1").await;
        self.world.blueprint(name).await;
        let (uid, reported) = self.stage.report(&self.world, name, &self.known).await;
        self.known.insert(uid.clone());
        (uid, reported)
    }

    /// Waits until `found` says something.
    async fn until<T>(&self, what: &str, found: impl AsyncFn() -> Option<T>) -> T {
        let looked = async {
            loop {
                if let Some(it) = found().await {
                    return it;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
    }

    async fn decided(&self, uid: &str) -> Decision {
        let api: Api<Decision> = Api::namespaced(self.world.admin.clone(), SYSTEM_NAMESPACE);
        self.until("decision", async || api.get_opt(&decision_name(uid, 1)).await.unwrap()).await
    }

    async fn closed(&self, uid: &str) -> String {
        let api: Api<Incident> = Api::namespaced(self.world.admin.clone(), SYSTEM_NAMESPACE);
        let end = async || {
            let status = api.get_opt(uid).await.unwrap()?.status?;
            let closed = status.conditions.iter().any(|condition| condition.kind == "Closed" && condition.status == "True");
            status.phase.filter(|phase| closed || phase == "Escalated")
        };
        self.until("end of the incident", end).await
    }

    async fn plans(&self, uid: &str) -> Vec<Remediation> {
        let params = ListParams::default().labels(&format!("assent.dev/incident-uid={uid}"));
        self.world.remediations(&self.world.admin).list(&params).await.unwrap().items
    }

    /// What is forbidden, proposed by somebody or decided for by a quorum: answered, and heard of by a real Alertmanager.
    async fn alarms(&mut self, security: &Alertmanager) -> Section {
        let mut section = Section::new(
            "Forbidden operations are heard of",
            "Each operation that is never done is proposed as an object, and one decision is for what its Blueprint forbids; a real Alertmanager hears of each. \
             The time is from the request to the answer in the proposal's status.",
        );
        let api: Api<OperationProposal> = Api::namespaced(self.world.admin.clone(), SHOP);
        let (mut times, mut wanted) = (Vec::new(), Vec::new());
        self.world.blueprint("proposed").await;
        let user = self.world.cluster.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await.unwrap();
        for operation in NEVER {
            let spec = json!({"operation": operation, "service": "proposed", "user": user.trim()});
            let object = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "OperationProposal", "metadata": {"generateName": "prop-"}, "spec": spec});
            let asked = Instant::now();
            let stored = api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
            let name = stored.metadata.name.unwrap();
            let status = self.until("answer to a proposal", async || api.get(&name).await.unwrap().status).await;
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
            let right = status.tier == "forbidden" && !status.executable && !status.alternatives.is_empty();
            section.case(operation, "forbidden, with alternatives", status.line(), right);
            wanted.push(status.incident);
        }
        self.world.deployment("never", "registry.invalid/x:1").await;
        let spec = json!({"target": {"kind": "Deployment", "name": "never"}, "mode": "autonomous", "limits": {"maxReplicas": 5},
            "operations": {"allowed": ["ScaleWorkload"], "forbidden": ["RestartWorkload"], "approvers": ["group:oncall"]}});
        apply(
            &self.world.admin,
            &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "never", "namespace": SHOP}, "spec": spec}),
        )
        .await;
        let (uid, _) = self.stage.report(&self.world, "never", &self.known).await;
        self.known.insert(uid.clone());
        let end = self.closed(&uid).await;
        section.case("a decision for what is forbidden", "Escalated", &end, end == "Escalated");
        wanted.push(uid);
        let alerts = security.alerts(wanted.len()).await;
        let heard = wanted.iter().filter(|uid| alerts.iter().any(|alert| alert["labels"]["incident"] == uid.as_str())).count();
        section.rows.push(Criterion::worst("forbidden proposals answered", "ms", 1000.0, &Figures(times)));
        section.rows.push(Criterion::count("forbidden alerts security", heard, wanted.len(), wanted.len()));
        section
    }

    async fn times(&mut self) -> Section {
        let mut section = Section::new(
            "Decision",
            "One service after the other is reported by a seat's signed anomaly; the time from the report to the Decision, with both rounds of four seats.",
        );
        let (mut times, mut uids) = (Vec::new(), Vec::new());
        for number in 0..DECISIONS {
            let (uid, reported) = self.incident(&format!("decided-{number}")).await;
            self.decided(&uid).await;
            times.push(reported.elapsed().as_secs_f64());
            uids.push(uid);
        }
        for uid in &uids {
            let end = self.closed(uid).await;
            section.case(uid, "Resolved", &end, end == "Resolved");
        }
        // Of so few the 95th percentile is the worst.
        section.rows.push(Criterion::worst("decision p95 of work", "s", 5.0, &Figures(times)));
        section.counted("incidents that ended well", DECISIONS);
        section
    }

    async fn kills(&mut self) -> Section {
        let mut section = Section::new(
            "Restart loses no state",
            "kill -9 of director and executor at a step of an incident; both come back at once. `make test` does so at every step.",
        );
        for moment in ["decided", "planned", "applied"] {
            let (uid, _) = self.incident(&format!("killed-{moment}")).await;
            let reached = async || match moment {
                "decided" => {
                    self.decided(&uid).await;
                    Some(())
                }
                "planned" => self.plans(&uid).await.pop().map(drop),
                _ => self
                    .plans(&uid)
                    .await
                    .pop()
                    .filter(|plan| plan.status.as_ref().and_then(|status| status.phase) >= Some(RemediationPhase::Applied))
                    .map(drop),
            };
            self.until(moment, reached).await;
            self.stage.restart(&KILLED).await;
            let end = self.closed(&uid).await;
            let log = std::fs::read_to_string(self.world.cluster.audit_log()).unwrap();
            let seen = format!("{end}, {} plan, {} write", self.plans(&uid).await.len(), privileges::writes(&log, &uid));
            section.case(&format!("killed when it was {moment}"), "Resolved, 1 plan, 1 write", &seen, seen == "Resolved, 1 plan, 1 write");
        }
        section.counted("restarts without loss", 3);
        section
    }

    async fn audits(&mut self) -> Section {
        let mut section = Section::new(
            "SC-005 auditability",
            "Each decision of this run, from the director's ledger: ballots, count, intent with the Blueprint's version, outcome; its rationale in the Decision; and `kubectl assent audit` against the API server's own log.",
        );
        let path = self.files.path().join("ledger.jsonl");
        let text = self.stage.ledger().await;
        std::fs::write(&path, &text).unwrap();
        let entries: Vec<Entry> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for uid in &self.known {
            let of = |kind: &str| entries.iter().filter(|entry| entry.incident.as_str() == uid && entry.kind == kind).collect::<Vec<_>>();
            let mut missing: Vec<&str> = ["ballot", "tally", "apply-intended", "applied", "verified"].into_iter().filter(|kind| of(kind).is_empty()).collect();
            let pinned = self.plans(uid).await.iter().filter_map(|plan| parse_plan(plan).ok()).map(|plan| plan.blueprint.generation).next();
            let told = of("apply-intended").first().and_then(|entry| entry.body.pointer("/blueprint/generation").and_then(Value::as_i64));
            if told.is_none() || told != pinned {
                missing.push("the Blueprint's version");
            }
            if self.decided(uid).await.spec.reasons.is_empty() {
                missing.push("rationale");
            }
            let audit = Command::new(images::program("kubectl-assent"))
                .args(["audit", uid, "--ledger"])
                .arg(&path)
                .arg("--audit-log")
                .arg(self.world.cluster.audit_log())
                .output()
                .unwrap();
            if !audit.status.success() {
                missing.push("agreement with the API server's log");
            }
            section.case(
                uid,
                "everything",
                if missing.is_empty() { "everything".into() } else { format!("without {}", missing.join(", ")) },
                missing.is_empty(),
            );
        }
        section.counted("SC-005 decisions on record with everything", DECISIONS + 3);
        section
    }

    async fn many(&mut self) -> Section {
        let mut section = Section::new(
            "A thousand Blueprints",
            "Blueprints of a thousand services in one cluster; then one of them is edited to forbid what is about to be done, and its service reported at once.",
        );
        let before = self.stage.memory();
        let api: Api<Blueprint> = Api::namespaced(self.world.admin.clone(), SHOP);
        let began = Instant::now();
        let create = |number: usize| {
            let api = api.clone();
            let name = format!("many-{number}");
            let spec = json!({"target": {"kind": "Deployment", "name": name}, "mode": "autonomous", "limits": {"maxReplicas": 5}, "operations": {"allowed": ["ScaleWorkload"]}});
            let object: Blueprint =
                serde_json::from_value(json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": name}, "spec": spec})).unwrap();
            async move { api.create(&PostParams::default(), &object).await.unwrap() }
        };
        futures::stream::iter((0..MANY).map(create)).buffer_unordered(12).for_each(|_| async {}).await;
        section.rows.push(Criterion::shown("1,000 Blueprints: seconds to write them", "s", began.elapsed().as_secs_f64(), "each judged by the gate"));
        let mut times = Vec::new();
        for number in 0..3 {
            let name = format!("among-{number}");
            self.world.deployment(&name, "registry.invalid/x:1").await;
            self.world.blueprint(&name).await;
            let edited = Instant::now();
            let forbids = json!({"spec": {"actions": [], "operations": {"allowed": ["ScaleWorkload"], "forbidden": ["RestartWorkload"]}}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(forbids)).await.unwrap();
            let (uid, _) = self.stage.report(&self.world, &name, &self.known).await;
            self.known.insert(uid.clone());
            let refused = async || {
                let ledger = self.stage.ledger().await;
                let entries = ledger.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
                entries.filter(|entry| entry.incident.as_str() == uid && entry.kind == "refused").map(|entry| entry.body["rule"].to_string()).next()
            };
            let rule = self.until("refusal", refused).await;
            times.push(edited.elapsed().as_secs_f64());
            section.case(&name, "\"forbidden\"", &rule, rule == "\"forbidden\"");
        }
        section.rows.push(Criterion::worst("1,000 Blueprints: from one edit to a whole incident refused by it", "s", 60.0, &Figures(times)));
        for ((name, after), (_, before)) in self.stage.memory().into_iter().zip(before) {
            let note = format!("{:.1} MiB before", mebibytes(before));
            section.rows.push(Criterion::shown(&format!("1,000 Blueprints: memory of {name}"), "MiB", mebibytes(after), &note));
        }
        section.counted("1,000 Blueprints: incidents by the edited one", 3);
        section
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    u32::try_from(kibibytes).map_or(f64::INFINITY, f64::from) / 1024.0
}
