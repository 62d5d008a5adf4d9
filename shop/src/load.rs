//! The shop's customers: an open loop, so requests start at their rate whether or not earlier ones
//! were answered, as real customers do. The rate changes while it runs. It judges only whether an
//! answer came and was a success, and never retries.

mod tally;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::PRODUCTS;
use crate::fetch::fetch;
use crate::serve::{self, Stop};
use tally::Tally;
pub use tally::{Stats, Window};

/// The highest rate that can be asked for, in requests per second.
const MOST: f64 = 500.0;

/// How many requests may wait for an answer at once; those beyond are counted as skipped.
const WAITING: usize = 2000;

/// How long a customer waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Flags of the load generator.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address of the admin port: `GET /stats`, `POST /rate?rps=N`.
    #[arg(long, env = "SHOP_ADMIN", default_value = "0.0.0.0:9090")]
    pub admin: String,
    /// Host and port of the storefront.
    #[arg(long, env = "SHOP_STOREFRONT", default_value = "storefront:8080")]
    pub storefront: String,
    /// Requests per second at the start; at most 500.
    #[arg(long, env = "SHOP_RATE", default_value_t = 20.0)]
    pub rps: f64,
}

#[derive(Debug)]
struct Load {
    rate: watch::Sender<f64>,
    tally: Tally,
}

#[derive(Debug, Deserialize)]
struct Rate {
    rps: f64,
}

pub(crate) async fn run(args: Args, stop: Stop) -> anyhow::Result<()> {
    let admin = serve::bind(&args.admin).await?;
    serve_on(args, admin, stop).await
}

/// Sends requests, and serves its admin port on `admin`, until stopped.
///
/// # Errors
/// The rate is out of bounds, or the listener failed.
pub async fn serve_on(args: Args, admin: TcpListener, stop: Stop) -> anyhow::Result<()> {
    anyhow::ensure!(in_bounds(args.rps), "rate {} is not within 0 and {MOST}", args.rps);
    let (rate, rates) = watch::channel(args.rps);
    let load = Arc::new(Load { rate, tally: Tally::default() });
    let router = Router::new().route("/stats", get(stats)).route("/rate", post(set_rate)).with_state(Arc::clone(&load));
    let token = stop.token.clone();
    let sends = async {
        let customers = send(&args.storefront, rates, &load.tally);
        let reports = report(&load);
        token.run_until_cancelled(async { futures::join!(customers, reports) }).await;
        Ok(())
    };
    futures::try_join!(serve::serve(admin, router, stop), sends)?;
    Ok(())
}

async fn stats(State(load): State<Arc<Load>>) -> Json<Stats> {
    Json(load.tally.stats(*load.rate.borrow()))
}

async fn set_rate(State(load): State<Arc<Load>>, Query(rate): Query<Rate>) -> Response {
    if !in_bounds(rate.rps) {
        return (StatusCode::BAD_REQUEST, format!("rps must be within 0 and {MOST}\n")).into_response();
    }
    load.rate.send_replace(rate.rps);
    tracing::info!(rps = rate.rps, "rate changed");
    Json(load.tally.stats(rate.rps)).into_response()
}

fn in_bounds(rps: f64) -> bool {
    (0.0..=MOST).contains(&rps)
}

/// Starts one request per beat of the rate.
async fn send(storefront: &str, mut rates: watch::Receiver<f64>, tally: &Tally) {
    let mut waiting = JoinSet::new();
    let mut number = 0_u64;
    let mut next = Instant::now();
    loop {
        let rps = *rates.borrow_and_update();
        let beat = async {
            if rps == 0.0 {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(next).await;
        };
        tokio::select! {
            () = beat => {}
            Ok(()) = rates.changed() => {
                next = Instant::now();
                continue;
            }
            Some(answered) = waiting.join_next() => {
                if let Ok((ok, took)) = answered {
                    tally.answered(ok, took);
                }
                continue;
            }
        }
        // A late beat is made up for, so the rate holds; after a long stall it starts afresh.
        next = (next + Duration::from_secs_f64(1.0 / rps)).max(Instant::now() - Duration::from_secs(1));
        number += 1;
        if waiting.len() >= WAITING {
            tally.skipped();
            continue;
        }
        tally.sent();
        waiting.spawn(visit(storefront.to_owned(), number));
    }
}

/// One customer's request: in ten, one front page, five product pages and four orders.
async fn visit(storefront: String, number: u64) -> (bool, Duration) {
    // Multiplying by a large odd number scatters the products without a random source.
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let product = product % u64::from(PRODUCTS) + 1;
    let (method, path, body) = match number % 10 {
        0 => (Method::GET, "/".to_owned(), Bytes::new()),
        1 | 3 | 5 | 7 | 9 => (Method::GET, format!("/product/{product}"), Bytes::new()),
        _ => {
            let order = format!(r#"{{"product":{product},"quantity":1}}"#);
            (Method::POST, "/order".to_owned(), order.into())
        }
    };
    let start = Instant::now();
    let answer = fetch(&storefront, method, &path, body, PATIENCE).await;
    (answer.is_ok_and(|answer| answer.status.is_success()), start.elapsed())
}

/// Logs the counts every ten seconds.
async fn report(load: &Load) {
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    // The first tick is immediate, and there is nothing to report yet.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Stats { rps, sent, ok, failed, skipped, window, .. } = load.tally.stats(*load.rate.borrow());
        let Window { p50_ms, p95_ms, failed: failed_lately, .. } = window;
        tracing::info!(rps, sent, ok, failed, skipped, failed_lately, p50_ms, p95_ms, "load");
    }
}
