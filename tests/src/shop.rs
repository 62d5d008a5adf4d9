//! How the shop is broken, from outside and without touching Assent, and how its customers fare.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::install::SHOP;
use crate::place::Place;
use crate::pods;

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
            for pod in pods::names(place, SHOP, "app=orders").await? {
                wedge(place, &pod).await?;
            }
        }
        Fault::Load => rate(place, 60).await?,
        Fault::FrozenDatabase => signal_database(place, Signal::SIGSTOP).await?,
    }
    Ok(())
}

/// Makes one pod of `orders` keep its port and answer nothing.
///
/// # Errors
/// If it does not do as it is told.
pub async fn wedge(place: &Place, pod: &str) -> anyhow::Result<()> {
    place.kubectl(&["-n", SHOP, "exec", pod, "-c", "orders", "--", "/assent-shop", "call", "POST", "127.0.0.1:9090", "/admin/wedge"]).await?;
    Ok(())
}

/// Undoes what Assent is not meant to undo, for the next fault.
///
/// # Errors
/// If it cannot be undone.
pub async fn calm(place: &Place, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::Load => rate(place, 20).await,
        Fault::FrozenDatabase => signal_database(place, Signal::SIGCONT).await,
        Fault::BadRollout | Fault::Wedge => Ok(()),
    }
}

/// Sets the customers' rate per second.
///
/// # Errors
/// If the load generator does not answer.
pub async fn rate(place: &Place, per_second: u32) -> anyhow::Result<()> {
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

/// Stops or continues PostgreSQL.
async fn signal_database(place: &Place, signal: Signal) -> anyhow::Result<()> {
    pods::signal(place, SHOP, "postgres-0", "postgres", signal).await?;
    Ok(())
}
