//! A cluster with a shop, a certificate authority, a director that takes anomalies, and seats under their own accounts.

use std::net::SocketAddr;
use std::time::Duration;

use assent_api::proto::anomalies_server::{Anomalies, AnomaliesServer};
use assent_api::proto::seat_client::SeatClient;
use assent_api::proto::{AnomalyReply, AnomalyReport, CauseRequest, RemedyRequest};
use assent_api::resources::{self, Ballot, Roster as StoredRoster, RosterSpec};
use assent_api::signed::Signed;
use assent_api::{cast, names};
use assent_cluster::Cluster;
use assent_core::ballot::{CastBallot, CauseVote, Opinion};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::{Roster, Seat, TallyConfiguration};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Context, Symptom, Workload as ContextWorkload};
use assent_core::seats::SEATS;
use assent_core::target::{Service, Target};
use assent_core::workload::Kind;
use assent_runtime::shutdown::Tasks;
use assent_runtime::workload::testing::Authority;
use assent_runtime::workload::{ClientAuth, Workload};
use assent_runtime::{CancellationToken, Limits, mtls};
use assent_specialists::{Args, Parts};
use clap::Parser as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub(crate) const SHOP: &str = "shop";
/// Bounds a wait for something that another process does.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) admin: Client,
    pub(crate) authority: Authority,
    pub(crate) roster: Roster,
    pub(crate) uid: String,
    token: CancellationToken,
}

/// A running seat.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    name: &'static str,
}

struct Director(mpsc::Sender<AnomalyReport>);

#[tonic::async_trait]
impl Anomalies for Director {
    async fn report(&self, request: Request<AnomalyReport>) -> Result<Response<AnomalyReply>, Status> {
        self.0.send(request.into_inner()).await.map_err(|_| Status::unavailable("gone"))?;
        Ok(Response::new(AnomalyReply { incident_uid: String::new() }))
    }
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub(crate) fn service(name: &str) -> Service {
    Service { namespace: SHOP.into(), name: name.into() }
}

/// Asks `done` until it says yes.
pub(crate) async fn until<F: Future<Output = Option<R>>, R>(what: &str, mut done: impl FnMut() -> F) -> R {
    let asking = async {
        loop {
            if let Some(result) = done().await {
                return result;
            }
            // A bounded poll: the other side is another process.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what} did not come about"))
}

// === impl World ===

impl World {
    pub(crate) async fn start(name: &str) -> Self {
        let cluster = assent_cluster::api_only(name).await.unwrap();
        let admin = cluster.client().await.unwrap();
        let definitions: Vec<Value> = resources::definitions().iter().map(|definition| serde_json::to_value(definition).unwrap()).collect();
        let namespaces = [names::SYSTEM_NAMESPACE, SHOP].map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        let file = cluster.dir().join("objects.json");
        let items: Vec<Value> = definitions.into_iter().chain(namespaces).collect();
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).unwrap();
        cluster.kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]).await.unwrap();
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await.unwrap();
        let rbac = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/base/specialists/rbac.yaml");
        cluster.kubectl(&["apply", "-f", rbac]).await.unwrap();
        let authority = Authority::new();
        let roster = Roster {
            seats: SEATS
                .iter()
                .map(|seat| Seat {
                    name: seat.name.into(),
                    domain: seat.domain,
                    account: names::accounts::seat(seat.name),
                    principals: assent_core::consensus::shipped_principals(seat.domain),
                })
                .collect(),
            quorum: 3,
            supporters: 2,
            tally: TallyConfiguration::shipped(),
            trust_roots: authority.pem(),
            gate: Digest::of_bytes(b"gate"),
            ledger: None,
        };
        let stored = StoredRoster::new(names::ROSTER, RosterSpec::from(&roster));
        Api::<StoredRoster>::all(admin.clone()).create(&PostParams::default(), &stored).await.unwrap();
        let uid = Api::<Namespace>::all(admin.clone()).get("kube-system").await.unwrap().uid().unwrap();
        Self { cluster, admin, authority, roster, uid, token: CancellationToken::new() }
    }

