//! A store behind HTTP: one address, an optional token, and answers that are bounded before they are held.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Certificate, Url};

const CONNECT: Duration = Duration::from_secs(2);

/// Why a store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be read.
    #[error("read the token for the store")]
    Token(#[source] std::io::Error),
    /// It cannot be asked, or says that something is wrong.
    #[error("ask the store")]
    Ask(#[source] reqwest::Error),
    /// The answer is too large.
    #[error("the store says more than {0} bytes")]
    TooLarge(usize),
    /// There is no answer in time.
    #[error("the store does not answer in time")]
    Late,
    /// The answer is none.
    #[error("the store's answer is none: {0}")]
    Answer(String),
}

/// Where a store is.
#[derive(Debug)]
pub struct Store {
    base: Url,
    client: reqwest::Client,
    token_file: Option<PathBuf>,
    headers: reqwest::header::HeaderMap,
}

// === impl Store ===

impl Store {
    /// A store at `url`, with an optional token and CA.
    ///
    /// # Errors
    /// If the address is none, or the CA cannot be read.
    pub fn new(url: &str, token_file: Option<&Path>, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        crate::kube::install_crypto_provider();
        let mut base = Url::parse(url).with_context(|| format!("`{url}` is no address of a store"))?;
        anyhow::ensure!(matches!(base.scheme(), "http" | "https") && base.has_host(), "`{url}` is not http:// or https://");
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        // A store that sends us elsewhere would see what we ask there.
        let builder = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
        let builder = match ca_file {
            Some(file) => {
                let pem = std::fs::read(file).with_context(|| format!("read the store's CA `{}`", file.display()))?;
                builder.tls_certs_only(Certificate::from_pem_bundle(&pem).context("parse the store's CA")?)
            }
            None => builder,
        };
        let client = builder.build().context("set up the client for a store")?;
        Ok(Self { base, client, token_file: token_file.map(Path::to_owned), headers: reqwest::header::HeaderMap::new() })
    }

    /// Sends `value` with every question.
    ///
    /// # Errors
    /// If it is no value of a header.
    pub fn header(mut self, name: &'static str, value: &str) -> anyhow::Result<Self> {
        self.headers.insert(name, value.parse().with_context(|| format!("`{value}` is no value of {name}"))?);
        Ok(self)
    }

    /// The answer to a question, at most `limit` bytes of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, path: &str, query: &[(&str, &str)], limit: usize) -> Result<Vec<u8>, Error> {
        let mut url = self.at(path)?;
        url.query_pairs_mut().extend_pairs(query);
        self.ask(self.client.get(url), limit).await
    }

    /// The answer to JSON that is put there, at most `limit` bytes of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn post(&self, path: &str, body: &serde_json::Value, limit: usize) -> Result<Vec<u8>, Error> {
        self.ask(self.client.post(self.at(path)?).json(body), limit).await
    }

    fn at(&self, path: &str) -> Result<Url, Error> {
        self.base.join(path).map_err(|error| Error::Answer(error.to_string()))
    }

    async fn ask(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Vec<u8>, Error> {
        let mut request = request.headers(self.headers.clone());
        if let Some(file) = &self.token_file {
            // Read anew each time: tokens are rotated.
            let token = tokio::fs::read_to_string(file).await.map_err(Error::Token)?;
            request = request.bearer_auth(token.trim());
        }
        // Without the address, which holds what was asked.
        let ask = |error: reqwest::Error| Error::Ask(error.without_url());
        let mut response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(ask)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(ask)? {
            if body.len() + chunk.len() > limit {
                return Err(Error::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
