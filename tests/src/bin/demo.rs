//! The demo: a real cluster, Assent and a small shop on it, one fault, one incident from fault to verified repair, then a thief.
#![expect(clippy::print_stdout, reason = "its output is the demo")]

use std::io::{BufRead, IsTerminal as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use assent_api::names::EXECUTOR_USER;
use assent_tests::place::{ForeignArgs, Place};
use assent_tests::shop::{Fault, calm, cause, customers};
use assent_tests::world::impersonated;
use assent_tests::{images, install, seats, story};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// Name of the demo's node.
const NODE: &str = "demo";
/// How long the seats learn what is normal before the shop is broken.
const LEARNING: Duration = Duration::from_secs(45);

/// Shows one incident on a real Kubernetes, from fault to verified repair: on a local node, or on a cluster of your own.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    foreign: ForeignArgs,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// Bring everything up, break the shop, watch the repair, play the thief (the default).
    Up,
    /// Break the shop of a running demo in another way, and watch.
    Break {
        /// How.
        #[arg(value_enum)]
        fault: Fault,
    },
    /// Remove everything that `up` left.
    Down,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut input = std::io::stdin().lock();
    let terminal = input.is_terminal().then_some(&mut input as &mut dyn BufRead);
    let foreign = args.foreign.confirmed(terminal, &|line| println!("{line}")).await?;
    match args.command.unwrap_or(Command::Up) {
        Command::Up => {
            if let Some(foreign) = &foreign {
                foreign.welcomes().await?;
            }
            up(foreign.map(Place::from)).await
        }
        Command::Break { fault } => {
            let place = match foreign {
                Some(foreign) => foreign.into(),
                None => assent_cluster::attach(NODE).await?.into(),
            };
            let ending = watch(&place, fault).await;
            calm(&place, fault).await?;
            ending.map(|_| ())
        }
        Command::Down => {
            let (what, was) = match foreign {
                Some(foreign) => {
                    ("Assent and the shop are gone, and nothing of them is listed", Place::from(foreign).leave(&|line| println!("  {line}")).await?)
                }
                None => ("the node is gone", assent_cluster::cleanup(NODE).await?),
            };
            println!("demo: {}", if was { what } else { "there was nothing to remove" });
            Ok(())
        }
    }
}

async fn up(foreign: Option<Place>) -> anyhow::Result<()> {
    let started = Instant::now();
    let bar = progress_bar();
    let say = |line: &str| if bar.is_hidden() { println!("  {line}") } else { bar.set_message(line.to_owned()) };
    say("building binaries and images (minutes the first time, seconds afterwards)");
    let images = tokio::task::spawn_blocking(images::build).await??;
    let mut place = match foreign {
        Some(place) => place,
        None => {
            assent_cluster::cleanup(NODE).await?;
            say("starting etcd, API server, scheduler, kubelet, containerd, DNS");
            assent_cluster::up(NODE).await?.into()
        }
    };
    place.prepare(&images, &say).await?;
    install::assent(&place, &say).await?;
    install::shop(&place, &say).await?;
    bar.finish_and_clear();
    println!("Kubernetes, Assent and a shop (storefront → orders → PostgreSQL, cache) are up after {} s.", started.elapsed().as_secs());
    learn(&place).await?;
    let resolved = incident(&place).await?;
    thief(&place).await?;
    record(&place, &resolved.0)?;
    println!();
    let log = place.audit_log().map(|log| format!(" --audit-log {}", log.display())).unwrap_or_default();
    println!("Look around:  export KUBECONFIG={}", place.kubeconfig_path().display());
    println!("              kubectl get incidents,ballots,decisions,remediations -n assent-system");
    println!("              kubectl assent audit {}{log}", resolved.0);
    println!("Remove it:    make demo-down{}", if place.node().is_ok() { "" } else { " (with the same DEMO_KUBECONFIG)" });
    println!("demo: incident {} resolved in {} s", resolved.0, resolved.1);
    Ok(())
}

