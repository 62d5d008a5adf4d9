//! Plain sockets and threads on both ends, so that what is measured is what lies between them: an open-loop exchange of
//! fixed messages, a stream of bytes, and idle connections.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::bench::load::Seen;
use crate::bench::process::{GENERATOR, pin_thread};

/// Bytes of a body.
pub const BODY: usize = 1024;
/// Bytes written at once by a stream.
const CHUNK: usize = 256 * 1024;
/// A server that says nothing for so long has lost a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question and its answer, byte for byte.
#[derive(Clone, Debug)]
pub struct Exchange {
    question: Arc<[u8]>,
    answer: Arc<[u8]>,
}

/// What a server does with a connection.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Answers each question.
    Answer(Exchange),
    /// Reads, and counts what came.
    Swallow(Arc<AtomicU64>),
}

// === impl Exchange ===

impl Exchange {
    /// HTTP/1.1 with a body of [`BODY`] bytes each way.
    #[must_use]
    pub fn http() -> Self {
        let body = "x".repeat(BODY);
        let question = format!("POST /orders/1 HTTP/1.1\r\nHost: shop\r\nContent-Length: {BODY}\r\n\r\n{body}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n{body}");
        Self { question: question.into_bytes().into(), answer: answer.into_bytes().into() }
    }

    /// The same number of bytes in no protocol.
    #[must_use]
    pub fn opaque() -> Self {
        let http = Self::http();
        let blank = |bytes: &[u8]| bytes.iter().map(|byte| byte.wrapping_add(128)).collect();
        Self { question: blank(&http.question), answer: blank(&http.answer) }
    }

    /// A Redis command that stores [`BODY`] bytes, and one that reads them, in one pipeline.
    #[must_use]
    pub fn redis() -> Self {
        let body = "x".repeat(BODY);
        let question = format!("*3\r\n$3\r\nSET\r\n$5\r\ncart1\r\n${BODY}\r\n{body}\r\n*2\r\n$3\r\nGET\r\n$5\r\ncart1\r\n");
        let answer = format!("+OK\r\n${BODY}\r\n{body}\r\n");
        Self { question: question.into_bytes().into(), answer: answer.into_bytes().into() }
    }
}

/// Serves on `address` until the program ends.
///
/// # Errors
/// If the address is taken.
pub fn serve(address: SocketAddr, manner: Manner) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address).with_context(|| format!("serve on {address}"))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            match &manner {
                Manner::Answer(exchange) => {
                    let exchange = exchange.clone();
                    // An error is the end of the connection, which the client sees too.
                    std::thread::spawn(move || answer(stream, &exchange));
                }
                Manner::Swallow(count) => {
                    let count = Arc::clone(count);
                    std::thread::spawn(move || swallow(stream, &count));
                }
            }
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, exchange: &Exchange) -> anyhow::Result<()> {
    pin_thread(GENERATOR)?;
    stream.set_nodelay(true)?;
    let mut question = vec![0; exchange.question.len()];
    loop {
        stream.read_exact(&mut question)?;
        stream.write_all(&exchange.answer)?;
    }
}

fn swallow(mut stream: TcpStream, count: &AtomicU64) -> anyhow::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => count.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}

/// Asks `rate` times a second over `connections`, each request due at its own fixed time.
///
/// # Errors
/// If a connection cannot be opened, breaks, or answers something else.
pub fn ask(address: SocketAddr, exchange: &Exchange, rate: f64, connections: u32, time: Duration) -> anyhow::Result<Seen> {
    let start = Instant::now() + Duration::from_millis(300);
    let threads: Vec<_> = (0..connections)
        .map(|index| {
            let exchange = exchange.clone();
            std::thread::spawn(move || -> anyhow::Result<Seen> {
                pin_thread(GENERATOR)?;
                nix::sys::prctl::set_timerslack(1).context("ask for precise timers")?;
                let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut answer = vec![0; exchange.answer.len()];
                let mut seen = Seen::default();
                // The first exchange opens the path behind the connection and is not counted.
                let mut counted = false;
                for turn in 0_u32.. {
                    let due = start + Duration::from_secs_f64((f64::from(turn) * f64::from(connections) + f64::from(index)) / rate);
                    if due >= start + time {
                        return Ok(seen);
                    }
                    if counted {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    stream.write_all(&exchange.question)?;
                    stream.read_exact(&mut answer)?;
                    anyhow::ensure!(answer == *exchange.answer, "the answer is not what the server sent");
                    if std::mem::replace(&mut counted, true) {
                        seen.took(due.elapsed());
                    }
                }
                Ok(seen)
            })
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        all.add(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??);
    }
    all.seconds = start.elapsed().as_secs_f64();
    Ok(all)
}

/// Writes to `address` for `time`; gigabits a second that `count`, the server's, grew by.
///
/// # Errors
/// If the connection breaks.
pub fn stream(address: SocketAddr, count: &AtomicU64, time: Duration) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    let chunk = vec![b'~'; CHUNK];
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_millis(300) {
        stream.write_all(&chunk)?;
    }
    let (start, before) = (Instant::now(), count.load(Ordering::Relaxed));
    while start.elapsed() < time {
        stream.write_all(&chunk)?;
    }
    let (bytes, seconds) = (count.load(Ordering::Relaxed) - before, start.elapsed().as_secs_f64());
    Ok(Duration::from_nanos(bytes).as_secs_f64() * 8.0 / seconds)
}

/// Opens `number` connections to `address`, where [`keep`] serves, and sees each through to its other end.
///
/// # Errors
/// If one cannot be opened, or was closed.
pub fn hold(address: SocketAddr, number: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(number);
    for opened in 0..number {
        let mut stream = TcpStream::connect(address).with_context(|| format!("open connection {opened}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"~")?;
        stream.read_exact(&mut [0]).with_context(|| format!("the byte back from connection {opened}"))?;
        held.push(stream);
    }
    Ok(held)
}

/// Sends the first byte of each connection back and keeps it open, for ever. A process of its own: its files count too.
///
/// # Errors
/// If the address is taken.
pub async fn keep(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        drop(tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let byte = client.read_u8().await?;
            client.write_u8(byte).await?;
            client.read_u8().await
        }));
    }
}

/// How many of `held` are still open.
#[must_use]
pub fn open(held: &[TcpStream]) -> usize {
    let is_open =
        |stream: &&TcpStream| stream.set_nonblocking(true).is_ok() && matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    held.iter().filter(is_open).count()
}

/// Passes bytes on, for ever: the least that a proxy can do.
///
/// # Errors
/// If the address is taken.
pub async fn relay(listen: SocketAddr, target: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        drop(tokio::spawn(async move {
            let mut server = tokio::net::TcpStream::connect(target).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        }));
    }
}
