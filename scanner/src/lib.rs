//! The scanner: judges what exists by the guardrails, as the gate would judge its writing, and says so in reports, in the
//! status of guardrails and in metrics. It stands in nobody's path, changes no workload, and no verdict rests on it.
//!
//! [`judge`] is what is said of one object and [`report`] what becomes of it, both pure; `watching`, `stating`, `scan` and
//! `publish` are the reading and writing around them.

pub mod bundle;
pub mod judge;
pub mod kinds;
pub mod known;
mod metrics;
mod pages;
mod publish;
pub mod report;
pub mod row;
mod scan;
mod stating;
pub mod status;
pub mod tally;
mod types;
mod watching;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::backoff::{Backoff, jittered};
use assent_runtime::kube::KubeArgs;
use assent_runtime::metrics::registry::Registry;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use kube::Client;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::known::Rules;
use crate::metrics::Metrics;
use crate::pages::Reader;
use crate::publish::Publisher;
use crate::report::Format;
use crate::row::Verdict;
use crate::scan::Done;
use crate::stating::{LastScan, Stating};
use crate::status::Reporting;

/// Guardrails are often changed several at a time; a scan waits for the last.
const SETTLE: Duration = Duration::from_secs(1);

/// Part of a wait that is left to chance.
const SPREAD: f64 = 0.1;

/// Delays between attempts at anything: nobody waits for them.
fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(60), SPREAD)
}

/// What the scanner is told at its start.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "assent-scanner", version, about = "Judges what exists by the guardrails and writes reports")]
pub struct Args {
    /// Seconds between two scans, up to a tenth less by chance; a change of guardrails starts one at once.
    #[arg(long = "interval", env = "ASSENT_SCAN_INTERVAL_SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval_seconds: u64,
    /// Most requests to the API server in a second, while scanning.
    #[arg(long, env = "ASSENT_SCAN_REQUESTS_PER_SECOND", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub requests_per_second: u32,
    /// Which kinds reports are of.
    #[arg(long, env = "ASSENT_SCAN_REPORTS", value_enum, default_value_t = Format::Openreports)]
    pub reports: Format,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// API server.
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// If it cannot start, or a part ended that must not end.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let tasks = Tasks::new(shutdown::signals()?);
    serve(args, tasks).await
}

/// As [`run`], with tasks of the caller.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, mut tasks: Tasks) -> anyhow::Result<()> {
    tracing::info!(?args, "effective configuration");
    let readiness = Readiness::default();
    let unready = readiness.guard("guardrails");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness, registry).await.context("bind the admin port")?;
    tasks.spawn("admin", admin.serve(tasks.token()));
    let client = assent_runtime::kube::client(&args.kube).await?;
    let (latest, latest_seen) = watch::channel(None);
    let (scans, scans_seen) = watch::channel(None);
    let (rules, rules_seen) = watch::channel(None);
    tasks.spawn_forever("watches", watching::follow(client.clone(), latest));
    let stating = Stating { client: client.clone(), latest: latest_seen, scans: scans_seen, rules, metrics: metrics.clone() };
    tasks.spawn_forever("statuses", stating.run(unready));
    tasks.spawn_forever("scans", scan_for_ever(args, client, rules_seen, scans, metrics));
    tasks.join().await
}

/// Scans with every change of the rules, and from time to time.
async fn scan_for_ever(args: Args, client: Client, mut rules: watch::Receiver<Option<Rules>>, scans: watch::Sender<LastScan>, metrics: Metrics) {
    let mut pace = interval(Duration::from_secs(1) / args.requests_per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reader = Reader::new(client.clone(), pace);
    let mut publisher = Publisher::new(client, args.reports);
    let mut backoff = backoff();
    let usual = Duration::from_secs(args.interval_seconds);
    loop {
        let current = rules.borrow_and_update().clone();
        let wait = match current {
            None => usual,
            Some(current) => match one_scan(&current, &mut reader, &mut publisher, &metrics).await {
                Some(done) if done.scanned.reporting != Reporting::Failed => {
                    backoff.reset();
                    scans.send_replace(Some((current.version, done.scanned)));
                    jittered(usual, SPREAD)
                }
                Some(done) => {
                    scans.send_replace(Some((current.version, done.scanned)));
                    backoff.delay().min(usual)
                }
                None => backoff.delay().min(usual),
            },
        };
        tokio::select! {
            changed = rules.changed() => match changed {
                Ok(()) => settle(&mut rules).await,
                // The other parts end with the process only.
                Err(_) => return,
            },
            () = sleep(wait) => {}
        }
    }
}

/// Returns when nothing has changed for a moment.
async fn settle(rules: &mut watch::Receiver<Option<Rules>>) {
    for _ in 0..10 {
        tokio::select! {
            changed = rules.changed() => if changed.is_err() { return },
            () = sleep(SETTLE) => return,
        }
    }
}

async fn one_scan(rules: &Rules, reader: &mut Reader, publisher: &mut Publisher, metrics: &Metrics) -> Option<Done> {
    let started = Instant::now();
    let now = jiff::Timestamp::now().as_second();
    match scan::scan(rules, reader, publisher, now).await {
        Ok(done) => {
            let seconds = started.elapsed().as_secs_f64();
            metrics.scanned(&done, seconds, now);
            let count = |verdict: Verdict| done.scanned.tallies.verdicts.get(&verdict).copied().unwrap_or_default();
            let objects: u64 = done.scanned.tallies.objects.values().sum();
            tracing::info!(
                objects,
                fail = count(Verdict::Fail),
                error = count(Verdict::Error),
                warn = count(Verdict::Warn),
                skip = count(Verdict::Skip),
                pass = count(Verdict::Pass),
                reports_changed = done.changed,
                unread = ?done.unread,
                seconds,
                "scanned"
            );
            if done.scanned.reporting == Reporting::NotServed {
                tracing::warn!("the API server serves no kinds of reports: results are counted and written nowhere");
            }
            Some(done)
        }
        Err(error) => {
            metrics.failed();
            tracing::warn!(error = telemetry::chain(&error), "a scan failed; reports stay as they are, and it is tried again");
            None
        }
    }
}
