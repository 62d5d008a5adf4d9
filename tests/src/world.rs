//! A real API server with Assent's kinds, accounts and native policies as shipped, and the gate serving from this process.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assent_api::names::{self, accounts};
use assent_api::resources::{Ballot as StoredBallot, Decision, DecisionSpec, Remediation, Roster as StoredRoster, RosterSpec};
use assent_api::signed::Signed;
use assent_api::{copies, facts, gate, resources};
use assent_cluster::Cluster;
use assent_core::ballot::{Ballot, Opinion, PAYLOAD_TYPE, Proposal};
use assent_core::blueprint::{effective, read};
use assent_core::canary::Canary;
use assent_core::canonical::{self, Digest};
use assent_core::consensus::{Roster, Seat, TallyConfiguration, tally};
use assent_core::ids::IncidentUid;
use assent_core::ledger::{self, Frontier, Head, Position};
use assent_core::plan::{LedgerPin, Plan};
use assent_core::workload::Kind;
use assent_runtime::CancellationToken;
use assent_runtime::workload::testing::Authority;
use clap::Parser as _;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::runtime::watcher;
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use crate::kubelet::run_pods;
use crate::seats;

/// Longest wait for a controller.
const PATIENCE: Duration = Duration::from_secs(90);

/// The namespace that tests break.
pub const SHOP: &str = "shop";

/// Everything a gate test needs. Dropping it stops the gate and the servers.
pub struct World {
    /// The servers.
    pub cluster: Cluster,
    /// A person with every right.
    pub admin: Client,
    /// The executor's own account, with the rights it ships with.
    pub executor: Client,
    /// UID of `kube-system`.
    pub cluster_uid: String,
    /// The roster in force.
    pub roster: Roster,
    /// The authority that the roster trusts.
    pub authority: Authority,
    /// Leaves of the director's ledger.
    ledger: Mutex<Vec<Digest>>,
    /// While false, no pod becomes ready.
    pub kubelet: Arc<AtomicBool>,
    beside: CancellationToken,
    gate: CancellationToken,
    gate_task: tokio::task::JoinHandle<anyhow::Result<()>>,
    gate_address: std::net::SocketAddr,
    files: tempfile::TempDir,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("cluster", &self.cluster.name()).finish_non_exhaustive()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.beside.cancel();
    }
}

// === impl World ===

impl World {
    /// Servers, kinds, accounts, policies, gate and roster.
    pub async fn start(name: &str) -> Self {
        Self::start_over(name, &[]).await
    }

