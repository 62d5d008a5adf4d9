//! The trust bundle: the roots that every workload certificate must chain to, read from a mounted
//! file and followed while it changes, so that roots rotate without a restart. An absent or empty
//! bundle trusts nobody. It does not check names; `tls` does.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use tokio::sync::watch;

use super::verified::{self, Verified};
use crate::reload;

/// The trusted roots, and later versions of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustBundle(watch::Receiver<Arc<Roots>>);

/// One version of the trusted roots.
#[derive(Debug, Default)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    verified: Verified,
}

/// What a certificate is presented as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// By the side that accepted the connection.
    Server,
    /// By the side that opened it, or under a signature.
    Client,
}

/// Why a bundle or a chain is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle is not PEM.
    #[error("parse trust bundle as pem")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// A certificate in the bundle cannot be a root.
    #[error("read a root of the trust bundle")]
    Root(#[source] webpki::Error),
    /// The bundle holds no certificate.
    #[error("trust bundle is empty")]
    Empty,
    /// The chain does not lead to a root, is expired, or is not for this usage.
    #[error("verify certificate chain")]
    Chain(#[source] webpki::Error),
}

// === impl Roots ===

impl Roots {
    /// Roots from PEM text with one or more certificates.
    ///
    /// # Errors
    /// If the text is not PEM, holds no certificate, or one that is no root.
    pub fn parse(pem: &[u8]) -> Result<Self, Error> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(Error::Pem)?;
        if certificates.is_empty() {
            return Err(Error::Empty);
        }
        let anchors = certificates
            .iter()
            .map(|der| webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()))
            .collect::<Result<_, _>>()
            .map_err(Error::Root)?;
        Ok(Self { certificates, anchors, verified: Verified::default() })
    }

    /// The roots in DER, in the order of the file.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Checks signatures, validity at `now` and extended key usage of `leaf` up to one of the roots. The very chain that was
    /// verified under these roots before is not verified again while all of it is valid.
    ///
    /// # Errors
    /// [`Error::Chain`].
    pub fn verify(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], usage: Usage, now: UnixTime) -> Result<(), Error> {
        let digest = verified::digest(leaf, intermediates, usage);
        if self.verified.holds(&digest, now) {
            return Ok(());
        }
        verify(&self.anchors, leaf, intermediates, usage, now)?;
        if let Some(validity) = verified::validity(leaf, intermediates) {
            self.verified.keep(digest, validity);
        }
        Ok(())
    }

    /// Whether a chain leads to the first root, that of who issues: the identity service puts it there.
    pub fn first_vouches(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> bool {
        self.anchors.get(..1).is_some_and(|first| verify(first, leaf, intermediates, Usage::Client, now).is_ok())
    }
}

fn verify(anchors: &[TrustAnchor<'_>], leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], usage: Usage, now: UnixTime) -> Result<(), Error> {
    let usage = match usage {
        Usage::Server => webpki::KeyUsage::server_auth(),
        Usage::Client => webpki::KeyUsage::client_auth(),
    };
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    webpki::EndEntityCert::try_from(leaf)
        .and_then(|cert| {
            cert.verify_for_usage(algorithms, anchors, intermediates, now, usage, None, None)?;
            Ok(())
        })
        .map_err(Error::Chain)
}

// === impl TrustBundle ===

impl TrustBundle {
    /// Follows a mounted file. The future must be kept running; without it the first version stays.
    ///
    /// # Errors
    /// If the file exists and is no bundle. A file that does not exist yet trusts nobody until it does.
    pub async fn file(path: PathBuf) -> Result<(Self, impl Future<Output = ()> + Send + use<>), Error> {
        let paths = vec![path];
        let contents = reload::read(&paths).await.ok();
        let roots = match &contents {
            Some(contents) => parse(contents)?,
            None => {
                tracing::warn!(paths = ?paths, "trust bundle is not there yet; trusting nobody until it is");
                Roots::default()
            }
        };
        let (sender, receiver) = watch::channel(Arc::new(roots));
        Ok((Self(receiver), reload::follow(paths, contents, sender, parse)))
    }

    /// A bundle that its owner publishes, such as the certificate authority itself or a test.
    pub fn supplied(roots: Roots) -> (Self, watch::Sender<Arc<Roots>>) {
        let (sender, receiver) = watch::channel(Arc::new(roots));
        (Self(receiver), sender)
    }

    /// The current roots.
    pub fn current(&self) -> Arc<Roots> {
        self.0.borrow().clone()
    }

    /// Changes whenever the bundle does from now on.
    pub fn watch(&self) -> watch::Receiver<Arc<Roots>> {
        let mut receiver = self.0.clone();
        receiver.mark_unchanged();
        receiver
    }
}

fn parse(contents: &[Vec<u8>]) -> Result<Roots, Error> {
    Roots::parse(contents.first().map(Vec::as_slice).unwrap_or_default())
}
