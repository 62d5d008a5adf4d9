//! A cluster with our kinds, a shop to look at, and directors that can be started, stopped and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assent_api::names;
use assent_api::resources::{self, Incident, Roster, RosterSpec, definitions};
use assent_cluster::{Cluster, api_only};
use assent_core::canonical::Digest;
use assent_core::consensus::{self, Seat, TallyConfiguration};
use assent_core::ids::{Domain, IncidentUid};
use assent_core::incident::Anomaly;
use assent_core::ledger::{Entry, Head, Proof};
use assent_director::{Args, Metrics, Ports};
use assent_runtime::CancellationToken;
use assent_runtime::workload::testing::Authority;
use assent_tests::scripted::{self, Says, Seats};
use clap::Parser as _;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::conditions;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;

/// Long enough for a slow machine, short enough to notice a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const SECRET: &str = assent_tests::INTAKE_SECRET;
pub(crate) const SEATS: [(&str, Domain); 4] =
    [("network", Domain::Network), ("compute", Domain::Compute), ("database", Domain::Database), ("change", Domain::Application)];

/// What a test stands on.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    /// May do everything.
    pub(crate) admin: Client,
    pub(crate) authority: Arc<Authority>,
    pub(crate) roster: consensus::Roster,
    directory: TempDir,
}

/// A director in this process.
pub(crate) struct Running {
    /// Intake, gRPC, ledger.
    pub(crate) addresses: [SocketAddr; 3],
    token: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

// === impl Bench ===

impl Bench {
    pub(crate) async fn start(name: &str) -> Self {
        let cluster = api_only(name).await.unwrap();
        let admin = cluster.client().await.unwrap();
        let authority = Arc::new(Authority::new());
        let seat = |(name, domain): &(&str, Domain)| Seat {
            name: (*name).into(),
            domain: *domain,
            account: names::accounts::seat(name),
            principals: assent_core::consensus::shipped_principals(*domain),
        };
        let roster = consensus::Roster {
            seats: SEATS.iter().map(seat).collect(),
            quorum: 3,
            supporters: 2,
            tally: TallyConfiguration::shipped(),
            trust_roots: authority.pem(),
            gate: Digest::of_bytes(b"gate"),
            ledger: None,
        };
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), SECRET).unwrap();
        let bench = Self { cluster, admin, authority, roster, directory };
        bench.install().await;
        bench
    }

    async fn install(&self) {
        let kinds: Api<CustomResourceDefinition> = Api::all(self.admin.clone());
        for definition in definitions() {
            let name = definition.metadata.name.clone().unwrap();
            kinds.create(&PostParams::default(), &definition).await.unwrap();
            within(await_condition(kinds.clone(), &name, conditions::is_crd_established())).await.unwrap();
        }
        for object in objects() {
            self.create(object).await;
        }
        // The director's account with exactly the rights that are shipped.
        for document in serde_yaml_ng::Deserializer::from_str(include_str!("../../../manifests/base/director/rbac.yaml")) {
            self.create(Value::deserialize(document).unwrap()).await;
        }
        let rosters: Api<Roster> = Api::all(self.admin.clone());
        rosters.create(&PostParams::default(), &Roster::new(names::ROSTER, RosterSpec::from(&self.roster))).await.unwrap();
    }

    /// Creates an object of any kind.
    pub(crate) async fn create(&self, object: Value) -> DynamicObject {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &text("/kind")));
        let namespace = text("/metadata/namespace");
        let api: Api<DynamicObject> =
            if namespace.is_empty() { Api::all_with(self.admin.clone(), &kind) } else { Api::namespaced_with(self.admin.clone(), &namespace, &kind) };
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// One of our namespaced kinds.
    pub(crate) fn ours<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), names::SYSTEM_NAMESPACE)
    }

    /// The token of the director's own account: what it may not do fails as it would in a cluster.
    pub(crate) async fn director_token(&self) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), names::SYSTEM_NAMESPACE);
        let reply = accounts.create_token_request(names::accounts::DIRECTOR, &PostParams::default(), &TokenRequest::default()).await.unwrap();
        reply.status.unwrap().token
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(crate) fn args(&self, seats: &[(String, SocketAddr)]) -> Args {
        args(&self.store(), &self.directory.path().join("token"), seats)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A director that is ready.
    pub(crate) async fn direct(&self, seats: &[(String, SocketAddr)]) -> Running {
        let (running, is_ready) = self.contend(self.args(seats)).await;
        if within(is_ready).await.is_err() {
            panic!("the director did not start: {:?}", running.task.await);
        }
        running
    }

    /// A director that may have to wait for another one; the receiver hears when it is ready.
    pub(crate) async fn contend(&self, args: Args) -> (Running, oneshot::Receiver<()>) {
        let client = self.cluster.client_with_token(&self.director_token().await).await.unwrap();
        let workload = self.authority.workload(names::SYSTEM_NAMESPACE, names::accounts::DIRECTOR);
        let ports = Ports::bind(&args).await.unwrap();
        let addresses = ports.addresses().unwrap();
        let token = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let stop = token.clone();
        let task =
            tokio::spawn(
                async move { assent_director::direct(args, client, workload, Metrics::default(), ports, stop, move || ready.send(()).unwrap()).await },
            );
        (Running { addresses, token, task }, is_ready)
    }

    /// Waits until the incident's status is in `phase`.
    pub(crate) async fn reaches(&self, uid: &str, phase: &str) -> Incident {
        let wanted = phase.to_owned();
        let is = move |incident: Option<&Incident>| {
            incident.and_then(|incident| incident.status.as_ref()).is_some_and(|status| status.phase.as_deref() == Some(&wanted))
        };
        let met = within(await_condition(self.ours::<Incident>(), uid, is)).await;
        met.unwrap_or_else(|error| panic!("{uid} never came to {phase}: {error}")).unwrap()
    }

    /// Waits until a namespaced object of ours is there.
    pub(crate) async fn appears<K>(&self, name: &str) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + 'static,
    {
        struct Exists;
        impl<K> Condition<K> for Exists {
            fn matches_object(&self, object: Option<&K>) -> bool {
                object.is_some()
            }
        }
        within(await_condition(self.ours::<K>(), name, Exists)).await.unwrap().unwrap()
    }

    pub(crate) async fn incidents(&self) -> Vec<resources::Incident> {
        self.ours::<Incident>().list(&kube::api::ListParams::default()).await.unwrap().items
    }
}

