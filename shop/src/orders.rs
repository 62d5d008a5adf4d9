//! The part with the database: reads products, writes orders, and pays processor time for each.
//! It opens its port once the database answers. Faults live here because real ones would: defects
//! of a release (`--bug`), and a process that stops working while its port stays open (`POST
//! /admin/wedge` on the admin port). None survives its cause.

mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::time::MissedTickBehavior;

use crate::PRODUCTS;
use crate::serve::{self, Stop};
use crate::work::{self, Bench};
use store::Store;

/// One bite of background work per period; short bites leave a CPU limit's quota to requests.
const PERIOD: Duration = Duration::from_millis(50);

/// Flags of orders.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address for the storefront.
    #[arg(long, env = "SHOP_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: String,
    /// Address of the admin port, which no Service may name.
    #[arg(long, env = "SHOP_ADMIN", default_value = "0.0.0.0:9090")]
    pub admin: String,
    /// URL of the database.
    #[arg(long, env = "SHOP_DATABASE", hide_env_values = true)]
    pub database: String,
    /// Processor time of one request, in microseconds.
    #[arg(long, env = "SHOP_WORK_US", default_value_t = 4000)]
    pub work_us: u64,
    /// Processor time of background work, in thousandths of a core.
    #[arg(long, env = "SHOP_IDLE_MILLICORES", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub idle_millicores: u32,
    /// The defect of this release.
    #[arg(long, env = "SHOP_BUG", value_enum, default_value_t = Bug::None)]
    pub bug: Bug,
}

/// A defect that a release has from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// It works.
    None,
    /// Three of five requests are answered 500.
    Errors,
    /// Each request leaves some memory behind.
    Leak,
    /// The process ends with an error after some requests.
    Crash,
    /// Database connections are not given back.
    Hoard,
}

/// What each request of a release with [`Bug::Leak`] leaves behind, in bytes.
const LEAK: usize = 128 * 1024;
/// How many requests a release with [`Bug::Crash`] survives.
const CRASH_AFTER: u64 = 100;
/// A release with [`Bug::Hoard`] keeps the connection of one request in so many.
const HOARD_EVERY: u64 = 20;

#[derive(Debug)]
struct Orders {
    store: Store,
    bench: Bench,
    work: Duration,
    bug: Bug,
    seen: AtomicU64,
    leaked: Mutex<Vec<Vec<u8>>>,
    /// Notified when the process must end.
    crash: Arc<Notify>,
}

/// Whether the process has stopped working. Only a new process clears it.
#[derive(Clone, Debug, Default)]
struct Wedge(Arc<AtomicBool>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    product: u32,
    quantity: u32,
}

#[derive(Debug, Serialize)]
struct Placed {
    order: i64,
}

