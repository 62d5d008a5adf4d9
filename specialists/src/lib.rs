//! The seats as processes: one binary, one Deployment and one account per seat, so that no two share evidence, key or fate.
//!
//! What a seat thinks is in `core::seats`; here is what feeds it, what asks it, and the pen it signs with.
//!
//! | module | does |
//! |---|---|
//! | `intake` | takes observations from sidecars, each of its own pod only |
//! | `pods` | knows which pod is where and whose it is |
//! | `kubelet` | reads kubelets, for the compute seat |
//! | `intents` | follows what people want of services, for the compute seat |
//! | `changes` | follows rollouts and configuration, for the change seat |
//! | `sources` | asks stores and takes traces, where they are named |
//! | `desk` | answers the director and the executor |
//! | `ballots` | signs votes and creates them as objects |
//! | `report` | reports anomalies of its own |

mod args;
mod ballots;
mod changes;
mod desk;
mod held;
mod intake;
mod intents;
mod kubelet;
mod metrics;
mod pods;
mod report;
mod sources;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use assent_api::proto::compute_intake_server::ComputeIntakeServer;
use assent_api::proto::database_intake_server::DatabaseIntakeServer;
use assent_api::proto::network_intake_server::NetworkIntakeServer;
use assent_api::proto::seat_server::SeatServer;
use assent_core::seats::{Seat, change, compute, database, network};
use assent_runtime::admin::{Admin, Readiness};
use assent_runtime::metrics::registry::Registry;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry;
use assent_runtime::workload::{ClientAuth, Workload};
use assent_runtime::{Limits, kube as kubernetes, mtls};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use args::{Args, KubeletArgs, LogsArgs, PrometheusArgs, SeatName, SourceArgs};

use ballots::Ballots;
use desk::Desk;
use held::{Held, now};
use intake::Intake;
use metrics::Metrics;
use pods::Pods;
use sources::Sources;

/// Sidecars that stream to one seat.
const STREAMS: usize = 10_000;

/// What a seat is started with, apart from its flags; tests bring their own.
pub struct Parts {
    /// Where the gRPC services listen.
    pub listener: TcpListener,
    /// Who we are.
    pub workload: Workload,
    /// The API server, under this seat's own account.
    pub client: Client,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("listener", &self.listener).field("workload", self.workload.own_name()).finish_non_exhaustive()
    }
}

/// Runs the seat until a signal or a failed task.
///
/// # Errors
/// If it cannot start, or a task fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let mut tasks = Tasks::new(shutdown::signals()?);
    let client = kubernetes::client(&args.kube).await?;
    let (workload, renewal) = Workload::open(&args.workload).await?;
    tasks.spawn_forever("identity", renewal.run());
    let listener = TcpListener::bind(args.listen).await.context("bind the gRPC services")?;
    serve(args, Parts { listener, workload, client }, tasks).await
}

/// As [`run`], on parts that the caller made and with tasks whose token it holds.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, parts: Parts, mut tasks: Tasks) -> anyhow::Result<()> {
    tracing::info!(?args, "effective configuration");
    let readiness = Readiness::default();
    let starting = readiness.guard("objects");
    let identity = readiness.guard("identity");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness, registry).await.context("bind the admin port")?;
    tasks.spawn("admin", admin.serve(tasks.token()));
    let cluster = cluster_uid(&parts.client).await?;
    let pods = Pods::default();
    tasks.spawn_forever("pods", pods.clone().follow(parts.client.clone()));
    let token = tasks.token();
    if token.run_until_cancelled(parts.workload.ready()).await.transpose()?.is_none() {
        return tasks.join().await;
    }
    drop(identity);
    // Before the objects are known no speaker can be proven, and every stream would be refused.
    if token.run_until_cancelled(pods.synced()).await.is_none() {
        return tasks.join().await;
    }
    let sources = Sources::open(&args, &parts.client, pods.clone(), metrics.clone(), &mut tasks).await?;
    let seat = Seating { args, parts, pods, metrics, cluster, sources };
    match seat.args.seat {
        SeatName::Network => seat.network(&mut tasks),
        SeatName::Database => seat.database(&mut tasks),
        SeatName::Compute => seat.compute(&mut tasks)?,
        SeatName::Change => seat.change(&mut tasks),
    }
    drop(starting);
    tasks.join().await
}

