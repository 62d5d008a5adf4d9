//! The trust bundle: the roots that every workload certificate must chain to, read from a mounted
//! file and followed while it changes, so that roots rotate without a restart. An absent or empty
//! bundle trusts nobody. It does not check names; `tls` does.
//!
//! Between the certificates a bundle may name roots that were dropped because their keys are in wrong hands: what was
//! verified under one of those is not to go on.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::verified::{self, Verified};
use crate::reload;

/// Before the fingerprint of a compromised root, on a line of its own. What reads PEM skips it.
const COMPROMISED: &str = "# compromised: ";
/// Compromised roots that a bundle may name; further ones are not read.
pub const MAX_COMPROMISED: usize = 16;

/// SHA-256 of a root's certificate.
pub type Fingerprint = [u8; 32];

/// The trusted roots, and later versions of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustBundle(watch::Receiver<Arc<Roots>>);

/// One version of the trusted roots.
#[derive(Debug, Default)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    fingerprints: Vec<Fingerprint>,
    compromised: Vec<Fingerprint>,
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
        let fingerprints: Vec<Fingerprint> = certificates.iter().map(|der| Sha256::digest(der).into()).collect();
        // Who is trusted again is not distrusted for what was said before.
        let compromised = compromised(pem).filter(|root| !fingerprints.contains(root)).collect();
        Ok(Self { certificates, anchors, fingerprints, compromised, verified: Verified::default() })
    }

    /// The roots in DER, in the order of the file.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Roots that are trusted no more because their keys are in wrong hands.
    pub fn compromised(&self) -> &[Fingerprint] {
        &self.compromised
    }

    /// Checks signatures, validity at `now` and extended key usage of `leaf` up to one of the roots; tells which. The very chain
    /// that was verified under these roots before is not verified again while all of it is valid.
    ///
    /// # Errors
    /// [`Error::Chain`].
    pub fn verify(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], usage: Usage, now: UnixTime) -> Result<Fingerprint, Error> {
        let digest = verified::digest(leaf, intermediates, usage);
        if let Some(root) = self.verified.root(&digest, now) {
            return Ok(root);
        }
        let place = verify(&self.anchors, leaf, intermediates, usage, now)?;
        // Each anchor was made of the certificate at its place.
        let root = self.fingerprints.get(place).copied().ok_or(Error::Empty)?;
        if let Some(validity) = verified::validity(leaf, intermediates) {
            self.verified.keep(digest, validity, root);
        }
        Ok(root)
    }

    /// Whether a chain leads to the first root, that of who issues: the identity service puts it there.
    pub fn first_vouches(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> bool {
        self.anchors.get(..1).is_some_and(|first| verify(first, leaf, intermediates, Usage::Client, now).is_ok())
    }
}

/// A line that names the root with this fingerprint, in hexadecimal, as compromised; for the head of a bundle.
pub fn compromised_line(fingerprint: &str) -> String {
    format!("{COMPROMISED}{fingerprint}\n")
}

fn compromised(pem: &[u8]) -> impl Iterator<Item = Fingerprint> {
    let named = pem.split(|byte| *byte == b'\n').filter_map(|line| line.trim_ascii_end().strip_prefix(COMPROMISED.as_bytes()));
    named.take(MAX_COMPROMISED).filter_map(|digits| {
        let mut root = Fingerprint::default();
        hex::decode_to_slice(digits, &mut root).ok().map(|()| root)
    })
}

/// The place of the anchor that the chain leads to.
fn verify(anchors: &[TrustAnchor<'_>], leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], usage: Usage, now: UnixTime) -> Result<usize, Error> {
    let usage = match usage {
        Usage::Server => webpki::KeyUsage::server_auth(),
        Usage::Client => webpki::KeyUsage::client_auth(),
    };
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    webpki::EndEntityCert::try_from(leaf)
        .and_then(|cert| {
            let path = cert.verify_for_usage(algorithms, anchors, intermediates, now, usage, None, None)?;
            anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor())).ok_or(webpki::Error::UnknownIssuer)
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
        let contents = reload::read(&paths).ok();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::workload::testing::Authority;

    fn only(authority: &Authority) -> Fingerprint {
        authority.roots().fingerprints[0]
    }

    #[test]
    fn a_chain_is_under_the_root_that_signed_it() {
        let (one, other, stranger) = (Authority::new(), Authority::new(), Authority::new());
        let name = one.workload("shop", "web").own_name().clone();
        let roots = Roots::parse(format!("{}{}", one.pem(), other.pem()).as_bytes()).unwrap();
        let root = |authority: &Authority| {
            let leaf = authority.certify(&name, Duration::from_secs(60)).chain()[0].clone();
            // The second time it is remembered.
            [0, 1].map(|_| roots.verify(&leaf, &[], Usage::Client, UnixTime::now()).ok())
        };
        assert_eq!(root(&one), [Some(only(&one)); 2]);
        assert_eq!(root(&other), [Some(only(&other)); 2]);
        assert_eq!(root(&stranger), [None; 2]);
    }

    #[test]
    fn a_bundle_names_the_roots_that_are_compromised() {
        let (old, new) = (Authority::new(), Authority::new());
        let line = |authority: &Authority| compromised_line(&hex::encode(only(authority)));
        let named = |text: String| Roots::parse(text.as_bytes()).unwrap().compromised().to_vec();
        assert!(named(new.pem()).is_empty());
        assert_eq!(named(format!("{}{}", line(&old), new.pem())), [only(&old)]);
        assert_eq!(named(format!("{}\r\n{}", line(&old).trim_end(), new.pem())), [only(&old)]);
        assert_eq!(named(format!("{}# compromised: 12\n{}", line(&old), new.pem())), [only(&old)], "what is no fingerprint is nobody's");
        assert!(named(format!("{}{}{}", line(&old), new.pem(), old.pem())).is_empty(), "it is trusted again");
        assert_eq!(named(format!("{}{}", line(&old).repeat(100), new.pem())).len(), MAX_COMPROMISED);
    }
}