#[derive(Debug, Serialize)]
struct Product {
    product: u32,
    sold: i64,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read product {product}")]
    Read {
        product: u32,
        #[source]
        source: sqlx::Error,
    },
    #[error("write an order of product {product}")]
    Write {
        product: u32,
        #[source]
        source: sqlx::Error,
    },
    #[error("compute the order's price")]
    Work(#[from] work::Error),
    #[error("order totals do not add up")]
    Defect,
    #[error("look up the customer")]
    Hoard(#[source] sqlx::Error),
}

pub(crate) async fn run(args: Args, stop: Stop) -> anyhow::Result<()> {
    let admin = serve::bind(&args.admin).await?;
    let token = stop.token.clone();
    let store = Store::connect(&args.database)?;
    if token.run_until_cancelled(store.ready()).await.is_none() {
        return Ok(());
    }
    let listener = serve::bind(&args.listen).await?;
    serve_from(args, store, listener, admin, stop).await
}

/// Serves on both listeners until stopped; answers requests once the database is there.
///
/// # Errors
/// The database's URL is none, a listener failed, or background work did.
pub async fn serve_on(args: Args, listener: TcpListener, admin: TcpListener, stop: Stop) -> anyhow::Result<()> {
    let store = Store::connect(&args.database)?;
    serve_from(args, store, listener, admin, stop).await
}

async fn serve_from(args: Args, store: Store, listener: TcpListener, admin: TcpListener, stop: Stop) -> anyhow::Result<()> {
    let wedge = Wedge::default();
    let crash = Arc::new(Notify::new());
    let orders = Orders {
        store,
        bench: Bench::new(),
        work: Duration::from_micros(args.work_us),
        bug: args.bug,
        seen: AtomicU64::new(0),
        leaked: Mutex::default(),
        crash: Arc::clone(&crash),
    };
    let public = Router::new()
        .route("/product/{product}", get(product))
        .route("/order", post(order))
        .with_state(Arc::new(orders))
        .layer(middleware::from_fn_with_state(wedge.clone(), unless_wedged));
    let private = Router::new().route("/admin/wedge", post(set_wedge)).with_state(wedge.clone());
    let bite = PERIOD * args.idle_millicores / 1000;
    let background = stop.token.clone().run_until_cancelled_owned(keep_busy(bite, wedge));
    let background = async { background.await.unwrap_or(Ok(())).map_err(anyhow::Error::from) };
    let served = async { futures::try_join!(serve::serve(listener, public, stop.clone()), serve::serve(admin, private, stop), background) };
    tokio::select! {
        served = served => served.map(drop)?,
        () = crash.notified() => anyhow::bail!("the book of orders is damaged"),
    }
    Ok(())
}

async fn product(State(orders): State<Arc<Orders>>, Path(product): Path<u32>) -> Result<Response, Error> {
    if !(1..=PRODUCTS).contains(&product) {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    orders.compute().await?;
    let sold = orders.store.sold(product).await.map_err(|source| Error::Read { product, source })?;
    Ok(Json(Product { product, sold }).into_response())
}

async fn order(State(orders): State<Arc<Orders>>, Json(order): Json<Order>) -> Result<Response, Error> {
    let Order { product, quantity } = order;
    if !(1..=PRODUCTS).contains(&product) || !(1..=100).contains(&quantity) {
        return Ok(StatusCode::UNPROCESSABLE_ENTITY.into_response());
    }
    orders.compute().await?;
    let order = orders.store.place(product, quantity).await.map_err(|source| Error::Write { product, source })?;
    tracing::info!(order, product, "order placed");
    Ok((StatusCode::CREATED, Json(Placed { order })).into_response())
}

async fn unless_wedged(State(wedge): State<Wedge>, request: Request, next: Next) -> Response {
    if wedge.is_set() {
        // The connection stays open and silent until the caller gives up.
        std::future::pending::<()>().await;
    }
    next.run(request).await
}

async fn set_wedge(State(wedge): State<Wedge>) -> StatusCode {
    wedge.0.store(true, Ordering::Relaxed);
    tracing::debug!("wedged");
    StatusCode::OK
}

/// The steady work of a healthy process, by which its absence can be told.
async fn keep_busy(bite: Duration, wedge: Wedge) -> Result<(), work::Error> {
    let bench = Bench::new();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !wedge.is_set() {
        ticks.tick().await;
        if !bite.is_zero() {
            bench.work(bite).await?;
        }
    }
    std::future::pending().await
}

// === impl Orders ===

impl Orders {
    async fn compute(&self) -> Result<(), Error> {
        self.bench.work(self.work).await?;
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        match self.bug {
            Bug::Errors if seen % 5 < 3 => return Err(Error::Defect),
            // Written to, or the kernel would not count it.
            Bug::Leak => self.leaked.lock().await.push(vec![1; LEAK]),
            Bug::Crash if seen >= CRASH_AFTER => self.crash.notify_one(),
            Bug::Hoard if seen.is_multiple_of(HOARD_EVERY) => self.store.hoard().await.map_err(Error::Hoard)?,
            _ => {}
        }
        Ok(())
    }
}

// === impl Wedge ===

impl Wedge {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Error ===

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Read { .. } | Self::Write { .. } | Self::Hoard(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Work(_) | Self::Defect => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::error!(error = format!("{:#}", anyhow::Error::from(self)), "request failed");
        status.into_response()
    }
}