/// UID of the `kube-system` namespace. The API server may be away for a moment at the start of a cluster.
async fn cluster_uid(client: &Client) -> anyhow::Result<String> {
    let namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await.context("read namespace `kube-system`")?;
    namespace.uid().context("namespace `kube-system` has no UID")
}

struct Seating {
    args: Args,
    parts: Parts,
    pods: Pods,
    metrics: Metrics,
    cluster: String,
    sources: Sources,
}

// === impl Seating ===

impl Seating {
    fn network(self, tasks: &mut Tasks) {
        let held = Arc::new(Held::new(network::View::new(self.args.settings())));
        let intake = Intake::new(held.clone(), self.pods.clone(), self.metrics.clone());
        self.reporting(&held, tasks);
        self.listen(held, tasks, |routes| routes.add_service(NetworkIntakeServer::new(intake)));
    }

    fn database(self, tasks: &mut Tasks) {
        let held = Arc::new(Held::new(database::View::new(self.args.settings())));
        let intake = Intake::new(held.clone(), self.pods.clone(), self.metrics.clone());
        let ticking = held.clone();
        tasks.spawn_forever("tick", async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                ticking.update(|view| view.tick(now()));
            }
        });
        self.listen(held, tasks, |routes| routes.add_service(DatabaseIntakeServer::new(intake)));
    }

    fn compute(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let held = Arc::new(Held::new(compute::View::new(self.args.settings())));
        let kubelets = kubelet::Kubelets::new(held.clone(), self.pods.clone(), self.args.kubelet.clone(), self.metrics.clone())?;
        tasks.spawn_forever("kubelets", kubelets.run(self.parts.client.clone()));
        tasks.spawn_forever("intents", intents::Intents::new(held.clone()).run(self.parts.client.clone()));
        self.reporting(&held, tasks);
        let intake = Intake::new(held.clone(), self.pods.clone(), self.metrics.clone());
        self.listen(held, tasks, |routes| routes.add_service(ComputeIntakeServer::new(intake)));
        Ok(())
    }

    fn change(self, tasks: &mut Tasks) {
        let held = Arc::new(Held::new(change::View::new(i64::from(self.args.settle_seconds) * 1_000)));
        let changes = changes::Changes::new(held.clone(), self.pods.clone(), self.metrics.clone());
        tasks.spawn_forever("changes", changes.run(self.parts.client.clone()));
        self.listen(held, tasks, |routes| routes);
    }

    fn reporting<V: Seat + 'static>(&self, held: &Arc<Held<V>>, tasks: &mut Tasks) {
        let reporting = report::report(held.clone(), self.parts.workload.clone(), self.args.director.clone(), self.cluster.clone(), self.metrics.clone());
        let token = tasks.token();
        tasks.spawn("report", async move { token.run_until_cancelled_owned(reporting).await.unwrap_or(Ok(())) });
    }

    fn listen<V>(self, held: Arc<Held<V>>, tasks: &mut Tasks, intake: impl FnOnce(Routes) -> Routes)
    where
        V: Seat + 'static,
    {
        let Parts { listener, workload, client } = self.parts;
        let entry = held.read(|view| view.entry());
        let ballots = Ballots::new(client, workload.clone(), entry, self.args.ballot_seconds.saturating_mul(1_000));
        let own = workload.own_name().clone();
        let routes = intake(Routes::new(SeatServer::new(Desk { held, ballots, own, cluster: self.cluster, metrics: self.metrics, sources: self.sources })));
        let limits = Limits { connections: STREAMS, ..Limits::default() };
        let token = tasks.token();
        tasks.spawn("grpc", async move {
            mtls::serve(listener, &workload, ClientAuth::Required, limits, routes, token).await?;
            Ok(())
        });
    }
}