fn progress_bar() -> ProgressBar {
    if !std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} [{elapsed}] {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

async fn learn(place: &Place) -> anyhow::Result<()> {
    println!("The seats watch for {} s to learn what is normal …", LEARNING.as_secs());
    // The baseline is a matter of time, not of an event: so many windows must have passed.
    tokio::time::sleep(LEARNING).await;
    println!("Customers now: {}", customers(place).await?);
    Ok(())
}

async fn incident(place: &Place) -> anyhow::Result<(String, u64)> {
    println!();
    println!("The fault: a new revision of `orders` that answers most requests with errors (kubectl set env … SHOP_BUG=errors).");
    let ending = watch(place, Fault::BadRollout).await?;
    let uid = ending.incident.name_any();
    if ending.phase != "Resolved" {
        bail!("incident {uid} ended {}: {}", ending.phase, ending.incident.status.and_then(|status| status.outcome).unwrap_or_default());
    }
    Ok((uid, ending.timeline.closed.map_or(0, |at| at.round() as u64)))
}

async fn watch(place: &Place, fault: Fault) -> anyhow::Result<story::Ending> {
    let client = place.client().await?;
    let known = story::known(&client).await?;
    let broken = Instant::now();
    cause(place, fault).await?;
    let ending = story::follow(&client, &known, broken, Duration::from_secs(300), &|at, line| println!("{at:6.1} s  {line}")).await?;
    println!("Customers now: {}", customers(place).await?);
    let seconds = |at: Option<f64>| at.map_or("-".to_owned(), |at| format!("{at:.0} s"));
    let times = &ending.timeline;
    println!(
        "fault → incident {} → decision {} → write {} → resolved {}",
        seconds(times.incident),
        seconds(times.decision),
        seconds(times.write),
        seconds(times.closed)
    );
    Ok(ending)
}

/// A stolen executor credential, without a proof.
async fn thief(place: &Place) -> anyhow::Result<()> {
    println!();
    println!("The thief: somebody holds the executor's credential and has no proof.");
    let token = place.kubectl(&["-n", "assent-system", "create", "token", "assent-executor"]).await?;
    let stolen = place.client_with_token(token.trim()).await?;
    let incident = seats::incident();
    let path = "/apis/apps/v1/namespaces/shop/deployments/orders";
    let admin = place.client().await?;
    let mut scale = assent_tests::world::get(&admin, &format!("{path}/scale")).await.map_err(anyhow::Error::msg)?;
    scale["spec"]["replicas"] = json!(0);
    scale["metadata"]["resourceVersion"] = Value::Null;
    let mut workload = assent_tests::world::get(&admin, path).await.map_err(anyhow::Error::msg)?;
    workload["spec"]["template"]["spec"]["containers"][0]["image"] = json!("localhost/evil:1");
    workload["metadata"]["resourceVersion"] = Value::Null;
    let manager = "?fieldManager=assent-executor";
    let attempts = [
        ("scale to zero", "PUT", format!("{path}/scale{manager}"), scale),
        ("another image", "PUT", format!("{path}{manager}"), workload),
        ("patch", "PATCH", format!("{path}{manager}"), json!({"spec": {"replicas": 0}})),
        ("delete", "DELETE", path.to_owned(), Value::Null),
    ];
    for (what, method, path, body) in attempts {
        match impersonated(&stolen, &[incident.as_str()], method, &path, &body).await {
            Ok(_) => bail!("the thief's `{what}` was let through as {EXECUTOR_USER}"),
            Err(reason) => println!("  {what:<14} refused: {reason}"),
        }
    }
    Ok(())
}

/// The whole story from ledger and audit log.
fn record(place: &Place, uid: &str) -> anyhow::Result<()> {
    println!();
    let plugin = std::env::current_exe()?.with_file_name("kubectl-assent");
    let log = place.audit_log().map(|log| log.display().to_string());
    if log.is_none() {
        println!("The API server's audit log cannot be read from here, so the ledger alone tells the story.");
    }
    let mut audit = vec!["audit", uid];
    audit.extend(log.iter().flat_map(|log| ["--audit-log", log]));
    for arguments in [audit, vec!["verify", uid]] {
        let mut command = std::process::Command::new(&plugin);
        let status = command.env("KUBECONFIG", place.kubeconfig_path()).args(&arguments).status().with_context(|| format!("run {}", plugin.display()))?;
        if !status.success() {
            bail!("kubectl assent {} failed: {status}", arguments.join(" "));
        }
    }
    Ok(())
}
