//! Roots that change under traffic, and peers who cannot prove what they must: of a dropped root, expired, of another trust
//! domain, or somebody else. Whoever is refused is counted; everybody else goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use assent_runtime::workload::resuming::{self, ResumingClients};
use assent_runtime::workload::rotation::fingerprint;
use assent_runtime::workload::testing::{Authority, Certificates};
use assent_runtime::workload::{Name, Roots, TrustBundle, Workload, compromised_line};
use rustls::HandshakeKind::{self, Full, Resumed};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::control::CART;
use super::world::{Sidecar, World, answer, comes_true, echo, get};
use crate::metrics::Failure;
use crate::transport::{ALPN, Header};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Both roots, with that of the issuing authority first.
fn both(issuing: &Authority, other: &Authority) -> String {
    format!("{}{}", issuing.pem(), other.pem())
}

/// Somebody with a leaf for `name` that `authority` signed for `life`, who trusts the roots in `bundle`.
fn somebody(name: &str, authority: &Authority, life: Duration, bundle: &str) -> (Workload, Certificates) {
    let name: Name = name.parse().unwrap();
    let (trust, _roots) = TrustBundle::supplied(Roots::parse(bundle.as_bytes()).unwrap());
    let (workload, certificates) = Workload::supplied(name.clone(), trust);
    certificates.send_replace(Some(Arc::new(authority.certify(&name, life))));
    (workload, certificates)
}

/// One request over mTLS to the sidecar of `cart`, without a sidecar of one's own: how the handshake went, and the answer.
async fn dial(clients: &ResumingClients, server: &Sidecar, app: SocketAddr) -> io::Result<(HandshakeKind, String)> {
    let config = clients.config(&CART.parse().unwrap()).map_err(io::Error::other)?;
    let stream = TcpStream::connect(server.running.inbound).await?;
    let stream = TlsConnector::from(config).connect(ServerName::try_from(CART).unwrap(), stream).await?;
    resuming::unexpired(stream.get_ref().1).map_err(io::Error::other)?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    Ok((kind, ask_for(app, stream).await?))
}

/// One request through a client's sidecar.
async fn request(client: SocketAddr) -> io::Result<String> {
    ask(TcpStream::connect(client).await?).await
}

/// One request to the application at `app` behind a sidecar that has proven itself.
async fn ask_for(app: SocketAddr, mut stream: TlsStream<TcpStream>) -> io::Result<String> {
    stream.write_all(&Header::opaque(app.port()).encode()).await?;
    ask(stream).await
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut got = String::new();
    stream.read_to_string(&mut got).await?;
    Ok(got)
}

/// Requests one after another, each over a new connection, until told to end.
struct Load {
    done: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    asking: tokio::task::JoinHandle<Vec<String>>,
}

impl Load {
    fn on(client: &Sidecar) -> Self {
        let (address, done, end) = (client.running.outbound, Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (done.clone(), end.clone());
        let asking = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                match request(address).await {
                    Ok(got) if got.ends_with("hello") => {}
                    other => failed.push(format!("{other:?}")),
                }
                counted.fetch_add(1, Ordering::SeqCst);
            }
            failed
        });
        Self { done, end, asking }
    }

    /// After thirty more requests.
    async fn more(&self) {
        let until = self.done.load(Ordering::SeqCst) + 30;
        comes_true(async || self.done.load(Ordering::SeqCst) >= until).await;
    }

    /// How many were made, and those that failed.
    async fn end(self) -> (u64, Vec<String>) {
        self.end.store(true, Ordering::SeqCst);
        (self.done.load(Ordering::SeqCst), self.asking.await.unwrap())
    }
}

/// A server's and a client's sidecar, and the application behind the former.
async fn pair(world: &World, app: SocketAddr) -> (Sidecar, Sidecar) {
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    (server, client)
}

