//! The director: takes in alerts and anomalies, gathers context, asks the seats, writes the decision, keeps the ledger, and
//! shows people where each incident stands. It decides nothing by itself and writes to no workload: what follows is
//! `core::incident`'s word, and whether a decision may be carried out is the gate's.
//!
//! Read in this order: [`intake`] and [`rpc`] put alerts through the [`inbox`] into the [`store`]; [`conduct`] carries out
//! [`effects`], which call [`context`], [`seats`] and [`decision`]; [`watch`] follows the executor; [`publish`] shows it all.

mod checkpoint;
mod cleaner;
mod conduct;
mod context;
mod copies;
mod decision;
mod director;
mod effects;
mod export;
mod http;
mod inbox;
mod intake;
mod lease;
mod metrics;
mod outbox;
mod proposals;
mod publish;
mod revisions;
mod rpc;
mod seats;
mod security;
mod slack;
mod store;
#[cfg(test)]
mod testing;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::kube::KubeArgs;
use assent_runtime::metrics::registry::Registry;
use assent_runtime::mtls;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::store::Store as Receiver;
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::workload::{ClientAuth, Workload, WorkloadArgs};
use assent_runtime::{CancellationToken, Limits};
use tokio::net::TcpListener;
use tokio::sync::watch as channel;

use crate::director::Director;
use crate::intake::Intake;
use crate::lease::Leadership;
pub use crate::metrics::Metrics;
pub use crate::security::SecurityArgs;
use crate::slack::Slack;
pub use crate::slack::SlackArgs;
use crate::store::{Store, Url};

/// What the director is told at its start.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "assent-director", version, about = "Takes in alerts, asks the seats, writes decisions and keeps the ledger")]
pub struct Args {
    /// Directory of the store; it must outlive the pod for the ledger to do so. For one director alone.
    #[arg(long, env = "ASSENT_STORE", default_value = "/var/lib/assent")]
    pub store: PathBuf,
    /// Instead of a directory, a PostgreSQL that several directors share: a file with its address,
    /// postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE.
    #[arg(long, env = "ASSENT_DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// The address itself, for where a file cannot be had. It is not shown in the help or in a log.
    #[arg(long, env = "ASSENT_DATABASE_URL", hide_env_values = true, conflicts_with = "database_url_file")]
    pub database_url: Option<Secret>,
    /// Where Alertmanager and GoAlert post, plain HTTP.
    #[arg(long, env = "ASSENT_INTAKE_ADDRESS", default_value = "0.0.0.0:8080")]
    pub intake_address: SocketAddr,
    /// File with the secret that stands in the intake's paths, at least 16 bytes; read anew for each delivery.
    #[arg(long, env = "ASSENT_INTAKE_TOKEN_FILE", default_value = "/var/run/assent/intake/token")]
    pub intake_token_file: PathBuf,
    /// Where seats and executor call, gRPC over mutual TLS.
    #[arg(long, env = "ASSENT_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Where the ledger is read, plain HTTP.
    #[arg(long, env = "ASSENT_LEDGER_ADDRESS", default_value = "0.0.0.0:8081")]
    pub ledger_address: SocketAddr,
    /// Name of this instance in the lease; the pod's name.
    #[arg(long, env = "ASSENT_INSTANCE", default_value = "assent-director")]
    pub instance: String,
    /// Seats that are not at their Service, as NAME=HOST:PORT.
    #[arg(long, env = "ASSENT_SEAT_ADDRESSES", value_delimiter = ',', value_parser = seat_address)]
    pub seat_addresses: Vec<(String, String)>,
    /// Keep copies of the ConfigMaps that workloads read whose Blueprint lists RevertConfig.
    #[arg(long, env = "ASSENT_KEEP_CONFIGURATION")]
    pub keep_configuration: bool,
    /// Who hears of what is forbidden.
    #[command(flatten)]
    pub security: SecurityArgs,
    /// Where people are asked in chat.
    #[command(flatten)]
    pub slack: SlackArgs,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// API server.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// Own identity.
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(String);

// === impl Secret ===

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The ports of a director, bound. Port 0 in the arguments picks free ones, and this says which.
#[derive(Debug)]
pub struct Ports {
    intake: TcpListener,
    rpc: TcpListener,
    ledger: TcpListener,
    /// A port of its own: whoever reaches it from outside takes no connection from those who send alerts.
    slack: Option<TcpListener>,
}

// === impl Ports ===

impl Ports {
    /// Binds them.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub async fn bind(args: &Args) -> anyhow::Result<Self> {
        let bind = async |address: SocketAddr, what: &str| TcpListener::bind(address).await.with_context(|| format!("bind the {what} port {address}"));
        Ok(Self {
            intake: bind(args.intake_address, "intake").await?,
            rpc: bind(args.listen, "gRPC").await?,
            ledger: bind(args.ledger_address, "ledger").await?,
            slack: match args.slack.is_on() {
                true => Some(bind(args.slack.slack_address, "Slack").await?),
                false => None,
            },
        })
    }

