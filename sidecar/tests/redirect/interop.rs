//! A real linkerd2-proxy at the other end: it certifies and resolves by the same control plane as our sidecar, and carries
//! opaque TCP, HTTP/1, HTTP/2 and gRPC both ways. Its binary is named by `LINKERD2_PROXY_BIN`; no package brings one, so this
//! is skipped, loudly, where nobody has put one, in CI too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::control::{self, Control};
use crate::pods::{Pod, can_run};

const HTTP: u16 = 8080;
const OPAQUE: u16 = 8090;
const PATIENCE: Duration = Duration::from_secs(20);

fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("LINKERD2_PROXY_BIN").filter(|path| !path.is_empty()).map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: how a real linkerd2-proxy gets along with us; LINKERD2_PROXY_BIN names none, and no package brings one");
    }
    path
}

fn name(account: &str) -> String {
    control::CART.replacen("cart", account, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn linkerd2_proxy_certifies_resolves_and_carries_every_protocol_both_ways() {
    let Some(binary) = binary() else { return };
    if !can_run() {
        return;
    }
    let control = Control::new();
    let [identity, others, ..] = control.serve("0.0.0.0").await;
    let mut ours = Pod::new("till", 3);
    let mut theirs = Pod::new("linkerd", 4);
    Pod::join(&ours, &theirs);
    for pod in [&ours, &theirs] {
        pod.redirect();
        pod.serve_each(HTTP, describe);
        pod.serve_each(OPAQUE, echo);
    }
    ours.start(&control, identity.port(), others.port());
    theirs.start_linkerd(&binary, &control, &[HTTP, OPAQUE], [identity.port(), others.port()]);
    ours.ready().await;
    theirs.ready().await;

    for (from, to, account) in [(&ours, &theirs, "linkerd"), (&theirs, &ours, "till")] {
        for port in [HTTP, OPAQUE] {
            let address = SocketAddr::new(to.address(), port);
            control.meshed(address, 4143, &name(account));
            let carried = async {
                if port == OPAQUE {
                    opaque(from, address).await;
                } else {
                    assert_eq!(http1(from, address).await, "HTTP/1.1 /a?b=c");
                    assert_eq!(http2(from, address, "text/plain").await, ("HTTP/2.0 /a?b=c".to_owned(), None));
                    assert_eq!(http2(from, address, "application/grpc").await, ("HTTP/2.0 /a?b=c".to_owned(), Some("0".to_owned())));
                }
            };
            tokio::time::timeout(PATIENCE, carried).await.unwrap_or_else(|_| panic!("port {port} of {account} did not answer"));
        }
    }
    // Each knows the other by name, which only mutual TLS can have told it.
    let metrics = theirs.admin("/metrics");
    assert!(metrics.contains(&format!("client_id=\"{}\"", name("till"))), "{metrics}");
    let (linkerd, inbound) = (name("linkerd"), format!(":{HTTP}"));
    control.flow(|flow| flow.peer == linkerd && flow.destination == inbound && flow.success > 0).await;
    control.flow(|flow| flow.peer == linkerd && flow.destination != inbound && flow.success > 0).await;
}

/// Says what it was asked, and as gRPC how that went.
async fn describe(stream: tokio::net::TcpStream) {
    let answer = service_fn(|request: Request<Incoming>| async move {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let text = Full::<Bytes>::from(format!("{:?} {path}", request.version()));
        let grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
        let trailers = grpc.then(|| Ok::<_, Infallible>(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])));
        Ok::<_, Infallible>(Response::new(text.with_trailers(std::future::ready(trailers))))
    });
    // How it ends is the client's matter.
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

async fn echo(stream: tokio::net::TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

fn connect(from: &Pod, to: SocketAddr) -> tokio::net::TcpStream {
    let stream = from.connect(to);
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

fn request(uri: String, kind: &str) -> Request<Full<Bytes>> {
    Request::post(uri).header("host", "shop.example").header("content-type", kind).header("te", "trailers").body(Full::from("hello")).unwrap()
}

async fn http1(from: &Pod, to: SocketAddr) -> String {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connect(from, to))).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request("/a?b=c".to_owned(), "text/plain")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn http2(from: &Pod, to: SocketAddr, kind: &str) -> (String, Option<String>) {
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(connect(from, to))).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request("http://shop.example/a?b=c".to_owned(), kind)).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let status = body.trailers().and_then(|trailers| trailers.get("grpc-status")).map(|status| status.to_str().unwrap().to_owned());
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    drop(sender);
    connection.await.unwrap().unwrap();
    (text, status)
}

/// Bytes of no protocol, either side of a pause.
async fn opaque(from: &Pod, to: SocketAddr) {
    let mut stream = connect(from, to);
    for sent in [&b"\x00\x01\x02 no protocol \xff"[..], &[0xab; 100_000]] {
        let mut got = vec![0; sent.len()];
        let (mut reader, mut writer) = stream.split();
        let (written, read) = tokio::join!(writer.write_all(sent), reader.read_exact(&mut got));
        written.unwrap();
        read.unwrap();
        assert!(got == sent, "bytes differ");
    }
}