#[tokio::test]
async fn roots_are_rotated_under_traffic_and_no_request_fails() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let (server, client) = pair(&world, app).await;
    let (old, new) = (world.control.authority(), Authority::new());
    let load = Load::on(&client);
    load.more().await;
    world.control.trust_all(&both(old, &new));
    load.more().await;
    world.control.trust_all(&both(&new, old));
    load.more().await;
    world.control.certify_all(&new);
    load.more().await;
    world.control.trust_all(&new.pem());
    load.more().await;
    // Who starts now knows of the new root alone, and can ask the control plane.
    let (late, _kept) = somebody(&CART.replacen("cart", "late", 1), &new, Duration::from_secs(3600), &new.pem());
    let late = world.launch_as(late, Some(app), &[], &[]).await;
    assert!(request(late.running.outbound).await.unwrap().ends_with("hello"));
    assert!(get(late.running.admin).await.contains("assent_sidecar_unresolved_total 0"));
    let (made, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {made} failed: {:?}", failed.len(), failed.first());
    assert!(made >= 150, "{made}");
    for sidecar in [&client, &server] {
        assert_eq!(sidecar.running.counters.failures(Failure::Handshake), 0);
    }
    for sidecar in [late, client, server] {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn an_open_connection_outlives_the_root_it_was_made_under() {
    let world = World::start().await;
    let (server, client) = pair(&world, echo().await).await;
    let new = Authority::new();
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    let steps: [&dyn Fn(); 4] = [&|| (), &|| world.control.trust_all(&both(world.control.authority(), &new)), &|| world.control.certify_all(&new), &|| {
        world.control.trust_all(&new.pem())
    }];
    for step in steps {
        step();
        assert!(answered(&mut stream, b"ping").await);
    }
    drop(stream);
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn connections_under_a_compromised_root_end_and_others_go_on() {
    let world = World::start().await;
    let (server, client) = pair(&world, echo().await).await;
    let (old, new) = (world.control.authority(), Authority::new());
    let open = async || {
        let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
        assert!(answered(&mut stream, b"ping").await);
        stream
    };
    let mut before = open().await;
    world.control.trust_all(&both(&new, old));
    world.control.certify_all(&new);
    let mut after = open().await;
    assert!(answered(&mut before, b"pong").await, "a rotation cuts nobody off");

    let fingerprint = fingerprint(&Roots::parse(old.pem().as_bytes()).unwrap().certificates()[0]);
    world.control.trust_all(&format!("{}{}", compromised_line(&fingerprint), new.pem()));
    let mut byte = [0; 1];
    let cut = tokio::time::timeout(Duration::from_secs(10), before.read(&mut byte)).await.expect("it was not cut");
    assert!(matches!(cut, Err(_) | Ok(0)), "{cut:?}");
    comes_true(async || [&client, &server].iter().any(|sidecar| sidecar.running.counters.causes.lines().contains("compromised_root"))).await;
    assert!(answered(&mut after, b"ping").await, "its peer was verified under the other root");
    drop(after);
    client.stop().await;
    server.stop().await;
}

/// Whether `word` comes back.
async fn answered(stream: &mut TcpStream, word: &[u8; 4]) -> bool {
    let mut got = [0; 4];
    stream.write_all(word).await.is_ok() && stream.read_exact(&mut got).await.is_ok() && got == *word
}

#[tokio::test]
async fn a_peer_of_a_dropped_root_is_refused_as_client_also_with_a_session() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let (server, client) = pair(&world, app).await;
    let (old, new) = (world.control.authority(), Authority::new());
    let bundle = both(&new, old);
    world.control.trust_all(&bundle);
    world.control.certify_all(&new);
    let (late, _kept) = somebody(&CART.replacen("cart", "late", 1), old, Duration::from_secs(3600), &bundle);
    let clients = ResumingClients::new(late, &[ALPN]);
    for expected in [Full, Resumed, Resumed] {
        let (kind, got) = dial(&clients, &server, app).await.unwrap();
        assert_eq!((kind, got.ends_with("hello")), (expected, true));
    }
    let load = Load::on(&client);
    world.control.trust_all(&new.pem());
    for expected in 1..=3 {
        // It has a session of a moment ago, and offers it.
        let refused = dial(&clients, &server, app).await;
        assert!(refused.is_err(), "{refused:?}");
        comes_true(async || server.running.counters.failures(Failure::Handshake) == expected).await;
    }
    load.more().await;
    let (_, failed) = load.end().await;
    assert!(failed.is_empty(), "a good peer was hurt: {failed:?}");
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_of_a_dropped_root_is_refused_as_server_also_with_a_session() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let (old, new) = (world.control.authority(), Authority::new());
    let bundle = both(&new, old);
    // A server that stays behind: it trusts both, and its own leaf is of the old root.
    let (behind, _kept) = somebody(CART, old, Duration::from_secs(3600), &bundle);
    let server = world.launch_as(behind, None, &[], &[]).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    world.control.trust_all(&bundle);
    world.control.certify_all(&new);
    for _ in 0..3 {
        assert!(request(client.running.outbound).await.unwrap().ends_with("hello"));
    }
    world.control.trust_all(&new.pem());
    for expected in 1..=3 {
        let refused = request(client.running.outbound).await;
        assert!(refused.as_ref().map_or(true, String::is_empty), "{refused:?}");
        comes_true(async || client.running.counters.failures(Failure::Handshake) == expected).await;
    }
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn who_cannot_prove_a_living_name_of_this_mesh_is_refused_and_counted() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let (server, client) = pair(&world, app).await;
    let (ours, theirs) = (world.control.authority(), Authority::new());
    let hour = Duration::from_secs(3600);
    let late = CART.replacen("cart", "late", 1);
    let foreign = late.replacen("cluster.local", "elsewhere.example", 1);
    let other_mesh = late.replacen("assent-system", "another-system", 1);
    let expired = somebody(&late, ours, hour, &ours.pem());
    expired.1.send_replace(Some(Arc::new(ours.certify_until(expired.0.own_name(), SystemTime::now() - Duration::from_secs(5)))));
    let strangers = [
        ("expired", expired),
        ("of a root nobody here knows", somebody(&late, &theirs, hour, &ours.pem())),
        ("of another trust domain", somebody(&foreign, ours, hour, &ours.pem())),
        ("of another control plane", somebody(&other_mesh, ours, hour, &ours.pem())),
    ];
    let load = Load::on(&client);
    for (count, (what, (stranger, certificates))) in (1..).zip(&strangers) {
        // A workload would not show an expired leaf, so somebody else's hand does.
        let shown = certificates.borrow().clone().unwrap();
        let refused = present(stranger, &shown, &server, app).await;
        assert!(refused.is_err(), "{what}: {refused:?}");
        comes_true(async || server.running.counters.failures(Failure::Handshake) == count).await;
    }
    // The same hand with a good leaf passes.
    let (good, certificates) = somebody(&late, ours, hour, &ours.pem());
    let shown = certificates.borrow().clone().unwrap();
    assert!(present(&good, &shown, &server, app).await.unwrap().ends_with("hello"));
    load.more().await;
    let (_, failed) = load.end().await;
    assert!(failed.is_empty(), "a good peer was hurt: {failed:?}");
    client.stop().await;
    server.stop().await;
}

/// One request to the sidecar of `cart` that shows `shown`, whatever that is worth.
async fn present(who: &Workload, shown: &assent_runtime::workload::Certified, server: &Sidecar, app: SocketAddr) -> io::Result<String> {
    let mut config = who.anonymous_client_config(&CART.parse().unwrap(), &[ALPN]).map_err(io::Error::other)?.as_ref().clone();
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown.tls()));
    let stream = TcpStream::connect(server.running.inbound).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(CART).unwrap(), stream).await?;
    ask_for(app, stream).await
}
