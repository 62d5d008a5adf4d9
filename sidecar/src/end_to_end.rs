//! Two sidecars in one process, with a real certificate authority, discovery and seats made for the test: what an
//! application sees, what the peers prove, and what is reported. The redirect itself is tested with root elsewhere.

mod control;
mod hostile;
mod life;
mod orig_proto;
mod otlp;
mod partition;
mod policy;
mod protocols;
mod roots;
mod world;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::metrics::Failure;
use control::CART;
use world::{World, answer, echo, eventually, get, reset};

#[tokio::test]
async fn a_request_passes_two_sidecars_over_mutual_tls_and_is_reported_by_both() {
    let world = World::start().await;
    let app = answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;

    assert!(get(client.running.outbound).await.ends_with("hello"));
    let web = "web.shop.serviceaccount.identity.assent-system.cluster.local";
    let here = world.control.flow(|flow| flow.peer == CART && flow.success == 1).await;
    assert_eq!((here.destination, here.route_class.as_str()), (app.to_string(), "GET/1"));
    let there = world.control.flow(|flow| flow.peer == web && flow.success == 1).await;
    assert_eq!(there.destination, format!(":{}", app.port()));

    let metrics = get(client.running.admin).await;
    assert!(metrics.contains(&format!("server_id=\"{CART}\"")), "{metrics}");
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn ten_megabytes_arrive_as_they_were_sent() {
    let world = World::start().await;
    let app = echo().await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;

    let sent: Vec<u8> = (0..10 * 1024 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let (mut reader, mut writer) = TcpStream::connect(client.running.outbound).await.unwrap().into_split();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    writing.await.unwrap();
    assert!(got == expected, "bytes differ");
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_with_another_identity_is_refused_and_never_reached_in_plain() {
    let world = World::start().await;
    let app = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let impostor = world.sidecar("thief", None).await;
    world.control.meshed(app, impostor.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;

    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let read = stream.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(client.running.counters.failures(Failure::Handshake), 1);
    client.stop().await;
    impostor.stop().await;
}

#[tokio::test]
async fn the_inbound_port_takes_nothing_but_mutual_tls_with_a_header() {
    let world = World::start().await;
    let server = world.sidecar("cart", None).await;
    let mut stream = TcpStream::connect(server.running.inbound).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let read = stream.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    eventually(|| server.running.counters.failures(Failure::Refused) == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn without_a_control_plane_traffic_passes_in_plain() {
    let world = World::start().await;
    world.control.away();
    let app = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let client = world.sidecar("web", Some(app)).await;
    assert!(get(client.running.outbound).await.ends_with("ok"));
    assert_eq!(client.running.counters.failures(Failure::Handshake), 0);
    client.stop().await;
}

#[tokio::test]
async fn known_peers_stay_reachable_when_discovery_is_gone() {
    let world = World::start().await;
    let app = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    assert!(get(client.running.outbound).await.ends_with("ok"));
    world.control.away();
    for _ in 0..5 {
        assert!(get(client.running.outbound).await.ends_with("ok"));
    }
    let reported = world.control.flow(|flow| flow.peer == CART && flow.success >= 1);
    assert!(tokio::time::timeout(Duration::from_millis(600), reported).await.is_err(), "the seat is away too");
    world.control.back();
    world.control.flow(|flow| flow.peer == CART && flow.success >= 1).await;
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_service_is_balanced_and_a_dead_endpoint_is_avoided() {
    let world = World::start().await;
    let first = answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await;
    let second = answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await;
    // Bound and closed again: nobody listens there.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.control.service(&[(first, None), (second, None), (dead, None)]);
    let client = world.sidecar("web", Some("10.96.0.77:80".parse().unwrap())).await;
    let mut seen = [0, 0];
    for _ in 0..40 {
        let answered = get(client.running.outbound).await;
        seen[usize::from(answered.ends_with('2'))] += 1;
    }
    assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    client.stop().await;
}

#[tokio::test]
async fn open_connections_finish_after_a_stop_and_new_ones_are_served_until_then() {
    let world = World::start().await;
    world.control.away();
    let client = world.sidecar("web", Some(echo().await)).await;
    let address = client.running.outbound;
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"one").await.unwrap();
    let mut got = [0; 3];
    open.read_exact(&mut got).await.unwrap();
    client.stop.cancel();
    let stopping = tokio::spawn(client.running.finish());
    // The application lives on when only the sidecar restarts.
    let mut new = TcpStream::connect(address).await.unwrap();
    for connection in [&mut new, &mut open] {
        connection.write_all(b"two").await.unwrap();
        connection.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"two");
    }
    assert!(!stopping.is_finished());
    drop((open, new));
    stopping.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_reset_by_the_application_arrives_as_a_reset() {
    let world = World::start().await;
    let app = reset().await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    let error = stream.read_to_end(&mut got).await.expect_err("an orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    world.control.flow(|flow| flow.peer == CART && flow.no_response == 1).await;
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn each_seat_is_told_its_own_class() {
    let world = World::start().await;
    // A well-known port on an address that nobody else uses.
    let app = world::serve_on("127.77.21.3:3306", |mut stream| async move {
        let _ = stream.write_all(b"greeting").await;
        let mut question = [0; 5];
        while stream.read_exact(&mut question).await.is_ok() {
            let _ = stream.write_all(b"rows").await;
        }
    })
    .await;
    let client = world.sidecar_with("web", Some(app), &["database", "compute"]).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    let (mut greeting, mut rows) = ([0; 8], [0; 4]);
    stream.read_exact(&mut greeting).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"query").await.unwrap();
        stream.read_exact(&mut rows).await.unwrap();
    }
    let flow = world.control.database(|flow| flow.exchanges > 0).await;
    assert_eq!((flow.system.as_str(), flow.destination.as_str()), ("mysql", "127.77.21.3:3306"));
    assert!(flow.turnaround_us.is_some());
    // A timer may fire a moment early or, on a busy machine, late.
    let window = world.control.compute().await.window.unwrap();
    assert!(window.length_ms >= 90 && window.sequence == 1 && window.dropped == 0, "{window:?}");
    drop(stream);
    client.stop().await;
}

#[tokio::test]
async fn a_meshed_service_that_cannot_be_reached_is_not_reached_in_plain() {
    let world = World::start().await;
    let app = answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain").await;
    // Nobody listens there, but the application does at the service's own address.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.control.service(&[(app, Some(dead.port()))]);
    let client = world.sidecar("web", Some(app)).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    let read = stream.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    client.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_not_who_it_should_be_costs_a_service_no_connection() {
    let world = World::start().await;
    let (first, second) = (answer("HTTP/1.1 200 OK\r\n\r\nstolen").await, answer("HTTP/1.1 200 OK\r\n\r\nhello").await);
    let (impostor, server) = (world.sidecar("thief", None).await, world.sidecar("cart", None).await);
    world.control.service(&[(first, Some(impostor.running.inbound.port())), (second, Some(server.running.inbound.port()))]);
    let client = world.sidecar("web", Some("10.96.0.77:80".parse().unwrap())).await;
    for _ in 0..30 {
        assert!(get(client.running.outbound).await.ends_with("hello"));
    }
    let metrics = get(client.running.admin).await;
    assert!(!metrics.contains("assent_outbound_endpoint_failures_total{cause=\"closed\"} 0"), "the impostor was never tried:\n{metrics}");
    assert_eq!(client.running.counters.failures(Failure::Handshake), 0, "no connection failed");
    client.stop().await;
    server.stop().await;
    impostor.stop().await;
}
