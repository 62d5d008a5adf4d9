//! What an operator sees of a sidecar that lives, fails and stops: causes, dumps, and connections that are let go.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::control::CART;
use super::world::{World, answer, ask, comes_true, eventually, get, reset, serve_on};

/// The failures that the sidecar at `admin` shows.
async fn failures(admin: std::net::SocketAddr) -> Vec<Value> {
    let shown = ask(admin, "GET", "/failures", "").await;
    let (_, body) = shown.split_once("\r\n\r\n").unwrap();
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn words(failure: &Value) -> [&str; 4] {
    ["cause", "hop", "direction", "peer"].map(|field| failure[field].as_str().unwrap())
}

#[tokio::test]
async fn a_failure_says_what_broke_where_and_after_which_time() {
    let world = World::start().await;
    // Bound and closed again: nobody listens there.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = world.sidecar("cart", None).await;
    world.control.meshed(dead, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(dead)).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let read = stream.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    // The same connection, from both ends: the client's sidecar sees a peer that broke, the server's knows why.
    comes_true(async || !failures(client.running.admin).await.is_empty() && !failures(server.running.admin).await.is_empty()).await;
    let (here, there) = (failures(client.running.admin).await, failures(server.running.admin).await);
    let web = "web.shop.serviceaccount.identity.assent-system.cluster.local";
    assert_eq!(words(&there[0]), ["refused", "application", "inbound", web]);
    let [_, hop, direction, peer] = words(&here[0]);
    assert_eq!([hop, direction, peer], ["peer", "outbound", CART], "{here:?}");
    assert_eq!(here[0]["destination"], dead.to_string());
    let spent = |failure: &Value, leg: &str| failure["legs_ms"][leg].as_f64().unwrap();
    assert!(spent(&here[0], "handshake") > 0.0 && spent(&here[0], "connect") > 0.0 && spent(&here[0], "relay") > 0.0, "{here:?}");
    assert!(spent(&there[0], "handshake") > 0.0 && spent(&there[0], "connect") > 0.0 && spent(&there[0], "relay") == 0.0, "{there:?}");
    let metrics = get(server.running.admin).await;
    let line = r#"assent_sidecar_errors_total{cause="refused",hop="application",direction="inbound"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_reset_is_the_applications_at_home_and_the_peers_elsewhere() {
    let world = World::start().await;
    let app = reset().await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.expect_err("an orderly end");
    comes_true(async || !failures(client.running.admin).await.is_empty() && !failures(server.running.admin).await.is_empty()).await;
    let (here, there) = (failures(client.running.admin).await, failures(server.running.admin).await);
    assert_eq!(words(&there[0])[..3], ["reset", "application", "inbound"]);
    assert_eq!(words(&here[0])[1..3], ["peer", "outbound"]);
    comes_true(async || get(server.running.admin).await.contains(r#"errno="ECONNRESET"} 1"#)).await;
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn the_configuration_is_shown_without_a_secret() {
    let world = World::start().await;
    let app = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    assert!(get(client.running.outbound).await.ends_with("ok"));
    let shown = ask(client.running.admin, "GET", "/config", "").await;
    let (head, body) = shown.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let shown: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&shown["flags"]["workload_service_account"], &shown["flags"]["window_ms"]), (&"web".into(), &100.into()));
    assert_eq!(shown["flags"]["filter"], "info,kube_client=off");
    assert!(shown["identity"]["name"].as_str().unwrap().starts_with("web.shop."));
    let certificate = &shown["identity"]["certificate"];
    assert!(certificate["not_after"].as_u64() > certificate["not_before"].as_u64());
    assert_eq!(shown["trust_roots"][0].as_str().unwrap().len(), 64);
    let known = &shown["destinations"][0];
    assert_eq!((&known["destination"], &known["kind"], &known["meshed_endpoints"]), (&app.to_string().into(), &"pod".into(), &1.into()));
    assert!(!body.contains("PRIVATE"), "{body}");
    let metrics = get(client.running.admin).await;
    for line in [
        format!("control_identity_cert_expiration_timestamp_seconds {}", certificate["not_after"]),
        "control_identity_cert_refreshes_total 1".to_owned(),
        format!("proxy_build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(metrics.contains(&line), "`{line}` is not in\n{metrics}");
    }
    client.stop().await;
    server.stop().await;
}

/// A server that answers each request when it is told to.
async fn slow() -> (std::net::SocketAddr, mpsc::UnboundedSender<()>) {
    let (go, went) = mpsc::unbounded_channel();
    let went = std::sync::Arc::new(tokio::sync::Mutex::new(went));
    let address = serve_on("127.0.0.1:0", move |mut stream| {
        let went = went.clone();
        async move {
            while stream.read(&mut [0; 4096]).await.unwrap_or(0) > 0 {
                went.lock().await.recv().await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
            }
        }
    })
    .await;
    (address, go)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn answered(stream: &mut TcpStream) {
    let mut got = Vec::new();
    while !got.ends_with(b"done") {
        assert!(stream.read_buf(&mut got).await.unwrap() > 0, "it ended early");
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_request_on_its_way_and_not_for_kept_connections() {
    let world = World::start().await;
    let (app, go) = slow().await;
    let server = world.sidecar("cart", None).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.sidecar("web", Some(app)).await;
    let (mut kept, mut busy) = (TcpStream::connect(client.running.outbound).await.unwrap(), TcpStream::connect(client.running.outbound).await.unwrap());
    for stream in [&mut kept, &mut busy] {
        stream.write_all(REQUEST).await.unwrap();
        go.send(()).unwrap();
        answered(stream).await;
    }
    busy.write_all(REQUEST).await.unwrap();
    world.control.flow(|flow| flow.peer == CART && flow.in_flight == 1).await;

    // Far less than the twenty seconds that a drain may take.
    let soon = Duration::from_secs(8);
    client.stop.cancel();
    let stopping = tokio::spawn(client.running.finish());
    let ended = tokio::time::timeout(soon, kept.read(&mut [0; 16])).await.expect("the kept connection was not let go");
    assert_eq!(ended.unwrap(), 0, "an orderly end");
    assert!(!stopping.is_finished(), "a request is on its way");
    go.send(()).unwrap();
    answered(&mut busy).await;
    assert_eq!(tokio::time::timeout(soon, busy.read(&mut [0; 16])).await.expect("it was not let go after its answer").unwrap(), 0);
    tokio::time::timeout(soon, stopping).await.expect("the drain took its whole time").unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_has_not_asked_yet_may_still_ask_after_a_stop() {
    let world = World::start().await;
    let (app, go) = slow().await;
    world.control.away();
    let client = world.sidecar("web", Some(app)).await;
    let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
    eventually(|| client.running.connections() == 1).await;
    client.stop.cancel();
    let stopping = tokio::spawn(client.running.finish());
    stream.write_all(REQUEST).await.unwrap();
    go.send(()).unwrap();
    answered(&mut stream).await;
    tokio::time::timeout(Duration::from_secs(8), stopping).await.expect("the drain took its whole time").unwrap().unwrap();
}
