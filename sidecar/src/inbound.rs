//! Connections that come to the pod: mTLS from sidecars on our own port, and whatever was redirected here.
//!
//! What dials the inbound port itself must be mTLS with a transport header. What was meant for an application's port passes
//! unchanged, except TLS for our own name, which is ended here. No policy is enforced yet: peers are named, not judged.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assent_runtime::workload;
use assent_runtime::workload::resuming::{self, ResumingServer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::hello::{self, Hello};
use crate::metrics::Failure;
use crate::observe::flows::{Direction, Key};
use crate::origin::Origin;
use crate::prefixed::Prefixed;
use crate::proxy::{Proxy, Socket, refuse, relay_tcp, socket};
use crate::relay::relay;
use crate::transport::{self, Header, Kind};

/// The application is in the same network namespace.
const CONNECT: Duration = Duration::from_secs(1);
/// For handshake and header of a connection to our own port.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What the inbound listener needs beside the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) proxy: Proxy,
    pub(crate) origin: Origin,
    /// Offers our certificate and the transport header.
    pub(crate) tls: Arc<ResumingServer>,
    /// This listener's port.
    pub(crate) port: u16,
    /// Ports of the sidecar, which nobody reaches through it.
    pub(crate) forbidden: [u16; 3],
}

/// Why a connection was not served.
struct Refusal(Failure, io::Error);

// === impl Inbound ===

impl Inbound {
    /// Serves one accepted connection.
    pub(crate) async fn serve(self, client: TcpStream) {
        let address = match self.origin.of(&client) {
            Ok(address) => address,
            Err(error) => {
                tracing::warn!(%error, "the original destination of a connection is unknown");
                return refuse(client);
            }
        };
        if address.port() == self.port { self.direct(client, address).await } else { self.redirected(client, address).await }
    }

