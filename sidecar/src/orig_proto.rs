//! HTTP/1 that a peer's proxy has made HTTP/2 of, made HTTP/1 again for the application: Linkerd's `l5d-orig-proto`.
//!
//! Linkerd's proxies carry HTTP/1 requests to each other over HTTP/2 and say so in a header of each. They keep such requests
//! and those that were HTTP/2 all along on connections of their own, so the first request of a connection tells which it is;
//! what was HTTP/2 all along passes byte for byte and never comes here but in a connection of both. Policy has let the peer in
//! before, and ends the connection when it changes its mind. Our own outbound side translates nothing: what the application
//! sends is what the peer gets.

mod application;
mod observed;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::observe::Tap;
use crate::observe::http2::First;
use crate::proxy::Proxy;
use crate::sampled::Sampled;
use application::Application;
use observed::Observed;

/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 256;
/// Fields of one request.
const MAX_HEADERS: u32 = 64 * 1024;
/// Bytes read to see the first request.
const MAX_TAKEN: usize = 64 * 1024;
/// A proxy sends its preface and its first request together. Who waits for our settings before it asks anything is served by
/// the side that understands both kinds.
const FIRST: Duration = Duration::from_millis(250);

/// What a connection's requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP/1 once; or nobody knows yet.
    Translated,
    /// HTTP/2 all along, or nothing that can be understood.
    Native,
}

/// Reads as much of `client` as tells which kind it is.
pub(crate) async fn kind(client: &mut (impl AsyncRead + Unpin)) -> io::Result<(Kind, Vec<u8>)> {
    let mut taken = Vec::new();
    let reading = tokio::time::timeout(FIRST, read_first(client, &mut taken)).await;
    let kind = reading.unwrap_or(Ok(Kind::Translated))?;
    Ok((kind, taken))
}

async fn read_first(client: &mut (impl AsyncRead + Unpin), taken: &mut Vec<u8>) -> io::Result<Kind> {
    let mut first = First::default();
    while taken.len() < MAX_TAKEN {
        let before = taken.len();
        if client.read_buf(taken).await? == 0 {
            break;
        }
        match first.bytes(taken.get(before..).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(true)) => return Ok(Kind::Translated),
            Ok(Some(false)) | Err(_) => break,
        }
    }
    Ok(Kind::Native)
}

/// Serves HTTP/2 on `client` with the application at `address`, to which `server` is the first connection, until the peer, an
/// error or `cut` ends it.
pub(crate) async fn serve<T>(client: T, server: TcpStream, proxy: Proxy, address: SocketAddr, tap: Tap, cut: impl Future<Output = io::Error>) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Sampled + Send + Unpin + 'static,
{
    let mut stopping = pin!(tap.stopping());
    let tasks = Tasks::default();
    let _end = AbortOnDrop(tasks.clone());
    let application = Arc::new(Application::new(proxy, address, server, tasks.clone()));
    let answer = service_fn(move |request| {
        let application = application.clone();
        async move { Ok::<_, Infallible>(application.answer(request).await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(tasks);
    builder.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADERS);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(Observed::new(client, tap)), answer));
    let mut cut = pin!(cut);
    let mut stopped = false;
    loop {
        tokio::select! {
            biased;
            error = &mut cut => return Err(error),
            served = &mut serving => return served.map_err(io::Error::other),
            () = &mut stopping, if !stopped => {
                stopped = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What runs for one connection of a peer, and ends with it.
#[derive(Clone, Debug, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

struct AbortOnDrop(Tasks);

// === impl Tasks ===

impl Tasks {
    fn with(&self, act: impl FnOnce(&mut JoinSet<()>)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.with(|tasks| {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        });
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.with(JoinSet::abort_all);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    fn headers(block: &[u8]) -> Vec<u8> {
        [PREFACE, &[0, 0, u8::try_from(block.len()).unwrap(), 1, 0x05, 0, 0, 0, 1], block].concat()
    }

    async fn told(bytes: &[u8], ends: bool) -> (Kind, usize) {
        let (mut near, mut far) = tokio::io::duplex(bytes.len().max(1));
        near.write_all(bytes).await.unwrap();
        if ends {
            near.shutdown().await.unwrap();
        }
        let (kind, taken) = kind(&mut far).await.unwrap();
        assert_eq!(taken, bytes[..taken.len()], "what was taken is what came");
        (kind, taken.len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_tells() {
        let translated = headers(b"\x82\x84\x00\x0el5d-orig-proto\x08HTTP/1.1");
        let native = headers(b"\x82\x84");
        assert_eq!(told(&translated, false).await, (Kind::Translated, translated.len()));
        assert_eq!(told(&native, false).await, (Kind::Native, native.len()));
        // Not one that begins, nor one that never comes, nor what is no HTTP/2.
        assert_eq!(told(&translated[..translated.len() - 1], true).await.0, Kind::Native);
        assert_eq!(told(PREFACE, false).await, (Kind::Translated, PREFACE.len()));
        assert_eq!(told(PREFACE, true).await.0, Kind::Native);
        assert_eq!(told(b"GET / HTTP/1.1\r\n\r\n", false).await.0, Kind::Native);
        let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(MAX_TAKEN / 9)].concat();
        assert_eq!(told(&settings, false).await.0, Kind::Native, "what never asks is not read for ever");
    }
}