    /// A director that keeps the anomalies it is told.
    pub(crate) async fn director(&self) -> (SocketAddr, mpsc::Receiver<AnomalyReport>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let workload = self.account(names::accounts::DIRECTOR);
        let (sender, receiver) = mpsc::channel(64);
        let token = self.token.clone();
        drop(tokio::spawn(async move {
            let routes = Routes::new(AnomaliesServer::new(Director(sender)));
            mtls::serve(listener, &workload, ClientAuth::Required, Limits::default(), routes, token).await.unwrap();
        }));
        (address, receiver)
    }

    /// Starts a seat under its own account and rights.
    pub(crate) async fn seat(&self, name: &'static str, flags: &[&str]) -> Running {
        let account = names::accounts::seat(name);
        let groups = ["system:serviceaccounts", "system:authenticated"];
        let client = self.cluster.client_as(&names::account_user(&account), &groups).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The admin port is bound by the seat itself, so a free one is found first.
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let admin_text = admin.to_string();
        let mut arguments = vec!["assent-specialists", "--seat", name, "--admin-address", &admin_text, "--workload-namespace", "assent-system"];
        arguments.extend(["--workload-service-account", account.as_str()]);
        arguments.extend(flags);
        let parts = Parts { listener, workload: self.account(&account), client };
        let running = assent_specialists::serve(Args::parse_from(arguments), parts, Tasks::new(self.token.clone()));
        drop(tokio::spawn(async move {
            if let Err(error) = running.await {
                panic!("{name}: {error:#}");
            }
        }));
        Running { address, admin, name }
    }

    pub(crate) fn account(&self, account: &str) -> Workload {
        self.authority.workload(names::SYSTEM_NAMESPACE, account)
    }

    /// A channel to a seat, as `workload`.
    pub(crate) fn channel(&self, seat: &Running, workload: &Workload) -> Channel {
        let expected = workload.own_name().sibling(names::SYSTEM_NAMESPACE, &names::accounts::seat(seat.name)).unwrap();
        mtls::channel(workload, &seat.address.to_string(), &expected).unwrap()
    }

    pub(crate) fn ask(&self, seat: &Running, account: &str) -> SeatClient<Channel> {
        SeatClient::new(self.channel(seat, &self.account(account)))
    }

    /// Creates a Deployment with an account of the same name.
    pub(crate) async fn deploy(&self, name: &str, version: &str) {
        self.deploy_as(Kind::Deployment, name, version).await;
    }

