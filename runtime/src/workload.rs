//! The identity of this process: a short-lived certificate for its service account, obtained from
//! the identity service with a pod-bound token, renewed with a fresh key long before it expires,
//! and the trust bundle that peers are checked against. It knows no roles: who may do what is
//! decided by whoever asks for the peer's name.

mod certified;
mod name;
mod renewal;
pub mod resuming;
pub mod rotation;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod tls;
mod trust;
mod verified;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

pub use certified::{Certified, pem, request};
pub use name::{InvalidName, Name};
pub use renewal::{Renewal, renew_at};
pub use tls::{ClientAuth, name};
pub use trust::{Error as TrustError, Fingerprint, MAX_COMPROMISED, Roots, TrustBundle, Usage, compromised_line};

/// The service account that the identity service itself runs as.
pub const IDENTITY_ACCOUNT: &str = "assent-identity";
/// Audience of the tokens that the identity service accepts.
pub const TOKEN_AUDIENCE: &str = "identity.assent.dev";

/// Who this process is and where it gets its certificate.
#[derive(clap::Args, Clone, Debug, serde::Serialize)]
pub struct WorkloadArgs {
    /// Identity service, `host:port`.
    #[arg(long, env = "ASSENT_IDENTITY_SERVICE", default_value = "assent-identity.assent-system.svc.cluster.local:8080")]
    pub identity_service: String,
    /// Namespace of the control plane; part of every workload name.
    #[arg(long, env = "ASSENT_CONTROL_NAMESPACE", default_value = "assent-system")]
    pub control_namespace: String,
    /// Trust domain; part of every workload name.
    #[arg(long, env = "ASSENT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// Projected service account token with audience `identity.assent.dev`.
    #[arg(long, env = "ASSENT_IDENTITY_TOKEN_FILE", default_value = "/var/run/secrets/assent/identity/token")]
    pub identity_token_file: PathBuf,
    /// Trusted roots in PEM; followed while it changes.
    #[arg(long, env = "ASSENT_TRUST_BUNDLE_FILE", default_value = "/var/run/assent/trust/ca-bundle.pem")]
    pub trust_bundle_file: PathBuf,
    /// Namespace of this pod.
    #[arg(long, env = "ASSENT_WORKLOAD_NAMESPACE")]
    pub workload_namespace: String,
    /// Service account of this pod.
    #[arg(long, env = "ASSENT_WORKLOAD_SERVICE_ACCOUNT")]
    pub workload_service_account: String,
    /// Memory-backed directory that keeps key and certificate over a container restart.
    #[arg(long, env = "ASSENT_IDENTITY_STATE_DIR")]
    pub identity_state_dir: Option<PathBuf>,
}

/// This process's identity, now and after every renewal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workload {
    name: Name,
    certified: watch::Receiver<Option<Arc<Certified>>>,
    trust: TrustBundle,
}