    /// As [`World::start`], in a cluster in which `before` was there: definitions of another version, and objects of these.
    pub async fn start_over(name: &str, before: &[Value]) -> Self {
        let cluster = assent_cluster::api_only(name).await.unwrap();
        let admin = cluster.client().await.unwrap();
        for namespace in [names::SYSTEM_NAMESPACE, SHOP] {
            apply(&admin, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
        }
        let (definitions, objects): (Vec<&Value>, Vec<&Value>) = before.iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        for definition in definitions {
            apply(&admin, definition).await;
        }
        if !objects.is_empty() {
            established(&admin).await;
        }
        for object in objects {
            apply(&admin, object).await;
        }
        for definition in resources::definitions() {
            apply(&admin, &serde_json::to_value(definition).unwrap()).await;
        }
        established(&admin).await;
        for object in shipped(&[
            "gate/rbac.yaml",
            "executor/rbac.yaml",
            "director/rbac.yaml",
            "../optional/kept-configuration/rbac.yaml",
            "specialists/rbac.yaml",
            "policies",
            "protection",
        ]) {
            apply(&admin, &object).await;
        }
        let files = tempfile::tempdir().unwrap();
        let gate = CancellationToken::new();
        let kubeconfig = cluster.kubeconfig_as(&names::account_user(accounts::GATE), &service_account_groups()).unwrap();
        let (gate_task, bundle, gate_address) = serve_gate(&kubeconfig, files.path(), &gate).await;
        let url = format!("https://localhost:{}/admit", gate_address.port());
        let mut configuration = shipped(&["gate/configuration.yaml"]).pop().unwrap();
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"] = json!({"url": url, "caBundle": bundle});
        }
        apply(&admin, &configuration).await;
        let live = get(&admin, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/assent-gate").await.unwrap();
        let authority = Authority::new();
        let roster = Roster {
            seats: seats::SEATS
                .iter()
                .map(|(name, domain)| Seat {
                    name: (*name).into(),
                    domain: *domain,
                    account: accounts::seat(name),
                    principals: assent_core::consensus::shipped_principals(*domain),
                })
                .collect(),
            quorum: 3,
            supporters: 2,
            tally: TallyConfiguration::shipped(),
            trust_roots: authority.pem(),
            gate: gate::configuration_digest(&live).unwrap(),
            ledger: None,
        };
        let namespaces: Api<Namespace> = Api::all(admin.clone());
        let cluster_uid = namespaces.get("kube-system").await.unwrap().uid().unwrap();
        let executor = cluster.client_as(&names::account_user(accounts::EXECUTOR), &service_account_groups()).await.unwrap();
        let (kubelet, beside) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        tokio::spawn(beside.clone().run_until_cancelled_owned(run_pods(admin.clone(), kubelet.clone())));
        let world =
            Self { kubelet, beside, cluster, admin, executor, cluster_uid, roster, authority, ledger: Mutex::default(), gate, gate_task, gate_address, files };
        world.put_roster().await;
        // Every attack meets the whole library, and so does every repair that must pass.
        for object in library() {
            apply(&world.admin, &object).await;
        }
        world
    }

    async fn put_roster(&self) {
        let roster = StoredRoster::new(names::ROSTER, RosterSpec::from(&self.roster));
        // The webhook configuration takes a moment to reach the API server's own cache; a refusal by it is what we wait for.
        for _ in 0..100 {
            let spurious = Remediation::new(
                "probe",
                resources::RemediationSpec { incident: String::new(), epoch: 1, action: String::new(), target: String::new(), payload: String::new() },
            );
            match self.remediations(&self.admin).create(&PostParams::default(), &spurious).await {
                Err(error) if error.to_string().contains("assent[") => {
                    apply(&self.admin, &serde_json::to_value(&roster).unwrap()).await;
                    return;
                }
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
        panic!("the gate was never asked");
    }

    /// Where the gate listens.
    #[must_use]
    pub fn gate_address(&self) -> std::net::SocketAddr {
        self.gate_address
    }

    /// The gate's credentials and certificates.
    #[must_use]
    pub fn files(&self) -> &std::path::Path {
        self.files.path()
    }

    /// Stops the gate, as a kill would.
    pub async fn kill_gate(&mut self) {
        self.gate.cancel();
        let _ended = (&mut self.gate_task).await;
    }

    /// A client of a service account in `assent-system`, by certificate.
    pub async fn account(&self, account: &str) -> Client {
        self.cluster.client_as(&names::account_user(account), &service_account_groups()).await.unwrap()
    }

    /// A Deployment in the shop; two applies of different `image`s make two revisions.
    pub async fn deployment(&self, name: &str, image: &str) -> Value {
        self.workload(Kind::Deployment, name, image).await
    }

    /// As [`World::deployment`], of any kind. Pods of a StatefulSet are not in order, so that its template can be put back.
    pub async fn workload(&self, kind: Kind, name: &str, image: &str) -> Value {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": kind.name(), "metadata": {"name": name, "namespace": SHOP},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image,
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}}]}}}
        });
        match kind {
            Kind::Deployment => {}
            Kind::StatefulSet => object["spec"]["podManagementPolicy"] = json!("Parallel"),
            Kind::DaemonSet => {
                object["spec"].as_object_mut().unwrap().remove("replicas");
                // Nobody runs the node, which is soon said of it.
                object["spec"]["template"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
                self.node().await;
            }
        }
        apply(&self.admin, &object).await;
        if !self.kubelet.load(Ordering::Relaxed) {
            return self.read(kind, name).await;
        }
        self.until(kind, name, complete).await
    }

    /// A ConfigMap in the shop with one key.
    pub async fn configuration(&self, name: &str, value: &str) -> Value {
        apply(&self.admin, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": SHOP}, "data": {"key": value}})).await;
        get(&self.admin, &format!("/api/v1/namespaces/{SHOP}/configmaps/{name}")).await.unwrap()
    }

    /// The containers of a workload read this ConfigMap from now on.
    pub async fn refer(&self, kind: Kind, name: &str, config_map: &str) {
        let containers = json!([{"name": "main", "envFrom": [{"configMapRef": {"name": config_map}}]}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}}).to_string();
        let path = format!("/apis/apps/v1/namespaces/{SHOP}/{}/{name}", kind.resource());
        let request = http::Request::patch(path).header("content-type", "application/strategic-merge-patch+json").body(patch.into_bytes()).unwrap();
        send(&self.admin, request).await.unwrap();
        if self.kubelet.load(Ordering::Relaxed) {
            self.until(kind, name, complete).await;
        }
    }

    /// The director's account keeps what it holds.
    pub async fn keep(&self, config_map: &Value) -> Result<Value, kube::Error> {
        self.keep_as(accounts::DIRECTOR, &copies::copy_of(config_map).unwrap()).await
    }

    /// This account creates this ConfigMap in the shop.
    pub async fn keep_as(&self, account: &str, copy: &Value) -> Result<Value, kube::Error> {
        let path = format!("/api/v1/namespaces/{SHOP}/configmaps");
        let request = http::Request::post(path).header("content-type", "application/json").body(copy.to_string().into_bytes()).unwrap();
        self.account(account).await.request(request).await
    }

    /// A node that nobody runs, for pods that are bound to one.
    async fn node(&self) {
        apply(&self.admin, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "nobody"}})).await;
    }

    /// The workload once `holds`.
    pub async fn until_deployment(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.until(Kind::Deployment, name, holds).await
    }

    /// As [`World::until_deployment`], of any kind.
    pub async fn until(&self, kind: Kind, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", kind.name()), kind.resource());
        let api: Api<DynamicObject> = Api::namespaced_with(self.admin.clone(), SHOP, &resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let found = async {
            let mut events = std::pin::pin!(watcher(api, config));
            while let Some(event) = events.try_next().await.unwrap() {
                if let watcher::Event::Apply(mut object) | watcher::Event::InitApply(mut object) = event {
                    object.types = Some(TypeMeta { api_version: "apps/v1".into(), kind: kind.name().into() });
                    if holds(&serde_json::to_value(&object).unwrap()) {
                        return;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{kind} `{name}` never came to it"));
        self.read(kind, name).await
    }

    /// The pods of a workload of this name.
    pub async fn pods_of(&self, name: &str) -> Vec<Value> {
        let mut pods = get(&self.admin, &format!("/api/v1/namespaces/{SHOP}/pods?labelSelector=app%3D{name}")).await.unwrap();
        match pods["items"].take() {
            Value::Array(pods) => pods,
            other => panic!("no list of pods: {other}"),
        }
    }

    /// Waits until the disruption controller has counted for the budget of this name.
    pub async fn until_budget(&self, name: &str, counted: impl Fn(&Value) -> bool) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !counted(&get(&self.admin, &format!("/apis/policy/v1/namespaces/{SHOP}/poddisruptionbudgets/{name}")).await.unwrap()["status"]) {
            assert!(tokio::time::Instant::now() < until, "nobody counted for the budget `{name}`");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The Deployment as it is.
    pub async fn read_deployment(&self, name: &str) -> Value {
        self.read(Kind::Deployment, name).await
    }

    /// The workload as it is.
    pub async fn read(&self, kind: Kind, name: &str) -> Value {
        get(&self.admin, &format!("/apis/apps/v1/namespaces/{SHOP}/{}/{name}", kind.resource())).await.unwrap()
    }

    /// A Blueprint that allows everything for `name`, up to five replicas, each up to two processors and a gibibyte.
    pub async fn blueprint(&self, name: &str) {
        self.blueprint_of(Kind::Deployment, name).await;
    }

    /// As [`World::blueprint`], of any kind.
    pub async fn blueprint_of(&self, kind: Kind, name: &str) {
        apply(
            &self.admin,
            &json!({
                "apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": name, "namespace": SHOP},
                "spec": {"target": {"kind": kind.name(), "name": name}, "mode": "autonomous", "verification": {"stabilization": "1s"},
                    "limits": {"maxReplicas": 5, "containers": [{"name": "*", "cpu": {"min": "50m", "max": "2"}, "memory": {"min": "32Mi", "max": "1Gi"}}]},
                    "actions": [{"name": "RollbackWorkload"}, {"name": "RestartWorkload"}, {"name": "ScaleWorkload"}, {"name": "AdjustResources"}, {"name": "EvictPod"}, {"name": "RevertConfig"}]}
            }),
        )
        .await;
    }

    /// So many failures of all services stop everything.
    pub async fn brake(&self, failures: u32) {
        let spec = json!({"brake": {"failures": failures, "windowSeconds": 3600, "standSeconds": 3600}});
        let metadata = json!({"name": resources::CLUSTER_BREAKER, "namespace": names::SYSTEM_NAMESPACE});
        apply(&self.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "CircuitBreaker", "metadata": metadata, "spec": spec})).await;
    }

    /// The guardrail of this name says nothing from now on.
    pub async fn unbind(&self, guardrail: &str) {
        let path = format!("/apis/assent.dev/v1alpha1/guardrailbindings/{guardrail}");
        send(&self.admin, http::Request::delete(path).body(Vec::new()).unwrap()).await.unwrap();
    }

    /// Signs `ballot` as the seat that it names.
    #[must_use]
    pub fn sign(&self, ballot: Ballot) -> Signed {
        sign(&self.authority, &accounts::seat(&ballot.seat), ballot)
    }

    /// A vote of an honest seat, not stored yet.
    #[must_use]
    pub fn ballot(&self, incident: &IncidentUid, epoch: u32, seat: &str, opinion: Opinion) -> Ballot {
        seats::ballot(&self.cluster_uid, &self.roster.digest().unwrap(), incident, epoch, seat, opinion)
    }

    /// Stores a signed vote by `account`.
    pub async fn store(&self, account: &str, vote: &Ballot, signed: Signed) -> Result<StoredBallot, kube::Error> {
        let api: Api<StoredBallot> = Api::namespaced(self.account(account).await, names::SYSTEM_NAMESPACE);
        api.create(&PostParams::default(), &StoredBallot::of(vote, "test".into(), signed)).await
    }

    /// Votes as an honest seat; returns the digest of the signed payload.
    pub async fn vote(&self, incident: &IncidentUid, epoch: u32, seat: &str, opinion: Opinion) -> Digest {
        let vote = self.ballot(incident, epoch, seat, opinion);
        let signed = self.sign(vote.clone());
        let digest = Digest::of_bytes(signed.payload.as_bytes());
        self.store(&accounts::seat(seat), &vote, signed).await.unwrap();
        digest
    }

    /// All four seats vote for `proposal` in both rounds.
    pub async fn quorum(&self, incident: &IncidentUid, proposal: &Proposal) {
        self.quorum_of(incident, proposal, &["network", "compute", "database", "change"]).await;
    }

    /// These seats vote for `proposal` in both rounds.
    pub async fn quorum_of(&self, incident: &IncidentUid, proposal: &Proposal, seats: &[&str]) {
        let mut causes = Vec::new();
        for seat in seats {
            causes.push(self.vote(incident, 1, seat, seats::cause(seat, proposal)).await);
        }
        causes.sort_unstable();
        for seat in seats {
            self.vote(incident, 1, seat, seats::remedy(seat, proposal, causes.clone())).await;
        }
    }

    /// The plan that an honest executor would make.
    pub async fn plan(&self, incident: &IncidentUid, proposal: &Proposal) -> Plan {
        let target = self.read(kind_of(proposal), &proposal.target.name).await;
        let blueprints: Api<resources::Blueprint> = Api::namespaced(self.admin.clone(), SHOP);
        let blueprint = blueprints.get(&proposal.target.name).await.unwrap();
        let guardrails: Api<resources::Guardrail> = Api::all(self.admin.clone());
        let guardrails = guardrails.list(&ListParams::default()).await.unwrap().items;
        let guardrails = guardrails.into_iter().map(|g| (g.name_any(), serde_json::to_value(&g.spec).unwrap())).collect();
        let bindings: Api<resources::GuardrailBinding> = Api::all(self.admin.clone());
        let bindings = bindings.list(&ListParams::default()).await.unwrap().items;
        let bindings = bindings.into_iter().map(|b| (b.name_any(), serde_json::to_value(&b.spec).unwrap())).collect();
        let set = assent_policies::Set::new(guardrails, bindings).digest().clone();
        let ballots: Api<StoredBallot> = Api::namespaced(self.admin.clone(), names::SYSTEM_NAMESPACE);
        let stored = ballots.list(&ListParams::default().labels(&format!("{}={incident}", names::INCIDENT))).await.unwrap().items;
        let mut digests: Vec<Digest> = stored.iter().map(|b| Digest::of_bytes(b.spec.signed.payload.as_bytes())).collect();
        digests.sort_unstable();
        Plan {
            cluster: self.cluster_uid.clone(),
            incident: incident.clone(),
            epoch: 1,
            proposal: proposal.clone(),
            inverse: proposal.action.act().inverse(&target).unwrap(),
            canary: canary_of(&blueprint, proposal, &target),
            ballots: digests,
            roster: self.roster.digest().unwrap(),
            guardrails: self.with_rules_above(set).await,
            blueprint: facts::pin(&blueprint).unwrap(),
            ledger: self.pin(&self.newest().await.next(self.roster.ledger.as_ref())),
            soak_ms: 1000,
            expires_after_ms: 60_000,
            revert_within_ms: 600_000,
        }
    }

    /// What a plan pins: the guardrails, and the ClusterBlueprints where there are some.
    async fn with_rules_above(&self, set: Digest) -> Digest {
        let list = http::Request::get("/apis/assent.dev/v1alpha1/clusterblueprints").body(Vec::new()).unwrap();
        let list: serde_json::Value = self.admin.request(list).await.unwrap();
        let of = |object: &serde_json::Value| (object["metadata"]["name"].to_string(), object["spec"].clone());
        let mut above: Vec<(String, serde_json::Value)> = list["items"].as_array().unwrap().iter().map(of).collect();
        above.sort_by(|one, other| one.0.cmp(&other.0));
        if above.is_empty() { set } else { Digest::of(&(set, above)).unwrap() }
    }

    /// Where the ledger stood for the newest admitted plan.
    pub async fn newest(&self) -> Position {
        facts::newest_position(&self.remediations(&self.admin).list(&ListParams::default()).await.unwrap().items)
    }

    /// Anything that the director records.
    pub fn record(&self) {
        let mut leaves = self.ledger.lock().unwrap();
        let next = leaves.len() + 1;
        leaves.push(Digest::of_bytes(format!("entry {next}").as_bytes()));
    }

    /// What a director answers when an intent is recorded: one more entry, and the proof that its ledger goes on from `from`, as
    /// far as it does.
    #[must_use]
    pub fn pin(&self, from: &Position) -> LedgerPin {
        self.record();
        let leaves = self.ledger.lock().unwrap();
        let mut frontier = Frontier::default();
        for leaf in leaves.iter() {
            frontier.append(leaf.clone());
        }
        let since = from.head.sequence.min(frontier.sequence());
        let proof = ledger::prove(since, frontier.sequence(), |subtree| ledger::of_leaves(&leaves, subtree)).unwrap();
        LedgerPin { era: from.era, head: frontier.head(), proof }
    }

    /// The ledger is lost, and another one has begun: `entries` of another past. Returns its head.
    #[must_use]
    pub fn rewrite_ledger(&self, entries: usize) -> Head {
        let mut leaves = self.ledger.lock().unwrap();
        *leaves = (0..entries).map(|n| Digest::of_bytes(format!("another past {n}").as_bytes())).collect();
        Head::at(leaves.len() as u64, |subtree| ledger::of_leaves(&leaves, subtree)).unwrap()
    }

    /// Submits `plan` as the executor, and enters it: what follows may be its write.
    pub async fn submit(&self, plan: &Plan) -> Result<Remediation, kube::Error> {
        let stored = self.submit_only(plan).await?;
        self.enter(plan).await?;
        Ok(stored)
    }

    /// Submits `plan` as the executor.
    pub async fn submit_only(&self, plan: &Plan) -> Result<Remediation, kube::Error> {
        self.remediations(&self.executor).create(&PostParams::default(), &Remediation::of(plan).unwrap()).await
    }

    /// Remediations as `client` sees them.
    #[must_use]
    pub fn remediations(&self, client: &Client) -> Api<Remediation> {
        Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE)
    }

    /// The decision of epoch 1 as an honest director would write it.
    pub async fn decision(&self, incident: &IncidentUid) -> Decision {
        let ballots: Api<StoredBallot> = Api::namespaced(self.admin.clone(), names::SYSTEM_NAMESPACE);
        let stored = ballots.list(&ListParams::default().labels(&format!("{}={incident}", names::INCIDENT))).await.unwrap().items;
        let cast: Vec<_> = stored.iter().map(|b| assent_api::cast(b, &self.roster).unwrap()).collect();
        let outcome = tally(&self.roster, &cast);
        Decision::of(DecisionSpec {
            incident: incident.to_string(),
            epoch: 1,
            verdict: "Act".into(),
            cause: "test".into(),
            action: "test".into(),
            confidence: "0 %".into(),
            ballots: stored.iter().map(kube::ResourceExt::name_any).collect(),
            reasons: vec![],
            payload: canonical::text(&outcome).unwrap(),
        })
    }

    /// A write as the executor's user, by its own account's right to impersonate, naming `incidents`.
    pub async fn write(&self, incidents: &[&str], method: &str, path: &str, body: &Value) -> Result<Value, String> {
        impersonated(&self.executor, incidents, method, path, body).await
    }

    /// The write that carries out `proposal` on the Deployment as it is.
    pub async fn apply_proposal(&self, incident: &IncidentUid, proposal: &Proposal, material: Option<&Value>, dry_run: bool) -> Result<Value, String> {
        let expected = |old: &Value| proposal.action.act().expected(old, material).unwrap();
        self.rewrite(&[incident.as_str()], proposal, dry_run, &expected).await
    }

    /// Carries out the inverse of `plan`.
    pub async fn revert(&self, plan: &Plan) -> Result<Value, String> {
        let expected = |old: &Value| plan.restored(old).unwrap().unwrap();
        self.rewrite(&[plan.incident.as_str()], &plan.proposal, false, &expected).await
    }

    /// Writes what `change` makes of the object that `proposal` writes, again while its controller writes status in between.
    pub async fn rewrite(&self, incidents: &[&str], proposal: &Proposal, dry_run: bool, change: &(dyn Fn(&Value) -> Value + Sync)) -> Result<Value, String> {
        let mut result = Err(String::new());
        for _ in 0..20 {
            let (path, old) = self.object_of(proposal).await;
            let path = format!("{path}?fieldManager=assent-executor{}", if dry_run { "&dryRun=All" } else { "" });
            result = self.write(incidents, "PUT", &path, &change(&old)).await;
            if !result.as_ref().is_err_and(|text| text.contains("has been modified") || text.contains("changed while the gate looked")) {
                break;
            }
        }
        result
    }

    /// Path and content of what `proposal` writes.
    pub async fn object_of(&self, proposal: &Proposal) -> (String, Value) {
        let write = proposal.write().unwrap();
        let slash = if write.subresource.is_empty() { String::new() } else { format!("/{}", write.subresource) };
        let path = format!("/apis/apps/v1/namespaces/{SHOP}/{}/{}{slash}", write.resource, proposal.target.name);
        let old = get(&self.admin, &path).await.unwrap();
        (path, old)
    }
}

/// Signs `ballot` by a certificate for `account` of `authority`.
#[must_use]
pub fn sign(authority: &Authority, account: &str, ballot: Ballot) -> Signed {
    let workload = authority.workload(names::SYSTEM_NAMESPACE, account);
    let certified = workload.current().unwrap();
    let chain: Vec<Vec<u8>> = certified.chain().iter().map(|der| der.to_vec()).collect();
    let payload = canonical::text(&ballot.statement()).unwrap();
    Signed::new(PAYLOAD_TYPE, payload, &chain, |bytes| certified.sign(bytes)).unwrap()
}

/// A raw request as `assent:executor`, with one impersonation extra for each of `incidents`.
pub async fn impersonated(client: &Client, incidents: &[&str], method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let mut request = http::Request::builder().method(method).uri(path).header("Impersonate-User", names::EXECUTOR_USER);
    request = match method {
        "PATCH" => request.header("Content-Type", "application/merge-patch+json"),
        _ => request.header("Content-Type", "application/json"),
    };
    for incident in incidents {
        request = request.header("Impersonate-Extra-assent.dev%2fincident-uid", *incident);
    }
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    send(client, request.body(body).unwrap()).await
}

/// Sends a raw request; the error is the API server's message.
pub async fn send(client: &Client, request: http::Request<Vec<u8>>) -> Result<Value, String> {
    let response = client.send(request.map(kube::client::Body::from)).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.map_err(|error| error.to_string())?.to_bytes();
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status.is_success() { Ok(value) } else { Err(value["message"].as_str().map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned)) }
}

