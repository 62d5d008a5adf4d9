//! Who may connect, as clients see it: by identity and in plain, over a change, over a restart and without a controller.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::control::{CART, narrowed};
use super::world::{Sidecar, World, answer, comes_true, echo, get, serve_on};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// Where probes come from, and where nobody in particular does.
const NODE: &str = "127.0.0.2";
const ELSEWHERE: &str = "127.0.0.3";

fn identity(account: &str) -> String {
    CART.replacen("cart", account, 1)
}

async fn line(sidecar: &Sidecar, line: &str) {
    comes_true(async || get(sidecar.running.admin).await.lines().any(|found| found == line)).await;
}

/// A server's sidecar that has been told who may connect.
async fn told(world: &World, flags: &[String]) -> Sidecar {
    let server = world.launch("cart", None, &[], flags).await;
    line(&server, "assent_policy_unanswered 0.0").await;
    server
}

/// Asks `to` in plain from the address `from`.
async fn plain(from: &str, to: SocketAddr) -> std::io::Result<String> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    ask(socket.connect(to).await?).await
}

/// A reset may arrive before the client even knows that it is connected.
async fn ask(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut got = String::new();
    stream.read_to_string(&mut got).await?;
    Ok(got)
}

async fn through(client: &Sidecar) -> std::io::Result<String> {
    ask(TcpStream::connect(client.running.outbound).await?).await
}

fn passed(asked: std::io::Result<String>) {
    assert!(asked.as_ref().is_ok_and(|got| got.ends_with("hello")), "{asked:?}");
}

fn reset(asked: std::io::Result<String>) {
    assert_eq!(asked.expect_err("it was let in").kind(), std::io::ErrorKind::ConnectionReset);
}

/// An application that counts its connections.
async fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let address = serve_on("127.0.0.1:0", move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                let _ = stream.write_all(ANSWER.as_bytes()).await;
            }
        }
    })
    .await;
    (address, count)
}

