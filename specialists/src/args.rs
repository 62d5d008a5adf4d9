//! Flags of a seat.

use std::net::SocketAddr;
use std::path::PathBuf;

use assent_core::seats::Settings;
use assent_runtime::admin::AdminArgs;
use assent_runtime::kube::KubeArgs;
use assent_runtime::telemetry::LogArgs;
use assent_runtime::workload::WorkloadArgs;

/// One seat: its intake of evidence, its votes, its word on a service.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "assent-specialists", version)]
pub struct Args {
    /// Which seat this process fills.
    #[arg(long, env = "ASSENT_SEAT", value_enum)]
    pub seat: SeatName,
    /// Address of the gRPC services (intake and votes); port 0 picks a free one.
    #[arg(long, env = "ASSENT_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// The director, `host:port`, for anomalies of our own.
    #[arg(long, env = "ASSENT_DIRECTOR", default_value = "assent-director.assent-system.svc:8443")]
    pub director: String,
    /// Length of a window in milliseconds; 2000 if not given.
    #[arg(long, env = "ASSENT_WINDOW_MS", value_parser = clap::value_parser!(i64).range(100..=60_000))]
    pub window_ms: Option<i64>,
    /// Windows that are remembered.
    #[arg(long, env = "ASSENT_HISTORY", default_value_t = 240, value_parser = clap::value_parser!(u16).range(16..=1_000))]
    pub history: u16,
    /// Windows (samples, for compute) that a baseline needs; 8 (3 for compute) if not given.
    #[arg(long, env = "ASSENT_LEARN", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub learn: Option<u16>,
    /// Seconds for which all replicas must be ready before the change seat takes a template for healthy.
    #[arg(long, env = "ASSENT_SETTLE_SECONDS", default_value_t = 15)]
    pub settle_seconds: u32,
    /// Life of our ballots in seconds, from their creation.
    #[arg(long, env = "ASSENT_BALLOT_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=900))]
    pub ballot_seconds: u32,
    /// Kubelets, for the compute seat.
    #[command(flatten)]
    pub kubelet: KubeletArgs,
    /// Stores and traces.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// Who we are.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// API server.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// How the compute seat reads kubelets.
#[derive(clap::Args, Clone, Debug)]
pub struct KubeletArgs {
    /// Port of every kubelet.
    #[arg(long, env = "ASSENT_KUBELET_PORT", default_value_t = 10250)]
    pub kubelet_port: u16,
    /// PEM of the CA that signs kubelets' serving certificates.
    #[arg(long, env = "ASSENT_KUBELET_CA_FILE", conflicts_with = "kubelet_insecure")]
    pub kubelet_ca_file: Option<PathBuf>,
    /// Do not verify kubelets' certificates: whoever answers at a node's address is believed, and sees our token.
    #[arg(long, env = "ASSENT_KUBELET_INSECURE")]
    pub kubelet_insecure: bool,
    /// Service account token that kubelets are shown; it is read again for every round.
    #[arg(long, env = "ASSENT_KUBELET_TOKEN_FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token")]
    pub kubelet_token_file: PathBuf,
    /// Time between two rounds.
    #[arg(long, env = "ASSENT_KUBELET_INTERVAL_MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub kubelet_interval_ms: u64,
}

/// Evidence from elsewhere; each source is off unless it is named here.
#[derive(clap::Args, Clone, Debug)]
pub struct SourceArgs {
    /// A store of metrics.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Address where collectors send traces, OTLP over HTTP or gRPC in plain text; for the network and change seats.
    #[arg(long, env = "ASSENT_OTLP_LISTEN")]
    pub otlp_listen: Option<SocketAddr>,
    /// Lines of logs, by their templates.
    #[command(flatten)]
    pub logs: LogsArgs,
}

/// Where the change seat reads logs, to count them.
#[derive(clap::Args, Clone, Debug)]
pub struct LogsArgs {
    /// Address of Loki, or of what answers its queries.
    #[arg(long, env = "ASSENT_LOKI_URL")]
    pub loki_url: Option<String>,
    /// Bearer token that it is shown; read again for every question.
    #[arg(long, env = "ASSENT_LOKI_TOKEN_FILE", requires = "loki_url")]
    pub loki_token_file: Option<PathBuf>,
    /// PEM of the CA that signs its certificate, instead of the public ones.
    #[arg(long, env = "ASSENT_LOKI_CA_FILE", requires = "loki_url")]
    pub loki_ca_file: Option<PathBuf>,
    /// Tenant whose logs they are.
    #[arg(long, env = "ASSENT_LOKI_TENANT", requires = "loki_url")]
    pub loki_tenant: Option<String>,
    /// Read logs of pods from the API server, where there is no store of them; this needs the right to `get` `pods/log`.
    #[arg(long, env = "ASSENT_POD_LOGS", conflicts_with = "loki_url")]
    pub pod_logs: bool,
}

/// How a store of metrics is asked.
#[derive(clap::Args, Clone, Debug)]
pub struct PrometheusArgs {
    /// Address of Prometheus, or of what answers range queries like it.
    #[arg(long, env = "ASSENT_PROMETHEUS_URL")]
    pub prometheus_url: Option<String>,
    /// Bearer token that it is shown; read again for every question.
    #[arg(long, env = "ASSENT_PROMETHEUS_TOKEN_FILE", requires = "prometheus_url")]
    pub prometheus_token_file: Option<PathBuf>,
    /// PEM of the CA that signs its certificate, instead of the public ones.
    #[arg(long, env = "ASSENT_PROMETHEUS_CA_FILE", requires = "prometheus_url")]
    pub prometheus_ca_file: Option<PathBuf>,
    /// Seconds between samples: its scrape interval, so that rates are of three of them.
    #[arg(long, env = "ASSENT_PROMETHEUS_STEP_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(5..=120))]
    pub prometheus_step_seconds: u16,
}

/// The seats by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SeatName {
    /// Requests and connections between identities.
    Network,
    /// Processor, memory and containers.
    Compute,
    /// Exchanges with databases.
    Database,
    /// Rollouts and configuration.
    Change,
}

// === impl SeatName ===

impl SeatName {
    /// As the roster has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Compute => "compute",
            Self::Database => "database",
            Self::Change => "change",
        }
    }
}

// === impl Args ===

impl Args {
    pub(crate) fn settings(&self) -> Settings {
        // Kubelets measure about every ten seconds, so the compute seat has fewer samples, and older ones.
        let (learn, stale_ms) = if self.seat == SeatName::Compute { (3, 40_000) } else { (8, 15_000) };
        Settings {
            grid_ms: self.window_ms.unwrap_or(Settings::default().grid_ms),
            history: usize::from(self.history),
            learn: usize::from(self.learn.unwrap_or(learn)),
            stale_ms,
        }
    }
}
