//! Copies bytes between a client and a server until both are done, showing each chunk to an observer.
//!
//! Both directions run in one task without locks. A chunk is observed after the first attempt to write it and before
//! anything else runs, so observing neither delays a byte nor sees an answer before its question. Nothing is altered.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::observe::{End, Side, Tap};
use crate::sampled::Sampled;

/// Bytes read at once: four full TLS records, and one until so many bytes came: what a slow reader leaves us with stays
/// small where connections are many.
const CHUNK: usize = 64 * 1024;
const FIRST_CHUNKS: (usize, u64) = (16 * 1024, 1024 * 1024);

thread_local! {
    /// What this thread's connections read into in turn. One of them keeps only what its other side did not take at once,
    /// so an idle connection has no buffer at all.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Bytes copied from the client and from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

#[derive(Debug)]
struct Direction {
    from: Side,
    /// Read, and not taken by the writer yet, from `start` on.
    rest: Vec<u8>,
    start: usize,
    unflushed: bool,
    state: State,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ending,
    Done,
}

/// The side that a relay broke on.
#[derive(Debug, thiserror::Error)]
#[error("the {} side broke", if *.side == Side::Client { "client's" } else { "server's" })]
struct Broken {
    side: Side,
    #[source]
    source: io::Error,
}

/// As [`relay_until`], with nothing that cuts it.
#[cfg(test)]
pub(crate) async fn relay(
    client: impl AsyncRead + AsyncWrite + Sampled + Unpin,
    server: impl AsyncRead + AsyncWrite + Sampled + Unpin,
    tap: Tap,
) -> io::Result<Copied> {
    relay_until(client, server, tap, std::future::pending()).await
}

/// Copies until both sides have ended, one fails, or `cut` gives an error. The observer is told of the end either way.
pub(crate) async fn relay_until(
    mut client: impl AsyncRead + AsyncWrite + Sampled + Unpin,
    mut server: impl AsyncRead + AsyncWrite + Sampled + Unpin,
    mut tap: Tap,
    cut: impl Future<Output = io::Error>,
) -> io::Result<Copied> {
    let mut cut = pin!(cut);
    let mut up = Direction::new(Side::Client);
    let mut down = Direction::new(Side::Server);
    let mut stopping = pin!(tap.stopping());
    let mut stopped = false;
    let result = poll_fn(|cx| {
        if let Poll::Ready(error) = cut.as_mut().poll(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let first = up.poll(cx, &mut client, &mut server, &mut tap)?;
            let second = down.poll(cx, &mut server, &mut client, &mut tap)?;
            if first.is_ready() && second.is_ready() {
                return Poll::Ready(Ok(Copied { sent: up.total, received: down.total }));
            }
            stopped = stopped || stopping.as_mut().poll(cx).is_ready();
            // Between two requests nobody loses anything: clients expect a kept connection to end then.
            if !(stopped && tap.idle() && up.quiet() && down.quiet() && (up.close() | down.close())) {
                return Poll::Pending;
            }
        }
    })
    .await;
    if let Err(error) = &result {
        tap.broke(error);
    }
    tap.last(&client, &server);
    tap.end(if result.is_ok() { End::Closed } else { End::Reset }, Instant::now());
    result
}

// === impl Direction ===

impl Direction {
    fn new(from: Side) -> Self {
        Self { from, rest: Vec::new(), start: 0, unflushed: false, state: State::Open, total: 0 }
    }

    /// Nothing is on its way.
    fn quiet(&self) -> bool {
        self.rest.is_empty() && !self.unflushed
    }

    /// As if its end had come; tells whether it had not.
    fn close(&mut self) -> bool {
        let open = self.state == State::Open;
        if open {
            self.state = State::Ending;
        }
        open
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        tap: &mut Tap,
    ) -> Poll<io::Result<()>> {
        let to = self.from.other();
        loop {
            if let Some(rest) = self.rest.get(self.start..).filter(|rest| !rest.is_empty()) {
                self.start += ready!(write(cx, writer, rest)).map_err(broken(to))?;
                continue;
            }
            if !self.rest.is_empty() {
                (self.rest, self.start) = (Vec::new(), 0);
            }
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Ending => {
                    // A peer that is already gone has no more use for our end of stream.
                    if let Err(error) = ready!(Pin::new(&mut *writer).poll_shutdown(cx))
                        && error.kind() != io::ErrorKind::NotConnected
                    {
                        return Poll::Ready(Err(broken(to)(error)));
                    }
                    self.state = State::Done;
                }
                State::Open => match SCRATCH.with_borrow_mut(|scratch| self.pass(cx, scratch, reader, writer, tap)) {
                    Poll::Pending => {
                        if self.unflushed {
                            ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(broken(to))?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(0)) => self.state = State::Ending,
                    Poll::Ready(Ok(count)) => self.total += count as u64,
                },
            }
        }
    }

    /// Reads once and writes what it can of it; the number of bytes read, 0 at the end of the stream.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        tap: &mut Tap,
    ) -> Poll<io::Result<usize>> {
        let size = if self.total < FIRST_CHUNKS.1 { FIRST_CHUNKS.0 } else { CHUNK };
        let mut buffer = ReadBuf::new(scratch.get_mut(..size).unwrap_or_default());
        // Also a TLS stream that was cut off: passing that on as an orderly end would hide it.
        ready!(Pin::new(reader).poll_read(cx, &mut buffer)).map_err(broken(self.from))?;
        let bytes = buffer.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let read_at = Instant::now();
        self.unflushed = true;
        let written = write(cx, writer, bytes);
        tap.bytes(self.from, bytes, read_at);
        let taken = match written {
            Poll::Ready(taken) => taken.map_err(broken(self.from.other()))?,
            Poll::Pending => 0,
        };
        self.rest.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        Poll::Ready(Ok(bytes.len()))
    }
}

