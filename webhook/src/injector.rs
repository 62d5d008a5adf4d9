//! The injector: adds the sidecar to new pods of labelled namespaces, and reports pods there that have none.
//!
//! It only ever adds, and it fails open: a pod that it cannot serve is admitted as it is, with a warning that says why. What
//! is added is a pure function of the pod and the settings; this file is serving and wiring.

mod containers;
mod coverage;
mod pod;
mod review;

use std::time::Duration;

use anyhow::Context as _;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::kube::{self, KubeArgs};
use assent_runtime::metrics::metrics::{counter::Counter, family::Family};
use assent_runtime::metrics::registry::Registry;
use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::{CancellationToken, Limits};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use tokio::net::TcpListener;

pub use assent_api::mesh::{Mode, Skip};
pub use pod::{Injection, Settings, inject};

/// Flags of the injector.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Where and with which certificate to serve.
    #[command(flatten)]
    pub serving: ServingArgs,
    /// Kubernetes.
    #[command(flatten)]
    pub kube: KubeArgs,
    /// What to add to pods.
    #[command(flatten)]
    pub settings: Settings,
    /// Seconds between two searches for pods without a sidecar; 0 does not search.
    #[arg(long, env = "ASSENT_COVERAGE_SECONDS", default_value_t = 30)]
    pub coverage_seconds: u64,
}

#[derive(Clone)]
struct Injector {
    settings: Settings,
    reviews: Family<[(&'static str, &'static str); 1], Counter>,
}

/// Runs the injector until it is asked to stop.
///
/// # Errors
/// If it cannot be set up, or a part of it ends unexpectedly.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let listener = TcpListener::bind(args.serving.listen).await.with_context(|| format!("listen on {}", args.serving.listen))?;
    serve(args, listener, shutdown::signals().context("install signal handlers")?).await
}

/// As [`run`], on a listener and with a stop signal of the caller's.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tasks = Tasks::new(stop);
    let readiness = Readiness::default();
    let starting = readiness.guard("certificate");
    let mut registry = Registry::default();
    let injector = Injector { settings: args.settings.clone(), reviews: Family::default() };
    registry.register("assent_injector_reviews", "Pods reviewed, by outcome", injector.reviews.clone());
    let coverage = coverage::Metrics::register(&mut registry);
    let (certificate, upkeep) = serving::certificate(&args.serving).await?;
    registry.register_collector(Box::new(certificate.clone()));
    let admin = Admin::bind(&args.admin, readiness.clone(), registry).await.context("bind the admin port")?;
    tasks.spawn("admin", admin.serve(tasks.token()));
    tasks.spawn_forever("certificate", upkeep);
    if args.coverage_seconds > 0 {
        let client = kube::client(&args.kube).await?;
        let every = Duration::from_secs(args.coverage_seconds);
        tasks.spawn_forever("coverage", coverage::watch(client, args.settings, coverage, every));
    }
    // The API server says by the path what the pod's namespace permits: the configuration has an entry for each.
    let redirected = post(|injector: State<Injector>, review: Json<review::Review>| review_pod(Mode::Redirect, injector, review));
    let explicit = post(|injector: State<Injector>, review: Json<review::Review>| review_pod(Mode::Explicit, injector, review));
    let router = Router::new().route("/inject", redirected).route("/inject/explicit", explicit).with_state(injector);
    let token = tasks.token();
    drop(starting);
    tasks.spawn("webhook", async move { Ok(serving::serve(listener, &certificate, Limits::default(), router, token).await?) });
    tasks.join().await
}

/// A review that cannot be read is the API server's error to handle; with `failurePolicy: Ignore` the pod is admitted.
async fn review_pod(mode: Mode, State(injector): State<Injector>, Json(review): Json<review::Review>) -> Result<Json<review::Answer>, StatusCode> {
    let request = review.request.ok_or(StatusCode::BAD_REQUEST)?;
    let name = request.object.pointer("/metadata/generateName").or(request.object.pointer("/metadata/name"));
    let name = name.and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    let outcome = inject(&request.object, &request.namespace, mode, &injector.settings);
    let label = match &outcome {
        Ok(Injection { mode: Mode::Redirect, .. }) => "injected",
        Ok(Injection { mode: Mode::Explicit, .. }) => "injected_explicit",
        Err(skip) => skip.reason(),
    };
    injector.reviews.get_or_create(&[("outcome", label)]).inc();
    tracing::info!(k8s.namespace.name = request.namespace, k8s.pod.name = name, outcome = label, "pod reviewed");
    Ok(Json(review::Answer::new(request.uid, outcome)))
}
