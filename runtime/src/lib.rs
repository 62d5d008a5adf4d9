//! Serving code that every Assent process shares: telemetry set-up, the admin port, the Kubernetes
//! client, shutdown, the process's workload identity and mutual TLS on top of it. It knows how a
//! process lives, and nothing about incidents, votes, plans or policies; a function that needs one
//! of those belongs elsewhere.
//!
//! | module | gives |
//! |---|---|
//! | [`telemetry`] | log set-up, one place that prints an error with its causes |
//! | [`admin`] | `/livez`, `/readyz`, `/metrics` |
//! | [`backoff`] | delays between attempts |
//! | [`kube`] | a Kubernetes client from explicit configuration |
//! | [`openapi`] | what an API server says of its kinds |
//! | [`shutdown`] | signals as a token, tasks that end the process when they end |
//! | [`workload`] | this process's certificate, the trust bundle, TLS configurations |
//! | [`mtls`] | gRPC over that identity, peer known per request |
//! | [`serving`] | HTTPS for admission webhooks |
//! | `store` (feature) | questions to a store behind HTTP, within bounds |

mod accept;
pub mod admin;
pub mod backoff;
pub mod kube;
pub mod mtls;
pub mod openapi;
mod reload;
pub mod serving;
pub mod shutdown;
#[cfg(feature = "store")]
pub mod store;
pub mod telemetry;
pub mod workload;

pub use accept::Limits;
/// Metric types; register them in a [`metrics::registry::Registry`] given to [`admin::Admin`].
pub use prometheus_client as metrics;
/// Cancelled once when the process is asked to stop.
pub use tokio_util::sync::CancellationToken;
