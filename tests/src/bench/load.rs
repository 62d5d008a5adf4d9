//! An open-loop generator: requests are due at fixed times whatever the server does, and a latency runs from the time that
//! its request was due. So a server that stalls is charged for everything it kept waiting (no coordinated omission).
//!
//! Each connection is a thread that sleeps until its next request is due: timers of an async runtime are too coarse by a
//! millisecond, which is more than what is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;

use super::process::{GENERATOR, pin_thread};

/// Longest latency that is told apart, in microseconds; a longer one counts as this.
const LONGEST: u64 = 120_000_000;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, and what a good answer is.
#[derive(Clone)]
pub struct Question {
    /// Where.
    pub address: SocketAddr,
    /// Name in the server's certificate.
    pub name: String,
    /// Path with query.
    pub path: String,
    /// TLS.
    pub tls: Arc<rustls::ClientConfig>,
    /// Before and after a number that makes each body another one.
    pub body: (Arc<str>, Arc<str>),
    /// A part of every good answer.
    pub good: &'static str,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests a second over all connections; without it, each connection asks again when it has its answer.
    pub rate: Option<f64>,
    /// Connections, each with one request at a time.
    pub connections: u32,
    /// For how long.
    pub time: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Latencies of good answers in microseconds.
    pub latencies: Histogram<u64>,
    /// Answers that were not good, or did not come; the first says why.
    pub errors: u64,
    /// The first of them.
    pub error: Option<String>,
    /// Seconds from the first request that was due to the last answer.
    pub seconds: f64,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("address", &self.address).field("path", &self.path).finish_non_exhaustive()
    }
}

/// A TLS client that trusts `roots` (PEM) and, with `identity`, shows a certificate and its key (PEM).
///
/// # Errors
/// If one of them is unusable.
pub fn tls(roots: &[u8], identity: Option<(&[u8], &[u8])>) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut trusted = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        trusted.add(root?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(trusted);
    let mut config = match identity {
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Asks until the time is over. Blocks.
///
/// # Errors
/// If a connection cannot be opened.
pub fn ask(question: &Question, load: Load) -> anyhow::Result<Seen> {
    ask_until(question, load, &Arc::new(AtomicBool::new(false)))
}

/// As [`ask`], or until `stop` is set.
///
/// # Errors
/// As [`ask`].
pub fn ask_until(question: &Question, load: Load, stop: &Arc<AtomicBool>) -> anyhow::Result<Seen> {
    // All connections are open before the first request is due.
    let start = Instant::now() + Duration::from_millis(300);
    let threads: Vec<_> = (0..load.connections)
        .map(|index| {
            let (question, stop) = (question.clone(), Arc::clone(stop));
            std::thread::spawn(move || connection(&question, load, index, start, &stop))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        all.add(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??);
    }
    all.seconds = start.elapsed().as_secs_f64();
    Ok(all)
}

/// One answer: status and body.
///
/// # Errors
/// If there is none.
pub fn once(question: &Question) -> anyhow::Result<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut sender = connect(question).await?;
        let (status, body) = answer(&mut sender, question, u64::from(std::process::id())).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    })
}

fn connection(question: &Question, load: Load, index: u32, start: Instant, stop: &AtomicBool) -> anyhow::Result<Seen> {
    pin_thread(GENERATOR)?;
    nix::sys::prctl::set_timerslack(1).context("ask for precise timers")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut sender = runtime.block_on(connect(question)).with_context(|| format!("connect to {}", question.address))?;
    let mut seen = Seen::default();
    for turn in 0_u32.. {
        let number = u64::from(turn) * u64::from(load.connections) + u64::from(index);
        let mut due = start;
        if let Some(rate) = load.rate {
            due += Duration::from_secs_f64(f64::from(turn) * f64::from(load.connections) / rate + f64::from(index) / rate);
        } else {
            due = due.max(Instant::now());
        }
        if due >= start + load.time || stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match runtime.block_on(answer(&mut sender, question, number)) {
            Ok((200..=299, body)) if contains(&body, question.good.as_bytes()) => seen.took(due.elapsed()),
            Ok((status, body)) => seen.failed(format!("{status} {:.300}", String::from_utf8_lossy(&body))),
            Err(error) => {
                seen.failed(format!("{error:#}"));
                sender = runtime.block_on(connect(question))?;
            }
        }
    }
    Ok(seen)
}

async fn connect(question: &Question) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(question.address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(question.name.clone())?;
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(&question.tls)).connect(name, stream).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Detached: it ends with its runtime, and what befalls it the sender is told.
    drop(tokio::spawn(connection));
    Ok(sender)
}

async fn answer(sender: &mut SendRequest<Full<Bytes>>, question: &Question, number: u64) -> anyhow::Result<(u16, Bytes)> {
    let (before, after) = &question.body;
    let body = Bytes::from(format!("{before}{number:012x}{after}"));
    let request = hyper::Request::post(&question.path)
        .header("host", &question.name)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Full::new(body))?;
    let asked = async {
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answered) => answered,
        Err(_) => bail!("no answer within {} s", PATIENCE.as_secs()),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

// === impl Seen ===

impl Default for Seen {
    fn default() -> Self {
        Self { latencies: Histogram::new_with_bounds(1, LONGEST, 3).unwrap(), errors: 0, error: None, seconds: 0.0 }
    }
}

impl Seen {
    pub(super) fn took(&mut self, time: Duration) {
        self.latencies.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST));
    }

    fn failed(&mut self, why: String) {
        self.errors += 1;
        self.error.get_or_insert(why);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies).unwrap();
        self.errors += other.errors;
        self.error = self.error.take().or(other.error);
    }

    /// Milliseconds within which this share of the answers came.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        Duration::from_micros(self.latencies.value_at_quantile(share)).as_secs_f64() * 1e3
    }

    /// Good answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        Duration::from_secs(self.latencies.len()).as_secs_f64() / self.seconds
    }
}
