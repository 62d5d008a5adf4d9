//! A workload's key together with the certificate chain for it: what TLS presents and what signs
//! ballots. It can be kept on a memory-backed volume, so that a restarted process serves while the
//! certificate authority is away. It does not decide when to renew.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::FromDer as _;

use super::tls;
use super::{Error, Name};

const STATE_FILE: &str = "identity.pem";

/// A private key and the certificate chain that names it.
#[derive(Debug)]
pub struct Certified {
    name: Name,
    chain: Vec<CertificateDer<'static>>,
    not_before: SystemTime,
    not_after: SystemTime,
    // Debug of a KeyPair hides the private half.
    key: KeyPair,
    tls: Arc<rustls::sign::CertifiedKey>,
}

// === impl Certified ===

impl Certified {
    /// Joins a key with its chain (leaf first, root left out).
    ///
    /// # Errors
    /// If the leaf is not for this key, or does not carry exactly one DNS name that is a workload name.
    pub fn new(key: KeyPair, chain: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let leaf = chain.first().ok_or(Error::Answer { reason: "it has no leaf certificate" })?;
        let name = tls::name(leaf)?;
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf).map_err(|_| Error::Answer { reason: "its leaf is not a certificate" })?;
        let validity = parsed.validity();
        let (not_before, not_after) = (instant(validity.not_before.timestamp()), instant(validity.not_after.timestamp()));
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = aws_lc_rs::default_provider();
        let tls = rustls::sign::CertifiedKey::from_der(chain.clone(), private, &provider).map_err(Error::Key)?;
        Ok(Self { name, not_before, not_after, key, tls: Arc::new(tls), chain })
    }

    /// Who this is.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Leaf first, then intermediates, in DER; without the root.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The first second of validity.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last second of validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// For a custom [`rustls::server::ResolvesServerCert`].
    pub fn tls(&self) -> Arc<rustls::sign::CertifiedKey> {
        self.tls.clone()
    }

    /// Signs `message` with ECDSA P-256 and SHA-256; the signature is ASN.1 DER.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.key.sign(message).map_err(Error::Crypto)
    }

    /// Writes key and chain to `directory`, readable by this user only, in one atomic step.
    pub(crate) fn store(&self, directory: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut text = self.key.serialize_pem();
        for der in &self.chain {
            text.push_str(&pem(der));
        }
        let temporary = directory.join(format!(".{STATE_FILE}.new"));
        // Left over from a crash between write and rename.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, directory.join(STATE_FILE))
    }

    /// Reads what [`Self::store`] wrote; `None` if there is nothing.
    pub(crate) fn load(directory: &Path) -> Result<Option<Self>, Error> {
        let text = match std::fs::read(directory.join(STATE_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::State(error)),
        };
        let unreadable = |_| Error::Answer { reason: "the kept identity is not readable" };
        let key = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(unreadable)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).map_err(Error::Crypto)?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(unreadable)?;
        Self::new(key, chain).map(Some)
    }
}

/// A fresh ECDSA P-256 key and a DER certificate request for it with `name` as its only content.
///
/// # Errors
/// If the cryptographic library fails.
pub fn request(name: &Name) -> Result<(KeyPair, Vec<u8>), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Crypto)?;
    let mut params = CertificateParams::new(vec![name.as_str().to_owned()]).map_err(Error::Crypto)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(Error::Crypto)?;
    Ok((key, request.der().to_vec()))
}

/// PEM text of one DER certificate.
pub fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn instant(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
