//! One HTTP/1.1 exchange over a connection opened for it and closed after it: load is balanced by
//! connection, so a kept connection would pin a caller to one replica. No TLS, no redirects.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status of the answer.
    pub status: StatusCode,
    /// Body of the answer, at most 64 KiB.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be opened.
    #[error("connect to `{authority}`")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The request cannot be written down, for example because its path is no path.
    #[error("build the request")]
    Request(#[source] http::Error),
    /// The connection broke, or spoke no HTTP.
    #[error("exchange with `{authority}`")]
    Exchange {
        /// Host and port.
        authority: String,
        /// What broke.
        #[source]
        source: hyper::Error,
    },
    /// The answer's body broke off or is too large.
    #[error("read the answer of `{authority}`")]
    Body {
        /// Host and port.
        authority: String,
        /// What broke.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No complete answer in time.
    #[error("no answer from `{authority}` within {timeout:?}")]
    Timeout {
        /// Host and port.
        authority: String,
        /// How long was waited.
        timeout: Duration,
    },
}

/// Sends one request to `authority` (`host:port`) and reads the whole answer.
///
/// # Errors
/// As [`Error`] says; any status is an answer and no error.
pub async fn fetch(authority: &str, method: Method, path: &str, body: Bytes, timeout: Duration) -> Result<Answer, Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(Error::Request)?;
    tokio::time::timeout(timeout, exchange(authority, request)).await.map_err(|_elapsed| Error::Timeout { authority: authority.to_owned(), timeout })?
}

async fn exchange(authority: &str, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
    let name = || authority.to_owned();
    let stream = TcpStream::connect(authority).await.map_err(|source| Error::Connect { authority: name(), source })?;
    let broken = |source| Error::Exchange { authority: name(), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|source| Error::Body { authority: name(), source })?.to_bytes();
        Ok(Answer { status: head.status, body })
    };
    let driver = async {
        // The sender reports the same failure to the caller; a clean end leaves the body to finish.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driver => never,
    }
}
