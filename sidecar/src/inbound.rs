//! Connections that come to the pod: mTLS from sidecars on our own port, and whatever was redirected here.
//!
//! What dials the inbound port itself must be mTLS with a transport header. What was meant for an application's port passes
//! unchanged, except TLS for our own name, which is ended here. Whoever may not connect is refused before the application
//! sees anything of it; the policy itself is `policy`'s business.
//!
//! A header may announce HTTP/2; it passes like everything else, unless its requests were HTTP/1 before the peer's proxy made
//! HTTP/2 of them, which is `orig_proto`'s business.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use assent_runtime::workload::resuming::{self, ResumingServer};
use assent_runtime::workload::{self, Usage};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::failures::Cause;
use crate::hello::{self, Hello};
use crate::journey::{Journey, Leg};
use crate::metrics::Failure;
use crate::newcomers::Newcomer;
use crate::observe::flows::{Direction, Key};
use crate::orig_proto;
use crate::origin::Origin;
use crate::policy::{Client, Lease, Peer, Policies, Revoked};
use crate::prefixed::Prefixed;
use crate::proxy::{Proxy, Socket, refuse, relay_tcp_until, socket};
use crate::relay::relay_until;
use crate::transport::{self, Header};
use crate::vouched::Held;

/// The application is in the same network namespace.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
/// For handshake and header of a connection to our own port.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What the inbound listener needs beside the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) proxy: Proxy,
    pub(crate) policies: Arc<Policies>,
    pub(crate) origin: Origin,
    /// Offers our certificate and the transport header.
    pub(crate) tls: Arc<ResumingServer>,
    /// This listener's port.
    pub(crate) port: u16,
    /// Ports of the sidecar, which nobody reaches through it.
    pub(crate) forbidden: [u16; 3],
}

/// How a connection that turned out to be mTLS for us has come.
enum Arrival {
    /// To our own port.
    Direct,
    /// To a port of the application, which is connected already unless nobody may come there in plain.
    Redirected(Option<TcpStream>),
}

/// A connection whose mTLS has ended here, with the application connected behind it.
struct Accepted {
    client: Box<TlsStream<Prefixed<TcpStream>>>,
    server: TcpStream,
    peer: String,
    port: u16,
    lease: Lease,
    held: Held,
    /// HTTP/2 was announced.
    http2: bool,
}

/// Why a connection was not served.
struct Refusal(Failure, io::Error);

// === impl Inbound ===

impl Inbound {
    /// Serves one accepted connection.
    pub(crate) async fn serve(mut self, client: TcpStream, newcomer: Newcomer) {
        self.proxy.journey = Journey::begin(Direction::Inbound);
        let address = match self.origin.of(&client) {
            Ok(address) => address,
            Err(error) => {
                self.proxy.counters.causes.count(Direction::Inbound, Cause::NO_DESTINATION);
                tracing::warn!(%error, "the original destination of a connection is unknown");
                return refuse(client);
            }
        };
        if address.port() == self.port { self.direct(client, address, newcomer).await } else { self.redirected(client, address, newcomer).await }
    }