/// Reads a raw object.
pub async fn get(client: &Client, path: &str) -> Result<Value, String> {
    send(client, http::Request::get(path).body(Vec::new()).unwrap()).await
}

/// How the change begins with one pod of its target, as the Blueprint has it.
fn canary_of(blueprint: &resources::Blueprint, proposal: &Proposal, target: &Value) -> Option<Canary> {
    let spec = serde_json::to_value(&blueprint.spec).unwrap();
    Canary::of(effective(&[], &read(&spec).into_result().unwrap()).canary(), &proposal.action, target)
}

/// What kind of workload is proposed to be changed.
#[must_use]
pub fn kind_of(proposal: &Proposal) -> Kind {
    Kind::of(&proposal.target.api_version, &proposal.target.kind).unwrap()
}

/// Whether a workload is rolled out and its controller is done with it.
#[must_use]
pub fn complete(workload: &Value) -> bool {
    let kind = Kind::of_object(workload).unwrap();
    let counts = kind.counts(workload);
    let status = &workload["status"];
    let done = |condition: &Value| condition["type"] == "Progressing" && condition["reason"] == "NewReplicaSetAvailable";
    let controller = match kind {
        Kind::Deployment => status["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(done)),
        Kind::StatefulSet => status["currentRevision"] == status["updateRevision"],
        Kind::DaemonSet => true,
    };
    controller && counts.settled() && counts.available == counts.wanted
}

/// Server-side apply of any object.
pub async fn apply(client: &Client, object: &Value) {
    let kind = object["kind"].as_str().unwrap();
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", object["apiVersion"].as_str().unwrap()),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let mut dynamic: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    dynamic.types = Some(TypeMeta { api_version: object["apiVersion"].as_str().unwrap().into(), kind: kind.into() });
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&dynamic)).await.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
}