/// Seats that say what a test wants.
impl Bench {
    pub(crate) async fn seats(&self, seats: &[(&'static str, Says)]) -> Seats {
        let seats = seats.iter().map(|(name, says)| (*name, *says, self.admin.clone())).collect();
        scripted::start(&self.authority, &self.roster.digest().unwrap(), seats).await
    }

    pub(crate) async fn anomaly(&self, seat: &str) -> Anomaly {
        scripted::anomaly(&self.admin, seat).await
    }

    pub(crate) async fn report(&self, director: SocketAddr, caller: &str, anomaly: &Anomaly) -> Result<String, Status> {
        scripted::report(&self.authority, director, caller, anomaly).await
    }
}

// === impl Running ===

impl Running {
    /// Ends it as a crash does: nothing is given back.
    pub(crate) fn crash(self) {
        self.task.abort();
    }

    /// Asks it to stop, and waits.
    pub(crate) async fn stop(self) {
        self.token.cancel();
        within(self.task).await.unwrap().unwrap();
    }

    /// Posts to the intake.
    pub(crate) async fn alert(&self, sender: &str, body: &Value) -> (u16, String) {
        post(self.addresses[0], &format!("/v1/{sender}/{SECRET}"), body).await
    }

    /// The ledger as it is exported, of one incident or whole, and the head.
    pub(crate) async fn ledger(&self, incident: Option<&IncidentUid>) -> (Vec<Entry>, Head) {
        let path = incident.map_or_else(|| "/v1/ledger".to_owned(), |uid| format!("/v1/ledger/{uid}"));
        let (status, head, body) = request(self.addresses[2], &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(status, 200, "{body}");
        let header = head.lines().find_map(|line| line.strip_prefix("assent-ledger-head: ")).unwrap();
        let (sequence, hash) = header.trim().split_once(':').unwrap();
        let head = Head { sequence: sequence.parse().unwrap(), hash: hash.to_owned().try_into().unwrap() };
        let entries = dechunked(&body).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (entries, head)
    }

    /// The newest head and the proof that it extends the one at `since`, as they are exported.
    pub(crate) async fn proof(&self, since: u64) -> (Head, Option<Proof>) {
        let (status, _, body) = request(self.addresses[2], &format!("GET /v1/proof/{since} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        (serde_json::from_value(answer["head"].clone()).unwrap(), serde_json::from_value(answer["proof"].clone()).unwrap())
    }
}

pub(crate) fn args(store: &Path, secret: &Path, seats: &[(String, SocketAddr)]) -> Args {
    let seats: Vec<String> = seats.iter().map(|(name, address)| format!("{name}={address}")).collect();
    let mut line = vec![
        "assent-director".to_owned(),
        format!("--store={}", store.display()),
        format!("--intake-token-file={}", secret.display()),
        "--intake-address=127.0.0.1:0".into(),
        "--listen=127.0.0.1:0".into(),
        "--ledger-address=127.0.0.1:0".into(),
        "--workload-namespace=assent-system".into(),
        "--workload-service-account=assent-director".into(),
    ];
    if !seats.is_empty() {
        line.push(format!("--seat-addresses={}", seats.join(",")));
    }
    Args::try_parse_from(line).unwrap()
}

/// An alert as Alertmanager sends it.
pub(crate) fn firing(fingerprint: &str, deployment: &str) -> Value {
    json!({"version": "4", "groupKey": "{}:{}", "status": "firing", "alerts": [{
        "status": "firing", "fingerprint": fingerprint, "startsAt": "2026-08-08T14:32:08Z",
        "labels": {"alertname": "Errors", "namespace": "shop", "deployment": deployment, "symptom": "errors"},
        "annotations": {"summary": "5 % of requests fail"},
    }]})
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> (u16, String) {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let (status, _, body) = request(address, &format!("{head}{body}")).await;
    (status, body)
}

async fn request(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// The body of a chunked answer.
fn dechunked(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    text
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing happened for {PATIENCE:?}"))
}

/// What is there before the director: namespaces and a shop.
fn objects() -> Vec<Value> {
    let system = names::SYSTEM_NAMESPACE;
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": system}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-config", "namespace": "shop"}, "data": {"pool": "4"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop"}, "spec": {
            "selector": {"matchLabels": {"app": "orders"}},
            "template": {"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": [
                {"name": "orders", "image": "localhost/orders:1", "envFrom": [{"configMapRef": {"name": "orders-config"}}]},
            ]}},
        }}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "ordersdb", "namespace": "shop"}, "spec": {
            "serviceName": "ordersdb", "selector": {"matchLabels": {"app": "ordersdb"}},
            "template": {"metadata": {"labels": {"app": "ordersdb"}}, "spec": {"containers": [{"name": "db", "image": "localhost/db:1"}]}},
        }}),
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous", "actions": [{"name": "RestartWorkload"}]}}),
    ]
}