#[tokio::test]
async fn a_named_identity_passes_and_another_is_reset_before_the_application_hears_of_it() {
    let world = World::start().await;
    let (app, connections) = counting().await;
    world.control.policy(narrowed(NODE, &["web"]));
    let server = told(&world, &[]).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let (web, thief) = (world.sidecar("web", Some(app)).await, world.sidecar("thief", Some(app)).await);

    passed(through(&web).await);
    reset(through(&thief).await);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let policy = format!("srv_group=\"\",srv_kind=\"default\",srv_name=\"narrowed\",srv_port=\"{}\"", app.port());
    let authz = "authz_group=\"\",authz_kind=\"default\",authz_name=\"named\"";
    line(&server, &format!("inbound_tcp_authz_allow_total{{{policy},{authz},tls=\"true\",client_id=\"{}\"}} 1", identity("web"))).await;
    line(&server, &format!("inbound_tcp_authz_deny_total{{{policy},cause=\"identity\",tls=\"true\",client_id=\"{}\"}} 1", identity("thief"))).await;
    for sidecar in [web, thief, server] {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn plain_clients_follow_the_policy_and_probes_always_pass() {
    let world = World::start().await;
    let (app, connections) = counting().await;
    let server = told(&world, &[format!("--inbound-target={app}")]).await;
    let inbound = server.running.inbound;
    passed(plain(ELSEWHERE, inbound).await);
    passed(plain(NODE, inbound).await);
    let port = app.port();
    let open = "authz_group=\"\",authz_kind=\"default\",authz_name=\"all-unauthenticated\",tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"";
    line(
        &server,
        &format!("inbound_tcp_authz_allow_total{{srv_group=\"\",srv_kind=\"default\",srv_name=\"all-unauthenticated\",srv_port=\"{port}\",{open}}} 2"),
    )
    .await;

    world.control.policy(narrowed(NODE, &["web"]));
    comes_true(async || plain(ELSEWHERE, inbound).await.is_err()).await;
    let before = connections.load(Ordering::SeqCst);
    reset(plain(ELSEWHERE, inbound).await);
    assert_eq!(connections.load(Ordering::SeqCst), before, "the application heard of it");
    passed(plain(NODE, inbound).await);
    // Who proves to be somebody may, also where nobody may come in plain.
    world.control.meshed(app, inbound.port(), CART);
    let (web, thief) = (world.sidecar("web", Some(app)).await, world.sidecar("thief", Some(app)).await);
    passed(through(&web).await);
    reset(through(&thief).await);
    let metrics = get(server.running.admin).await;
    assert!(metrics.contains("cause=\"unauthenticated\",tls=\"no_identity\""), "{metrics}");
    assert!(metrics.contains("authz_name=\"probe\",tls=\"no_identity\""), "{metrics}");
    for sidecar in [web, thief, server] {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn a_change_cuts_the_open_connections_of_those_who_may_no_longer_and_no_others() {
    let world = World::start().await;
    let app = echo().await;
    world.control.policy(narrowed(NODE, &["web", "bank"]));
    let server = told(&world, &[]).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let (web, bank) = (world.sidecar("web", Some(app)).await, world.sidecar("bank", Some(app)).await);
    let mut streams = Vec::new();
    for client in [&web, &bank] {
        let mut stream = TcpStream::connect(client.running.outbound).await.unwrap();
        stream.write_all(b"one").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        streams.push(stream);
    }
    world.control.policy(narrowed(NODE, &["bank"]));
    // Nobody writes anything: the change alone ends it.
    let cut = tokio::time::timeout(Duration::from_secs(10), streams[0].read(&mut [0; 1])).await.expect("it was not cut");
    assert_eq!(cut.expect_err("an orderly end").kind(), std::io::ErrorKind::ConnectionReset);
    streams[1].write_all(b"two").await.unwrap();
    let mut got = [0; 3];
    streams[1].read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"two");
    reset(through(&web).await);
    let metrics = get(server.running.admin).await;
    let cut: Vec<_> = metrics.lines().filter(|line| line.starts_with("inbound_tcp_authz_terminate_total{")).collect();
    assert!(matches!(cut[..], [line] if line.contains(&identity("web")) && line.contains("cause=\"identity\"") && line.ends_with(" 1")), "{cut:?}");
    drop(streams);
    for sidecar in [web, bank, server] {
        sidecar.stop().await;
    }
}

/// Waits until the policy named `name` is kept.
async fn kept(state: &Path, name: &str) {
    let holds = |content: Vec<u8>| content.windows(name.len()).any(|window| window == name.as_bytes());
    comes_true(async || std::fs::read(state.join("policy")).is_ok_and(holds)).await;
}

#[tokio::test]
async fn a_restart_inside_a_partition_refuses_whom_it_refused_before() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    let state = tempfile::tempdir().unwrap();
    let keeping = format!("--identity-state-dir={}", state.path().display());
    world.control.policy(narrowed(NODE, &["web"]));
    let server = told(&world, std::slice::from_ref(&keeping)).await;
    let inbound = server.running.inbound;
    world.control.meshed(app, inbound.port(), CART);
    let (web, thief) = (world.sidecar("web", Some(app)).await, world.sidecar("thief", Some(app)).await);
    passed(through(&web).await);
    reset(through(&thief).await);
    kept(state.path(), "narrowed").await;
    world.control.away();
    server.stop().await;

    // The clients still know where it is.
    let server = world.launch("cart", None, &[], &[keeping.clone(), format!("--inbound-address={inbound}")]).await;
    assert!(get(server.running.admin).await.contains("assent_policy_restored 1.0"));
    passed(through(&web).await);
    reset(through(&thief).await);
    let metrics = get(server.running.admin).await;
    assert!(metrics.contains("assent_policy_unanswered 0.0") && !metrics.contains("assent_policy_stale_seconds 0.0\n"), "{metrics}");
    server.stop().await;
    // So are those who come in plain.
    let server = world.launch("cart", None, &[], &[keeping, format!("--inbound-target={app}")]).await;
    reset(plain(ELSEWHERE, server.running.inbound).await);
    passed(plain(NODE, server.running.inbound).await);
    world.control.policy(narrowed(NODE, &["thief"]));
    world.control.back();
    line(&server, "assent_policy_restored 0.0").await;
    line(&server, "assent_policy_stale_seconds 0.0").await;
    for sidecar in [web, thief, server] {
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn without_any_answer_everybody_may_and_it_shows_and_the_pod_is_not_ready() {
    let world = World::start().await;
    let app = answer(ANSWER).await;
    world.control.policy(narrowed(NODE, &["web"]));
    world.control.away();
    let server = world.launch("cart", None, &[], &[format!("--inbound-target={app}"), "--start-wait-seconds=3600".to_owned()]).await;
    passed(plain(ELSEWHERE, server.running.inbound).await);
    let metrics = get(server.running.admin).await;
    assert!(metrics.contains("assent_policy_unanswered 1.0"), "{metrics}");
    assert!(metrics.contains("authz_name=\"unanswered\""), "{metrics}");
    let ready = async || ask_ready(&server).await;
    comes_true(async || ready().await == "policy").await;
    world.control.back();
    line(&server, "assent_policy_unanswered 0.0").await;
    comes_true(async || ready().await.is_empty()).await;
    reset(plain(ELSEWHERE, server.running.inbound).await);
    server.stop().await;
}

#[tokio::test]
async fn a_pod_starts_without_an_answer_when_it_has_waited_long_enough() {
    let world = World::start().await;
    world.control.away();
    let server = world.launch("cart", None, &[], &["--start-wait-seconds=1".to_owned()]).await;
    comes_true(async || ask_ready(&server).await.is_empty()).await;
    assert!(get(server.running.admin).await.contains("assent_policy_unanswered 1.0"));
    server.stop().await;
}

/// What is missing for readiness.
async fn ask_ready(sidecar: &Sidecar) -> String {
    let mut stream = TcpStream::connect(sidecar.running.admin).await.unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    got.split_once("\r\n\r\n").unwrap().1.to_owned()
}
