//! A sidecar without its control plane: one that starts again with the state directory of its predecessor, and one whose
//! connection to discovery has died without a word.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::control::CART;
use super::world::{Sidecar, World, answer, comes_true, get};
use crate::metrics::Failure;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// The file that a sidecar keeps, once it is there.
async fn kept(state: &Path) -> String {
    let polling = async {
        loop {
            // Renamed into place: whoever sees it sees all of it.
            match std::fs::read_to_string(state.join("discovery")) {
                Ok(text) if text.contains(CART) => return text,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), polling).await.expect("nothing was kept")
}

/// A client's sidecar that has learned of the meshed server, and whose state is kept.
async fn learned(world: &World, app: std::net::SocketAddr, inbound: u16, service: bool) -> TempDir {
    let state = tempfile::tempdir().unwrap();
    if service {
        world.control.service(&[(app, Some(inbound))]);
    } else {
        world.control.meshed(app, inbound, CART);
    }
    let client = world.sidecar_keeping("web", app, state.path()).await;
    assert!(get(client.running.outbound).await.ends_with("hello"));
    kept(state.path()).await;
    client.stop().await;
    world.control.away();
    state
}

async fn refused(client: &Sidecar) {
    // The reset may come at any moment, also before the connection is known to be open.
    let ask = async {
        let mut stream = TcpStream::connect(client.running.outbound).await?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        stream.read(&mut [0; 16]).await
    };
    let read = ask.await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// The value of `line` in the metrics of `sidecar`.
async fn metric(sidecar: &Sidecar, line: &str) -> f64 {
    let metrics = get(sidecar.running.admin).await;
    let found = metrics.lines().find_map(|found| found.strip_prefix(line));
    found.unwrap_or_else(|| panic!("no `{line}` in\n{metrics}")).trim().parse().unwrap()
}

#[tokio::test]
async fn a_known_meshed_route_goes_over_mutual_tls_to_exactly_that_identity() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let server = world.sidecar("cart", None).await;
    for service in [false, true] {
        world.control.back();
        let state = learned(&world, app, server.running.inbound.port(), service).await;
        let client = world.sidecar_keeping("web", app, state.path()).await;
        assert!(get(client.running.outbound).await.ends_with("hello"));
        let over = format!(
            "tcp_open_total{{direction=\"outbound\",peer=\"dst\",target_addr=\"{app}\",target_port=\"{}\",tls=\"true\",server_id=\"{CART}\"}}",
            app.port()
        );
        comes_true(async || get(client.running.admin).await.contains(&format!("{over} 1"))).await;
        assert_eq!(metric(&client, "assent_discovery_restored_destinations").await, 1.0);
        assert!(metric(&client, "assent_discovery_stale_seconds").await > 0.0);
        assert_eq!(metric(&client, "assent_sidecar_unresolved_total").await, 0.0);
        // When discovery is back, what it says counts again.
        world.control.back();
        comes_true(async || metric(&client, "assent_discovery_restored_destinations").await == 0.0).await;
        assert_eq!(metric(&client, "assent_discovery_stale_seconds").await, 0.0);
        client.stop().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn another_identity_at_a_known_address_is_refused() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let impostor = world.sidecar("thief", None).await;
    let state = tempfile::tempdir().unwrap();
    world.control.meshed(app, impostor.running.inbound.port(), CART);
    let client = world.sidecar_keeping("web", app, state.path()).await;
    refused(&client).await;
    kept(state.path()).await;
    client.stop().await;
    world.control.away();
    let client = world.sidecar_keeping("web", app, state.path()).await;
    refused(&client).await;
    assert_eq!(metric(&client, "assent_discovery_restored_destinations").await, 1.0);
    assert_eq!(client.running.counters.failures(Failure::Handshake), 1);
    assert_eq!(metric(&client, "assent_outbound_endpoint_failures_total{cause=\"closed\"}").await, 1.0);
    client.stop().await;
    impostor.stop().await;
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_not_used() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let server = world.sidecar("cart", None).await;
    let state = learned(&world, app, server.running.inbound.port(), false).await;
    let file = state.path().join("discovery");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(CART, &CART.replacen("cart", "card", 1))).unwrap();
    let client = world.sidecar_keeping("web", app, state.path()).await;
    assert_eq!(metric(&client, "assent_discovery_state_failures_total{operation=\"read\"}").await, 1.0);
    assert_eq!(metric(&client, "assent_discovery_restored_destinations").await, 0.0);
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_dead_connection_to_discovery_is_noticed_and_replaced() {
    let mut world = World::start().await;
    // Passes connections on until told to freeze: those that are open then stay open, and nothing comes through any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let discovery = std::mem::replace(&mut world.addresses[1], listener.local_addr().unwrap());
    let freeze = Arc::new(Notify::new());
    let frozen = freeze.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let frozen = frozen.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(discovery).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = frozen.notified() => std::future::pending().await,
                }
            });
        }
    });
    let app = answer(ANSWER).await;
    world.control.service(&[(app, None)]);
    let client = world.sidecar("web", Some(app)).await;
    assert!(get(client.running.outbound).await.ends_with("hello"));
    assert_eq!(metric(&client, "assent_discovery_updates_total").await, 1.0);
    freeze.notify_waiters();
    let noticed = async {
        while metric(&client, "assent_discovery_updates_total").await < 2.0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    // The keepalive of the control channel takes less than half of it, and no other limit falls into it.
    tokio::time::timeout(Duration::from_secs(60), noticed).await.expect("the dead connection went unnoticed");
    assert!(get(client.running.outbound).await.ends_with("hello"));
    client.stop().await;
}
