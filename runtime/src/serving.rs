//! HTTPS for admission webhooks: an axum router behind TLS whose certificate changes without a
//! restart and without dropping a connection. The certificate comes from files, or is minted here
//! from a CA made at install time that is pinned in the one webhook configuration it serves. It
//! never writes that configuration and knows nothing of admission.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use futures::StreamExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::FromDer as _;

use crate::accept::{self, Limits};
use crate::{reload, telemetry, workload};

const LEAF_LIFE: Duration = Duration::from_secs(24 * 3600);
const DAY: f64 = 24.0 * 3600.0;
const CLOCK_SKEW: Duration = Duration::from_secs(10);
// Longer than the 90 s after which the API server closes an idle connection itself: we must not
// close one under a request that is just being sent.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);

/// Where the webhook listens and where its certificate comes from.
#[derive(clap::Args, Clone, Debug)]
pub struct ServingArgs {
    /// Address of the webhook; port 0 picks a free one.
    #[arg(long, env = "ASSENT_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Certificate to serve, PEM, leaf first; or, with `--serving-mint`, of the CA that mints it.
    #[arg(long, env = "ASSENT_SERVING_CERTIFICATE_FILE")]
    pub serving_certificate_file: PathBuf,
    /// Private key of that certificate, PKCS#8 PEM.
    #[arg(long, env = "ASSENT_SERVING_KEY_FILE")]
    pub serving_key_file: PathBuf,
    /// DNS names to mint short-lived certificates for, such as `assent-gate.assent-system.svc`.
    #[arg(long, env = "ASSENT_SERVING_MINT", value_delimiter = ',')]
    pub serving_mint: Vec<String>,
}

/// The certificate that a webhook serves right now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificate(watch::Receiver<Arc<CertifiedKey>>);

/// Keeps a [`Certificate`] current; must be run as a task.
pub type Upkeep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a webhook cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificate or key cannot be read.
    #[error("read serving certificate files")]
    Read(#[source] std::io::Error),
    /// Certificate or key is not PEM.
    #[error("parse serving certificate files")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// Certificate and key do not belong together, or TLS cannot be configured.
    #[error("use serving certificate")]
    Tls(#[source] rustls::Error),
    /// A leaf cannot be minted.
    #[error("mint serving certificate")]
    Mint(#[source] rcgen::Error),
}

/// The certificate that `args` describes, and the task that keeps it current.
///
/// # Errors
/// If the files are missing or unusable now; later they only keep the last good certificate.
pub async fn certificate(args: &ServingArgs) -> Result<(Certificate, Upkeep), Error> {
    let paths = vec![args.serving_certificate_file.clone(), args.serving_key_file.clone()];
    let contents = reload::read(&paths).map_err(Error::Read)?;
    if args.serving_mint.is_empty() {
        let (sender, receiver) = watch::channel(Arc::new(parse_leaf(&contents)?));
        let follow = reload::follow(paths, Some(contents), sender, parse_leaf);
        return Ok((Certificate(receiver), Box::pin(follow)));
    }
    let authority = Authority::parse(&contents)?;
    let (leaf, due) = authority.mint(&args.serving_mint)?;
    let (publish, receiver) = watch::channel(Arc::new(leaf));
    let (sender, authorities) = watch::channel(Arc::new(authority));
    let follow = reload::follow(paths, Some(contents), sender, Authority::parse);
    let names = args.serving_mint.clone();
    let upkeep = async move {
        tokio::join!(follow, rotate(authorities, names, due, publish));
    };
    Ok((Certificate(receiver), Box::pin(upkeep)))
}

/// Serves `router` over HTTPS until `token` is cancelled, then for at most `limits.drain` more.
///
/// # Errors
/// If TLS cannot be configured.
pub async fn serve(listener: TcpListener, certificate: &Certificate, limits: Limits, router: Router, token: CancellationToken) -> Result<(), Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate.clone()));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes));
    let mut incoming = std::pin::pin!(accept::incoming(listener, Arc::new(config), limits));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = token.cancelled() => break,
            Some(connection) = incoming.next() => {
                connections.spawn(serve_connection(connection, router.clone(), token.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!("requests were still open at the end of the drain time");
    }
    Ok(())
}

async fn serve_connection(connection: accept::Connection, router: Router, token: CancellationToken) {
    let accept::Connection { stream, address, permit } = connection;
    let service = TowerToHyperService::new(router);
    let mut serving =
        std::pin::pin!(http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = &mut serving => served,
        () = token.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(peer = %address, error = telemetry::chain(&error), "connection ended");
    }
    drop(permit);
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().clone())
    }
}

