//! A small shop to break and heal: `load → storefront → orders → PostgreSQL`, with product pages
//! cached in Redis. It stands for somebody else's application, so it depends on no part of Assent
//! and knows nothing of meshes, incidents or plans; its faults are switched on from outside.
//!
//! | module | part |
//! |---|---|
//! | [`storefront`] | what customers call |
//! | [`orders`] | what reads and writes the database, and what can be broken |
//! | [`load`] | customers, at a rate that can be changed while it runs |
//! | [`fetch`] | one HTTP exchange over a connection of its own |

mod cache;
pub mod fetch;
pub mod load;
pub mod orders;
mod serve;
pub mod storefront;
mod work;

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use serve::Stop;

/// Products have the numbers 1 to this one.
pub(crate) const PRODUCTS: u32 = 50;

/// The command line of the shop.
#[derive(Clone, Debug, Parser)]
#[command(version, about = "A small shop to break and heal")]
pub struct Args {
    /// Log filter, such as `info` or `warn,assent_shop=debug`.
    #[arg(long, env = "SHOP_LOG", default_value = "info", global = true)]
    log: String,
    /// How long a part goes on accepting connections after it was asked to stop, in milliseconds.
    #[arg(long, env = "SHOP_DRAIN_MS", default_value_t = 1000, global = true)]
    drain_ms: u64,
    #[command(subcommand)]
    part: Part,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Serve customers.
    Storefront(storefront::Args),
    /// Serve the storefront from the database.
    Orders(orders::Args),
    /// Be the customers.
    Load(load::Args),
    /// Send one request and print the answer's body: the client for images without a shell.
    Call(Call),
}

#[derive(clap::Args, Clone, Debug)]
struct Call {
    /// Such as `GET` or `POST`.
    #[arg(env = "SHOP_CALL_METHOD")]
    method: http::Method,
    /// Such as `127.0.0.1:9090`.
    #[arg(env = "SHOP_CALL_AUTHORITY")]
    authority: String,
    /// Such as `/stats`.
    #[arg(env = "SHOP_CALL_PATH")]
    path: String,
}

/// Runs one part until it is asked to stop by SIGTERM or SIGINT.
///
/// # Errors
/// The part cannot start or one of its tasks failed; `call` also fails on a status other than 2xx.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let filter: Targets = args.log.parse().context("parse log filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let stop = serve::Stop { token: serve::signals()?, drain: Duration::from_millis(args.drain_ms) };
    match args.part {
        Part::Storefront(part) => storefront::run(part, stop).await,
        Part::Orders(part) => orders::run(part, stop).await,
        Part::Load(part) => load::run(part, stop).await,
        Part::Call(call) => answer(call).await,
    }
}

async fn answer(call: Call) -> anyhow::Result<()> {
    let timeout = Duration::from_secs(5);
    let answer = fetch::fetch(&call.authority, call.method, &call.path, bytes::Bytes::new(), timeout).await?;
    let mut out = std::io::stdout().lock();
    out.write_all(&answer.body).context("write the answer")?;
    out.write_all(b"\n").context("write the answer")?;
    anyhow::ensure!(answer.status.is_success(), "answered {}", answer.status);
    Ok(())
}