    /// Intake, gRPC and ledger, in this order.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn addresses(&self) -> std::io::Result<[SocketAddr; 3]> {
        Ok([self.intake.local_addr()?, self.rpc.local_addr()?, self.ledger.local_addr()?])
    }
}

/// Runs until a signal says to stop.
///
/// # Errors
/// What is needed at the start is missing, or a part ended that must not end.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let mut tasks = Tasks::new(shutdown::signals()?);
    let readiness = Readiness::default();
    let unready = readiness.guard("director");
    let metrics = Metrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness, registry).await?;
    tasks.spawn("admin", admin.serve(tasks.token()));
    let client = assent_runtime::kube::client(&args.kube).await?;
    let (workload, renewal) = Workload::open(&args.workload).await?;
    tasks.spawn_forever("identity", renewal.run());
    let token = tasks.token();
    let ports = Ports::bind(&args).await?;
    tasks.spawn("director", async move {
        if token.run_until_cancelled(workload.ready()).await.transpose()?.is_none() {
            return Ok(());
        }
        direct(args, client, workload, metrics, ports, token, move || drop(unready)).await
    });
    tasks.join().await
}

/// The director itself, once it has an identity, until `token` is cancelled. `ready` is called when all ports are served.
///
/// A store of its own belongs to one process at a time, so that one is opened under the lease. Who shares a database takes in
/// alerts and entries at once, whoever leads; only the leader asks, decides and shows.
///
/// # Errors
/// The store cannot be opened, or a part ended that must not end.
pub async fn direct(
    args: Args,
    client: kube::Client,
    workload: Workload,
    metrics: Metrics,
    ports: Ports,
    token: CancellationToken,
    ready: impl FnOnce() + Send,
) -> anyhow::Result<()> {
    let mut tasks = Tasks::new(token.child_token());
    let mut leadership = Some(Leadership::new(client.clone(), args.instance.clone()));
    let store = match database(&args).await? {
        Some(url) => Store::connect(&url).await?,
        None => {
            if let Some(leadership) = leadership.take() {
                if token.run_until_cancelled(leadership.acquire()).await.is_none() {
                    return Ok(());
                }
                tasks.spawn("lease", leadership.keep(tasks.token()));
            }
            tokio::fs::create_dir_all(&args.store).await.with_context(|| format!("create store directory `{}`", args.store.display()))?;
            Store::open(&args.store.join("director.db")).await?
        }
    };
    let director = prepare(&args, store.clone(), client, workload, metrics, &mut tasks).await?;
    let intake = Intake::new(director.inbox.clone(), args.intake_token_file, director.metrics.clone());
    let slack = args.slack.open(&director.client)?;
    tasks.spawn_forever("intake", http::serve(ports.intake, intake.router(), http::CONNECTIONS));
    if let Some((slack, port)) = slack.clone().zip(ports.slack) {
        tasks.spawn_forever("answers", http::serve(port, slack.router(&director), slack::CONNECTIONS));
        tasks.spawn_forever("requests", async move { slack.requests.follow().await });
    }
    tasks.spawn_forever("export", http::serve(ports.ledger, export::router(store.clone()), http::CONNECTIONS));
    let (routes, identity, stop) = (rpc::routes(director.clone()), director.workload.clone(), tasks.token());
    tasks.spawn("rpc", async move { mtls::serve(ports.rpc, &identity, ClientAuth::Required, Limits::default(), routes, stop).await.map_err(Into::into) });
    tasks.spawn_forever("checkpoint", checkpoint::run(director.client.clone(), director.store.clone()));
    tasks.spawn("lead", lead(director, args.security.receiver()?, slack, args.keep_configuration, leadership, tasks.token()));
    ready();
    let ended = tasks.join().await;
    store.close().await;
    ended
}

