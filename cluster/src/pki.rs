//! Keys and certificates of one cluster: a certificate authority and what it signs.
//!
//! Everything is P-256 and made in memory in milliseconds; nothing here outlives the cluster's directory. This is the
//! cluster's own authority and has nothing to do with workload identity, which another crate issues.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::error::{Error, Result};

/// How many groups a client certificate of ours can carry; `system:authenticated` comes on top.
const MAX_GROUPS: usize = 2;

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate authority: its certificate and signing key.
pub(crate) struct Authority {
    name: String,
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

// === impl Authority ===

impl Authority {
    /// A new self-signed authority.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let failed = |source| Error::Certificate { name: name.to_owned(), source };
        let mut params = validity(CertificateParams::default());
        params.distinguished_name = subject(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = key.serialize_pem();
        let certificate = CertifiedIssuer::self_signed(params, key).map_err(failed)?.pem();
        Self::from_pair(name, Pair { certificate, key: pem })
    }

    /// The authority whose certificate and key were written before, by [`Pair::write`].
    pub(crate) fn read(dir: &Path, name: &str) -> Result<Self> {
        let text = |suffix: &str| {
            let path = dir.join(format!("{name}.{suffix}"));
            fs::read_to_string(&path).map_err(Error::file("read", path))
        };
        Self::from_pair(name, Pair { certificate: text("crt")?, key: text("key")? })
    }

    fn from_pair(name: &str, pair: Pair) -> Result<Self> {
        let failed = |source| Error::Certificate { name: name.to_owned(), source };
        let key = KeyPair::from_pem(&pair.key).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key).map_err(failed)?;
        Ok(Self { name: name.to_owned(), pair, issuer })
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.pair.certificate
    }

    /// Writes `NAME.crt` and `NAME.key` of the authority into `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        self.pair.write(dir, &self.name)
    }

    /// A certificate for `name` in `organizations` (for a Kubernetes client: user and groups), valid for TLS in both
    /// roles, with `addresses` (DNS names or IP addresses) as its subject alternative names.
    pub(crate) fn issue(&self, name: &str, organizations: &[&str], addresses: &[String]) -> Result<Pair> {
        if organizations.len() > MAX_GROUPS {
            return Err(Error::Groups { name: name.to_owned(), given: organizations.len(), max: MAX_GROUPS });
        }
        let failed = |source| Error::Certificate { name: name.to_owned(), source };
        let mut params = validity(CertificateParams::new(addresses.to_vec()).map_err(failed)?);
        params.distinguished_name = subject(name, organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

impl Pair {
    /// Writes `NAME.crt` and `NAME.key` (readable by the owner only) into `dir`.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> Result<()> {
        write_private(&dir.join(format!("{name}.crt")), &self.certificate)?;
        write_private(&dir.join(format!("{name}.key")), &self.key)
    }
}

/// Writes a fresh key pair without a certificate, as `NAME.key` and `NAME.pub`: for service account tokens.
pub(crate) fn write_bare_key(dir: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate().map_err(|source| Error::Certificate { name: name.to_owned(), source })?;
    write_private(&dir.join(format!("{name}.pub")), &key.public_key_pem())?;
    write_private(&dir.join(format!("{name}.key")), &key.serialize_pem())
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(Error::file("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::file("write", path))
}

fn subject(name: &str, organizations: &[&str]) -> DistinguishedName {
    // The library keeps one value per attribute type; spelling the organisation's OID out makes room for a second.
    let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    for (attribute, organization) in types.into_iter().zip(organizations) {
        subject.push(attribute, *organization);
    }
    subject
}

/// Long fixed bounds: a test machine's clock may be off, and the authority dies with its cluster.
fn validity(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}
