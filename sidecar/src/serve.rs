//! Wiring: builds the parts from `Args`, runs them, and lets connections finish when asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::metrics::registry::Registry;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::workload::resuming::{ResumingClients, ResumingServer};
use assent_runtime::workload::{ClientAuth, Workload};
use assent_runtime::{CancellationToken, mtls, telemetry as log};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

use crate::Args;
use crate::directory::{self, Directory};
use crate::dump::{self, Dump};
use crate::inbound::Inbound;
use crate::journey::Journey;
use crate::kernel::census::Layout;
use crate::kernel::{Roots, Signals};
use crate::metrics::Counters;
use crate::metrics::identity::Identity;
use crate::newcomers::Newcomer;
use crate::observe::flows::{Direction, Flows};
use crate::origin::Origin;
use crate::otlp::Exporter;
use crate::policy::{self, Policies};
use crate::proxy::{Proxy, accept};
use crate::telemetry::{Outbox, Outboxes, RING, Seat, observe, send};
use crate::vouched::Vouched;
use crate::{confined, listen, outbound, transport};

/// Runs the sidecar until it is asked to stop.
///
/// # Errors
/// If it cannot be set up, or a part of it ends unexpectedly. Being unable to reach the control plane is no error.
pub async fn run(args: Args) -> anyhow::Result<()> {
    log::init(&args.log)?;
    let mut tasks = Tasks::new(shutdown::signals().context("install signal handlers")?);
    let (workload, renewal) = Workload::open(&args.workload).await?;
    tasks.spawn_forever("identity", renewal.run());
    let identity = workload.own_name().clone();
    let filter = args.system_call_filter;
    let running = start(args, workload, tasks).await?;
    // What serves matters more than what it might do.
    if filter && let Err(error) = confined::confine() {
        let error = log::chain(&error);
        tracing::warn!(error, "system calls are not filtered");
    }
    tracing::info!(inbound = %running.inbound, outbound = %running.outbound, admin = %running.admin, %identity, "serving");
    running.finish().await
}

/// A sidecar that serves.
pub(crate) struct Running {
    pub(crate) inbound: SocketAddr,
    pub(crate) outbound: SocketAddr,
    pub(crate) admin: SocketAddr,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at the counts without scraping them"))]
    pub(crate) counters: Arc<Counters>,
    #[cfg_attr(not(test), expect(dead_code, reason = "as above"))]
    connections: TaskTracker,
    tasks: Tasks,
    data: Data,
}