/// What can go wrong with an identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured or presented name has the wrong shape.
    #[error("read workload name")]
    Name(#[source] InvalidName),
    /// The trust bundle cannot be used, or a chain does not verify against it.
    #[error("check against the trust bundle")]
    Trust(#[source] TrustError),
    /// The token cannot be read.
    #[error("read identity token `{path}`")]
    Token {
        /// The token file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kept identity cannot be read.
    #[error("read kept identity")]
    State(#[source] std::io::Error),
    /// Key generation or signing failed.
    #[error("use the cryptographic library")]
    Crypto(#[source] rcgen::Error),
    /// Key and certificate do not belong together.
    #[error("join key and certificate")]
    Key(#[source] rustls::Error),
    /// A leaf cannot be parsed.
    #[error("parse leaf certificate")]
    Leaf(#[source] webpki::Error),
    /// There is nothing to show.
    #[error("we have no valid certificate: the last one has expired, or there was none yet")]
    Uncertified,
    /// TLS cannot be configured.
    #[error("configure tls")]
    Tls(#[source] rustls::Error),
    /// The peer is somebody else.
    #[error("expected peer `{expected}` but found `{found}`")]
    Peer {
        /// Who it should be.
        expected: Name,
        /// Who it is.
        found: Name,
    },
    /// The peer belongs to another control plane or trust domain.
    #[error("peer `{found}` is not of the mesh of `{own}`")]
    Mesh {
        /// Ourselves.
        own: Name,
        /// Who it is.
        found: Name,
    },
    /// The identity service refused or could not be reached.
    #[error("certify with the identity service")]
    Certify(#[source] Box<tonic::Status>),
    /// The identity service's answer makes no sense.
    #[error("unusable certificate: {reason}")]
    Answer {
        /// What is wrong with it.
        reason: &'static str,
    },
}

// === impl WorkloadArgs ===

impl WorkloadArgs {
    /// This process's own name.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn name(&self) -> Result<Name, Error> {
        self.name_of(&self.workload_namespace, &self.workload_service_account)
    }

    /// The name of another account under the same authority.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn name_of(&self, namespace: &str, account: &str) -> Result<Name, Error> {
        Name::new(namespace, account, &self.control_namespace, &self.trust_domain).map_err(Error::Name)
    }
}

// === impl Workload ===

impl Workload {
    /// The identity described by `args`, starting with a kept certificate if one is still valid.
    /// The returned renewal must be run as a task; it obtains the first certificate too.
    ///
    /// # Errors
    /// If names or trust bundle are malformed. An unreachable identity service is not an error here.
    pub async fn open(args: &WorkloadArgs) -> Result<(Self, Renewal), Error> {
        crate::kube::install_crypto_provider();
        let name = args.name()?;
        let identity = args.name_of(&args.control_namespace, IDENTITY_ACCOUNT)?;
        let (trust, follow) = TrustBundle::file(args.trust_bundle_file.clone()).await.map_err(Error::Trust)?;
        let (workload, sender) = Self::supplied(name, trust);
        let renewal = Renewal::new(args, workload.clone(), sender, identity, Box::pin(follow))?;
        Ok((workload, renewal))
    }

    /// An identity whose certificates somebody else publishes: the authority's own, or a test's.
    pub fn supplied(name: Name, trust: TrustBundle) -> (Self, watch::Sender<Option<Arc<Certified>>>) {
        let (sender, certified) = watch::channel(None);
        (Self { name, certified, trust }, sender)
    }

    /// This process's name, certified or not yet.
    pub fn own_name(&self) -> &Name {
        &self.name
    }

    /// The current certificate; `None` before the first one and after the last has expired.
    pub fn current(&self) -> Option<Arc<Certified>> {
        self.certified.borrow().clone().filter(|certified| certified.not_after() > SystemTime::now())
    }

    /// Waits until there is a certificate.
    ///
    /// # Errors
    /// If the renewal task is gone and never published one.
    pub async fn ready(&self) -> Result<Arc<Certified>, Error> {
        let mut watch = self.certified.clone();
        let certified = watch
            .wait_for(|certified| certified.as_ref().is_some_and(|c| c.not_after() > SystemTime::now()))
            .await
            .map_err(|_| Error::Answer { reason: "nobody renews this identity" })?;
        certified.clone().ok_or(Error::Answer { reason: "nobody renews this identity" })
    }

    /// Changes at every renewal.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Certified>>> {
        self.certified.clone()
    }

    /// The roots that peers are checked against.
    pub fn trust(&self) -> &TrustBundle {
        &self.trust
    }

    /// TLS 1.3 server configuration that presents the current certificate.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn server_config(&self, auth: ClientAuth, alpn: &[&[u8]]) -> Result<Arc<rustls::ServerConfig>, Error> {
        tls::server(self, auth, alpn).map(Arc::new)
    }

    /// TLS 1.3 client configuration that presents the current certificate and accepts only
    /// `expected` as the peer. Use `expected` as the server name (SNI) too.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn client_config(&self, expected: &Name, alpn: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, Error> {
        tls::client(&self.trust, Some(self), expected, alpn).map(Arc::new)
    }

    /// As [`Self::client_config`], but shows no certificate.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn anonymous_client_config(&self, expected: &Name, alpn: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, Error> {
        tls::client(&self.trust, None, expected, alpn).map(Arc::new)
    }
}
