//! Connections that the application opens: find out who is there, and speak mTLS to those who can.
//!
//! A peer that discovery knows as meshed is reached by mTLS as exactly that identity or not at all; everybody else, and
//! everybody while discovery is silent, is reached as the application meant it. Of a service, other endpoints are tried
//! before a connection fails; requests are not routed or retried.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use assent_runtime::workload::{Name, Usage, resuming};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::directory::pool::{Cause, Endpoint, Lease, Peer, Pool};
use crate::directory::{Route, random};
use crate::failures::Cause as Why;
use crate::journey::{Journey, Leg};
use crate::metrics::Failure;
use crate::observe::flows::{Direction, Key};
use crate::origin::Origin;
use crate::proxy::{Proxy, refuse, relay_tcp, socket};
use crate::relay::relay_until;
use crate::transport::{self, Header};
use crate::vouched::Held;

/// To an endpoint that discovery named; another one may be tried after it.
const CONNECT: Duration = Duration::from_secs(2);
/// To an address of the application's own choice, which the kernel would try for longer.
const CONNECT_PLAIN: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Endpoints of a service tried for one connection.
const ATTEMPTS: usize = 3;

enum Upstream {
    Plain(TcpStream),
    Meshed(Box<TlsStream<TcpStream>>, Name, Held),
}

/// Why an endpoint was not reached.
struct Failed {
    cause: Cause,
    error: io::Error,
}

/// Serves one connection that the application opened; `own` is this listener's port.
pub(crate) async fn serve(mut proxy: Proxy, origin: Origin, own: u16, client: TcpStream) {
    proxy.journey = Journey::begin(Direction::Outbound);
    let address = match origin.of(&client) {
        Ok(address) => address,
        Err(error) => {
            proxy.counters.causes.count(Direction::Outbound, Why::NO_DESTINATION);
            tracing::warn!(%error, "the original destination of a connection is unknown");
            return refuse(client);
        }
    };
    let local = client.local_addr().map(crate::origin::canonical).ok();
    if address.port() == own && local.is_some_and(|local| local.ip() == address.ip()) {
        proxy.count(Failure::Loop, &"dialled the sidecar itself", address);
        return refuse(client);
    }
    let destination = address.to_string();
    // What a handshake needs goes with it instead of staying for the life of the connection.
    let (upstream, lease) = match Box::pin(proxy.upstream(address)).await {
        Ok(upstream) => upstream,
        Err((failure, error)) => {
            proxy.flows.connect_failed(Key::new(Direction::Outbound, "", &destination));
            proxy.count(failure, &error, address);
            return refuse(client);
        }
    };
    let copied = match upstream {
        Upstream::Plain(server) => {
            let tap = proxy.tap(Key::new(Direction::Outbound, "", &destination), socket(&server), address.port());
            relay_tcp(client, Vec::new(), server, tap).await
        }
        Upstream::Meshed(mut server, name, held) => {
            let key = Key::new(Direction::Outbound, name.as_str(), &destination);
            let tap = proxy.tap(key, socket(server.get_ref().0), address.port()).until(held.ending());
            let mut client = client;
            let copied = relay_until(&mut client, &mut server, tap, held).await;
            if copied.is_err() {
                refuse(client);
                refuse(server.into_inner().0);
            }
            copied
        }
    };
    drop(lease);
    if let Err(error) = copied {
        proxy.count(Failure::Broken, &error, address);
    }
}

// === impl Proxy ===

impl Proxy {
    async fn upstream(&self, address: SocketAddr) -> Result<(Upstream, Option<Lease>), (Failure, io::Error)> {
        self.journey.enter(Leg::Discover);
        match self.directory.route(address).await {
            None => {
                self.counters.causes.count(Direction::Outbound, Why::UNRESOLVED);
                self.counters.unresolved();
                self.plain(address).await
            }
            Some(Route::Plain) => self.plain(address).await,
            Some(Route::Endpoint(endpoint)) => self.dial(endpoint.lease(Instant::now())).await.map_err(|failed| (failed.failure(), failed.error)),
            Some(Route::Service(pool)) => self.balance(&pool, address).await,
        }
    }

