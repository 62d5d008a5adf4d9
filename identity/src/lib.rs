//! Workload identity: the certificate authority that turns a pod's service account token into a
//! short-lived certificate (binary `assent-identity`), and the discovery service that tells proxies
//! which endpoint carries which identity (binary `assent-discovery`, a process without any key).
//! Both speak linkerd2-proxy-api. Neither decides what an identity may do.
//!
//! | module | does |
//! |---|---|
//! | [`ca`] | checks a request and signs a leaf: pure, time and randomness are arguments |
//! | [`certify`] | asks the API server who the token belongs to, then the CA |
//! | [`issuer`] | makes or loads root and issuer |
//! | [`rotation`] | replaces roots and issuer while everything runs |
//! | [`bundle`] | publishes the trust bundle to namespaces |
//! | [`discovery`] | endpoints and profiles |

pub mod bundle;
pub mod ca;
pub mod certify;
pub mod discovery;
pub mod issuer;
pub mod rotation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use assent_runtime::admin::{Admin, AdminArgs, Readiness};
use assent_runtime::kube::KubeArgs;
use assent_runtime::metrics::registry::Registry;
use assent_runtime::shutdown::{self, Tasks};
use assent_runtime::telemetry::{self, LogArgs};
use assent_runtime::workload::{Certified, ClientAuth, IDENTITY_ACCOUNT, Name, Roots, TrustBundle, Workload, renew_at, request};
use assent_runtime::{Limits, kube, mtls};
use linkerd2_proxy_api::identity::identity_server::IdentityServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::ca::Issuer;
use crate::certify::{Certify, Metrics};
use crate::rotation::{Followers, Rotation};

/// The certificate authority.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "assent-identity", version)]
pub struct Args {
    /// Address of the gRPC service; port 0 picks a free one.
    #[arg(long, env = "ASSENT_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace of the control plane; part of every workload name.
    #[arg(long, env = "ASSENT_CONTROL_NAMESPACE", default_value = "assent-system")]
    pub control_namespace: String,
    /// Trust domain; part of every workload name.
    #[arg(long, env = "ASSENT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// Life of a sidecar's certificate in seconds; a seat's is an hour at most.
    #[arg(long, env = "ASSENT_LEAF_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(60..=604_800))]
    pub leaf_seconds: u64,
    /// How long a new root must have been in every namespace before certificates come from it, in seconds: until the kubelets have
    /// brought it to every pod.
    #[arg(long, env = "ASSENT_TRUST_PROPAGATION_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub trust_propagation_seconds: u64,
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

/// Runs the certificate authority until a signal or a failed task.
///
/// # Errors
/// If it cannot start, or a task fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let listener = TcpListener::bind(args.listen).await.context("bind the identity service")?;
    serve(args, listener, Tasks::new(shutdown::signals()?)).await
}

/// As [`run`], on a listener that is bound already and with tasks whose token the caller holds.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, listener: TcpListener, mut tasks: Tasks) -> anyhow::Result<()> {
    tracing::info!(?args, "effective configuration");
    let readiness = Readiness::default();
    let starting = readiness.guard("issuer");
    let client = kube::client(&args.kube).await?;
    let mut registry = Registry::with_prefix("assent_identity");
    let metrics = Metrics::register(&mut registry);
    let admin = Admin::bind(&args.admin, readiness, registry).await.context("bind the admin port")?;
    tasks.spawn("admin", admin.serve(tasks.token()));

    let life = Duration::from_secs(args.leaf_seconds);
    let own = Name::new(&args.control_namespace, IDENTITY_ACCOUNT, &args.control_namespace, &args.trust_domain).context("derive the own name")?;
    let state = issuer::load_or_create(&client, &args.control_namespace, own.authority()).await?.state;
    let issuer = Issuer::load(&state.issuing.material).context("load the issuer")?;
    metrics.issuer_expiry(issuer.not_after());
    let (roots, bundle) = (Roots::parse(state.bundle().as_bytes()).context("read the own trust bundle")?, watch::Sender::new(state.bundle()));
    let (issuers, issuer) = watch::channel(Arc::new(issuer));
    let (trust, roots) = TrustBundle::supplied(roots);
    let (workload, certificates) = Workload::supplied(own.clone(), trust);
    publish_own(&issuer.borrow(), &own, life, &certificates)?;
    tasks.spawn("own certificate", renew_own(issuer.clone(), own.clone(), life, certificates));
    let (publishing, published) = watch::channel(String::new());
    tasks.spawn_forever("bundle", bundle::publish(client.clone(), args.control_namespace.clone(), bundle.subscribe(), publishing));
    let rotation = Rotation {
        client: client.clone(),
        namespace: args.control_namespace,
        authority: own.authority().to_owned(),
        life,
        propagation: Duration::from_secs(args.trust_propagation_seconds),
        followers: Followers { issuer: issuers, roots, bundle },
        published,
        metrics: metrics.clone(),
    };
    tasks.spawn_forever("rotation", rotation.run());

    let service = IdentityServer::new(Certify::new(client, issuer, own, life, metrics)).max_decoding_message_size(certify::MAX_MESSAGE);
    let token = tasks.token();
    let limits = Limits { connections: 4096, ..Limits::default() };
    tasks.spawn("identity", async move {
        let routes = Routes::new(service);
        mtls::serve(listener, &workload, ClientAuth::Optional, limits, routes, token).await?;
        Ok(())
    });
    drop(starting);
    tasks.join().await
}

/// Certifies ourselves under our own workload name and says when to do it again.
fn publish_own(issuer: &Issuer, own: &Name, life: Duration, sender: &watch::Sender<Option<Arc<Certified>>>) -> anyhow::Result<SystemTime> {
    let now = SystemTime::now();
    let (key, csr) = request(own)?;
    let examined = ca::examine(own.as_str(), b"own", &csr)?;
    let leaf = issuer.sign(&examined, own, ca::validity(own, life, now), certify::serial()?)?;
    let certified = Certified::new(key, vec![leaf, issuer.certificate().clone()])?;
    let due = renew_at(now, certified.not_after(), 0.5);
    sender.send_replace(Some(Arc::new(certified)));
    Ok(due)
}

async fn renew_own(mut issuer: watch::Receiver<Arc<Issuer>>, own: Name, life: Duration, sender: watch::Sender<Option<Arc<Certified>>>) -> anyhow::Result<()> {
    let mut due = SystemTime::now();
    loop {
        let left = due.duration_since(SystemTime::now()).unwrap_or_default();
        if left.is_zero() {
            let issuer = issuer.borrow_and_update().clone();
            due = publish_own(&issuer, &own, life, &sender)?;
        }
        // Timers stand still on a suspended machine; look at the clock again every minute.
        let pause = tokio::time::sleep(left.min(Duration::from_secs(60)));
        tokio::select! {
            () = pause => {}
            Ok(()) = issuer.changed() => due = SystemTime::now(),
            () = sender.closed() => return Ok(()),
        }
    }
}