/// The objects in these shipped manifests (files or folders below `manifests/base`).
#[must_use]
pub fn shipped(parts: &[&str]) -> Vec<Value> {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../manifests/base");
    let mut files = Vec::new();
    for part in parts {
        let path = base.join(part);
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            files.extend(entries.filter(|p| p.extension().is_some_and(|e| e == "yaml") && !p.ends_with("kustomization.yaml")));
        } else {
            files.push(path);
        }
    }
    files.sort();
    let texts = files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    texts.flat_map(|text| documents(&text)).collect()
}

/// The guardrails that ship, with their bindings.
#[must_use]
pub fn library() -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/library");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("given.yaml") && !path.to_string_lossy().ends_with(".cases.yaml"));
    files.sort();
    files.iter().flat_map(|path| documents(&std::fs::read_to_string(path).unwrap())).collect()
}

fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let documents = serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

pub(crate) fn service_account_groups() -> [&'static str; 1] {
    ["system:serviceaccounts:assent-system"]
}

async fn established(admin: &Client) {
    for _ in 0..200 {
        let path = format!("{}/default", StoredRoster::url_path(&(), None));
        // 404 for the object, with the kind served, says `rosters.assent.dev "default" not found`.
        if get(admin, &path).await.map_or_else(|message| message.contains("rosters.assent.dev"), |_| true) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the definitions were never served");
}

/// A gate in this process, with its own serving CA in `files`: its task, its `caBundle` and its address.
pub(crate) async fn serve_gate(
    kubeconfig: &str,
    files: &std::path::Path,
    stop: &CancellationToken,
) -> (tokio::task::JoinHandle<anyhow::Result<()>>, String, std::net::SocketAddr) {
    let bundle = write_authority(files);
    std::fs::write(files.join("kubeconfig"), kubeconfig).unwrap();
    // A gate that is killed comes back at the same one.
    let address = crate::addresses::free();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let line = std::iter::once("assent-gate".to_owned()).chain(gate_arguments(files, address));
    let args = assent_webhook::gate::Args::parse_from(line);
    let task = tokio::spawn(assent_webhook::gate::serve(args, listener, stop.clone()));
    (task, bundle, address)
}

/// What a gate is told whose kubeconfig and serving CA lie in `files`.
pub(crate) fn gate_arguments(files: &std::path::Path, listen: std::net::SocketAddr) -> Vec<String> {
    let path = |flag: &str, name: &str| format!("--{flag}={}", files.join(name).display());
    vec![
        "--admin-address=127.0.0.1:0".into(),
        path("kubeconfig", "kubeconfig"),
        format!("--listen={listen}"),
        path("serving-certificate-file", "ca.crt"),
        path("serving-key-file", "ca.key"),
        // Not there unless a test writes it.
        path("slack-signing-secret-file", "slack-secret"),
        "--serving-mint=localhost".into(),
    ]
}

/// Writes a fresh CA as `ca.crt` and `ca.key`; returns it as a `caBundle`.
#[must_use]
pub fn write_authority(files: &std::path::Path) -> String {
    use base64::Engine as _;
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(files.join("ca.crt"), certificate.pem()).unwrap();
    std::fs::write(files.join("ca.key"), key.serialize_pem()).unwrap();
    base64::engine::general_purpose::STANDARD.encode(certificate.pem())
}
