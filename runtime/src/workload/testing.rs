//! A certificate authority in memory, for tests of anything that speaks mutual TLS. It checks
//! nothing before it signs and must never be part of a release build (feature `test-util`).
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

pub mod linkerd;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use super::{Certified, Name, Roots, TrustBundle, Workload, request};

/// Publishes the certificates of a [`Workload`].
pub type Certificates = watch::Sender<Option<Arc<Certified>>>;

/// A root that signs workload certificates directly.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new root of its own.
    #[expect(clippy::new_without_default, reason = "every call makes another authority")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = KeyPair::generate().unwrap();
        // Distinct subjects, so that a chain to another test root fails for its signature or its name.
        params.distinguished_name.push(DnType::CommonName, format!("test root {:x?}", &key.public_key_raw()[1..9]));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// The root certificate in PEM.
    pub fn pem(&self) -> String {
        super::pem(self.0.der())
    }

    /// A trust bundle of this root alone.
    pub fn roots(&self) -> Roots {
        Roots::parse(self.pem().as_bytes()).unwrap()
    }

    /// A leaf for the public key of `key`, valid from ten seconds ago for `life`.
    pub fn sign(&self, name: &Name, key: &impl rcgen::PublicKeyData, life: Duration) -> CertificateDer<'static> {
        self.sign_until(name, key, SystemTime::now() + life)
    }

    fn sign_until(&self, name: &Name, key: &impl rcgen::PublicKeyData, not_after: SystemTime) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = (SystemTime::now() - Duration::from_secs(10)).into();
        params.not_after = not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(key, &self.0).unwrap().der().clone()
    }

    /// Key and certificate for `name`.
    pub fn certify(&self, name: &Name, life: Duration) -> Certified {
        self.certify_until(name, SystemTime::now() + life)
    }

    /// As [`Self::certify`], valid from ten seconds ago until `not_after`, which may be past.
    pub fn certify_until(&self, name: &Name, not_after: SystemTime) -> Certified {
        let (key, _) = request(name).unwrap();
        let leaf = self.sign_until(name, &key, not_after);
        Certified::new(key, vec![leaf]).unwrap()
    }

    /// An identity certified for an hour that trusts this root, in `assent-system.cluster.local`.
    pub fn workload(&self, namespace: &str, account: &str) -> Workload {
        self.renewable(namespace, account).0
    }

    /// As [`Self::workload`], with the senders of later certificates and roots.
    pub fn renewable(&self, namespace: &str, account: &str) -> (Workload, Certificates, watch::Sender<Arc<Roots>>) {
        crate::kube::install_crypto_provider();
        let name = Name::new(namespace, account, "assent-system", "cluster.local").unwrap();
        let (trust, roots) = TrustBundle::supplied(self.roots());
        let (workload, certificates) = Workload::supplied(name.clone(), trust);
        certificates.send_replace(Some(Arc::new(self.certify(&name, Duration::from_secs(3600)))));
        (workload, certificates, roots)
    }
}