fn write(cx: &mut Context<'_>, writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(writer).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}

/// An error on that side.
pub(crate) fn broken(side: Side) -> impl Fn(io::Error) -> io::Error {
    move |source| io::Error::new(source.kind(), Broken { side, source })
}

/// The side that the `error` of a relay came from.
pub(crate) fn side(error: &io::Error) -> Option<Side> {
    error.get_ref()?.downcast_ref::<Broken>().map(|broken| broken.side)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::observe::flows::{Direction as Way, Flows, Key};

    fn start(port: u16, room: usize) -> (DuplexStream, DuplexStream, Arc<Flows>, tokio::task::JoinHandle<io::Result<Copied>>) {
        let flows = Arc::new(Flows::default());
        let connection = flows.open(Key::new(Way::Inbound, "", &format!(":{port}")), None);
        let (client, near) = duplex(room);
        let (far, server) = duplex(room);
        let copying = tokio::spawn(relay(near, far, Tap::new(flows.clone(), connection, port)));
        (client, server, flows, copying)
    }

    #[tokio::test]
    async fn copies_every_byte_both_ways_through_small_pipes() {
        let (mut client, mut server, flows, copying) = start(80, 777);
        let sent: Vec<u8> = (0..1024 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let expected = sent.clone();
        let echo = tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(&mut server);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let writing = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let ((), read) = tokio::join!(writing, reader.read_to_end(&mut got));
        read.unwrap();
        echo.await.unwrap();
        assert!(got == expected, "bytes differ");
        let copied = copying.await.unwrap().unwrap();
        assert_eq!((copied.sent, copied.received), (expected.len() as u64, expected.len() as u64));
        let window = flows.drain(Instant::now(), &Default::default());
        assert_eq!(window.tcp[0].bytes_sent, copied.sent);
        assert!(window.http.is_empty(), "random bytes are no requests");
    }

    #[tokio::test]
    async fn observes_requests_and_passes_half_closes_on() {
        let (mut client, mut server, flows, copying) = start(80, 4096);
        client.write_all(b"GET /x HTTP/1.1\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let mut request = Vec::new();
        server.read_to_end(&mut request).await.unwrap();
        assert_eq!(request, b"GET /x HTTP/1.1\r\n\r\n");
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        drop(server);
        let mut response = Vec::new();
        client.read_to_end(&mut response).await.unwrap();
        copying.await.unwrap().unwrap();
        let window = flows.drain(Instant::now() + Duration::from_secs(1), &Default::default());
        assert_eq!((window.http[0].requests, window.http[0].success), (1, 1));
    }
}
