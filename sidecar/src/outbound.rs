//! Connections that the application opens: find out who is there, and speak mTLS to those who can.
//!
//! A peer that discovery knows as meshed is reached by mTLS as exactly that identity or not at all; everybody else, and
//! everybody while discovery is silent, is reached as the application meant it. Requests are not routed or retried.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use assent_runtime::workload::Name;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::directory::pool::{Lease, Peer};
use crate::directory::{Route, random};
use crate::metrics::Failure;
use crate::observe::flows::{Direction, Key};
use crate::origin::Origin;
use crate::proxy::{Proxy, refuse, relay_tcp, socket};
use crate::relay::relay;
use crate::transport::{self, Header};

/// To an endpoint that discovery named; another one may be tried after it.
const CONNECT: Duration = Duration::from_secs(2);
/// To an address of the application's own choice, which the kernel would try for longer.
const CONNECT_PLAIN: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Endpoints of a service tried for one connection.
const ATTEMPTS: usize = 3;

enum Upstream {
    Plain(TcpStream),
    Meshed(Box<TlsStream<TcpStream>>, Name),
}

/// Serves one connection that the application opened; `own` is this listener's port.
pub(crate) async fn serve(proxy: Proxy, origin: Origin, own: u16, client: TcpStream) {
    let address = match origin.of(&client) {
        Ok(address) => address,
        Err(error) => {
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
    let (upstream, lease) = match proxy.upstream(address).await {
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
        Upstream::Meshed(mut server, name) => {
            let key = Key::new(Direction::Outbound, name.as_str(), &destination);
            let tap = proxy.tap(key, socket(server.get_ref().0), address.port());
            let mut client = client;
            let copied = relay(&mut client, &mut server, tap).await;
            if copied.is_err() {
                refuse(client);
                refuse(server.into_inner().0);
            }
            copied
        }
    };
    drop(lease);
    if let Err(error) = copied {
        tracing::debug!(destination = %address, %error, "an outbound connection broke");
    }
}

// === impl Proxy ===

impl Proxy {
    async fn upstream(&self, address: SocketAddr) -> Result<(Upstream, Option<Lease>), (Failure, io::Error)> {
        match self.directory.route(address).await {
            None => {
                self.counters.unresolved();
                self.plain(address).await
            }
            Some(Route::Plain) => self.plain(address).await,
            Some(Route::Endpoint(endpoint)) => {
                let lease = endpoint.lease();
                let dialled = self.dial(&lease).await?;
                Ok((dialled, Some(lease)))
            }
            Some(Route::Service(pool)) => {
                let mut last = None;
                for _ in 0..ATTEMPTS {
                    let Some(lease) = pool.pick(random(), Instant::now()) else { break };
                    match self.dial(&lease).await {
                        Ok(dialled) => return Ok((dialled, Some(lease))),
                        Err((Failure::Handshake, error)) => {
                            lease.failed(Instant::now());
                            return Err((Failure::Handshake, error));
                        }
                        Err((failure, error)) => {
                            self.count(failure, &error, lease.endpoint().address);
                            lease.failed(Instant::now());
                            last = Some((failure, error));
                        }
                    }
                }
                match last {
                    // Whoever can keep us from a meshed peer must not gain plain traffic by it.
                    Some(failed) if pool.meshed() => Err(failed),
                    // Nobody to choose from, or nobody meshed: let the cluster's own load balancing try.
                    _ => self.plain(address).await,
                }
            }
        }
    }

    async fn plain(&self, address: SocketAddr) -> Result<(Upstream, Option<Lease>), (Failure, io::Error)> {
        let stream = self.connect(address, CONNECT_PLAIN).await.map_err(|error| (Failure::Connect, error))?;
        Ok((Upstream::Plain(stream), None))
    }

    async fn dial(&self, lease: &Lease) -> Result<Upstream, (Failure, io::Error)> {
        let endpoint = lease.endpoint();
        let Some(peer) = &endpoint.peer else {
            let stream = self.connect(endpoint.address, CONNECT).await.map_err(|error| (Failure::Connect, error))?;
            return Ok(Upstream::Plain(stream));
        };
        let inbound = SocketAddr::new(endpoint.address.ip(), peer.inbound_port);
        let stream = self.connect(inbound, CONNECT).await.map_err(|error| (Failure::Connect, error))?;
        let secured = tokio::time::timeout(HANDSHAKE, self.secure(stream, peer, endpoint.address.port())).await;
        match secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Ok(Upstream::Meshed(Box::new(stream), peer.identity.clone())),
            Err(error) => Err((Failure::Handshake, error)),
        }
    }

    /// Handshake and transport header; the peer is `peer` afterwards or there is an error.
    async fn secure(&self, stream: TcpStream, peer: &Peer, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let config = self.workload.client_config(&peer.identity, &[transport::ALPN]).map_err(io::Error::other)?;
        let name = ServerName::try_from(peer.identity.to_string()).map_err(io::Error::other)?;
        let mut stream = TlsConnector::from(config).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(transport::ALPN) {
            return Err(io::Error::other("the peer does not take transport headers"));
        }
        stream.write_all(&Header::opaque(port).encode()).await?;
        stream.flush().await?;
        Ok(stream)
    }
}