/// Binds every port and starts every task, with the caller's identity and tasks.
pub(crate) async fn start(args: Args, workload: Workload, mut tasks: Tasks) -> anyhow::Result<Running> {
    let counters = Arc::new(Counters::default());
    let flows = Arc::new(Flows::default());
    let control = Handle::current();
    let stop = tasks.token();

    let account = |account: &str| workload.own_name().sibling(&args.workload.control_namespace, account);
    let discovery = mtls::channel(&workload, &args.discovery_service, &account(&args.discovery_account)?)?;
    let context = serde_json::json!({ "ns": args.workload.workload_namespace, "pod": args.pod_name }).to_string();
    let directory = Arc::new(Directory::new(discovery.clone(), context.clone(), Duration::from_millis(args.discovery_wait_ms), control.clone()));
    if let Some(state) = &args.workload.identity_state_dir {
        directory.restore_from(state, args.discovery_stale_limit());
        tasks.spawn_forever("kept destinations", directory::keep(directory.clone(), state.clone()));
    }

    let clients = Arc::new(ResumingClients::new(workload.clone(), &[transport::ALPN]));
    let exporter = Exporter::new(&args, counters.clone())?;
    let vouched = Vouched::new(workload.trust().clone(), stop.clone());
    tasks.spawn_forever("compromised roots", vouched.clone().follow());
    let proxy = Proxy {
        workload: workload.clone(),
        clients,
        flows: flows.clone(),
        counters: counters.clone(),
        directory: directory.clone(),
        vouched,
        stop: stop.clone(),
        journey: Journey::begin(Direction::Outbound),
        spans: exporter.as_ref().map(|exporter| exporter.spans.clone()),
    };
    let data = Data::new(usize::try_from(args.workers).unwrap_or(1)).context("start worker threads")?;
    let connections = TaskTracker::new();

    let inbound_listeners = listen::bind(args.inbound_address).context("bind the inbound port")?;
    let outbound_listeners = listen::bind(args.outbound_address).context("bind the outbound port")?;
    let bound = |listeners: &[std::net::TcpListener]| listeners.first().context("no listener")?.local_addr().context("no address");
    let (inbound_address, outbound_address) = (bound(&inbound_listeners)?, bound(&outbound_listeners)?);
    let (inbound_port, outbound_port) = (inbound_address.port(), outbound_address.port());
    let policies = Policies::new(discovery, context, inbound_port, control);
    if let Some(state) = &args.workload.identity_state_dir {
        policies.restore_from(state);
        tasks.spawn_forever("kept policies", policy::keep(policies.clone(), state.clone()));
    }
    tasks.spawn_forever("policies", policies.clone().follow());
    let inbound = Inbound {
        proxy: proxy.clone(),
        policies: policies.clone(),
        origin: args.inbound_target.map_or(Origin::Kernel, Origin::Fixed),
        tls: Arc::new(ResumingServer::new(workload.clone(), ClientAuth::Optional, &[transport::ALPN])?),
        port: inbound_port,
        forbidden: [inbound_port, outbound_port, args.admin_address.port()],
    };
    let limit = args.max_connections;
    let origin = args.outbound_target.map_or(Origin::Kernel, Origin::Fixed);
    // Listeners belong to the threads that serve them; the tasks here only wait for those.
    // While connections drain, new ones are served too: a container that only restarts, for a new image, must not turn the
    // application's callers away until then. In a pod that ends, the application is gone and nobody calls.
    let closing = CancellationToken::new();
    let (asked, drained, closed, drain) = (stop.clone(), connections.clone(), closing.clone(), args.drain());
    tasks.spawn("drain", async move {
        asked.cancelled().await;
        let open = drained.len();
        drained.close();
        if tokio::time::timeout(drain, drained.wait()).await.is_err() {
            tracing::warn!(open = drained.len(), "connections were still open at the end of the drain time");
        } else {
            tracing::info!(drained = open, "stopped");
        }
        closed.cancel();
        Ok(())
    });
    for listener in inbound_listeners {
        let inbound = inbound.clone();
        let accepting =
            data.spawn(accept_on(listener, limit, closing.clone(), connections.clone(), move |client, newcomer| inbound.clone().serve(client, newcomer)));
        tasks.spawn("inbound", async move { accepting.await? });
    }
    for listener in outbound_listeners {
        let proxy = proxy.clone();
        // The application proves nothing, so it is no newcomer.
        let serve = move |client, _| outbound::serve(proxy.clone(), origin, outbound_port, client);
        let accepting = data.spawn(accept_on(listener, limit, closing.clone(), connections.clone(), serve));
        tasks.spawn("outbound", async move { accepting.await? });
    }

    let outboxes = Outboxes {
        network: seat(&args.network_seat, "assent-seat-network", &args, &workload, &mut tasks)?,
        database: seat(&args.database_seat, "assent-seat-database", &args, &workload, &mut tasks)?,
        compute: seat(&args.compute_seat, "assent-seat-compute", &args, &workload, &mut tasks)?,
    };
    let layout = Layout {
        user: args.sidecar_uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
        outbound_port,
        inbound_port,
        admin_port: args.admin_address.port(),
        skip_inbound: args.skip_inbound_ports.clone(),
        skip_outbound: args.skip_outbound_ports.clone(),
    };
    let signals = Signals::new(Roots::system(), layout);
    tasks.spawn_forever("windows", observe(flows, counters.clone(), outboxes, signals, args.window()));

    let readiness = Readiness::default();
    let (identity, policy) = (readiness.guard("identity"), readiness.guard("policy"));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(counters.clone()));
    registry.register_collector(Box::new(policies.clone()));
    registry.register_collector(Box::new(directory.clone()));
    let certificates = Arc::new(Identity::new(workload.clone()));
    registry.register_collector(Box::new(certificates.clone()));
    tasks.spawn_forever("certificates", async move { certificates.follow().await });
    if let Some(exporter) = exporter {
        registry.register_collector(Box::new(exporter.clone()));
        let spans = exporter.clone();
        tasks.spawn_forever("otlp metrics", async move { exporter.send_metrics().await });
        tasks.spawn_forever("otlp spans", async move { spans.send_spans().await });
    }
    let ready = readiness.clone();
    let probes = axum::Router::new().route("/live", axum::routing::get(async || "ok\n")).route(
        "/ready",
        axum::routing::get(move || {
            let missing = ready.missing();
            let status = if missing.is_empty() { axum::http::StatusCode::OK } else { axum::http::StatusCode::SERVICE_UNAVAILABLE };
            std::future::ready((status, missing.join("\n")))
        }),
    );
    let admin = Admin::bind(&AdminArgs { admin_address: args.admin_address }, readiness, registry).await.context("bind the admin port")?;
    let admin_address = admin.address();
    let dumps = dump::routes(Dump { args: args.clone(), workload: workload.clone(), directory, counters: counters.clone() });
    tasks.spawn("admin", admin.merge(probes).merge_local(dumps).serve(stop.clone()));

    let patience = Duration::from_secs(args.start_wait_seconds);
    let unmeshed = counters.clone();
    tasks.spawn_forever("start", async move {
        let deadline = tokio::time::Instant::now() + patience;
        if !matches!(tokio::time::timeout_at(deadline, workload.ready()).await, Ok(Ok(_))) {
            tracing::warn!("starting without a certificate; traffic passes in plain until there is one");
            unmeshed.started_unmeshed();
        }
        drop(identity);
        if tokio::time::timeout_at(deadline, policies.known()).await.is_err() {
            tracing::warn!("starting without knowing who may connect; everybody may until it is known");
        }
        drop(policy);
        // Done, and not to be taken for a task that failed.
        std::future::pending::<()>().await;
    });
    Ok(Running { inbound: inbound_address, outbound: outbound_address, admin: admin_address, counters, connections, tasks, data })
}

