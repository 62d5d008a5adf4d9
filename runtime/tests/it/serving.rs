//! Webhook HTTPS: certificates change without a restart and without dropping a connection.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::workload::testing::Authority;
use assent_runtime::{CancellationToken, Limits};
use axum::Router;
use axum::routing::post;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;

const NAME: &str = "assent-gate.assent-system.svc";

fn authority() -> (String, String) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(directory: &Path, (certificate, key): &(String, String)) -> (PathBuf, PathBuf) {
    let paths = (directory.join("tls.crt"), directory.join("tls.key"));
    std::fs::write(&paths.1, key).unwrap();
    std::fs::write(&paths.0, certificate).unwrap();
    paths
}

async fn start(directory: &Path, mint: bool) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let args = ServingArgs {
        listen: "127.0.0.1:0".parse().unwrap(),
        serving_certificate_file: directory.join("tls.crt"),
        serving_key_file: directory.join("tls.key"),
        serving_mint: if mint { vec![NAME.to_owned()] } else { Vec::new() },
    };
    let (certificate, upkeep) = serving::certificate(&args).await.unwrap();
    let listener = TcpListener::bind(args.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = CancellationToken::new();
    let stop = token.clone();
    let task = tokio::spawn(async move {
        let router = Router::new().route("/echo", post(async |body: String| body));
        let limits = Limits { body_bytes: 1024, ..Limits::default() };
        tokio::select! {
            served = serving::serve(listener, &certificate, limits, router, stop) => served.unwrap(),
            () = upkeep => {}
        }
    });
    (address, token, task)
}

async fn connect(address: SocketAddr, ca: &str) -> std::io::Result<TlsStream<TcpStream>> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
}

/// Sends one request and returns the status line.
async fn echo(stream: &mut TlsStream<TcpStream>, body: &str) -> String {
    let request = format!("POST /echo HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") || (answer.starts_with(b"HTTP/1.1 200") && !answer.ends_with(body.as_bytes())) {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(answer).unwrap().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn minted_leaf_follows_the_mounted_authority_without_dropping_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (authority(), authority());
    write(directory.path(), &first);
    let (address, token, task) = start(directory.path(), true).await;
    let mut open = connect(address, &first.0).await.unwrap();
    assert_eq!(echo(&mut open, "one").await, "HTTP/1.1 200 OK");
    write(directory.path(), &second);
    let moved = async {
        while connect(address, &second.0).await.is_err() {
            // Files are looked at once a second.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.unwrap();
    assert!(connect(address, &first.0).await.is_err());
    assert_eq!(echo(&mut open, "two").await, "HTTP/1.1 200 OK", "the open connection was dropped");
    token.cancel();
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn serves_given_files_and_bounds_the_body() {
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    write(directory.path(), &(leaf.pem(), key.serialize_pem()));
    let (address, _token, task) = start(directory.path(), false).await;
    let mut stream = connect(address, &leaf.pem()).await.unwrap();
    assert_eq!(echo(&mut stream, "small").await, "HTTP/1.1 200 OK");
    assert_eq!(echo(&mut stream, &"x".repeat(2048)).await, "HTTP/1.1 413 Payload Too Large");
    task.abort();
}

#[test]
fn test_authorities_do_not_trust_each_other() {
    assert_ne!(Authority::new().pem(), Authority::new().pem());
}
