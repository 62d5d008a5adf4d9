//! Benchmarks that need the whole system: one sub-command each, figures to `target/bench/NAME.json`, never an assertion.
#![expect(clippy::print_stdout, reason = "its output is the figures")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::{CancellationToken, Limits};
use assent_tests::bench;
use assent_tests::bench::governance::Section;
use assent_tests::bench::live::journal::Journal;
use assent_tests::bench::live::{Wanted, report};
use assent_tests::place::Place;
use assent_tests::shop::{Fault, calm, cause, quiet};
use assent_tests::story::{self, Timeline};
use assent_tests::{images, install, privileges};
use axum::routing::post;
use axum::{Json, Router};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// Windows that the seats learn from.
const LEARNING: Duration = Duration::from_secs(45);
/// Longest that one incident may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A part of the story, by when it was first seen.
type Part = (&'static str, fn(&Timeline) -> Option<f64>);

const PARTS: [Part; 4] = [("incident", |t| t.incident), ("decision", |t| t.decision), ("write", |t| t.write), ("resolved", |t| t.closed)];

/// Measures Assent on a real local node.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Seconds from a fault to incident, decision, write and resolved, for each fault that is repaired; memory when idle.
    Loop {
        /// How often each fault is caused.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// What is said and done about each live fault of the catalogue, against the truth; false alarms. Goes on where it stopped.
    Live {
        /// How often each fault is caused.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Only these faults.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// How long nothing is wrong, under changing load.
        #[arg(long, default_value_t = 20)]
        quiet_minutes: u64,
        /// Forget what was measured before.
        #[arg(long)]
        fresh: bool,
    },
    /// Five scenarios of two services under Blueprints, each timed.
    Scenarios,
    /// Latency, memory and readiness of policy engines on the same requests, side by side; BENCH_PEERS=0 leaves those of
    /// other projects out. To be built with `--release`.
    Policy,
    /// Every success criterion of governed execution, on a real API server without a node; a report beside the figures.
    Governance {
        /// Only these parts; what was measured before of the others stays.
        #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(bench::governance::parts()))]
        only: Vec<String>,
    },
    /// What a pair of sidecars adds to a request, costs and carries, beside a plain relay. Needs the sidecar as it ships
    /// (`cargo build-pod`).
    Sidecar {
        /// Only these parts; then nothing is written to a file.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<bench::sidecar::Part>,
    },
    /// Passes bytes on: what sidecars are measured beside.
    #[command(hide = true)]
    Relay {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
        /// Where it connects to.
        #[arg(long)]
        target: SocketAddr,
    },
    /// Keeps connections open: what idle ones are held with.
    #[command(hide = true)]
    Keep {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// A webhook that always allows: what the call alone costs.
    #[command(hide = true)]
    Allow {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
        /// A folder with a serving CA.
        #[arg(long)]
        files: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Loop { runs } => save("loop", &the_loop(runs).await?),
        Command::Live { runs, only, quiet_minutes, fresh } => live(&Wanted { faults: bench::live::faults::named(&only)?, runs, quiet_minutes }, fresh).await,
        Command::Scenarios => scenarios().await,
        Command::Policy => policy().await,
        Command::Governance { only } => governance(&only).await,
        Command::Sidecar { only } => sidecar(&only).await,
        Command::Relay { listen, target } => bench::sidecar::traffic::relay(listen, target).await,
        Command::Keep { listen } => bench::sidecar::traffic::keep(listen).await,
        Command::Allow { listen, files } => allow(listen, &files).await,
    }
}

async fn scenarios() -> anyhow::Result<()> {
    let started = Instant::now();
    let say = |line: &str| println!("{:>5.0} s  {line}", started.elapsed().as_secs_f64());
    let scenarios = bench::scenarios::run(&say).await?;
    scenarios.iter().for_each(|scenario| println!("{}", scenario.line()));
    let rows: Vec<Value> = scenarios.iter().map(|scenario| json!(scenario)).collect();
    write("scenarios", &rows)
}

async fn live(wanted: &Wanted, fresh: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let say = |line: &str| println!("{:>5.0} s  {line}", started.elapsed().as_secs_f64());
    let folder = images::root().join("target/bench");
    let mut journal = Journal::open(&folder.join("live.jsonl"), fresh)?;
    let measured = bench::live::run(wanted, &mut journal, &say).await;
    // What was measured before something failed is told too.
    let rows = report::rows(&journal.records);
    for row in &rows {
        println!("{}", row.line());
    }
    let table = report::table(&journal.records);
    println!("{table}");
    write("live", &rows.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?)?;
    std::fs::write(folder.join("live.md"), table)?;
    measured
}

async fn policy() -> anyhow::Result<()> {
    let started = Instant::now();
    let say = |line: &str| println!("{:>5.0} s  {line}", started.elapsed().as_secs_f64());
    let rows = bench::policy::run(std::env::var("BENCH_PEERS").as_deref() != Ok("0"), &say).await?;
    for row in &rows {
        println!("{}", row.line());
    }
    write("policy", &rows.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?)
}

async fn governance(only: &[String]) -> anyhow::Result<()> {
    let started = Instant::now();
    let say = |line: &str| println!("{:>5.0} s  {line}", started.elapsed().as_secs_f64());
    let folder = images::root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let kept = folder.join("governance.sections.json");
    // What was measured before stays beside what is measured now, where only some parts are.
    let before: Vec<Section> = match std::fs::read(&kept) {
        Ok(text) if !only.is_empty() => serde_json::from_slice(&text).context("read what was measured before")?,
        _ => Vec::new(),
    };
    let keep = |measured: &[Section]| {
        let sections = bench::governance::merged(&before, measured);
        let rows: Result<Vec<_>, _> = sections.iter().flat_map(|section| &section.rows).map(serde_json::to_value).collect();
        let report: String = sections.iter().map(Section::markdown).collect();
        std::fs::write(&kept, serde_json::to_string_pretty(&sections)?)?;
        std::fs::write(folder.join("governance.md"), format!("# Governed execution, measured\n\n{report}"))?;
        write("governance", &rows?)
    };
    bench::governance::run(only, &before, &say, &keep).await
}

async fn sidecar(only: &[bench::sidecar::Part]) -> anyhow::Result<()> {
    let started = Instant::now();
    let say = |line: &str| println!("{:>5.0} s  {line}", started.elapsed().as_secs_f64());
    let myself = std::env::current_exe()?;
    let rows = bench::sidecar::run(only, &images::pod_program("assent-sidecar"), &myself, &say).await?;
    if !only.is_empty() {
        return Ok(());
    }
    write("sidecar", &rows.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?)
}

async fn allow(listen: SocketAddr, files: &Path) -> anyhow::Result<()> {
    let arguments = ServingArgs {
        listen,
        serving_certificate_file: files.join("ca.crt"),
        serving_key_file: files.join("ca.key"),
        serving_mint: vec!["localhost".to_owned()],
    };
    let answer = async |Json(review): Json<Value>| {
        Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": review["request"]["uid"], "allowed": true}}))
    };
    let (certificate, _upkeep) = serving::certificate(&arguments).await?;
    let router = Router::new().route("/allow", post(answer));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    Ok(serving::serve(listener, &certificate, Limits::default(), router, CancellationToken::new()).await?)
}

async fn the_loop(runs: usize) -> anyhow::Result<Vec<Value>> {
    let say = |line: &str| println!("  {line}");
    say("building binaries and images");
    let images = tokio::task::spawn_blocking(images::build).await??;
    let mut place = Place::from(assent_cluster::node("bench").await?);
    place.prepare(&images, &say).await?;
    install::assent(&place, &say).await?;
    install::shop(&place, &say).await?;
    // The baseline is a matter of time, not of an event: so many windows must have passed.
    tokio::time::sleep(LEARNING).await;
    let mut rows: Vec<Value> = privileges::memory(place.node()?)
        .await
        .iter()
        .map(|figure| json!({"metric": format!("rss_{}", figure.process), "unit": "MB", "ours": figure.megabytes}))
        .collect();
    for (name, fault) in [("bad_rollout", Fault::BadRollout), ("wedge", Fault::Wedge), ("load", Fault::Load)] {
        let mut timelines = Vec::new();
        for run in 1..=runs {
            let timeline = once(&place, fault).await.with_context(|| format!("{name}, run {run}"))?;
            say(&format!("{name} {run}/{runs}: {timeline:?}"));
            timelines.push(timeline);
        }
        for (part, of) in PARTS {
            rows.extend(row(&format!("{name}_to_{part}"), timelines.iter().filter_map(of).collect()));
        }
    }
    Ok(rows)
}

async fn once(place: &Place, fault: Fault) -> anyhow::Result<Timeline> {
    let client = place.client().await?;
    let known = story::known(&client).await?;
    let broken = Instant::now();
    cause(place, fault).await?;
    let ending = story::follow(&client, &known, broken, PATIENCE, &|_, _| {}).await?;
    calm(place, fault).await?;
    quiet(place).await?;
    if ending.phase != "Resolved" {
        bail!("ended {}: {:?}", ending.phase, ending.incident.status.and_then(|status| status.outcome));
    }
    Ok(ending.timeline)
}

/// Median with spread; nothing when there is no figure.
fn row(metric: &str, mut figures: Vec<f64>) -> Option<Value> {
    figures.sort_by(f64::total_cmp);
    let (first, last, middle) = (*figures.first()?, *figures.last()?, *figures.get(figures.len() / 2)?);
    Some(json!({"metric": metric, "unit": "s", "ours": middle, "min": first, "max": last, "runs": figures.len()}))
}

fn save(name: &str, rows: &[Value]) -> anyhow::Result<()> {
    for row in rows {
        println!("{row}");
    }
    write(name, rows)
}

fn write(name: &str, rows: &[Value]) -> anyhow::Result<()> {
    let folder: PathBuf = images::root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(rows)?)?;
    println!("written to {}", path.display());
    Ok(())
}