    /// From a sidecar: mTLS, then a header that names the port.
    async fn direct(self, mut client: TcpStream, address: SocketAddr) {
        let greeted = tokio::time::timeout(HANDSHAKE, hello::read(&mut client)).await;
        let taken = match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok((Hello::Tls { server_name: Some(name), transport: true }, taken)) if self.own(&name) => taken,
            Ok(_) => {
                self.proxy.count(Failure::Refused, &"no mutual tls for this workload", address);
                return refuse(client);
            }
            Err(error) => {
                self.proxy.count(Failure::Handshake, &error, address);
                return refuse(client);
            }
        };
        let socket = socket(&client);
        if let Err(Refusal(failure, error)) = self.terminate(Prefixed::new(taken, client), socket, address, None).await {
            self.proxy.count(failure, &error, address);
        }
    }

    /// For the application, from somebody who does not know of us; or from a sidecar that uses no header.
    async fn redirected(self, mut client: TcpStream, address: SocketAddr) {
        let port = address.port();
        let server = match self.proxy.connect(address, CONNECT).await {
            Ok(server) => server,
            Err(error) => {
                self.proxy.flows.connect_failed(key("", port));
                self.proxy.count(Failure::Connect, &error, address);
                return refuse(client);
            }
        };
        // Whoever speaks first decides; a server that greets is waited for by nobody. Errors show when the bytes are read.
        let (mut one, mut other) = ([0], [0]);
        let client_first = tokio::select! {
            biased;
            _ = client.peek(&mut one) => true,
            _ = server.peek(&mut other) => false,
        };
        let taken = if client_first {
            match hello::read(&mut client).await {
                Ok((Hello::Tls { server_name: Some(name), .. }, taken)) if self.own(&name) => {
                    let socket = socket(&client);
                    let ended = self.terminate(Prefixed::new(taken, client), socket, address, Some(server)).await;
                    if let Err(Refusal(failure, error)) = ended {
                        self.proxy.count(failure, &error, address);
                    }
                    return;
                }
                Ok((_, taken)) => taken,
                Err(error) => {
                    self.proxy.count(Failure::Broken, &error, address);
                    refuse(client);
                    return refuse(server);
                }
            }
        } else {
            Vec::new()
        };
        let tap = self.proxy.tap(key("", port), socket(&client), port);
        if let Err(error) = relay_tcp(client, taken, server, tap).await {
            tracing::debug!(destination = %address, %error, "an inbound connection broke");
        }
    }

    /// Ends mTLS and relays to the application: `server` when it is connected already, else where the header says.
    async fn terminate(&self, client: Prefixed<TcpStream>, socket: Socket, address: SocketAddr, server: Option<TcpStream>) -> Result<(), Refusal> {
        let handshake = |error| Refusal(Failure::Handshake, error);
        let config = self.tls.config().map_err(|error| handshake(io::Error::other(error)))?;
        let handshaking = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(client));
        let mut client = handshaking.await.map_err(|_| handshake(io::ErrorKind::TimedOut.into()))?.map_err(handshake)?;
        let session = client.get_ref().1;
        resuming::unexpired(session).map_err(|error| handshake(io::Error::other(error)))?;
        // The handshake, or the one that it resumes, has verified the chain; a client without a certificate has no name.
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let peer = leaf.map(workload::name).transpose().map_err(|error| handshake(io::Error::other(error)))?;
        let peer = peer.as_ref().map_or("", workload::Name::as_str).to_owned();
        let with_header = session.alpn_protocol() == Some(transport::ALPN);
        if !with_header {
            let Some(server) = server else {
                return Err(Refusal(Failure::Refused, io::Error::other("no transport header was offered")));
            };
            return self.forward(client, server, &peer, address.port(), socket).await;
        }
        let reading = tokio::time::timeout(HANDSHAKE, Header::read(&mut client));
        let header = reading.await.map_err(|_| handshake(io::ErrorKind::TimedOut.into()))?;
        let header = header.map_err(|error| handshake(io::Error::other(error)))?;
        let port = self.port_of(&header)?;
        let target = SocketAddr::new(address.ip(), port);
        let server = match self.proxy.connect(target, CONNECT).await {
            Ok(server) => server,
            Err(error) => {
                self.proxy.flows.connect_failed(key(&peer, port));
                // The peer sees a broken connection instead of an orderly empty answer.
                refuse_tls(client);
                return Err(Refusal(Failure::Connect, error));
            }
        };
        self.forward(client, server, &peer, port, socket).await
    }

    fn port_of(&self, header: &Header) -> Result<u16, Refusal> {
        let refused = |why: &str| Refusal(Failure::Refused, io::Error::other(why.to_owned()));
        if !header.name.is_empty() {
            return Err(refused("this sidecar is no gateway"));
        }
        // HTTP/1 over HTTP/2 would have to be translated back for the application.
        if matches!(header.session_protocol.as_ref().and_then(|protocol| protocol.kind.as_ref()), Some(Kind::Http2(_))) {
            return Err(refused("this sidecar does not translate http/2"));
        }
        let port = u16::try_from(header.port).ok().filter(|port| *port != 0);
        port.filter(|port| !self.forbidden.contains(port)).ok_or_else(|| refused("the header names no port of the application"))
    }

    async fn forward(&self, mut client: TlsStream<Prefixed<TcpStream>>, mut server: TcpStream, peer: &str, port: u16, socket: Socket) -> Result<(), Refusal> {
        let tap = self.proxy.tap(key(peer, port), socket, port);
        if let Err(error) = relay(&mut client, &mut server, tap).await {
            refuse_tls(client);
            refuse(server);
            return Err(Refusal(Failure::Broken, error));
        }
        Ok(())
    }

    fn own(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.proxy.workload.own_name().as_str())
    }
}

fn key(peer: &str, port: u16) -> Key {
    Key::new(Direction::Inbound, peer, &format!(":{port}"))
}

fn refuse_tls(client: TlsStream<Prefixed<TcpStream>>) {
    refuse(client.into_inner().0.into_inner());
}
