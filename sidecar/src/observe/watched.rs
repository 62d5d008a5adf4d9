//! A decoder between real clients and a real server, for the tests of decoders: the relay runs as it does in a pod.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::flows::{Direction, Flows, Key};
use super::statement::{Decoder, Event};
use super::{End, Protocol, Side, Tap};
use crate::relay::relay;

/// What a connection told, in order.
type Told = Arc<Mutex<Vec<Event>>>;

/// A decoder whose events are kept.
#[derive(Debug)]
pub(super) struct Watched {
    decoder: Box<dyn Decoder>,
    told: Told,
}

/// Relays to a server, each connection with a decoder of its own.
pub(super) struct Watch {
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<Vec<Vec<Event>>>,
}

/// What `client` prints when it is given the lines of `input`.
pub(super) async fn printed(client: &mut tokio::process::Command, input: &str) -> String {
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    String::from_utf8(client.wait_with_output().await.unwrap().stdout).unwrap()
}

/// A stream that remembers what went through it.
struct Sums {
    stream: TcpStream,
    sums: Arc<Mutex<[u64; 2]>>,
}

impl crate::sampled::Sampled for Sums {}

// === impl Watched ===

impl Watched {
    pub(super) fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant) {
        let mut told = self.told.lock().unwrap();
        self.decoder.bytes(from, bytes, at, &mut |event| told.push(event));
    }

    pub(super) fn end(&mut self, end: End, at: Instant) {
        let mut told = self.told.lock().unwrap();
        self.decoder.end(end, at, &mut |event| told.push(event));
    }
}

// === impl Watch ===

impl Watch {
    pub(super) async fn start(server: SocketAddr, decoder: fn() -> Box<dyn Decoder>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => connections.spawn(connection(accepted.unwrap().0, server, decoder())),
                    _ = &mut stopped => return connections.join_all().await,
                };
            }
        });
        Self { address, stop, accepting }
    }

    /// What each connection told, once all of them are over.
    pub(super) async fn stop(self) -> Vec<Vec<Event>> {
        self.stop.send(()).unwrap();
        self.accepting.await.unwrap()
    }
}

async fn connection(client: TcpStream, server: SocketAddr, decoder: Box<dyn Decoder>) -> Vec<Event> {
    let server = TcpStream::connect(server).await.unwrap();
    let (near, far) = (Arc::default(), Arc::default());
    let told = Told::default();
    let flows = Arc::new(Flows::default());
    let connection = flows.open(Key::new(Direction::Inbound, "", ":0"), None);
    let tap = Tap { flows, connection, protocol: Protocol::Watched(Watched { decoder, told: told.clone() }), stop: Default::default(), spans: None };
    let copied = relay(Sums { stream: client, sums: Arc::clone(&near) }, Sums { stream: server, sums: Arc::clone(&far) }, tap).await;
    if copied.is_ok() {
        let ([read, written], [answered, asked]) = (*near.lock().unwrap(), *far.lock().unwrap());
        assert_eq!((read, answered), (asked, written), "bytes differ between the two ends");
    }
    std::mem::take(&mut *told.lock().unwrap())
}

/// Checks that every question has one end, and counts what `name` makes of each event.
pub(super) fn tally(connections: &[Vec<Event>], name: impl Fn(&Event) -> Option<String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for events in connections {
        balanced(events);
        for name in events.iter().filter_map(&name) {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

/// Every `Asked` is followed by exactly one `Done` or `Forgotten` with the same instant.
pub(super) fn balanced(events: &[Event]) {
    let mut open = Vec::new();
    for event in events {
        match event {
            Event::Asked(asked) => open.push(*asked),
            Event::Done(super::statement::Statement { asked, .. }) | Event::Forgotten(asked) => {
                let place = open.iter().position(|open| open == asked);
                open.swap_remove(place.unwrap_or_else(|| panic!("nothing was asked then: {event:?}")));
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{} questions without an end in {events:?}", open.len());
}

// === impl Sums ===

impl Sums {
    fn add(&self, way: usize, bytes: &[u8]) {
        let sum = &mut self.sums.lock().unwrap()[way];
        // FNV-1a, which does not depend on where the chunks end.
        *sum = bytes.iter().fold(*sum ^ 0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)) ^ 0xcbf2_9ce4_8422_2325;
    }
}

impl AsyncRead for Sums {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.add(0, &buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Sums {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.add(1, &bytes[..*count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