    /// From a sidecar: mTLS, then a header that names the port.
    async fn direct(self, mut client: TcpStream, address: SocketAddr, newcomer: Newcomer) {
        let mut newcomer = Some(newcomer);
        let taken = match greeting(&mut client, &mut newcomer).await {
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
        self.terminated(taken, client, address, Arrival::Direct, newcomer).await;
    }

    /// For the application, from somebody who does not know of us; or from a sidecar that uses no header.
    async fn redirected(self, mut client: TcpStream, address: SocketAddr, newcomer: Newcomer) {
        let port = address.port();
        let Some((_, remote)) = socket(&client) else { return refuse(client) };
        let plain = Client { peer: Peer::Plain, address: remote.ip() };
        // Where nobody may come in plain, the application hears of a client only after that has proven who it is.
        let server = if self.policies.permits(&plain, port) {
            match self.application(address, "").await {
                Some(server) => Some(server),
                None => return refuse(client),
            }
        } else {
            None
        };
        // What the application may be reached with at once is as good as any connection to it.
        let mut newcomer = server.is_none().then_some(newcomer);
        let greeted = match &server {
            // Whoever speaks first decides; a server that greets is waited for by nobody.
            Some(server) if !client_first(&client, server).await => Ok((Hello::Other, Vec::new())),
            Some(_) => hello::read(&mut client).await,
            None => greeting(&mut client, &mut newcomer).await,
        };
        let taken = match greeted {
            Ok((Hello::Tls { server_name: Some(name), .. }, taken)) if self.own(&name) => {
                return self.terminated(taken, client, address, Arrival::Redirected(server), newcomer).await;
            }
            Ok((_, taken)) => taken,
            Err(error) => {
                match server {
                    Some(server) => refuse(server),
                    // Who has proven nothing by now is refused as one who cannot.
                    None if error.kind() == io::ErrorKind::TimedOut => drop(self.policies.admit(plain, port)),
                    None => {}
                }
                self.proxy.count(Failure::Broken, &error, address);
                return refuse(client);
            }
        };
        let Some(mut lease) = self.policies.admit(plain, port) else {
            if let Some(server) = server {
                refuse(server);
            }
            return refuse(client);
        };
        let server = match server {
            Some(server) => server,
            None => match self.application(address, "").await {
                Some(server) => server,
                None => return refuse(client),
            },
        };
        lease.connected();
        let tap = self.proxy.tap(key("", port), socket(&client), port);
        if let Err(error) = relay_tcp_until(client, taken, server, tap, lease).await
            && !Revoked::is(&error)
        {
            self.proxy.count(Failure::Broken, &error, address);
        }
    }

    /// The application at `address`, or none and the failure of `peer`'s connection is counted.
    async fn application(&self, address: SocketAddr, peer: &str) -> Option<TcpStream> {
        match self.proxy.connect(address, CONNECT).await {
            Ok(server) => Some(server),
            Err(error) => {
                self.proxy.flows.connect_failed(key(peer, address.port()));
                self.proxy.count(Failure::Connect, &error, address);
                None
            }
        }
    }

    /// Ends mTLS and relays to the application.
    async fn terminated(&self, taken: Vec<u8>, client: TcpStream, address: SocketAddr, arrival: Arrival, mut newcomer: Option<Newcomer>) {
        let Some(socket) = socket(&client) else { return refuse(client) };
        // What a handshake needs goes with it instead of staying for the life of the connection.
        let accepting = Box::pin(self.accept(Prefixed::new(taken, client), socket.1.ip(), address, arrival));
        let accepted = tokio::select! {
            biased;
            accepted = accepting => accepted,
            () = displaced(&mut newcomer) => Err(Refusal(Failure::Handshake, io::Error::other("newer handshakes need the place"))),
        };
        drop(newcomer);
        let ended = match accepted {
            Ok(Some(accepted)) => self.forward(accepted, Some(socket)).await,
            Ok(None) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        if let Err(Refusal(failure, error)) = ended {
            self.proxy.count(failure, &error, address);
        }
    }

    /// Ends mTLS and connects the application: where the connection was going, or where its header says. Nothing if that was
    /// refused and counted.
    async fn accept(&self, client: Prefixed<TcpStream>, from: IpAddr, address: SocketAddr, arrival: Arrival) -> Result<Option<Accepted>, Refusal> {
        self.proxy.journey.enter(Leg::Handshake);
        let handshake = |error| Refusal(Failure::Handshake, error);
        let config = self.tls.config().map_err(|error| handshake(io::Error::other(error)))?;
        let handshaking = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(client));
        let mut client = handshaking.await.map_err(|_| handshake(io::ErrorKind::TimedOut.into()))?.map_err(handshake)?;
        let session = client.get_ref().1;
        resuming::unexpired(session).map_err(|error| handshake(io::Error::other(error)))?;
        // The handshake, or the one that it resumes, has verified the chain; a client without a certificate has no name.
        let held = self.proxy.vouched.hold(session.peer_certificates(), Usage::Client).map_err(handshake)?;
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let peer = leaf.map(workload::name).transpose().map_err(|error| handshake(io::Error::other(error)))?;
        let with_header = session.alpn_protocol() == Some(transport::ALPN);
        let (port, server, http2) = match arrival {
            Arrival::Direct if !with_header => return Err(Refusal(Failure::Refused, io::Error::other("no transport header was offered"))),
            Arrival::Redirected(server) if !with_header => (address.port(), server, false),
            Arrival::Direct | Arrival::Redirected(_) => {
                let reading = tokio::time::timeout(HANDSHAKE, Header::read(&mut client));
                let header = reading.await.map_err(|_| handshake(io::ErrorKind::TimedOut.into()))?;
                let header = header.map_err(|error| handshake(io::Error::other(error)))?;
                (self.port_of(&header)?, None, header.http2())
            }
        };
        let name = peer.as_ref().map_or("", workload::Name::as_str).to_owned();
        self.proxy.journey.with(&name);
        let judged = Client { peer: peer.map_or(Peer::Anonymous, Peer::Named), address: from };
        let Some(mut lease) = self.policies.admit(judged, port) else {
            refuse_tls(client);
            return Ok(None);
        };
        let server = match server {
            Some(server) => server,
            None => match self.application(SocketAddr::new(address.ip(), port), &name).await {
                Some(server) => server,
                // The peer sees a broken connection instead of an orderly empty answer.
                None => {
                    refuse_tls(client);
                    return Ok(None);
                }
            },
        };
        lease.connected();
        Ok(Some(Accepted { client: Box::new(client), server, peer: name, port, lease, held, http2 }))
    }

    fn port_of(&self, header: &Header) -> Result<u16, Refusal> {
        let refused = |why: &str| Refusal(Failure::Refused, io::Error::other(why.to_owned()));
        if !header.name.is_empty() {
            return Err(refused("this sidecar is no gateway"));
        }
        let port = u16::try_from(header.port).ok().filter(|port| *port != 0);
        port.filter(|port| !self.forbidden.contains(port)).ok_or_else(|| refused("the header names no port of the application"))
    }

    async fn forward(&self, accepted: Accepted, socket: Socket) -> Result<(), Refusal> {
        if accepted.http2 {
            // Few connections are of this kind, and the others must not be as large as it.
            return Box::pin(self.forward_http2(accepted, socket)).await;
        }
        let Accepted { mut client, mut server, peer, port, lease, held, .. } = accepted;
        let tap = self.proxy.tap(key(&peer, port), socket, port).until(held.ending());
        if let Err(error) = relay_until(&mut client, &mut server, tap, over(lease, held)).await {
            refuse_tls(*client);
            refuse(server);
            // One that was cut is counted as that already.
            if !Revoked::is(&error) {
                return Err(Refusal(Failure::Broken, error));
            }
        }
        Ok(())
    }

    async fn forward_http2(&self, accepted: Accepted, socket: Socket) -> Result<(), Refusal> {
        let Accepted { mut client, mut server, peer, port, lease, held, .. } = accepted;
        let ending = held.ending();
        let mut over = pin!(over(lease, held));
        let told = tokio::select! {
            biased;
            error = &mut over => Err(error),
            told = orig_proto::kind(&mut client) => told,
        };
        let tap = || self.proxy.tap(key(&peer, port), socket, port).until(ending.clone());
        let served = match told {
            Err(error) => {
                refuse_tls(*client);
                refuse(server);
                Err(error)
            }
            Ok((orig_proto::Kind::Translated, taken)) => {
                let address = server.peer_addr().map_err(|error| Refusal(Failure::Broken, error))?;
                orig_proto::serve(Prefixed::new(taken, client), server, self.proxy.clone(), address, tap(), over).await
            }
            Ok((orig_proto::Kind::Native, taken)) => {
                let mut client = Prefixed::new(taken, client);
                let relayed = relay_until(&mut client, &mut server, tap(), over).await;
                if relayed.is_err() {
                    refuse_tls(*client.into_inner());
                    refuse(server);
                }
                relayed.map(drop)
            }
        };
        // One that was cut is counted as that already.
        served.or_else(|error| if Revoked::is(&error) { Ok(()) } else { Err(Refusal(Failure::Broken, error)) })
    }

    fn own(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.proxy.workload.own_name().as_str())
    }
}

