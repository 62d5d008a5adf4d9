//! Connections to a sidecar by mutual TLS, each opened, used for one byte and closed: with a full handshake, and with a
//! session that is taken up again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use assent_runtime::workload::Name;
use assent_runtime::workload::resuming::ResumingClients;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::mesh::{Mesh, Sidecar};
use super::{RUNS, loopback};
use crate::bench::process::unpin_thread;
use crate::bench::rows::{Figures, Row};

/// Connections in the making at a time.
const AT_ONCE: usize = 8;
const TIME: Duration = Duration::from_secs(3);
const ALPN: &[u8] = b"transport.l5d.io/v1";

/// Handshakes a second, and how much faster the resumed ones are.
///
/// # Errors
/// If a connection fails, or is not of the kind that is measured.
pub fn rows(mesh: &Mesh, cart: &Sidecar) -> anyhow::Result<Vec<Row>> {
    cart.server.unpin()?;
    let echo = loopback()?;
    std::thread::spawn(move || echo_on(echo));
    let client = mesh.workload("load");
    let peer = mesh.name("cart");
    let header = header(echo.port())?;
    let (mut full, mut resumed) = (Figures::default(), Figures::default());
    for _ in 0..RUNS {
        // Without sessions, as the control plane's clients are, but not configured anew for each connection.
        let without = client.client_config(&peer, &[ALPN]).context("configure tls")?;
        full.0.push(churn(cart.inbound, &peer, &header, HandshakeKind::Full, &|| Ok(Arc::clone(&without)))?);
        let sessions = ResumingClients::new(client.clone(), &[ALPN]);
        resumed.0.push(churn(cart.inbound, &peer, &header, HandshakeKind::Resumed, &|| sessions.config(&peer).context("configure tls"))?);
    }
    Ok(vec![
        Row::ours("full_handshakes_per_s", "1/s", &full).at_least(2500.0),
        Row::ours("resumed_handshakes_per_s", "1/s", &resumed),
        Row::ours("resumed_over_full", "", &resumed.over(&full)).at_least(2.0),
    ])
}

/// The transport header that asks for `port`: preface, length, and field 1 as a varint.
fn header(port: u16) -> anyhow::Result<Vec<u8>> {
    let mut message = vec![0x08];
    let mut rest = port;
    while rest >= 0x80 {
        message.push(u8::try_from(rest & 0x7f)? | 0x80);
        rest >>= 7;
    }
    message.push(u8::try_from(rest)?);
    let mut bytes = b"transport.l5d.io/v1\r\n\r\n".to_vec();
    bytes.extend(u32::try_from(message.len())?.to_be_bytes());
    bytes.extend(message);
    Ok(bytes)
}

type Configure<'a> = &'a (dyn Fn() -> anyhow::Result<Arc<ClientConfig>> + Sync);

/// Connections a second of one kind.
fn churn(address: SocketAddr, peer: &Name, header: &[u8], kind: HandshakeKind, configure: Configure<'_>) -> anyhow::Result<f64> {
    let (done, others) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    unpin_thread()?;
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    // The first of a session is full whatever is wanted.
                    runtime.block_on(once(address, peer, header, &configure()?))?;
                    while start.elapsed() < TIME {
                        let seen = runtime.block_on(once(address, peer, header, &configure()?))?;
                        let counter = if seen == Some(kind) { &done } else { &others };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    let (done, others) = (done.into_inner(), others.into_inner());
    // A session may be forgotten between two connections that take it up at once.
    ensure!(others * 100 <= done, "{others} handshakes were not {kind:?}, {done} were");
    Ok(Duration::from_secs(done).as_secs_f64() / start.elapsed().as_secs_f64())
}

async fn once(address: SocketAddr, peer: &Name, header: &[u8], config: &Arc<ClientConfig>) -> anyhow::Result<Option<HandshakeKind>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(peer.to_string())?;
    let mut stream = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    stream.write_all(header).await?;
    stream.write_all(b"~").await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    let kind = stream.get_ref().1.handshake_kind();
    stream.shutdown().await?;
    Ok(kind)
}

/// Sends the first byte back.
fn echo_on(address: SocketAddr) -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    unpin_thread()?;
    for stream in std::net::TcpListener::bind(address)?.incoming() {
        let mut stream = stream?;
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() {
            // A client that is gone by now has counted already.
            let _sent = stream.write_all(&byte);
        }
    }
    Ok(())
}
