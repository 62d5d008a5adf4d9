//! How the shop is broken, from outside and without touching Assent, and how its customers fare.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::install::SHOP;
use crate::place::Place;

/// Longer than the echo of a resolved incident.
const CALM: Duration = Duration::from_secs(40);
/// Longest until customers are served again.
const PATIENCE: Duration = Duration::from_secs(150);

/// One way to break the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// A new revision of `orders` answers most requests with errors.
    BadRollout,
    /// `orders` keeps its port and answers nothing.
    Wedge,
    /// More customers than one replica of `orders` has processor time for.
    Load,
    /// PostgreSQL stops answering, its connections stay open.
    FrozenDatabase,
}

/// Breaks the shop.
///
/// # Errors
/// If the fault cannot be caused.
pub async fn cause(place: &Place, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::BadRollout => {
            place.kubectl(&["-n", SHOP, "set", "env", "deployment/orders", "SHOP_BUG=errors"]).await?;
        }
        Fault::Wedge => {
            for pod in pods(place, "orders").await? {
                place.kubectl(&["-n", SHOP, "exec", &pod, "-c", "orders", "--", "/assent-shop", "call", "POST", "127.0.0.1:9090", "/admin/wedge"]).await?;
            }
        }
        Fault::Load => rate(place, 60).await?,
        Fault::FrozenDatabase => signal_database(place, "STOP").await?,
    }
    Ok(())
}

/// Undoes what Assent is not meant to undo, for the next fault.
///
/// # Errors
/// If it cannot be undone.
pub async fn calm(place: &Place, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::Load => rate(place, 20).await,
        Fault::FrozenDatabase => signal_database(place, "CONT").await,
        Fault::BadRollout | Fault::Wedge => Ok(()),
    }
}

/// Sets the customers' rate per second.
async fn rate(place: &Place, per_second: u32) -> anyhow::Result<()> {
    load_call(place, "POST", &format!("/rate?rps={per_second}")).await?;
    Ok(())
}

/// What customers see: requests, failures, percentiles of the last ten seconds.
///
/// # Errors
/// If the load generator does not answer.
pub async fn customers(place: &Place) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&load_call(place, "GET", "/stats").await?)?)
}

/// Until customers are served again and the echo of the incident is over.
///
/// # Errors
/// If they are not served within two and a half minutes.
pub async fn quiet(place: &Place) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        // Customers offer no event; their figures are of the last ten seconds.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let stats = customers(place).await?;
        let well = stats["window"]["failed"] == 0 && stats["window"]["ok"].as_u64().is_some_and(|ok| ok > 0);
        if well && since.elapsed() > CALM {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "customers are not served again: {stats}");
    }
}

async fn load_call(place: &Place, method: &str, path: &str) -> anyhow::Result<String> {
    Ok(place.kubectl(&["-n", SHOP, "exec", "deployment/load", "-c", "load", "--", "/assent-shop", "call", method, "127.0.0.1:9090", path]).await?)
}

async fn pods(place: &Place, app: &str) -> anyhow::Result<Vec<String>> {
    let names = place.kubectl(&["-n", SHOP, "get", "pods", "-l", &format!("app={app}"), "-o", "jsonpath={.items[*].metadata.name}"]).await?;
    let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    if names.is_empty() {
        bail!("no pod of `{app}` runs");
    }
    Ok(names)
}

/// Stops or continues every process of the PostgreSQL container, found by its cgroup: backends outlive a stopped parent.
async fn signal_database(place: &Place, signal: &str) -> anyhow::Result<()> {
    use nix::sys::signal::{Signal, kill};
    let node = place.node()?;
    let uid =
        node.kubectl(&["-n", SHOP, "get", "pod", "postgres-0", "-o", "jsonpath={.status.containerStatuses[?(@.name==\"postgres\")].containerID}"]).await?;
    let container = uid.rsplit('/').next().filter(|id| id.len() >= 32).context("PostgreSQL's container has no id")?.to_owned();
    let signal = if signal == "STOP" { Signal::SIGSTOP } else { Signal::SIGCONT };
    let mut signalled = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if std::fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(&container)) {
            kill(nix::unistd::Pid::from_raw(pid), signal).with_context(|| format!("signal process {pid}"))?;
            signalled += 1;
        }
    }
    if signalled == 0 {
        bail!("no process of PostgreSQL's container {container} was found");
    }
    Ok(())
}