fn key(peer: &str, port: u16) -> Key {
    Key::new(Direction::Inbound, peer, &format!(":{port}"))
}

/// Whichever comes first of what may end a connection.
async fn over(mut lease: Lease, mut held: Held) -> io::Error {
    tokio::select! {
        biased;
        error = &mut lease => error,
        error = &mut held => error,
    }
}

/// A client's first bytes, for as long as a handshake may take and as nobody newer needs its place.
async fn greeting(client: &mut TcpStream, newcomer: &mut Option<Newcomer>) -> io::Result<(Hello, Vec<u8>)> {
    tokio::select! {
        biased;
        greeted = tokio::time::timeout(HANDSHAKE, hello::read(client)) => greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = displaced(newcomer) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn displaced(newcomer: &mut Option<Newcomer>) {
    match newcomer {
        Some(newcomer) => newcomer.displaced().await,
        None => std::future::pending().await,
    }
}

/// Whether the client speaks first. Errors show when the bytes are read.
async fn client_first(client: &TcpStream, server: &TcpStream) -> bool {
    let (mut one, mut other) = ([0], [0]);
    tokio::select! {
        biased;
        _ = client.peek(&mut one) => true,
        _ = server.peek(&mut other) => false,
    }
}

fn refuse_tls(client: TlsStream<Prefixed<TcpStream>>) {
    refuse(client.into_inner().0.into_inner());
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::newcomers::Newcomers;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_heard_as_long_as_a_handshake_takes_or_until_another_needs_the_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut client, _) = listener.accept().await.unwrap();
        let start = Instant::now();
        let newcomers = Newcomers::of(4);
        let mut newcomer = Some(newcomers.enter().await);
        assert_eq!(greeting(&mut client, &mut newcomer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), HANDSHAKE);

        drop(newcomer.take());
        let mut newcomer = Some(newcomers.enter().await);
        let (greeted, _next) = tokio::join!(greeting(&mut client, &mut newcomer), newcomers.enter());
        assert_eq!(greeted.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < HANDSHAKE * 2);
        drop(silent);
    }
}
