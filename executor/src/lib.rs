//! The executor acts: it turns a decision into one concrete plan, has it admitted, writes exactly that, watches what it did,
//! and puts it back when it did not help. It decides nothing and may write to no workload by itself: every write is made as
//! the user `assent:executor`, for one incident, and judged again by the gate.
//!
//! Read in this order: [`watching`] finds work, [`planning`] makes a plan, [`gate`] looks whether the gate stands,
//! [`asking`] asks people where they must agree, [`carrying`] carries the plan out by asking [`step`] what comes next, after
//! [`entering`] the service's CircuitBreaker; [`signals`] says how the target is.

mod asking;
mod carrying;
mod entering;
mod explaining;
mod gate;
mod guardrails;
mod metrics;
mod planning;
mod queries;
mod raising;
mod record;
mod signals;
mod status;
mod step;
mod turns;
mod watching;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use assent_core::canary::{self, MAX_WATCH_MS};
use assent_core::plan::{MAX_EXPIRY_MS, MAX_REVERT_MS};
use assent_live::Live;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::backoff::Backoff;
use assent_runtime::kube::KubeArgs;
use assent_runtime::metrics::registry::Registry;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::workload::{Workload, WorkloadArgs};

use carrying::Carrier;
use metrics::Metrics;
use planning::{Planner, Times};
pub use queries::PrometheusArgs;
use queries::Queries;
use record::Ledger;
use signals::Signals;
use watching::Executor;

/// Delays between attempts at anything: an incident waits for them.
fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(5), 0.25)
}

/// The executor's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "assent-executor", version, about = "Carries out what a quorum decided, and nothing else")]
pub struct Args {
    /// Log output.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// API server.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// Identity.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// The director's gRPC port, `host:port`: the ledger.
    #[arg(long, env = "ASSENT_DIRECTOR_ADDRESS", default_value = "assent-director.assent-system.svc.cluster.local:8443")]
    pub director: String,
    /// The network seat's gRPC port: what sidecars counted.
    #[arg(long, env = "ASSENT_SEAT_NETWORK_ADDRESS", default_value = "assent-seat-network.assent-system.svc.cluster.local:8443")]
    pub seat_network: String,
    /// The compute seat's gRPC port: what kubelets measured.
    #[arg(long, env = "ASSENT_SEAT_COMPUTE_ADDRESS", default_value = "assent-seat-compute.assent-system.svc.cluster.local:8443")]
    pub seat_compute: String,
    /// Prometheus, for a Blueprint's own queries.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// How long a service must stay well after a write before that counts as verified.
    #[arg(long, env = "ASSENT_SOAK_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub soak_seconds: u32,
    /// Life of a plan before its write.
    #[arg(long, env = "ASSENT_APPLY_WITHIN_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub apply_within_seconds: u32,
    /// After a write, by when the service must have been well for the soak time.
    #[arg(long, env = "ASSENT_VERIFY_WITHIN_SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u32).range(1..=1200))]
    pub verify_within_seconds: u32,
    /// Life of a plan before its revert.
    #[arg(long, env = "ASSENT_REVERT_WITHIN_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(60..=1800))]
    pub revert_within_seconds: u32,
    /// How long people have to agree to what asks them.
    #[arg(long, env = "ASSENT_APPROVE_WITHIN_SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(10..=86400))]
    pub approve_within_seconds: u32,
}

// === impl Args ===

impl Args {
    fn times(&self) -> anyhow::Result<Times> {
        ensure!(self.verify_within_seconds > self.soak_seconds, "a service must have longer to become well than it must stay well");
        let needed = self.apply_within_seconds + canary::within_ms(MAX_WATCH_MS) / 1000 + self.verify_within_seconds + 60;
        ensure!(self.revert_within_seconds >= needed, "a revert needs at least {needed} s from the plan's creation");
        let times = Times {
            soak_ms: self.soak_seconds * 1000,
            apply_within_ms: self.apply_within_seconds * 1000,
            verify_within_ms: self.verify_within_seconds * 1000,
            revert_within_ms: self.revert_within_seconds * 1000,
            approve_within_seconds: self.approve_within_seconds,
        };
        ensure!(times.apply_within_ms <= MAX_EXPIRY_MS && times.revert_within_ms <= MAX_REVERT_MS, "the gate admits no plan that lives longer");
        Ok(times)
    }
}

/// Runs the executor until it is told to stop.
///
/// # Errors
/// If it cannot start, or a part of it ends by itself.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let mut tasks = Tasks::new(shutdown::signals()?);
    let (workload, renewal) = Workload::open(&args.workload).await?;
    tasks.spawn_forever("identity", renewal.run());
    serve(args, workload, tasks).await
}

/// As [`run`], with an identity that somebody else renews and tasks whose token the caller holds.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, workload: Workload, mut tasks: Tasks) -> anyhow::Result<()> {
    let times = args.times()?;
    let readiness = Readiness::default();
    let (identity, lists) = (readiness.guard("identity"), readiness.guard("first lists"));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness.clone(), registry).await?;
    tasks.spawn("admin", admin.serve(tasks.token()));
    tasks.token().run_until_cancelled(workload.ready()).await.transpose()?;
    drop(identity);
    let live = Live::new(assent_runtime::kube::client(&args.kube).await?);
    let ledger = Ledger::new(&workload, &args.director)?;
    let signals = Signals::new(&workload, &args.seat_network, &args.seat_compute)?;
    let queries = Queries::new(&args.prometheus)?;
    let planner = Planner { live: live.clone(), ledger: ledger.clone(), times };
    let executor = Executor::new(planner, Carrier { live, ledger, signals, queries, times }, metrics);
    tasks.spawn_forever("plans", watching::run(Arc::new(executor), move || drop(lists)));
    tasks.join().await
}
