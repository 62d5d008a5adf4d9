//! The admin port of a process: liveness, readiness and metrics over plain HTTP. Readiness is held
//! by guards, one per thing that must be up first, so a forgotten one is visible by name. Whoever
//! comes over the network sees no more than that: the log filter, and what a process shows of
//! itself, are for the pod's own loopback. It shows no secrets.

mod local;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where the admin port listens.
#[derive(clap::Args, Clone, Debug)]
pub struct AdminArgs {
    /// Address of the admin port; port 0 picks a free one.
    #[arg(long, env = "ASSENT_ADMIN_ADDRESS", default_value = "0.0.0.0:9990")]
    pub admin_address: SocketAddr,
}

/// What this process still waits for before it is ready. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

/// Keeps the process unready until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the guard says that the thing it names is ready"]
pub struct Unready {
    name: &'static str,
    readiness: Readiness,
}

/// The bound admin port.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    router: Router,
    address: SocketAddr,
}

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    registry: Arc<Registry>,
}

// === impl Readiness ===

impl Readiness {
    /// Not ready until the returned guard is dropped. Names are unique per process.
    pub fn guard(&self, name: &'static str) -> Unready {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Unready { name, readiness: self.clone() }
    }

    /// What is still missing, in alphabetical order; empty when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
    }
}

// === impl Admin ===

impl Admin {
    /// Binds the port. Metrics must be registered before.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(args: &AdminArgs, readiness: Readiness, registry: Registry) -> std::io::Result<Self> {
        let listener = TcpListener::bind(args.admin_address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(Shared { readiness, registry: Arc::new(registry) })
            .merge(local::only(local::log_level()));
        Ok(Self { listener, router, address })
    }

    /// Adds routes of the process itself, for everybody.
    #[must_use]
    pub fn merge(mut self, routes: Router) -> Self {
        self.router = self.router.merge(routes);
        self
    }

    /// Adds routes that only the pod itself reaches, over loopback: what a process shows of its state.
    #[must_use]
    pub fn merge_local(self, routes: Router) -> Self {
        self.merge(local::only(routes))
    }

    /// The address it really listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token is cancelled.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, token: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(address = %self.address, "admin port is open");
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        // Not a graceful shutdown: an idle scraper connection must not hold the process.
        let server = std::future::IntoFuture::into_future(axum::serve(self.listener, service));
        token.run_until_cancelled(server).await.transpose()?;
        Ok(())
    }
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    let missing = shared.readiness.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", missing.join(", ")))
}

async fn metrics(State(shared): State<Shared>) -> Result<([(header::HeaderName, &'static str); 1], String), StatusCode> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &shared.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_only_when_every_guard_is_gone() {
        let readiness = Readiness::default();
        let identity = readiness.guard("identity");
        let cache = readiness.guard("cache");
        assert_eq!(readiness.missing(), ["cache", "identity"]);
        drop(identity);
        assert_eq!(readiness.missing(), ["cache"]);
        drop(cache);
        assert!(readiness.missing().is_empty());
    }
}
