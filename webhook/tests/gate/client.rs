//! What the API server is to the gate: a client over kept connections that trusts the CA of the webhook configuration.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const NAME: &str = "localhost";

/// A certificate authority.
pub(super) struct Authority {
    certificate: String,
    key: KeyPair,
}

/// One kept connection.
pub(super) struct Client {
    requests: SendRequest<Full<Bytes>>,
    /// The certificate that was served when it connected.
    pub(super) served: CertificateDer<'static>,
}

// === impl Authority ===

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params().self_signed(&key).unwrap().pem();
        Self { certificate, key }
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Writes the authority itself, to be minted from.
    pub(super) fn write(&self, files: &Path) {
        put(files, &self.certificate, &self.key);
    }

    /// Writes a fresh leaf with its key; returns the leaf.
    pub(super) fn write_leaf(&self, files: &Path) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(params(), &self.key);
        let leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        put(files, &leaf.pem(), &key);
        leaf.der().clone()
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn put(files: &Path, certificate: &str, key: &KeyPair) {
    std::fs::write(files.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(files.join("tls.crt"), certificate).unwrap();
}

/// Trusts what lies in `tls.crt`.
pub(super) fn roots(files: &Path) -> RootCertStore {
    trusting(&[&std::fs::read_to_string(files.join("tls.crt")).unwrap()])
}

pub(super) fn trusting(authorities: &[&str]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    roots
}

// === impl Client ===

impl Client {
    pub(super) async fn connect(address: SocketAddr, roots: &RootCertStore) -> anyhow::Result<Self> {
        let stream = stream(address, roots).await?;
        let served = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the connection; a failure is seen by the request that it fails.
        tokio::spawn(connection);
        Ok(Self { requests, served: served.unwrap() })
    }

    /// Status and answer of one review.
    pub(super) async fn post(&mut self, body: impl Into<Bytes>) -> anyhow::Result<(u16, Value)> {
        self.requests.ready().await?;
        let request = http::Request::post("/admit").header("host", NAME).header("content-type", "application/json");
        let response = self.requests.send_request(request.body(Full::new(body.into()))?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body)?))
    }
}

/// A connection past its handshake.
pub(super) async fn stream(address: SocketAddr, roots: &RootCertStore) -> anyhow::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots.clone()).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME)?, TcpStream::connect(address).await?).await?)
}

/// A plain read, of the admin port.
pub(super) async fn get(address: SocketAddr, path: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", NAME).body(Full::new(Bytes::new())).unwrap();
    let body = requests.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
