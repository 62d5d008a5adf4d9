//! Keys that are made at installation: the workload CA, and for each webhook a CA of its own that can vouch for that one
//! service name and nothing else. Nothing is read or written here.

use anyhow::Context as _;
use assent_api::names;
use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256,
};

/// The keys are replaced by a new installation, long before they expire.
const LIFE_YEARS: i64 = 10;

/// The intermediate that signs workloads, its key, and the root above it; the root's key is dropped. All PEM.
pub(super) struct WorkloadAuthority {
    pub(super) roots: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A webhook's CA. All PEM.
pub(super) struct WebhookAuthority {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) fn workload_authority(now: Timestamp, trust_domain: &str) -> anyhow::Result<WorkloadAuthority> {
    let authority = format!("{}.{trust_domain}", names::SYSTEM_NAMESPACE);
    let root = CertifiedIssuer::self_signed(params(now, &format!("root.identity.{authority}"), 1)?, key()?).context("sign the workload root")?;
    let issuer_key = key()?;
    let issuer = params(now, &format!("issuer.identity.{authority}"), 0)?.signed_by(&issuer_key, &root).context("sign the workload issuer")?;
    Ok(WorkloadAuthority { roots: root.pem(), certificate: issuer.pem(), key: issuer_key.serialize_pem() })
}

pub(super) fn webhook_authority(now: Timestamp, service: &str) -> anyhow::Result<WebhookAuthority> {
    let mut params = params(now, &format!("{service} webhook CA"), 0)?;
    let host = format!("{service}.{}.svc", names::SYSTEM_NAMESPACE);
    params.name_constraints = Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName(host)], excluded_subtrees: Vec::new() });
    let key = key()?;
    let certificate = params.self_signed(&key).with_context(|| format!("sign the CA of `{service}`"))?;
    Ok(WebhookAuthority { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// 256 random bits in hexadecimal.
pub(super) fn token() -> anyhow::Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).context("read random bytes")?;
    Ok(hex::encode(bytes))
}

fn key() -> anyhow::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("generate a key")
}

fn params(now: Timestamp, name: &str, intermediates: u8) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(intermediates));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let start = now.to_zoned(TimeZone::UTC).checked_sub(Span::new().minutes(1)).context("date of the certificates")?;
    let end = start.checked_add(Span::new().years(LIFE_YEARS)).context("date of the certificates")?;
    params.not_before = std::time::SystemTime::from(start.timestamp()).into();
    params.not_after = std::time::SystemTime::from(end.timestamp()).into();
    Ok(params)
}
