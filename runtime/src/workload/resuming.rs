//! TLS sessions that are taken up again, without what makes that dangerous. A resumed handshake skips the checks of chain
//! and name: it rests on those of the full handshake before it. So sessions live at most [`LIFE`], under the very roots and
//! the very certificate of our own that they were made with; when one of these changes all are forgotten, and a leaf that
//! has expired meanwhile is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::Resumption;
use rustls::server::ServerSessionMemoryCache;
use rustls::{ClientConfig, CommonState, HandshakeKind, ServerConfig};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer as _;

use super::{Certified, ClientAuth, Error, Name, Roots, Workload, tls};

/// Longest time between a full handshake and one that rests on it.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// Peers whose configuration is kept; the oldest leaves first.
const PEERS: usize = 256;
/// Sessions kept for one peer: each is used once, and as many connections may be opened at the same moment.
const SESSIONS: usize = 8;
/// Sessions that a server keeps.
const SERVER_SESSIONS: usize = 256;

/// What all sessions of a configuration rest on.
#[derive(Clone, Debug)]
struct Ground {
    roots: Arc<Roots>,
    own: Option<Arc<Certified>>,
    since: Instant,
}

/// Client configurations, one per peer, kept while their ground is.
#[derive(Debug)]
pub struct ResumingClients {
    workload: Workload,
    alpn: Vec<Vec<u8>>,
    peers: Mutex<HashMap<Name, (Ground, Arc<ClientConfig>)>>,
}

/// A server configuration, replaced when its ground is gone.
#[derive(Debug)]
pub struct ResumingServer {
    workload: Workload,
    auth: ClientAuth,
    alpn: Vec<Vec<u8>>,
    current: Mutex<(Ground, Arc<ServerConfig>)>,
}

// === impl Ground ===

impl Ground {
    fn of(workload: &Workload, now: Instant) -> Self {
        Self { roots: workload.trust().current(), own: workload.current(), since: now }
    }

    /// Whether it still bears at `now`.
    fn bears(&self, workload: &Workload, now: Instant) -> bool {
        let same_own = match (&self.own, workload.current()) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, &now),
            (None, None) => true,
            _ => false,
        };
        same_own && Arc::ptr_eq(&self.roots, &workload.trust().current()) && now.saturating_duration_since(self.since) < LIFE
    }
}

// === impl ResumingClients ===

impl ResumingClients {
    /// For connections of `workload` that offer `alpn`.
    #[must_use]
    pub fn new(workload: Workload, alpn: &[&[u8]]) -> Self {
        Self { workload, alpn: owned(alpn), peers: Mutex::default() }
    }

    /// As [`Workload::client_config`]; connections to the same peer may resume each other's sessions. Check each with
    /// [`unexpired`] after its handshake.
    ///
    /// # Errors
    /// [`Error::Uncertified`], where a peer would only say that it does not want us; [`Error::Tls`].
    pub fn config(&self, expected: &Name) -> Result<Arc<ClientConfig>, Error> {
        self.config_at(expected, Instant::now())
    }

    fn config_at(&self, expected: &Name, now: Instant) -> Result<Arc<ClientConfig>, Error> {
        certified(&self.workload)?;
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ground, config)) = peers.get(expected)
            && ground.bears(&self.workload, now)
        {
            return Ok(config.clone());
        }
        let ground = Ground::of(&self.workload, now);
        let mut config = tls::client(self.workload.trust(), Some(&self.workload), expected, &borrowed(&self.alpn))?;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let config = Arc::new(config);
        if peers.len() >= PEERS
            && !peers.contains_key(expected)
            && let Some(oldest) = peers.iter().min_by_key(|(_, (ground, _))| ground.since).map(|(name, _)| name.clone())
        {
            peers.remove(&oldest);
        }
        peers.insert(expected.clone(), (ground, config.clone()));
        Ok(config)
    }

    /// No session of `peer` is used again.
    pub fn forget(&self, peer: &Name) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}

// === impl ResumingServer ===

impl ResumingServer {
    /// For connections to `workload` that speak one of `alpn`.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn new(workload: Workload, auth: ClientAuth, alpn: &[&[u8]]) -> Result<Self, Error> {
        let alpn = owned(alpn);
        let current = Mutex::new(serving(&workload, auth, &alpn, Instant::now())?);
        Ok(Self { workload, auth, alpn, current })
    }

    /// The configuration for a connection that begins now; it may resume a session of an earlier one. Check each with
    /// [`unexpired`] after its handshake.
    ///
    /// # Errors
    /// [`Error::Uncertified`]; [`Error::Tls`].
    pub fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        self.config_at(Instant::now())
    }

    fn config_at(&self, now: Instant) -> Result<Arc<ServerConfig>, Error> {
        certified(&self.workload)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.0.bears(&self.workload, now) {
            *current = serving(&self.workload, self.auth, &self.alpn, now)?;
        }
        Ok(current.1.clone())
    }
}

/// Whether there is anything to show.
fn certified(workload: &Workload) -> Result<(), Error> {
    workload.current().map(drop).ok_or(Error::Uncertified)
}

fn serving(workload: &Workload, auth: ClientAuth, alpn: &[Vec<u8>], now: Instant) -> Result<(Ground, Arc<ServerConfig>), Error> {
    let ground = Ground::of(workload, now);
    let mut config = tls::server(workload, auth, &borrowed(alpn))?;
    config.session_storage = ServerSessionMemoryCache::new(SERVER_SESSIONS);
    // Each session is used once, and each connection leaves one behind for the next.
    config.send_tls13_tickets = 1;
    Ok((ground, Arc::new(config)))
}

