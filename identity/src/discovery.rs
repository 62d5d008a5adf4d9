//! Discovery: which address is which workload, under which identity it can be reached, and who may
//! reach it. Proxies ask by IP (`GetProfile`) or by service (`Get`), and each for the ports of its own
//! pod (`WatchPort`), and are told of every change. It holds no key but its own short-lived one, passes
//! on the policy that annotations state, and knows nothing of a request's content.

mod following;
mod inbound;
mod index;
mod policies;
mod service;
mod unsupported;
mod watch;
mod wire;

use std::net::SocketAddr;

use anyhow::Context as _;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::kube::KubeArgs;
use assent_runtime::metrics::registry::Registry;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::workload::{ClientAuth, Workload, WorkloadArgs};
use assent_runtime::{Limits, kube, mtls};
use linkerd2_proxy_api::destination::destination_server::DestinationServer;
use linkerd2_proxy_api::inbound::inbound_server_policies_server::InboundServerPoliciesServer;
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::discovery::policies::{Malformed, Policies};
use crate::discovery::service::Discovery;
use crate::discovery::unsupported::Unsupported;
use crate::discovery::watch::Live;
use crate::discovery::wire::Wire;

/// The discovery service.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "assent-discovery", version)]
pub struct Args {
    /// Address of the gRPC service; port 0 picks a free one.
    #[arg(long, env = "ASSENT_LISTEN", default_value = "0.0.0.0:8086")]
    pub listen: SocketAddr,
    /// DNS domain of the cluster's services.
    #[arg(long, env = "ASSENT_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// API server.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// Own identity.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Runs the discovery service until a signal or a failed task.
///
/// # Errors
/// If it cannot start, or a task fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let listener = TcpListener::bind(args.listen).await.context("bind the discovery service")?;
    let (workload, renewal) = Workload::open(&args.workload).await?;
    let mut tasks = Tasks::new(shutdown::signals()?);
    tasks.spawn_forever("identity", renewal.run());
    serve(args, listener, workload, tasks).await
}

/// As [`run`], with listener, identity and tasks of the caller.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, listener: TcpListener, workload: Workload, mut tasks: Tasks) -> anyhow::Result<()> {
    tracing::info!(?args, "effective configuration");
    let readiness = Readiness::default();
    let (identity, caches) = (readiness.guard("identity"), readiness.guard("caches"));
    let live = Live::default();
    let mut registry = Registry::with_prefix("assent_discovery");
    registry.register_collector(Box::new(Malformed(live.clone())));
    let unsupported = Unsupported::register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness, registry).await.context("bind the admin port")?;
    tasks.spawn("admin", admin.serve(tasks.token()));

    let client = kube::client(&args.kube).await?;
    tasks.spawn_forever("watches", live.clone().follow(client));
    let token = tasks.token();
    tasks.spawn("discovery", async move {
        let certified = async { anyhow::Ok(workload.ready().await.map(|_| ())?) };
        let Some(certified) = token.run_until_cancelled(certified).await else {
            return Ok(());
        };
        certified?;
        drop(identity);
        // Whoever was answered from half a cache would take a meshed pod for an unmeshed one.
        if token.run_until_cancelled(live.synced()).await.is_none() {
            return Ok(());
        }
        drop(caches);
        let wire = Wire::new(workload.own_name().clone(), args.cluster_domain);
        let routes = Routes::new(DestinationServer::new(Discovery::new(live.clone(), wire.clone())))
            .add_service(InboundServerPoliciesServer::new(Policies::new(live, wire)));
        let limits = Limits { connections: 16_384, ..Limits::default() };
        mtls::serve(listener, &workload, ClientAuth::Required, limits, unsupported.behind(routes), token).await?;
        Ok(())
    });
    tasks.join().await
}