/// At each scrape: how long the certificate lives that is served now. It shows a renewal that does not happen while there is
/// time to act.
impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let current = self.0.borrow().clone();
        let Some(until) = current.cert.first().and_then(not_after) else { return Ok(()) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let left = ConstGauge::new((until - now) / DAY);
        let help = "Days until the certificate that is served expires; negative after that";
        let metric = encoder.encode_descriptor("assent_serving_certificate_days_left", help, None, prometheus_client::metrics::MetricType::Gauge)?;
        left.encode(metric)
    }
}

/// The end of a certificate's life, in seconds since 1970.
fn not_after(certificate: &CertificateDer<'_>) -> Option<f64> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp() as f64)
}

/// The CA made at install time.
#[derive(Debug)]
struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

// === impl Authority ===

impl Authority {
    fn parse(contents: &[Vec<u8>]) -> Result<Self, Error> {
        let (certificate, key) = pair(contents);
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(Error::Pem)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key).map_err(Error::Pem)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).map_err(Error::Mint)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(Error::Mint)?;
        Ok(Self { issuer })
    }

    /// A fresh key and leaf, and when to mint the next.
    fn mint(&self, names: &[String]) -> Result<(CertifiedKey, SystemTime), Error> {
        let now = SystemTime::now();
        let (not_before, not_after) = (now - CLOCK_SKEW, now + LEAF_LIFE);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Mint)?;
        let mut params = CertificateParams::new(names).map_err(Error::Mint)?;
        params.distinguished_name = DistinguishedName::new();
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).map_err(Error::Mint)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let leaf = CertifiedKey::from_der(vec![leaf.der().clone()], private, &aws_lc_rs::default_provider()).map_err(Error::Tls)?;
        Ok((leaf, workload::renew_at(not_before, not_after, 0.5)))
    }
}

async fn rotate(mut authorities: watch::Receiver<Arc<Authority>>, names: Vec<String>, mut due: SystemTime, publish: watch::Sender<Arc<CertifiedKey>>) {
    loop {
        let left = due.duration_since(SystemTime::now()).unwrap_or_default();
        // Timers do not run on a suspended machine; look at the clock again every minute.
        let pause = tokio::time::sleep(left.min(Duration::from_secs(60)));
        tokio::select! {
            () = pause => if due > SystemTime::now() { continue },
            changed = authorities.changed() => if changed.is_err() { return },
            () = publish.closed() => return,
        }
        let minted = authorities.borrow_and_update().mint(&names);
        match minted {
            Ok((leaf, next)) => {
                publish.send_replace(Arc::new(leaf));
                due = next;
                tracing::info!(names = ?names, "serving certificate was minted");
            }
            Err(error) => {
                due = SystemTime::now() + Duration::from_secs(60);
                tracing::error!(error = telemetry::chain(&error), "serving certificate was not minted");
            }
        }
    }
}

fn parse_leaf(contents: &[Vec<u8>]) -> Result<CertifiedKey, Error> {
    let (chain, key) = pair(contents);
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(Error::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(Error::Pem)?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(Error::Tls)
}

fn pair(contents: &[Vec<u8>]) -> (&[u8], &[u8]) {
    match contents {
        [certificate, key] => (certificate, key),
        _ => (&[], &[]),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, IsCa};

    use super::*;

    #[test]
    fn a_scrape_says_how_many_days_the_served_certificate_has_left() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = params.self_signed(&key).unwrap();
        let authority = Authority::parse(&[authority.pem().into_bytes(), key.serialize_pem().into_bytes()]).unwrap();
        let (leaf, _) = authority.mint(&["injector.test".to_owned()]).unwrap();
        let (_sender, receiver) = watch::channel(Arc::new(leaf));
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Certificate(receiver)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find(|line| line.starts_with("assent_serving_certificate_days_left ")).unwrap();
        let days: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((0.99..1.01).contains(&days), "{text}");
    }
}
