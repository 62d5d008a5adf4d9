//! What is fixed when the sidecar starts. Defaults are those of the injected container.

use std::net::SocketAddr;
use std::time::Duration;

use assent_runtime::telemetry::LogArgs;
use assent_runtime::workload::WorkloadArgs;

/// Flags of the sidecar.
#[derive(clap::Args, Clone, Debug, serde::Serialize)]
pub struct Args {
    /// Logging.
    #[command(flatten)]
    #[serde(flatten)]
    pub log: LogArgs,
    /// Identity.
    #[command(flatten)]
    #[serde(flatten)]
    pub workload: WorkloadArgs,
    /// Where the application's own connections are redirected to.
    #[arg(long, env = "ASSENT_OUTBOUND_ADDRESS", default_value = "0.0.0.0:4140")]
    pub outbound_address: SocketAddr,
    /// Where connections to the pod are redirected to, and where peers connect.
    #[arg(long, env = "ASSENT_INBOUND_ADDRESS", default_value = "0.0.0.0:4143")]
    pub inbound_address: SocketAddr,
    /// Probes, metrics and, over loopback, what the sidecar shows of itself.
    #[arg(long, env = "ASSENT_ADMIN_ADDRESS", default_value = "0.0.0.0:4191")]
    pub admin_address: SocketAddr,
    /// User id whose connections the redirect leaves alone; without it, that of this process.
    #[arg(long, env = "ASSENT_SIDECAR_UID")]
    pub sidecar_uid: Option<u32>,
    /// Ports of the pod that the redirect leaves alone, so that what goes there is not taken for a bypass.
    #[arg(long, env = "ASSENT_SKIP_INBOUND_PORTS", value_delimiter = ',')]
    pub skip_inbound_ports: Vec<u16>,
    /// Ports elsewhere that the redirect leaves alone.
    #[arg(long, env = "ASSENT_SKIP_OUTBOUND_PORTS", value_delimiter = ',')]
    pub skip_outbound_ports: Vec<u16>,
    /// Send every outbound connection to this server instead of its original destination: an explicit proxy without redirect.
    #[arg(long, env = "ASSENT_OUTBOUND_TARGET")]
    pub outbound_target: Option<SocketAddr>,
    /// Take every inbound connection to be for this server instead of its original destination: an explicit proxy without
    /// redirect.
    #[arg(long, env = "ASSENT_INBOUND_TARGET")]
    pub inbound_target: Option<SocketAddr>,
    /// Discovery service, `host:port`; it tells who may connect, too.
    #[arg(long, env = "ASSENT_DISCOVERY_SERVICE", default_value = "assent-discovery.assent-system.svc.cluster.local:8086")]
    pub discovery_service: String,
    /// Service account that the discovery service runs as.
    #[arg(long, env = "ASSENT_DISCOVERY_ACCOUNT", default_value = "assent-discovery")]
    pub discovery_account: String,
    /// How long the first connection to a destination waits for discovery, in milliseconds.
    #[arg(long, env = "ASSENT_DISCOVERY_WAIT_MS", default_value_t = 50)]
    pub discovery_wait_ms: u64,
    /// After a restart, destinations that the state directory still knows are used until discovery answers, but not those
    /// for which it was last there longer than this many seconds ago.
    #[arg(long, env = "ASSENT_DISCOVERY_STALE_LIMIT_SECONDS", default_value_t = 3600)]
    pub discovery_stale_limit_seconds: u64,
    /// Network seat, `host:port`; without it, it is sent nothing. So for the other seats.
    #[arg(long, env = "ASSENT_NETWORK_SEAT")]
    pub network_seat: Option<String>,
    /// Database seat, `host:port`.
    #[arg(long, env = "ASSENT_DATABASE_SEAT")]
    pub database_seat: Option<String>,
    /// Compute seat, `host:port`.
    #[arg(long, env = "ASSENT_COMPUTE_SEAT")]
    pub compute_seat: Option<String>,
    /// Length of an observation window in milliseconds.
    #[arg(long, env = "ASSENT_WINDOW_MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..))]
    pub window_ms: u64,
    /// Collector that metrics and spans are sent to by OTLP/gRPC, `http://host:port`; without it, none are.
    #[arg(long, env = "ASSENT_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Milliseconds between two exports of metrics.
    #[arg(long, env = "ASSENT_OTLP_INTERVAL_MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub otlp_interval_ms: u64,
    /// Spans made in a second at most; of requests that are part of a sampled trace, and of no others.
    #[arg(long, env = "ASSENT_OTLP_SPANS_PER_SECOND", default_value_t = 100)]
    pub otlp_spans_per_second: u64,
    /// Threads for connections.
    #[arg(long, env = "ASSENT_WORKERS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub workers: u64,
    /// Connections served at a time in each direction; further ones wait.
    #[arg(long, env = "ASSENT_MAX_CONNECTIONS", default_value_t = 4096)]
    pub max_connections: usize,
    /// Without a certificate, or without knowing who may connect, after this many seconds the pod starts unmeshed: applications fail open.
    #[arg(long, env = "ASSENT_START_WAIT_SECONDS", default_value_t = 10)]
    pub start_wait_seconds: u64,
    /// Seconds that open connections are given after the sidecar was asked to stop.
    #[arg(long, env = "ASSENT_DRAIN_SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,
    /// Whether the process forbids itself system calls that it does not need.
    #[arg(long, env = "ASSENT_SYSTEM_CALL_FILTER", default_value_t = true, action = clap::ArgAction::Set)]
    pub system_call_filter: bool,
    /// Name of this pod.
    #[arg(long, env = "ASSENT_POD_NAME", default_value = "")]
    pub pod_name: String,
}

// === impl Args ===

impl Args {
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    pub(crate) fn discovery_stale_limit(&self) -> Duration {
        Duration::from_secs(self.discovery_stale_limit_seconds)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}
