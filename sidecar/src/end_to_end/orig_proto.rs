//! HTTP/2 from another mesh's proxy: HTTP/1 that it has wrapped is what it was again, and HTTP/2 is not touched.

use std::convert::Infallible;
use std::time::Duration;

use assent_runtime::workload::resuming::ResumingClients;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::control::{CART, narrowed};
use super::world::{Sidecar, World, comes_true, echo, eventually, get, serve_on};
use crate::metrics::Failure;
use crate::transport::{self, Empty, Header, Kind, SessionProtocol};

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

const WEB: &str = "web.shop.serviceaccount.identity.assent-system.cluster.local";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Answers with what it was asked, in either version of HTTP.
async fn describe(stream: TcpStream) {
    let answer = service_fn(|request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let header = |name: &str| head.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let described = [header("host"), header("transfer-encoding"), header("l5d-orig-proto")].join(" ");
        let length = body.collect().await.unwrap().to_bytes().len();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{:?} {} {described} {length}", head.version, head.uri))))
    });
    // How it ends is the client's matter.
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

/// A connection of the proxy of `web` to `server`, behind its header for `port`.
async fn peer(world: &World, server: &Sidecar, port: u16) -> TlsStream<TcpStream> {
    let clients = ResumingClients::new(world.control.authority().workload("shop", "web"), &[transport::ALPN]);
    let config = clients.config(&CART.parse().unwrap()).unwrap();
    let stream = TcpStream::connect(server.running.inbound).await.unwrap();
    let mut stream = TlsConnector::from(config).connect(ServerName::try_from(CART).unwrap(), stream).await.unwrap();
    let header = Header { session_protocol: Some(SessionProtocol { kind: Some(Kind::Http2(Empty {})) }), ..Header::opaque(port) };
    stream.write_all(&header.encode()).await.unwrap();
    stream
}

async fn client(world: &World, server: &Sidecar, port: u16) -> http2::SendRequest<Body> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(peer(world, server, port).await)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request for `uri`, which was HTTP/1 if its `original` says so.
fn request(uri: &str, original: Option<&str>) -> Request<Body> {
    let request = Request::get(format!("http://shop.example{uri}"));
    let request = match original {
        Some(original) => request.header("l5d-orig-proto", original),
        None => request,
    };
    request.body(Full::default().boxed()).unwrap()
}

async fn ask(sender: &mut http2::SendRequest<Body>, request: Request<Body>) -> (http::response::Parts, String) {
    sender.ready().await.unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    (head, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn wrapped_http1_reaches_the_application_as_it_was() {
    let world = World::start().await;
    let app = serve_on("127.0.0.1:0", describe).await;
    let server = world.sidecar("cart", None).await;
    let mut sender = client(&world, &server, app.port()).await;
    for _ in 0..3 {
        let (head, said) = ask(&mut sender, request("/a?b=c", Some("HTTP/1.1"))).await;
        assert_eq!((said.as_str(), head.headers["l5d-orig-proto"].to_str().unwrap()), ("HTTP/1.1 /a?b=c shop.example - - 0", "HTTP/1.1"));
    }
    // A body of unknown length gets the framing back that the peer took away.
    let pieces = futures::stream::iter((0..10).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[7; 1000])))));
    let post = Request::post("http://shop.example/up").header("l5d-orig-proto", "HTTP/1.1").body(BodyExt::boxed(StreamBody::new(pieces))).unwrap();
    assert_eq!(ask(&mut sender, post).await.1, "HTTP/1.1 /up shop.example chunked - 10000");
    let (_, said) = ask(&mut sender, request("/x", Some("HTTP/1.1; absolute-form"))).await;
    assert_eq!(said, "HTTP/1.1 http://shop.example/x shop.example - - 0");
    let (_, said) = ask(&mut sender, request("/old", Some("HTTP/1.0"))).await;
    assert_eq!(said, "HTTP/1.0 /old shop.example - - 0");
    // On a connection of both kinds, each as it was.
    let (head, said) = ask(&mut sender, request("/native/h2", None)).await;
    assert_eq!((said.as_str(), head.headers.contains_key("l5d-orig-proto")), ("HTTP/2.0 http://shop.example/native/h2 - - - 0", false));
    let (head, _) = ask(&mut sender, request("/y", Some("HTTP/3"))).await;
    assert_eq!((head.status.as_u16(), head.headers.contains_key("l5d-proxy-error")), (400, true));

    for class in ["GET/1", "POST/1", "GET/2"] {
        let flow = world.control.flow(|flow| flow.peer == WEB && flow.route_class == class && flow.success > 0).await;
        assert_eq!(flow.destination, format!(":{}", app.port()), "{class}");
    }
    // The connection is open, and ends in good order when the sidecar is asked to stop.
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("an idle connection keeps a sidecar from stopping");
}

