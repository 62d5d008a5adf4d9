//! TLS 1.3 configurations over a workload's identity: our certificate is looked up at every
//! handshake and the peer's chain is checked against the roots of that moment, so neither renewal
//! nor root rotation needs a restart. Session resumption is off: a resumed session would skip both
//! checks; `resuming` is where it is on, and what holds it in bounds. It opens no sockets.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Error, Name, TrustBundle, Usage, Workload};

/// Whether a client must show a certificate. One that is shown must always be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A connection without a workload certificate is refused in the handshake.
    Required,
    /// A connection without a certificate is served, with no peer name.
    Optional,
}

/// The workload name in a certificate that was verified already.
///
/// # Errors
/// If it does not carry exactly one DNS name, or that is no workload name.
pub fn name(leaf: &CertificateDer<'_>) -> Result<Name, Error> {
    let parsed = webpki::EndEntityCert::try_from(leaf).map_err(Error::Leaf)?;
    let mut names = parsed.valid_dns_names();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(Error::Answer { reason: "a certificate does not carry exactly one dns name" });
    };
    name.parse().map_err(Error::Name)
}

/// AES-128 with SHA-256 first: each handshake derives a dozen keys, and processors have instructions for SHA-256.
fn provider() -> CryptoProvider {
    let all = aws_lc_rs::default_provider();
    let mut cipher_suites = all.cipher_suites;
    cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    CryptoProvider { cipher_suites, ..all }
}

pub(super) fn server(workload: &Workload, auth: ClientAuth, alpn: &[&[u8]]) -> Result<ServerConfig, Error> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(Verifier::new(workload.trust().clone(), Expected::Mesh(workload.own_name().clone()), auth, &provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Resolver(workload.clone())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// `ours` is the identity to present; `None` stays anonymous.
pub(super) fn client(trust: &TrustBundle, ours: Option<&Workload>, expected: &Name, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(Verifier::new(trust.clone(), Expected::Peer(expected.clone()), ClientAuth::Required, &provider));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match ours {
        Some(workload) => builder.with_client_cert_resolver(Arc::new(Resolver(workload.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Presents whatever certificate the workload has at the time of the handshake.
#[derive(Debug)]
struct Resolver(Workload);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current()?.tls())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current()?.tls())
    }

    fn has_certs(&self) -> bool {
        self.0.current().is_some()
    }
}

/// Whom a peer may be.
#[derive(Debug)]
enum Expected {
    /// Exactly this.
    Peer(Name),
    /// Anybody under the authority of this name: a root that vouches for several meshes joins none of them.
    Mesh(Name),
}

/// Checks the peer's chain against the roots of the moment, and its one name.
#[derive(Debug)]
struct Verifier {
    trust: TrustBundle,
    expected: Expected,
    auth: ClientAuth,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(trust: TrustBundle, expected: Expected, auth: ClientAuth, provider: &CryptoProvider) -> Self {
        Self { trust, expected, auth, algorithms: provider.signature_verification_algorithms }
    }

    fn verify(&self, chain: (&CertificateDer<'_>, &[CertificateDer<'_>]), usage: Usage, now: UnixTime) -> Result<(), rustls::Error> {
        let refused = |error: Error| rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))));
        let _root = self.trust.current().verify(chain.0, chain.1, usage, now).map_err(|error| refused(Error::Trust(error)))?;
        let found = name(chain.0).map_err(refused)?;
        match &self.expected {
            Expected::Peer(expected) if *expected != found => Err(refused(Error::Peer { expected: expected.clone(), found })),
            Expected::Mesh(own) if own.authority() != found.authority() => Err(refused(Error::Mesh { own: own.clone(), found })),
            _ => Ok(()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify((leaf, intermediates), Usage::Server, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth == ClientAuth::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints are optional, and these roots may change before the client reads them.
        &[]
    }

    fn verify_client_cert(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, rustls::Error> {
        self.verify((leaf, intermediates), Usage::Client, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn no_tls12() -> rustls::Error {
    rustls::Error::General("only tls 1.3 is spoken here".to_owned())
}