    /// As [`World::deploy`], of any kind.
    pub(crate) async fn deploy_as(&self, kind: Kind, name: &str, version: &str) {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": SHOP}});
        Api::namespaced(self.admin.clone(), SHOP)
            .create(&PostParams::default(), &serde_json::from_value::<k8s_openapi::api::core::v1::ServiceAccount>(account).unwrap())
            .await
            .unwrap();
        let mut workload = json!({"apiVersion": "apps/v1", "kind": kind.name(), "metadata": {"name": name, "namespace": SHOP}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "serviceAccountName": name, "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "c", "image": "x", "env": [{"name": "VERSION", "value": version}],
                    "resources": {"limits": {"cpu": "150m"}, "requests": {"cpu": "100m"}}}]}}}});
        if kind == Kind::DaemonSet {
            workload["spec"].as_object_mut().unwrap().remove("replicas");
            let node = serde_json::from_value(json!({"metadata": {"name": "nobody"}})).unwrap();
            Api::<k8s_openapi::api::core::v1::Node>::all(self.admin.clone()).create(&PostParams::default(), &node).await.unwrap();
        }
        self.workloads(kind).create(&PostParams::default(), &serde_json::from_value(workload).unwrap()).await.unwrap();
    }

    /// Workloads of a kind in the shop.
    pub(crate) fn workloads(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = kube::core::GroupVersionKind::gvk("apps", "v1", kind.name());
        Api::namespaced_with(self.admin.clone(), SHOP, &kube::api::ApiResource::from_gvk_with_plural(&resource, kind.resource()))
    }

    /// The pod of `name` that runs `version`, once it exists.
    pub(crate) async fn pod(&self, name: &str, version: &str) -> Pod {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), SHOP);
        let selector = ListParams::default().labels(&format!("app={name}"));
        until("the pod", || async {
            let pods = api.list(&selector).await.unwrap();
            pods.into_iter().find(|pod| {
                let env = pod.spec.as_ref().unwrap().containers[0].env.as_ref().unwrap();
                pod.metadata.deletion_timestamp.is_none() && env[0].value.as_deref() == Some(version)
            })
        })
        .await
    }

    /// Writes the pod's status as a kubelet would once it runs and is ready.
    pub(crate) async fn ready(&self, pod: &Pod, address: &str, image: &str) {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), SHOP);
        let started = jiff::Timestamp::now().to_string();
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": started}],
            "containerStatuses": [{"name": "c", "image": "x", "imageID": image, "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": started}}}]}});
        api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
    }

    /// An incident context at `alert`, with these Deployments as they are now.
    pub(crate) async fn context(&self, alert: &str, since: i64, deployments: &[&str]) -> Context {
        self.context_of(Kind::Deployment, alert, since, deployments).await
    }

    /// As [`World::context`], with workloads of any one kind.
    pub(crate) async fn context_of(&self, kind: Kind, alert: &str, since: i64, names: &[&str]) -> Context {
        let mut workloads = Vec::new();
        for name in names {
            let object = serde_json::to_value(self.workloads(kind).get(name).await.unwrap()).unwrap();
            let target = Target::of(&object).unwrap();
            workloads.push(ContextWorkload { target, revisions: vec![], configurations: vec![], replicas: 1, ready: 1 });
        }
        Context {
            incident: IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap(),
            cluster: self.uid.clone(),
            service: service(alert),
            symptom: Symptom::Errors,
            since: UnixMillis(since),
            gathered_at: UnixMillis(since),
            alerts: vec![],
            workloads,
            events: vec![],
        }
    }

    /// Asks for the first round and returns the verified ballot with its envelope.
    pub(crate) async fn cause(&self, seat: &Running, context: &Context, epoch: u32) -> (CastBallot, Signed) {
        let request = CauseRequest { context: canonical::text(context).unwrap().into_bytes(), epoch, deadline_ms: now() + 10_000 };
        let name = self.ask(seat, names::accounts::DIRECTOR).cast_cause(request).await.unwrap().into_inner().ballot;
        self.ballot(&name).await
    }

    /// Asks for the second round over `causes`.
    pub(crate) async fn remedy(&self, seat: &Running, context: &Context, epoch: u32, causes: &[Signed]) -> CastBallot {
        let cause_ballots = causes.iter().map(|signed| serde_json::to_vec(signed).unwrap()).collect();
        let context = canonical::text(context).unwrap().into_bytes();
        let request = RemedyRequest { context, epoch, deadline_ms: now() + 10_000, cause_ballots };
        let name = self.ask(seat, names::accounts::DIRECTOR).cast_remedy(request).await.unwrap().into_inner().ballot;
        self.ballot(&name).await.0
    }

    async fn ballot(&self, name: &str) -> (CastBallot, Signed) {
        let stored = Api::<Ballot>::namespaced(self.admin.clone(), names::SYSTEM_NAMESPACE).get(name).await.unwrap();
        let cast = cast(&stored, &self.roster).unwrap();
        (cast, stored.spec.signed)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

pub(crate) fn vote(cast: &CastBallot) -> &CauseVote {
    match &cast.ballot.opinion {
        Opinion::Cause(vote) => vote,
        other => panic!("no vote: {other:?}"),
    }
}