#[tokio::test]
async fn many_at_once_have_connections_of_their_own() {
    let world = World::start().await;
    // Each answer waits until all have asked.
    let together = std::sync::Arc::new(tokio::sync::Barrier::new(20));
    let app = serve_on("127.0.0.1:0", move |mut stream| {
        let together = together.clone();
        async move {
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                together.wait().await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
            }
        }
    })
    .await;
    let server = world.sidecar("cart", None).await;
    let sender = client(&world, &server, app.port()).await;
    let asking = (0..20).map(|_| {
        let mut sender = sender.clone();
        async move { ask(&mut sender, request("/", Some("HTTP/1.1"))).await.1 }
    });
    assert_eq!(futures::future::join_all(asking).await, ["ok"; 20]);
    drop(sender);
    server.stop().await;
}

#[tokio::test]
async fn http2_passes_byte_for_byte() {
    let world = World::start().await;
    let app = echo().await;
    let server = world.sidecar("cart", None).await;
    let mut stream = peer(&world, &server, app.port()).await;
    // In pieces, and with a priority that nobody would send again.
    let sent = [PREFACE, &[0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 7], &[0, 0, 2, 1, 0x05, 0, 0, 0, 1, 0x82, 0x84], b"\0\0\x08\x06\0\0\0\0\0pingping"].concat();
    for piece in sent.chunks(7) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut got = vec![0; sent.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, sent, "the application has what was sent");
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn who_waits_for_settings_before_it_asks_is_given_them() {
    let world = World::start().await;
    let app = serve_on("127.0.0.1:0", describe).await;
    let server = world.sidecar("cart", None).await;
    let mut stream = peer(&world, &server, app.port()).await;
    stream.write_all(PREFACE).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the first frame is not one of settings: {frame:?}");
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn an_application_that_went_away_is_answered_for_with_the_cause() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    // It serves one connection and one request.
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    });
    let server = world.sidecar("cart", None).await;
    let mut sender = client(&world, &server, app.port()).await;
    assert_eq!(ask(&mut sender, request("/", Some("HTTP/1.1"))).await.1, "ok");
    let (head, _) = ask(&mut sender, request("/", Some("HTTP/1.1"))).await;
    assert_eq!((head.status.as_u16(), head.headers["l5d-proxy-error"].to_str().unwrap()), (502, "the application did not answer"));
    eventually(|| server.running.counters.failures(Failure::Connect) == 1).await;
    world.control.flow(|flow| flow.peer == WEB && flow.server_error >= 1).await;
    drop(sender);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_policy_turns_away_is_not_translated_for_and_an_open_connection_is_cut() {
    let world = World::start().await;
    let app = serve_on("127.0.0.1:0", describe).await;
    let server = world.sidecar("cart", None).await;
    let mut sender = client(&world, &server, app.port()).await;
    ask(&mut sender, request("/", Some("HTTP/1.1"))).await;
    world.control.policy(narrowed("127.0.0.2", &["somebody"]));
    comes_true(async || sender.is_closed()).await;
    let metrics = get(server.running.admin).await;
    assert!(metrics.lines().any(|line| line.starts_with("inbound_tcp_authz_terminate_total{") && line.ends_with(" 1")), "{metrics}");
    // Nobody answers another one, not even with settings.
    let mut refused = peer(&world, &server, app.port()).await;
    let _ = refused.write_all(PREFACE).await;
    assert!(refused.read(&mut [0; 9]).await.map_or(true, |read| read == 0));
    server.stop().await;
}