/// Refuses a resumed connection whose peer's certificate has expired since its full handshake.
///
/// # Errors
/// If it has, or cannot be read.
pub fn unexpired(connection: &CommonState) -> Result<(), Error> {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    let leaf = connection.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
    leaf.map_or(Ok(()), |leaf| valid_at(leaf, SystemTime::now()))
}

fn valid_at(leaf: &CertificateDer<'_>, now: SystemTime) -> Result<(), Error> {
    let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(leaf).map_err(|_| Error::Answer { reason: "a peer's leaf is not a certificate" })?;
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    if leaf.validity().not_after.timestamp() < seconds {
        return Err(Error::Answer { reason: "the certificate behind a resumed session has expired" });
    }
    Ok(())
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

fn borrowed(alpn: &[Vec<u8>]) -> Vec<&[u8]> {
    alpn.iter().map(Vec::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::workload::testing::Authority;

    /// One connection that carries a byte each way: how it began, and what the server knew of its peer.
    async fn connect(clients: &ResumingClients, server: &ResumingServer, expected: &Name, at: Instant) -> Result<(HandshakeKind, String), String> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let accepting = async {
            let mut stream = TlsAcceptor::from(server.config_at(at).unwrap()).accept(far).await.map_err(|error| error.to_string())?;
            let name = stream.get_ref().1.peer_certificates().map(|chain| tls::name(&chain[0]).unwrap().to_string()).unwrap_or_default();
            stream.write_u8(1).await.unwrap();
            stream.flush().await.unwrap();
            Ok::<_, String>(name)
        };
        let opening = async {
            let name = expected.to_string().try_into().unwrap();
            let mut stream = TlsConnector::from(clients.config_at(expected, at).unwrap()).connect(name, near).await.map_err(|error| error.to_string())?;
            // The ticket comes with the first bytes of the server.
            stream.read_u8().await.map_err(|error| error.to_string())?;
            unexpired(stream.get_ref().1).unwrap();
            Ok::<_, String>(stream.get_ref().1.handshake_kind().unwrap())
        };
        let (name, kind) = tokio::join!(accepting, opening);
        Ok((kind?, name?))
    }

    #[tokio::test]
    async fn a_session_is_taken_up_until_it_is_old() {
        let authority = Authority::new();
        let (web, cart) = (authority.workload("shop", "web"), authority.workload("shop", "cart"));
        let clients = ResumingClients::new(web.clone(), &[b"x"]);
        let server = ResumingServer::new(cart.clone(), ClientAuth::Optional, &[b"x"]).unwrap();
        let start = Instant::now();
        let mut kinds = Vec::new();
        for at in [start, start, start + LIFE, start + LIFE] {
            let (kind, peer) = connect(&clients, &server, cart.own_name(), at).await.unwrap();
            assert_eq!(peer, web.own_name().to_string(), "a resumed peer has its name too");
            kinds.push(kind);
        }
        use HandshakeKind::{Full, Resumed};
        assert_eq!(kinds, [Full, Resumed, Full, Resumed]);
        clients.forget(cart.own_name());
        assert_eq!(connect(&clients, &server, cart.own_name(), start + LIFE).await.unwrap().0, Full);
    }

    #[tokio::test]
    async fn a_change_of_roots_or_certificate_ends_all_sessions() {
        let (authority, other) = (Authority::new(), Authority::new());
        let (web, certificates, web_roots) = authority.renewable("shop", "web");
        let (cart, _kept, cart_roots) = authority.renewable("shop", "cart");
        let clients = ResumingClients::new(web.clone(), &[b"x"]);
        let server = ResumingServer::new(cart.clone(), ClientAuth::Required, &[b"x"]).unwrap();
        let now = Instant::now();
        let kind = async || connect(&clients, &server, cart.own_name(), now).await.map(|(kind, _)| kind);
        use HandshakeKind::{Full, Resumed};
        assert_eq!((kind().await, kind().await), (Ok(Full), Ok(Resumed)));
        certificates.send_replace(Some(Arc::new(authority.certify(web.own_name(), Duration::from_secs(60)))));
        assert_eq!((kind().await, kind().await), (Ok(Full), Ok(Resumed)), "our own certificate is another");
        cart_roots.send_replace(Arc::new(authority.roots()));
        assert_eq!((kind().await, kind().await), (Ok(Full), Ok(Resumed)), "the server's bundle was written anew");
        cart_roots.send_replace(Arc::new(other.roots()));
        assert!(kind().await.is_err(), "the server trusts the client's root no more");
        cart_roots.send_replace(Arc::new(authority.roots()));
        web_roots.send_replace(Arc::new(other.roots()));
        assert!(kind().await.is_err(), "the client trusts the server's root no more");
    }

    #[test]
    fn a_leaf_is_refused_once_it_has_expired() {
        let authority = Authority::new();
        let name = authority.workload("shop", "cart").own_name().clone();
        let certified = authority.certify(&name, Duration::from_secs(60));
        let leaf = &certified.chain()[0];
        assert!(valid_at(leaf, SystemTime::now()).is_ok());
        assert!(valid_at(leaf, SystemTime::now() + Duration::from_secs(62)).is_err());
    }
}
