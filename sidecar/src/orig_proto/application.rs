//! The application behind one connection of a peer: each request in the version that it was made in, on connections that are
//! kept for the next one.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Tasks;
use crate::inbound::CONNECT;
use crate::metrics::Failure;
use crate::proxy::Proxy;

/// How a request came to the first proxy, and its answer to the second.
const ORIG_PROTO: HeaderName = HeaderName::from_static("l5d-orig-proto");
/// Why a proxy answers instead of the application.
const PROXY_ERROR: HeaderName = HeaderName::from_static("l5d-proxy-error");
/// Connections that are kept.
const MAX_IDLE: usize = 16;

#[derive(Debug)]
pub(super) struct Application {
    proxy: Proxy,
    address: SocketAddr,
    tasks: Tasks,
    /// Opened when the peer was let in, and not used yet.
    opened: Mutex<Option<TcpStream>>,
    idle: Mutex<Vec<http1::SendRequest<Incoming>>>,
    http2: tokio::sync::Mutex<Option<http2::SendRequest<Incoming>>>,
}

/// How the request was when it was HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Original {
    version: Version,
    absolute: bool,
}

pub(super) type Body = Either<Incoming, Empty<Bytes>>;
type Failed = (Failure, std::io::Error);

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failed {
    (Failure::Broken, std::io::Error::other(error))
}

// === impl Application ===

impl Application {
    pub(super) fn new(proxy: Proxy, address: SocketAddr, opened: TcpStream, tasks: Tasks) -> Self {
        Self { proxy, address, tasks, opened: Mutex::new(Some(opened)), idle: Mutex::default(), http2: tokio::sync::Mutex::default() }
    }

    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let answered = match request.headers_mut().remove(ORIG_PROTO) {
            Some(value) => match Original::parse(&value) {
                Some(original) => self.http1(original, request).await,
                None => return failed(StatusCode::BAD_REQUEST, "the original protocol is not known"),
            },
            None => self.http2(request).await,
        };
        match answered {
            Ok(response) => response.map(Either::Left),
            Err((failure, error)) => {
                self.proxy.count(failure, &error, self.address);
                failed(StatusCode::BAD_GATEWAY, "the application did not answer")
            }
        }
    }

    async fn http1(&self, original: Original, request: Request<Incoming>) -> Result<Response<Incoming>, Failed> {
        let mut request = original.restore(request).map_err(broken)?;
        loop {
            let kept = self.ready();
            let fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.dial_http1().await?,
            };
            let mut response = match sender.try_send_request(request).await {
                Ok(response) => response,
                // The application closed the connection before anything was written to it.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(broken(error.into_error())),
                },
            };
            let name = if response.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
            strip(response.headers_mut());
            response.headers_mut().insert(ORIG_PROTO, HeaderValue::from_static(name));
            *response.version_mut() = Version::HTTP_2;
            self.keep(sender);
            return Ok(response);
        }
    }

    async fn http2(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Failed> {
        let mut sender = {
            let mut kept = self.http2.lock().await;
            match kept.as_ref().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender.clone(),
                None => {
                    let stream = TokioIo::new(self.dial().await?);
                    let (sender, connection) = http2::handshake(self.tasks.clone(), stream).await.map_err(broken)?;
                    self.run(connection);
                    kept.insert(sender).clone()
                }
            }
        };
        sender.ready().await.map_err(broken)?;
        sender.send_request(request).await.map_err(broken)
    }

    /// A kept connection whose last answer is whole.
    fn ready(&self) -> Option<http1::SendRequest<Incoming>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let place = idle.iter().position(http1::SendRequest::is_ready)?;
        Some(idle.swap_remove(place))
    }

    fn keep(&self, sender: http1::SendRequest<Incoming>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
    }

    async fn dial_http1(&self) -> Result<http1::SendRequest<Incoming>, Failed> {
        let stream = TokioIo::new(self.dial().await?);
        let (sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        self.run(connection);
        Ok(sender)
    }

    async fn dial(&self) -> Result<TcpStream, Failed> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        match opened {
            Some(stream) => Ok(stream),
            None => self.proxy.connect(self.address, CONNECT).await.map_err(|error| (Failure::Connect, error)),
        }
    }

    /// Until nobody holds its other end.
    fn run(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the application broke");
            }
        });
    }
}

// === impl Original ===

impl Original {
    fn parse(value: &HeaderValue) -> Option<Self> {
        let mut words = value.to_str().ok()?.split(';').map(str::trim);
        let version = match words.next()? {
            "HTTP/1.1" => Version::HTTP_11,
            "HTTP/1.0" => Version::HTTP_10,
            _ => return None,
        };
        Some(Self { version, absolute: words.any(|word| word == "absolute-form") })
    }

    /// The request as the application's client sent it. How its body ends is up to the HTTP/1 client.
    fn restore<B>(self, mut request: Request<B>) -> Result<Request<B>, http::Error> {
        *request.version_mut() = self.version;
        strip(request.headers_mut());
        let uri = std::mem::take(request.uri_mut());
        if let Some(authority) = uri.authority()
            && !request.headers().contains_key(header::HOST)
        {
            request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
        }
        *request.uri_mut() = match uri.path_and_query() {
            Some(path) if !self.absolute => Uri::from(path.clone()),
            _ => uri,
        };
        Ok(request)
    }
}

/// Removes what concerns one connection only.
fn strip(headers: &mut HeaderMap) {
    let others = [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].into_iter().chain(others) {
        headers.remove(name);
    }
}

/// An answer of our own, with its cause.
fn failed(status: StatusCode, why: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(PROXY_ERROR, HeaderValue::from_static(why));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_restored_as_its_header_says() {
        let original = |value: &'static str| Original::parse(&HeaderValue::from_static(value));
        assert_eq!(original("HTTP/1.1"), Some(Original { version: Version::HTTP_11, absolute: false }));
        assert_eq!(original("HTTP/1.0; absolute-form"), Some(Original { version: Version::HTTP_10, absolute: true }));
        assert_eq!(original("HTTP/2"), None);
        let request = || Request::get("http://shop.example/a?b=c").version(Version::HTTP_2).header("transfer-encoding", "chunked").body(()).unwrap();
        let restored = original("HTTP/1.0").unwrap().restore(request()).unwrap();
        assert_eq!((restored.version(), restored.uri().to_string().as_str()), (Version::HTTP_10, "/a?b=c"));
        assert_eq!(restored.headers().get("host").unwrap(), "shop.example");
        assert!(!restored.headers().contains_key("transfer-encoding"));
        let restored = original("HTTP/1.1; absolute-form").unwrap().restore(request()).unwrap();
        assert_eq!(restored.uri().to_string(), "http://shop.example/a?b=c");
    }
}