/// What every director needs, with the store examined: against itself and against the plans that were admitted.
async fn prepare(args: &Args, store: Store, client: kube::Client, workload: Workload, metrics: Metrics, tasks: &mut Tasks) -> anyhow::Result<Director> {
    let cluster = director::cluster(&client).await?;
    director::examine(&client, &store).await?;
    let author = workload.own_name().to_string();
    let wake = channel::Sender::new(());
    let (inbox, writing) = inbox::open(store.clone(), &author, metrics.clone(), wake.clone());
    let stop = tasks.token();
    tasks.spawn("inbox", async move {
        writing.run(stop).await;
        Ok(())
    });
    let addresses: BTreeMap<String, String> = args.seat_addresses.iter().cloned().collect();
    let alarmed = channel::Sender::new(());
    Ok(Director { store, inbox, client, workload, cluster, author, metrics, wake, alarmed, addresses })
}

/// Waits for the lease, if it is not held already, and then works under it. The ledger is examined again, since others wrote to it.
async fn lead(
    director: Director,
    security: Option<Receiver>,
    slack: Option<Slack>,
    keep_configuration: bool,
    leadership: Option<Leadership>,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let mut tasks = Tasks::new(token.clone());
    if let Some(leadership) = leadership {
        if token.run_until_cancelled(leadership.acquire()).await.is_none() {
            return Ok(());
        }
        tasks.spawn("lease", leadership.keep(tasks.token()));
        director::examine(&director.client, &director.store).await?;
    }
    if director.store.broken().is_some() {
        director.store.abandon_all(&director.author).await?;
    }
    tasks.spawn("effects", conduct::run(director.clone(), tasks.token()));
    let (ticking, stop) = (director.clone(), tasks.token());
    tasks.spawn("tick", async move { stop.run_until_cancelled(conduct::tick(ticking)).await.unwrap_or(Ok(())) });
    tasks.spawn_forever("listen", conduct::listen(director.clone()));
    tasks.spawn_forever("publish", publish::run(director.clone()));
    tasks.spawn_forever("watch", watch::run(director.clone()));
    tasks.spawn_forever("revisions", revisions::run(director.clone()));
    if keep_configuration {
        tasks.spawn_forever("copies", copies::run(director.clone()));
    }
    tasks.spawn_forever("proposals", proposals::run(director.clone()));
    tasks.spawn_forever("security", security::run(director.clone(), security));
    tasks.spawn_forever("slack", slack::run(director.clone(), slack));
    tasks.spawn_forever("cleaner", cleaner::run(director));
    tracing::info!("directing");
    tasks.join().await
}

/// The address of the shared database, if there is one.
async fn database(args: &Args) -> anyhow::Result<Option<Url>> {
    let text = match (&args.database_url_file, &args.database_url) {
        (Some(file), _) => tokio::fs::read_to_string(file).await.with_context(|| format!("read the database's address from `{}`", file.display()))?,
        (None, Some(Secret(text))) => text.clone(),
        (None, None) => return Ok(None),
    };
    Ok(Some(Url::parse(&text)?))
}

fn seat_address(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, address)| (name.to_owned(), address.to_owned())).ok_or_else(|| format!("`{text}` is not NAME=HOST:PORT"))
}
