//! Reading objects page by page, no faster than allowed, with no more than a few pages in memory.

use std::collections::VecDeque;

use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::core::Status;
use serde_json::Value;
use tokio::time::{Interval, sleep};

use crate::backoff;
use crate::kinds::Kind;

/// Most objects of one page.
const PAGE: usize = 20;
/// Largest page that is read, in bytes; one that is larger is asked for again with fewer objects.
const MAX_PAGE: usize = 512 * 1024;
/// Largest single object, in bytes.
const MAX_OBJECT: usize = 4 * 1024 * 1024;
/// How often a page is asked for before the scan gives up.
const ATTEMPTS: u32 = 4;

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The API server says no.
    #[error("{path}: {} {}", .status.code, .status.message)]
    Refused {
        /// What was asked.
        path: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The answer is too large.
    #[error("{path}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        path: String,
        /// Bytes.
        limit: usize,
    },
    /// No answer, or none that is readable.
    #[error("{path}: {reason}")]
    Failed {
        /// What was asked.
        path: String,
        /// In words.
        reason: String,
    },
}

/// Reads from the API server at a bounded rate.
pub(crate) struct Reader {
    client: Client,
    pace: Interval,
}

/// Where a listing stands.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    First,
    After(String),
    Nothing,
}

/// All objects of one kind, in order, a page at a time.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) kind: &'static Kind,
    page: VecDeque<Value>,
    next: Next,
    limit: usize,
}

// === impl ReadError ===

impl ReadError {
    /// Whether there is nothing to read here and asking again will not help: not served, or not granted.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if matches!(status.code, 403 | 404))
    }

    /// Where a listing goes on whose snapshot is gone, if the server says.
    fn resumes_at(&self) -> Option<String> {
        match self {
            Self::Refused { status, .. } if status.code == 410 => status.metadata.as_ref()?.continue_.clone().filter(|token| !token.is_empty()),
            _ => None,
        }
    }
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(client: Client, pace: Interval) -> Self {
        Self { client, pace }
    }

    /// Waits until the next request may be made.
    pub(crate) async fn turn(&mut self) {
        self.pace.tick().await;
    }

    /// What stands at `path`.
    pub(crate) async fn get(&mut self, path: &str, limit: usize) -> Result<Value, ReadError> {
        self.turn().await;
        let failed = |reason: String| ReadError::Failed { path: path.to_owned(), reason };
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| failed(error.to_string()))?;
        let response = self.client.send(request.map(kube::client::Body::from)).await.map_err(|error| failed(error.to_string()))?;
        let code = response.status();
        let body = match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(ReadError::TooLarge { path: path.to_owned(), limit }),
            Err(error) => return Err(failed(error.to_string())),
        };
        if code.is_success() {
            return serde_json::from_slice(&body).map_err(|error| failed(error.to_string()));
        }
        let mut status: Status = serde_json::from_slice(&body).unwrap_or_default();
        status.code = code.as_u16();
        Err(ReadError::Refused { path: path.to_owned(), status: Box::new(status) })
    }

    /// The Namespace of this name; `None` if there is none.
    pub(crate) async fn namespace(&mut self, name: &str) -> Result<Option<Value>, ReadError> {
        match self.get(&format!("/api/v1/namespaces/{name}"), MAX_OBJECT).await {
            Ok(namespace) => Ok(Some(namespace)),
            Err(ReadError::Refused { status, .. }) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

// === impl Cursor ===

impl Cursor {
    pub(crate) fn new(kind: &'static Kind) -> Self {
        Self { kind, page: VecDeque::new(), next: Next::First, limit: PAGE }
    }

    /// The next object, left in its place; `None` after the last.
    pub(crate) async fn peek(&mut self, reader: &mut Reader) -> Result<Option<&Value>, ReadError> {
        let mut backoff = backoff();
        let mut attempts = 0;
        while self.page.is_empty() && self.next != Next::Nothing {
            match self.read(reader).await {
                Ok(()) => {}
                Err(ReadError::TooLarge { .. }) if self.limit > 1 => self.limit /= 2,
                Err(error) => match error.resumes_at() {
                    Some(token) => self.next = Next::After(token),
                    None if error.is_final() || attempts + 1 >= ATTEMPTS => return Err(error),
                    None => {
                        attempts += 1;
                        sleep(backoff.delay()).await;
                    }
                },
            }
        }
        Ok(self.page.front())
    }

    /// Takes the object that [`Cursor::peek`] showed.
    pub(crate) fn take(&mut self) -> Option<Value> {
        self.page.pop_front()
    }

    /// Lists no more of it.
    pub(crate) fn end(&mut self) {
        self.page.clear();
        self.next = Next::Nothing;
    }

    async fn read(&mut self, reader: &mut Reader) -> Result<(), ReadError> {
        let mut path = format!("{}?limit={}", self.kind.path(), self.limit);
        if let Next::After(token) = &self.next {
            path.push_str(&format!("&continue={token}"));
        }
        let most = if self.limit > 1 { MAX_PAGE } else { MAX_OBJECT };
        let mut list = reader.get(&path, most).await?;
        let token = list.pointer("/metadata/continue").and_then(Value::as_str).filter(|token| !token.is_empty());
        self.next = token.map_or(Next::Nothing, |token| Next::After(token.to_owned()));
        self.limit = (self.limit * 2).min(PAGE);
        let items = list.get_mut("items").map(Value::take);
        let Some(Value::Array(items)) = items else { return Ok(()) };
        for mut item in items {
            // Lists leave these out of their items; guardrails read them.
            if let Some(fields) = item.as_object_mut() {
                fields.insert("apiVersion".into(), self.kind.api_version().into());
                fields.insert("kind".into(), self.kind.kind.into());
            }
            self.page.push_back(item);
        }
        Ok(())
    }
}
