//! What an API server says of its kinds: the index of its OpenAPI v3 documents, and single documents. Any authenticated user may
//! read them (`system:discovery`). It holds nothing: an address has the hash of what stands there, so a caller may.

use std::collections::BTreeMap;

use ::kube::Client;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;

/// Longest index, in bytes; that of a bare server has 8 KiB.
const MAX_INDEX: usize = 4 << 20;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not answer, or the answer is too long.
    #[error("read `{address:.120}`")]
    Read {
        /// What was asked for.
        address: String,
        /// Why it did not come.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answers with an error.
    #[error("read `{address:.120}`: the API server answers with status {status}")]
    Status {
        /// What was asked for.
        address: String,
        /// The HTTP status.
        status: u16,
    },
    /// What came is no index.
    #[error("the index of OpenAPI documents is not readable")]
    Index(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Index {
    paths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// With the hash of what stands there.
    #[serde(rename = "serverRelativeURL")]
    server_relative_url: String,
}

/// Addresses of documents, by group and version (`apps/v1`, `v1`).
///
/// # Errors
/// If the server does not answer, or not with an index.
pub async fn index(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let index: Index = serde_json::from_slice(&document(client, "/openapi/v3", MAX_INDEX).await?).map_err(Error::Index)?;
    let named = |path: &str| path.strip_prefix("apis/").or_else(|| path.strip_prefix("api/")).map(str::to_owned);
    Ok(index.paths.into_iter().filter_map(|(path, entry)| Some((named(&path)?, entry.server_relative_url))).collect())
}

/// What stands at an address, of at most `longest` bytes. If something else stands there by now, that.
///
/// # Errors
/// If the server does not answer, or it is longer.
pub async fn document(client: &Client, address: &str, longest: usize) -> Result<Vec<u8>, Error> {
    match (read(client, address, longest).await, address.split_once('?')) {
        // The server sends those away who ask for another hash.
        (Err(Error::Status { status: 300..400, .. }), Some((path, _))) => read(client, path, longest).await,
        (answer, _) => answer,
    }
}

async fn read(client: &Client, address: &str, longest: usize) -> Result<Vec<u8>, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Read { address: address.to_owned(), source };
    let request = http::Request::get(address).header(http::header::ACCEPT, "application/json").body(::kube::client::Body::empty());
    let response = client.send(request.map_err(|error| failed(error.into()))?).await.map_err(|error| failed(error.into()))?;
    let status = response.status();
    if !status.is_success() {
        return Err(Error::Status { address: address.to_owned(), status: status.as_u16() });
    }
    let body = Limited::new(response.into_body(), longest).collect().await.map_err(failed)?;
    Ok(body.to_bytes().to_vec())
}
