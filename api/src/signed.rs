//! Signed payloads: DSSE's pre-authentication encoding, an ECDSA P-256 signature and the certificate chain that names the
//! signer. Checking is a pure function of bytes, trust roots and a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Largest payload that is looked at, in bytes.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// `payloadType` of a signed `core::incident::Anomaly`.
pub const ANOMALY_PAYLOAD_TYPE: &str = "application/vnd.assent.anomaly+json";
/// Longest certificate chain, leaf included.
const MAX_CHAIN: usize = 4;

/// A payload with the signature over its DSSE encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// The canonical text that was signed.
    #[schemars(length(max = 262_144))]
    pub payload: String,
    /// ECDSA P-256 SHA-256 signature in ASN.1 form, base64.
    #[schemars(length(max = 256))]
    pub signature: String,
    /// DER certificates in base64, the leaf first.
    #[schemars(length(min = 1, max = 4), inner(length(max = 8192)))]
    pub certificates: Vec<String>,
}

/// Why a signature does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Larger than [`MAX_PAYLOAD`], or more than four certificates.
    #[error("signed payload or chain is too large")]
    Size,
    /// Not base64.
    #[error("`{0}` is not base64")]
    Base64(&'static str, #[source] base64::DecodeError),
    /// The trust roots are not PEM certificates.
    #[error("trust roots are not readable")]
    Roots,
    /// Not a certificate, or not one that chains to the roots at that time.
    #[error("certificate chain does not hold: {reason}")]
    Chain {
        /// What the verifier says.
        reason: String,
    },
    /// A certificate of somebody else.
    #[error("certificate names `{found}`, not `{expected}`")]
    Identity {
        /// Who it should be.
        expected: String,
        /// Who it is.
        found: String,
    },
    /// The signature is not this key's over this payload.
    #[error("signature does not match the payload")]
    Signature,
}

/// DSSE's pre-authentication encoding of a payload.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

// === impl Signed ===

impl Signed {
    /// Signs `payload` by `sign` (ECDSA P-256 SHA-256, ASN.1) under a chain of DER certificates, the leaf first.
    pub fn new<E>(payload_type: &str, payload: String, chain: &[Vec<u8>], sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        let signature = sign(&pre_authentication_encoding(payload_type, payload.as_bytes()))?;
        Ok(Self { payload, signature: BASE64.encode(signature), certificates: chain.iter().map(|der| BASE64.encode(der)).collect() })
    }

    /// Whether `identity` signed this payload, with a certificate that chains to `roots` (PEM) and was valid at `at`
    /// (milliseconds since the epoch).
    pub fn verify(&self, payload_type: &str, roots: &str, identity: &str, at: i64) -> Result<(), Error> {
        if self.payload.len() > MAX_PAYLOAD || self.certificates.len() > MAX_CHAIN || self.certificates.iter().any(|c| c.len() > 8192) {
            return Err(Error::Size);
        }
        let chain = self.certificates.iter().map(|text| decode("certificates", text).map(CertificateDer::from)).collect::<Result<Vec<_>, _>>()?;
        let signature = decode("signature", &self.signature)?;
        let roots = roots_of(roots)?;
        let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<TrustAnchor<'_>>, _>>().map_err(|_| Error::Roots)?;
        let (leaf, intermediates) = chain.split_first().ok_or(Error::Chain { reason: "no certificate".into() })?;
        let leaf = EndEntityCert::try_from(leaf).map_err(chain_error)?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(u64::try_from(at).unwrap_or(0)));
        leaf.verify_for_usage(&[ECDSA_P256_SHA256], &anchors, intermediates, at, KeyUsage::client_auth(), None, None).map_err(chain_error)?;
        let names: Vec<&str> = leaf.valid_dns_names().collect();
        if names != [identity] {
            return Err(Error::Identity { expected: identity.to_owned(), found: names.join(", ") });
        }
        let message = pre_authentication_encoding(payload_type, self.payload.as_bytes());
        leaf.verify_signature(ECDSA_P256_SHA256, &message, &signature).map_err(|_| Error::Signature)
    }
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    BASE64.decode(text).map_err(|source| Error::Base64(field, source))
}

fn roots_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let roots = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| Error::Roots)?;
    if roots.is_empty() { Err(Error::Roots) } else { Ok(roots) }
}

fn chain_error(error: impl std::fmt::Display) -> Error {
    Error::Chain { reason: error.to_string() }
}
