//! What applications speak, through a pair of sidecars: servers that greet first, tunnels and gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::control::CART;
use super::world::{Sidecar, World, serve_on};

async fn pair(world: &World, application: SocketAddr) -> (Sidecar, Sidecar) {
    let server = world.sidecar("cart", None).await;
    world.control.meshed(application, server.running.inbound.port(), CART);
    (world.sidecar("web", Some(application)).await, server)
}

/// A server that greets and then sends back what it gets.
async fn greeter(greeting: &'static [u8]) -> SocketAddr {
    serve_on("127.0.0.1:0", move |mut stream| async move {
        stream.write_all(greeting).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

/// Connects, says nothing before `greeting` has come, and then something.
async fn greeted(address: SocketAddr, greeting: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut got = vec![0; greeting.len()];
    tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut got)).await.expect("everybody waits").unwrap();
    assert_eq!(got, greeting);
    stream.write_all(b"EHLO x").await.unwrap();
    let mut line = [0; 6];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"EHLO x");
}

#[tokio::test]
async fn a_greeting_arrives_before_its_client_has_spoken() {
    // A mail server's, and one of MySQL's.
    for greeting in [&b"220 mail.example ESMTP\r\n"[..], b"\x0a\0\0\0\x0a8.4.0\0\x01\0\0"] {
        let world = World::start().await;
        let app = greeter(greeting).await;
        let (client, server) = pair(&world, app).await;
        greeted(client.running.outbound, greeting).await;
        client.stop().await;
        server.stop().await;
        // From somebody without a sidecar, too.
        let server = world.launch("cart", None, &[], &[format!("--inbound-target={app}")]).await;
        greeted(server.running.inbound, greeting).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_websocket_is_one_request_and_then_a_tunnel() {
    let world = World::start().await;
    let app = serve_on("127.0.0.1:0", |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    let (client, server) = pair(&world, app).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    stream.write_all(b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    // What looks like requests within the tunnel is none.
    let within = b"\x82\x20GET /no HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\n\r\n";
    for _ in 0..100 {
        stream.write_all(within).await.unwrap();
        let mut got = vec![0; within.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, within);
    }
    let seen = world.control.flow(|flow| flow.peer == CART && flow.informational == 1).await;
    assert_eq!((seen.route_class.as_str(), seen.requests, seen.in_flight, seen.no_response), ("GET/1", 1, 0, 0));
    drop(stream);
    client.stop().await;
    server.stop().await;
    world.control.no_flow(|flow| flow.route_class != "GET/1" || flow.requests > 1);
}
