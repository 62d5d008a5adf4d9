//! What customers call: a front page of its own, product pages from the cache or from orders, and
//! placing an order. It keeps no state, and it waits for orders only so long.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::cache::Cache;
use crate::fetch::{self, fetch};
use crate::serve::{self, Stop};

/// Flags of the storefront.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address for customers.
    #[arg(long, env = "SHOP_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: String,
    /// Host and port of orders.
    #[arg(long, env = "SHOP_ORDERS", default_value = "orders:8080")]
    pub orders: String,
    /// URL of the cache.
    #[arg(long, env = "SHOP_CACHE", default_value = "redis://redis:6379/")]
    pub cache: String,
    /// How long a product page is kept, in seconds.
    #[arg(long, env = "SHOP_CACHE_SECONDS", default_value_t = 5)]
    pub cache_seconds: u64,
    /// How long an answer of orders is waited for, in milliseconds.
    #[arg(long, env = "SHOP_TIMEOUT_MS", default_value_t = 3000)]
    pub timeout_ms: u64,
}

#[derive(Debug)]
struct Shop {
    orders: String,
    cache: Cache,
    timeout: Duration,
}

pub(crate) async fn run(args: Args, stop: Stop) -> anyhow::Result<()> {
    let listener = serve::bind(&args.listen).await?;
    serve_on(args, listener, stop).await
}

/// Serves customers on `listener` until stopped.
///
/// # Errors
/// The cache's URL is none, or the listener failed.
pub async fn serve_on(args: Args, listener: TcpListener, stop: Stop) -> anyhow::Result<()> {
    let lifetime = Duration::from_secs(args.cache_seconds);
    let cache = Cache::new(&args.cache, lifetime).context("read the cache's URL")?;
    let shop = Shop { orders: args.orders, cache, timeout: Duration::from_millis(args.timeout_ms) };
    let router = Router::new().route("/", get(front)).route("/product/{product}", get(product)).route("/order", post(order)).with_state(Arc::new(shop));
    serve::serve(listener, router, stop).await
}

async fn front() -> &'static str {
    "welcome to the shop\n"
}

async fn product(State(shop): State<Arc<Shop>>, Path(product): Path<u32>) -> Response {
    let path = format!("/product/{product}");
    if let Some(page) = shop.cache.page(&path).await {
        return json(StatusCode::OK, page.into());
    }
    let answer = shop.ask(Method::GET, &path, Bytes::new()).await;
    if let Ok((StatusCode::OK, page)) = &answer {
        shop.cache.keep(&path, page).await;
    }
    passed_on(answer)
}

async fn order(State(shop): State<Arc<Shop>>, order: Bytes) -> Response {
    passed_on(shop.ask(Method::POST, "/order", order).await)
}

fn passed_on(answer: Result<(StatusCode, Bytes), StatusCode>) -> Response {
    match answer {
        Ok((status, body)) => json(status, body),
        Err(status) => status.into_response(),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

// === impl Shop ===

impl Shop {
    /// Asks orders; `Err` is what a customer is told when orders failed.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), StatusCode> {
        match fetch(&self.orders, method, path, body, self.timeout).await {
            Ok(answer) if !answer.status.is_server_error() => Ok((answer.status, answer.body)),
            Ok(answer) => {
                tracing::warn!(status = answer.status.as_u16(), "orders failed");
                Err(StatusCode::BAD_GATEWAY)
            }
            Err(error @ fetch::Error::Timeout { .. }) => {
                tracing::warn!(%error, "orders timed out");
                Err(StatusCode::GATEWAY_TIMEOUT)
            }
            Err(error) => {
                tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "orders is unreachable");
                Err(StatusCode::BAD_GATEWAY)
            }
        }
    }
}
