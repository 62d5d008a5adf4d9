//! Clients that mean harm: what they begin and do not end, send without end or in floods. Others are served meanwhile, and
//! memory stays within bounds.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::control::CART;
use super::world::{Sidecar, World, answer, echo, eventually, get, serve_on};
use crate::metrics::Failure;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// By how much this process may grow while somebody sends without end; the other tests are part of it.
const GROWTH: u64 = 64 * 1024 * 1024;

/// A client's sidecar and that of the server `application`, which is told `flags`.
async fn pair(world: &World, application: SocketAddr, flags: &[String]) -> (Sidecar, Sidecar) {
    let server = world.launch("cart", None, &["network"], flags).await;
    world.control.meshed(application, server.running.inbound.port(), CART);
    (world.sidecar("web", Some(application)).await, server)
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    pages * 4096
}

/// Sends `chunk` again and again, and hears nothing.
async fn flood(to: SocketAddr, first: &[u8], chunk: &[u8], times: usize) {
    let before = resident();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(first).await.unwrap();
    for _ in 0..times {
        stream.write_all(chunk).await.unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes more for {} sent", chunk.len() * times);
}

/// A server that reads everything and answers nothing, except to those who ask for it at once.
async fn sink() -> SocketAddr {
    serve_on("127.0.0.1:0", |mut stream| async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count) = stream.read(&mut bytes).await
            && count > 0
        {
            if bytes.starts_with(b"GET /metrics") {
                stream.write_all(ANSWER.as_bytes()).await.unwrap();
                return;
            }
        }
    })
    .await
}

async fn reset(mut stream: TcpStream) -> bool {
    let read = stream.read(&mut [0; 1]).await;
    matches!(read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_thousand_half_open_handshakes_lock_nobody_out() {
    let world = World::start().await;
    let (client, server) = pair(&world, answer(ANSWER).await, &[]).await;
    let mut open = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(server.running.inbound).await.unwrap();
        // Some say nothing at all, some begin a hello.
        if number % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
        }
        open.push(stream);
    }
    let good = tokio::time::timeout(Duration::from_secs(5), get(client.running.outbound)).await.expect("it was locked out");
    assert!(good.ends_with("hello"), "{good}");
    drop(open);
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn half_open_handshakes_take_a_quarter_of_the_slots_and_the_oldest_makes_room() {
    let world = World::start().await;
    let (client, server) = pair(&world, answer(ANSWER).await, &["--max-connections=40".to_owned()]).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(TcpStream::connect(server.running.inbound).await.unwrap());
    }
    // More than the quarter with the good client's: somebody has to go, and it is not the newest.
    let good = tokio::time::timeout(Duration::from_secs(5), get(client.running.outbound)).await.expect("it was locked out");
    assert!(good.ends_with("hello"), "{good}");
    assert!(reset(open.remove(0)).await, "the oldest one made room");
    eventually(|| server.running.counters.failures(Failure::Handshake) >= 1).await;
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn heads_that_drip_and_heads_without_end_pass_and_are_not_kept() {
    let world = World::start().await;
    let (client, server) = pair(&world, sink().await, &[]).await;
    let mut slow = TcpStream::connect(client.running.outbound).await.unwrap();
    for byte in b"GET / HTTP/1.1\r\nX: y\r\n" {
        slow.write_all(&[*byte]).await.unwrap();
    }
    let header = format!("A: {}\r\n", "a".repeat(64 * 1024));
    for _ in 0..20 {
        flood(client.running.outbound, b"GET / HTTP/1.1\r\n", header.as_bytes(), 1).await;
    }
    assert!(get(client.running.outbound).await.ends_with("hello"));
    flood(client.running.outbound, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", &b"trailer: more\r\n".repeat(4096), 2000).await;
    assert!(get(client.running.outbound).await.ends_with("hello"));
    drop(slow);
    client.stop().await;
    server.stop().await;
}

/// A connection's beginning: the preface and empty settings.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn rapid_resets_and_floods_of_pings_are_counted_and_kept_nowhere() {
    let world = World::start().await;
    let (client, server) = pair(&world, sink().await, &[]).await;
    let resets: Vec<u8> =
        (0..50_000u32).flat_map(|number| [frame(1, 0x05, number * 2 + 1, b"\x83\x04\x04/a/b"), frame(3, 0, number * 2 + 1, &[0, 0, 0, 8])].concat()).collect();
    let pings = frame(6, 0, 0, &[0; 8]).repeat(4096);
    flood(client.running.outbound, &[preface(), resets].concat(), &pings, 2000).await;
    assert!(get(client.running.outbound).await.ends_with("hello"));
    // Reported in windows: what was begun, and none of it failed or waits.
    let seen = world.control.flow(|flow| flow.peer == CART && flow.route_class == "POST/2" && flow.requests > 0).await;
    assert_eq!((seen.no_response, seen.server_error), (0, 0));
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_fields_block_without_end_is_not_kept() {
    let world = World::start().await;
    let (client, server) = pair(&world, sink().await, &[]).await;
    let begun = [preface(), frame(1, 0, 1, b"\x83\x84")].concat();
    flood(client.running.outbound, &begun, &frame(9, 0, 1, &[0x82; 16384]), 8000).await;
    assert!(get(client.running.outbound).await.ends_with("hello"));
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn who_reads_nothing_is_held_in_bounds() {
    let world = World::start().await;
    let (client, server) = pair(&world, echo().await, &[]).await;
    let before = resident();
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    let chunk = vec![b'x'; 64 * 1024];
    // Until nobody takes any more: the kernel's buffers along the way are full.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), stream.write(&chunk)).await {
        written.unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes");
    drop(stream);
    client.stop().await;
    server.stop().await;
}