// === impl Running ===

impl Running {
    /// Connections being served.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Serves until asked to stop and open connections have had their time to finish.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let ended = self.tasks.join().await;
        drop(self.data);
        ended
    }
}

/// An outbox with its sender, if the seat is configured.
fn seat<T: Seat>(address: &Option<String>, account: &str, args: &Args, workload: &Workload, tasks: &mut Tasks) -> anyhow::Result<Option<Arc<Outbox<T>>>> {
    let Some(address) = address else { return Ok(None) };
    let name = workload.own_name().sibling(&args.workload.control_namespace, account)?;
    let channel = mtls::channel(workload, address, &name)?;
    let outbox = Outbox::new(RING);
    tasks.spawn_forever(T::NAME, send(channel, outbox.clone()));
    Ok(Some(outbox))
}

async fn accept_on<S, F>(listener: std::net::TcpListener, limit: usize, stop: CancellationToken, connections: TaskTracker, serve: S) -> anyhow::Result<()>
where
    S: Fn(tokio::net::TcpStream, Newcomer) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    accept(TcpListener::from_std(listener)?, limit, stop, connections, serve).await;
    Ok(())
}

/// The threads of the byte path. Dropping it ends what is still running there, without waiting.
struct Data(Option<Runtime>);

// === impl Data ===

impl Data {
    fn new(workers: usize) -> std::io::Result<Self> {
        Builder::new_multi_thread().worker_threads(workers).thread_name("data").enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(task),
            // Only after it was dropped.
            None => tokio::spawn(task),
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
