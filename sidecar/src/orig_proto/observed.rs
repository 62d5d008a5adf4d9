//! A stream whose reads and writes are shown to an observer, as the relay shows those of others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::observe::{End, Side, Tap};
use crate::sampled::Sampled;

/// The peer's end of a connection.
#[derive(Debug)]
pub(super) struct Observed<T: Sampled> {
    io: T,
    /// Until the end, which takes it.
    tap: Option<Tap>,
    end: End,
}

/// The other end is several connections, or none.
struct Several;

impl Sampled for Several {}

// === impl Observed ===

impl<T: Sampled> Observed<T> {
    pub(super) fn new(io: T, tap: Tap) -> Self {
        Self { io, tap: Some(tap), end: End::Closed }
    }

    fn saw<R>(&mut self, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if let (Some(tap), Poll::Ready(Err(error))) = (&mut self.tap, &polled) {
            tap.broke(error);
            self.end = End::Reset;
        }
        polled
    }
}

impl<T: AsyncRead + Sampled + Unpin> AsyncRead for Observed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        if let (Some(tap), Some(bytes)) = (&mut this.tap, buffer.filled().get(before..).filter(|bytes| !bytes.is_empty())) {
            tap.bytes(Side::Client, bytes, Instant::now());
        }
        this.saw(read)
    }
}

impl<T: AsyncWrite + Sampled + Unpin> AsyncWrite for Observed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        if let (Some(tap), Poll::Ready(Ok(count))) = (&mut this.tap, &written) {
            tap.bytes(Side::Server, bytes.get(..*count).unwrap_or_default(), Instant::now());
        }
        this.saw(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: Sampled> Drop for Observed<T> {
    fn drop(&mut self) {
        if let Some(tap) = self.tap.take() {
            tap.last(&self.io, &Several);
            tap.end(self.end, Instant::now());
        }
    }
}
