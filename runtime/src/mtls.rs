//! gRPC over mutual TLS: a server whose requests carry the verified peer, and a channel that talks
//! to exactly one identity and reconnects by itself. A connection ends when the certificate that
//! the peer showed expires. Who may call what is decided by the service, not here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server};
use x509_parser::prelude::FromDer as _;

use crate::accept::{self, Limits};
use crate::workload::{self, ClientAuth, Name, Workload};

const ALPN: &[&[u8]] = &[b"h2"];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20);
// Two watches per destination of a workload must fit, and one for each of its ports.
const MAX_STREAMS: u32 = 1024 + 128;
const MAX_HEADERS: u32 = 16 << 10;

/// Who is calling; an extension of every request of a server started with [`serve`].
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    /// Proven by the TLS handshake; `None` only under [`ClientAuth::Optional`].
    pub name: Option<Name>,
    /// The peer's socket.
    pub address: SocketAddr,
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS cannot be configured.
    #[error("configure mutual tls")]
    Tls(#[source] workload::Error),
    /// The transport failed.
    #[error("serve grpc")]
    Serve(#[source] tonic::transport::Error),
}

/// Serves gRPC until `token` is cancelled, then for at most `limits.drain` more. Messages are
/// limited to tonic's 4 MiB unless the service was built with another limit.
///
/// # Errors
/// See [`Error`].
pub async fn serve(
    listener: TcpListener,
    workload: &Workload,
    auth: ClientAuth,
    limits: Limits,
    routes: Routes,
    token: CancellationToken,
) -> Result<(), Error> {
    let config = workload.server_config(auth, ALPN).map_err(Error::Tls)?;
    let incoming = accept::incoming(listener, config, limits).map(|connection| Ok::<_, io::Error>(PeerStream::new(connection)));
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, token.clone().cancelled_owned());
    let overdue = async {
        token.cancelled().await;
        tokio::time::sleep(limits.drain).await;
    };
    tokio::select! {
        served = server => served.map_err(Error::Serve),
        // Streams that never end by themselves end here.
        () = overdue => Ok(()),
    }
}

/// A lazily connected channel to `expected` at `address` (`host:port`), presenting our certificate.
///
/// # Errors
/// If the address or the TLS configuration is unusable; connecting fails later, per call.
pub fn channel(workload: &Workload, address: &str, expected: &Name) -> Result<Channel, workload::Error> {
    connect(workload.client_config(expected, ALPN)?, address, expected)
}

/// As [`channel`], but shows no certificate: for the identity service, before we have one.
///
/// # Errors
/// As [`channel`].
pub fn anonymous_channel(workload: &Workload, address: &str, expected: &Name) -> Result<Channel, workload::Error> {
    connect(workload.anonymous_client_config(expected, ALPN)?, address, expected)
}

fn connect(config: Arc<ClientConfig>, address: &str, expected: &Name) -> Result<Channel, workload::Error> {
    let unusable = |_| workload::Error::Answer { reason: "an address is not host:port" };
    let server_name = ServerName::try_from(expected.to_string()).map_err(|_| workload::Error::Answer { reason: "a peer name is no dns name" })?;
    // The scheme only keeps tonic from adding TLS of its own; the connector below adds ours.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(unusable)?
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(CONNECT_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(MAX_HEADERS);
    let connector = TlsConnector::from(config);
    let address: Arc<str> = address.into();
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
        let (connector, server_name, address) = (connector.clone(), server_name.clone(), address.clone());
        async move {
            let dial = async {
                let stream = TcpStream::connect(&*address).await?;
                stream.set_nodelay(true)?;
                connector.connect(server_name, stream).await
            };
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, dial).await.map_err(io::Error::from)??;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    })))
}

// === impl PeerIdentity ===

impl PeerIdentity {
    /// The peer of a request.
    ///
    /// # Errors
    /// `Unauthenticated` if the request did not come through [`serve`].
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, tonic::Status> {
        request.extensions().get().ok_or_else(|| tonic::Status::unauthenticated("the peer is unknown"))
    }

    /// The proven name.
    ///
    /// # Errors
    /// `Unauthenticated` if the peer showed no certificate.
    pub fn name(&self) -> Result<&Name, tonic::Status> {
        self.name.as_ref().ok_or_else(|| tonic::Status::unauthenticated("a workload certificate is required"))
    }
}

/// A TLS stream that knows its peer and ends with the peer's certificate.
#[derive(Debug)]
struct PeerStream {
    stream: TlsStream<TcpStream>,
    peer: PeerIdentity,
    expiry: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

// === impl PeerStream ===

impl PeerStream {
    fn new(connection: accept::Connection) -> Self {
        let accept::Connection { stream, address, permit } = connection;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        // The handshake verified chain and name; a leaf without a name does not get here.
        let name = leaf.and_then(|leaf| workload::name(leaf).ok());
        let expiry = leaf.and_then(|leaf| {
            let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(leaf).ok()?;
            let end = u64::try_from(leaf.validity().not_after.timestamp()).ok()?;
            let left = (SystemTime::UNIX_EPOCH + Duration::from_secs(end)).duration_since(SystemTime::now());
            Some(Box::pin(tokio::time::sleep(left.unwrap_or_default())))
        });
        Self { peer: PeerIdentity { name, address }, stream, expiry, _permit: permit }
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(expiry) = &mut self.expiry
            && expiry.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer's certificate has expired")));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