    /// Tries endpoints of a service until one is reached, none twice.
    async fn balance(&self, pool: &Pool, address: SocketAddr) -> Result<(Upstream, Option<Lease>), (Failure, io::Error)> {
        let mut tried = Vec::with_capacity(ATTEMPTS);
        let mut last: Option<Failed> = None;
        while tried.len() < ATTEMPTS {
            // Who breaks the handshakes of meshed endpoints must not gain what then goes to others in plain.
            let only_meshed = last.as_ref().is_some_and(|last| last.failure() == Failure::Handshake);
            let wanted = |endpoint: &Endpoint| !tried.contains(&endpoint.address) && (endpoint.peer.is_some() || !only_meshed);
            let Some(lease) = pool.pick(random(), Instant::now(), wanted) else { break };
            tried.push(lease.endpoint().address);
            match self.dial(lease).await {
                Ok(reached) => return Ok(reached),
                // A broken handshake says more than the failures to connect after it.
                Err(failed) if only_meshed && failed.failure() != Failure::Handshake => {}
                Err(failed) => last = Some(failed),
            }
        }
        match last {
            // Whoever can keep us from a meshed peer must not gain plain traffic by it.
            Some(failed) if pool.meshed() || failed.failure() == Failure::Handshake => Err((failed.failure(), failed.error)),
            // Nobody to choose from, or nobody meshed: let the cluster's own load balancing try.
            _ => self.plain(address).await,
        }
    }

    async fn plain(&self, address: SocketAddr) -> Result<(Upstream, Option<Lease>), (Failure, io::Error)> {
        let stream = self.connect(address, CONNECT_PLAIN).await.map_err(|error| (Failure::Connect, error))?;
        Ok((Upstream::Plain(stream), None))
    }

    /// Reaches the endpoint of `lease`, or notes that and why it could not be reached.
    async fn dial(&self, mut lease: Lease) -> Result<(Upstream, Option<Lease>), Failed> {
        match self.reach(lease.endpoint()).await {
            Ok(upstream) => {
                lease.connected(Instant::now());
                Ok((upstream, Some(lease)))
            }
            Err(failed) => {
                let (address, cause) = (lease.endpoint().address, failed.cause.as_str());
                let opened = lease.failed(Instant::now());
                self.directory.failed(failed.cause, opened);
                tracing::debug!(endpoint = %address, cause, opened, error = %failed.error, "an endpoint was not reached");
                Err(failed)
            }
        }
    }

    async fn reach(&self, endpoint: &Endpoint) -> Result<Upstream, Failed> {
        let Some(peer) = &endpoint.peer else {
            return Ok(Upstream::Plain(self.connect(endpoint.address, CONNECT).await.map_err(Failed::connect)?));
        };
        let inbound = SocketAddr::new(endpoint.address.ip(), peer.inbound_port);
        self.journey.with(peer.identity.as_str());
        let stream = self.connect(inbound, CONNECT).await.map_err(Failed::connect)?;
        self.journey.enter(Leg::Handshake);
        let secured = tokio::time::timeout(HANDSHAKE, self.secure(stream, peer, endpoint.address.port())).await;
        let (stream, held) = secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Failed::handshake)?;
        Ok(Upstream::Meshed(Box::new(stream), peer.identity.clone(), held))
    }

    /// Handshake and transport header; the peer is `peer` afterwards or there is an error.
    async fn secure(&self, stream: TcpStream, peer: &Peer, port: u16) -> io::Result<(TlsStream<TcpStream>, Held)> {
        let config = self.clients.config(&peer.identity).map_err(io::Error::other)?;
        let name = ServerName::try_from(peer.identity.to_string()).map_err(io::Error::other)?;
        let mut stream = TlsConnector::from(config).connect(name, stream).await?;
        if let Err(error) = resuming::unexpired(stream.get_ref().1) {
            self.clients.forget(&peer.identity);
            return Err(io::Error::other(error));
        }
        let held = self.vouched.hold(stream.get_ref().1.peer_certificates(), Usage::Server)?;
        if stream.get_ref().1.alpn_protocol() != Some(transport::ALPN) {
            return Err(io::Error::other("the peer does not take transport headers"));
        }
        stream.write_all(&Header::opaque(port).encode()).await?;
        stream.flush().await?;
        Ok((stream, held))
    }
}

// === impl Failed ===

impl Failed {
    fn connect(error: io::Error) -> Self {
        Self { cause: Cause::of_connect(&error), error }
    }

    fn handshake(error: io::Error) -> Self {
        Self { cause: Cause::of_handshake(&error), error }
    }

    fn failure(&self) -> Failure {
        if self.cause.after_connect() { Failure::Handshake } else { Failure::Connect }
    }
}
