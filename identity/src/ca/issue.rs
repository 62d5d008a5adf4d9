//! Root, issuer and leaf. A leaf is built from nothing but the requester's public key and the name
//! that was proven for it; no extension of the request is copied. The root's key is dropped as soon
//! as the issuer is signed.

use std::time::{Duration, SystemTime};

use assent_runtime::workload::{Name, pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer as _;

use super::{Examined, Refusal};

const SEAT_LIFE: Duration = Duration::from_secs(3600);
const CLOCK_SKEW: Duration = Duration::from_secs(10);
// The root's key is gone, so the issuer cannot outlive a rotation of both; ten years are the
// distance to that rotation, not a period during which the key is used elsewhere.
const ISSUER_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const SEAT_PREFIX: &str = "assent-";

/// First and last second of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: SystemTime,
    /// Last second.
    pub not_after: SystemTime,
}

/// The intermediate that signs leaves, and its key.
#[derive(Debug)]
pub struct Issuer {
    // Debug of a KeyPair hides the private half.
    issuer: rcgen::Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
}

/// Root, issuer and issuer key in PEM: what the Secret holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// Trusted roots, one or more.
    pub bundle: String,
    /// The issuer's certificate.
    pub certificate: String,
    /// The issuer's key, PKCS#8.
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request may not have it.
    #[error("refuse request")]
    Refused(#[source] Refusal),
    /// The cryptographic library failed.
    #[error("sign certificate")]
    Sign(#[source] rcgen::Error),
    /// Stored issuer material is unreadable.
    #[error("read issuer: {reason}")]
    Material {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// How long a leaf for `name` lives: `life`, but at most an hour for the seats, whose signatures weigh more.
pub fn validity(name: &Name, life: Duration, now: SystemTime) -> Validity {
    let (control, _) = name.authority().split_once('.').unwrap_or_default();
    let seat = name.namespace() == control && name.account().starts_with(SEAT_PREFIX);
    let life = if seat { SEAT_LIFE.min(life) } else { life };
    Validity { not_before: now - CLOCK_SKEW, not_after: now + life + CLOCK_SKEW }
}

/// A new root and an issuer under it. The root's key does not leave this function.
///
/// # Errors
/// [`Error::Sign`].
pub fn create(authority: &str, now: SystemTime) -> Result<Material, Error> {
    let params = |kind: &str, constraint| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{kind}.identity.{authority}"));
        params.is_ca = IsCa::Ca(constraint);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + ISSUER_LIFE).into();
        params
    };
    let generate = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Sign);
    let root = rcgen::CertifiedIssuer::self_signed(params("root", BasicConstraints::Constrained(1)), generate()?).map_err(Error::Sign)?;
    let key = generate()?;
    let issuer = params("issuer", BasicConstraints::Constrained(0)).signed_by(&key, &root).map_err(Error::Sign)?;
    Ok(Material { bundle: pem(root.der()), certificate: pem(issuer.der()), key: key.serialize_pem() })
}

// === impl Issuer ===

impl Issuer {
    /// An issuer from stored material.
    ///
    /// # Errors
    /// [`Error::Material`] if it is unreadable, [`Error::Sign`] if the key is not P-256.
    pub fn load(material: &Material) -> Result<Self, Error> {
        let unreadable = |reason| move |_| Error::Material { reason };
        let certificate = CertificateDer::from_pem_slice(material.certificate.as_bytes()).map_err(unreadable("the certificate is not pem"))?;
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(&material.key, &PKCS_ECDSA_P256_SHA256).map_err(Error::Sign)?;
        let (_, parsed) =
            x509_parser::certificate::X509Certificate::from_der(&certificate).map_err(|_| Error::Material { reason: "the certificate is not der" })?;
        if parsed.public_key().subject_public_key.data.as_ref() != rcgen::PublicKeyData::der_bytes(&key) {
            return Err(Error::Material { reason: "certificate and key do not belong together" });
        }
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        let issuer = rcgen::Issuer::from_ca_cert_der(&certificate, key).map_err(Error::Sign)?;
        Ok(Self { issuer, certificate, not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) })
    }

    /// The issuer's own certificate, the intermediate of every leaf.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The last second of the issuer; no leaf lives longer.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Signs a leaf for the key of `request` under `proven`, the name derived from its token.
    ///
    /// # Errors
    /// [`Error::Refused`] if another name was asked for or the key is not P-256.
    pub fn sign(&self, request: &Examined, proven: &Name, validity: Validity, serial: [u8; 16]) -> Result<CertificateDer<'static>, Error> {
        if request.identity != proven.as_str() {
            let text = format!("requested identity did not match the token: `{}`", proven.as_str());
            return Err(Error::Refused(Refusal::Denied(text)));
        }
        let key = request.key().map_err(Error::Refused)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name(proven));
        let name = proven.as_str().try_into().map_err(Error::Sign)?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&positive(serial)));
        params.not_before = validity.not_before.into();
        params.not_after = validity.not_after.min(self.not_after).into();
        let leaf = params.signed_by(&key, &self.issuer).map_err(Error::Sign)?;
        Ok(leaf.der().clone())
    }
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// X.520 caps a common name at 64 characters; the alternative name is what counts.
fn common_name(name: &Name) -> String {
    if name.as_str().len() <= 64 { name.to_string() } else { String::from(name.account()) }
}

/// A serial number is a positive integer: no sign bit, and no leading zero that DER would drop.
fn positive(mut serial: [u8; 16]) -> [u8; 16] {
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}
