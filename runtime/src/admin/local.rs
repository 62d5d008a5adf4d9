//! What the admin port has for the pod itself and for nobody else: `/log-level`, and whatever a process shows of its state.
//!
//! The kernel lets nobody else connect from a loopback address, so that is the whole check; `kubectl exec` and
//! `kubectl port-forward` come from there too.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;

use crate::telemetry;

/// A filter is a handful of directives.
const MAX_FILTER: usize = 4096;

/// `routes`, for peers on a loopback address.
pub(super) fn only(routes: Router) -> Router {
    routes.route_layer(from_fn(check))
}

/// The log filter: shown by GET, replaced by PUT.
pub(super) fn log_level() -> Router {
    Router::new().route("/log-level", get(show).put(replace)).layer(DefaultBodyLimit::max(MAX_FILTER))
}

async fn check(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "only from the pod itself\n").into_response()
}

async fn show() -> (StatusCode, String) {
    match telemetry::filter() {
        Some(filter) => (StatusCode::OK, filter.text() + "\n"),
        None => unavailable(),
    }
}

async fn replace(text: String) -> (StatusCode, String) {
    let Some(filter) = telemetry::filter() else { return unavailable() };
    let text = text.trim();
    if text.is_empty() {
        return (StatusCode::BAD_REQUEST, "a log filter is missing\n".to_owned());
    }
    let before = filter.text();
    match filter.replace(text) {
        Ok(()) => {
            tracing::warn!(before, now = text, "the log filter was replaced");
            (StatusCode::OK, filter.text() + "\n")
        }
        Err(error @ telemetry::Error::Filter { .. }) => (StatusCode::BAD_REQUEST, telemetry::chain(&error) + "\n"),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, telemetry::chain(&error) + "\n"),
    }
}

fn unavailable() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, "this process does not filter its log\n".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::connect_info::MockConnectInfo;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tower::ServiceExt as _;

    use super::super::{Admin, AdminArgs, Readiness};
    use super::*;
    use crate::telemetry::{Format, LogArgs};

    async fn ask(from: &str, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let args = AdminArgs { admin_address: "127.0.0.1:0".parse().unwrap() };
        let admin = Admin::bind(&args, Readiness::default(), Default::default()).await.unwrap();
        let dump = Router::new().route("/config", get(async || "{}"));
        let from: SocketAddr = from.parse().unwrap();
        let router = admin.merge_local(dump).router.layer(MockConnectInfo(from));
        let request = http::Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_filter_and_dumps_are_for_loopback_and_probes_for_all() {
        for (from, expected) in [("127.0.0.1:9", StatusCode::OK), ("[::1]:9", StatusCode::OK), ("[::ffff:127.0.0.1]:9", StatusCode::OK)]
            .into_iter()
            .chain(["10.0.0.1:9", "[fd00::1]:9", "[::ffff:10.0.0.1]:9", "169.254.1.1:9"].map(|from| (from, StatusCode::FORBIDDEN)))
        {
            assert_eq!(ask(from, "GET", "/config", "").await.0, expected, "{from}");
            assert_eq!(ask(from, "GET", "/livez", "").await.0, StatusCode::OK, "{from}");
            let put = ask(from, "PUT", "/log-level", "").await.0;
            assert_eq!(put == StatusCode::FORBIDDEN, expected == StatusCode::FORBIDDEN, "{from}: {put}");
            let shown = ask(from, "GET", "/log-level", "").await.0;
            assert_eq!(shown == StatusCode::FORBIDDEN, expected == StatusCode::FORBIDDEN, "{from}: {shown}");
        }
    }

    #[tokio::test]
    async fn a_served_port_knows_where_a_request_comes_from() {
        let args = AdminArgs { admin_address: "127.0.0.1:0".parse().unwrap() };
        let admin = Admin::bind(&args, Readiness::default(), Default::default()).await.unwrap();
        let admin = admin.merge_local(Router::new().route("/config", get(async || "shown")));
        let (address, token) = (admin.address(), crate::CancellationToken::new());
        let serving = tokio::spawn(admin.serve(token.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        assert!(got.starts_with("HTTP/1.1 200 ") && got.ends_with("shown"), "{got}");
        token.cancel();
        serving.await.unwrap().unwrap();
    }

    // The log is the whole process's: one test for all of it.
    #[tokio::test]
    async fn the_filter_is_shown_replaced_and_kept_when_the_other_is_none() {
        telemetry::init(&LogArgs { filter: "error".into(), format: Format::Text }).unwrap();
        assert_eq!(ask("127.0.0.1:9", "GET", "/log-level", "").await, (StatusCode::OK, "error\n".into()));
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        assert_eq!(ask("127.0.0.1:9", "PUT", "/log-level", " debug \n").await, (StatusCode::OK, "debug\n".into()));
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        let (status, why) = ask("127.0.0.1:9", "PUT", "/log-level", "assent=loud").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(why.starts_with("parse log filter `assent=loud`: "), "{why}");
        assert_eq!(ask("127.0.0.1:9", "PUT", "/log-level", "x".repeat(MAX_FILTER + 1)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(ask("127.0.0.1:9", "PUT", "/log-level", vec![0xff]).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(ask("10.0.0.1:9", "PUT", "/log-level", "trace").await.0, StatusCode::FORBIDDEN);
        assert_eq!(ask("127.0.0.1:9", "GET", "/log-level", "").await, (StatusCode::OK, "debug\n".into()));
        assert_eq!(ask("127.0.0.1:9", "PUT", "/log-level", "error").await.0, StatusCode::OK);
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
    }
}
