//! The Kubernetes client: in-cluster configuration, or a kubeconfig file named explicitly. An
//! inherited `KUBECONFIG` or `~/.kube/config` is never used, so a process cannot act on a cluster
//! that nobody pointed it at. It adds no caching and no retries of its own, but an end to waiting for an answer.

use std::path::PathBuf;
use std::time::Duration;

use ::kube::client::ClientBuilder;

use ::kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use ::kube::{Client, Config};
use tower::BoxError;
use tower::util::MapFutureLayer;

/// Longest that an answer may take to begin. An API server gives up every request but a watch after a minute, and a watch begins at
/// once: whoever says nothing for longer is not there, though its connection is.
const PATIENCE: Duration = Duration::from_secs(75);

/// Where the API server is and who we are to it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct KubeArgs {
    /// Kubeconfig file; without it, the pod's own service account is used.
    #[arg(long, env = "ASSENT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Context inside the kubeconfig; without it, the current one.
    #[arg(long, env = "ASSENT_KUBE_CONTEXT", requires = "kubeconfig")]
    pub kube_context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not in a pod, or its service account is not mounted.
    #[error("read the in-cluster configuration")]
    InCluster(#[source] InClusterError),
    /// The named kubeconfig cannot be used.
    #[error("read kubeconfig `{path}`")]
    Kubeconfig {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Credentials or TLS settings are unusable.
    #[error("set up the kubernetes client")]
    Client(#[source] Box<::kube::Error>),
}

/// A client for the configured API server. It does not connect yet.
///
/// # Errors
/// See [`Error`].
pub async fn client(args: &KubeArgs) -> Result<Client, Error> {
    install_crypto_provider();
    bounded(config(args).await?, PATIENCE)
}

/// A client whose requests end, one way or the other.
fn bounded(config: Config, patience: Duration) -> Result<Client, Error> {
    let builder = ClientBuilder::try_from(config).map_err(|source| Error::Client(Box::new(source)))?;
    let within = MapFutureLayer::new(move |answer| async move {
        let late = |_| BoxError::from(format!("no answer within {} s", patience.as_secs()));
        tokio::time::timeout(patience, answer).await.map_err(late)?
    });
    Ok(builder.with_layer(&within).build())
}

/// The configuration behind [`client`], for callers that add headers or impersonation.
///
/// # Errors
/// See [`Error`].
pub async fn config(args: &KubeArgs) -> Result<Config, Error> {
    let Some(path) = &args.kubeconfig else {
        return Config::incluster().map_err(Error::InCluster);
    };
    let wrap = |source| Error::Kubeconfig { path: path.clone(), source: Box::new(source) };
    let file = Kubeconfig::read_from(path).map_err(wrap)?;
    let options = KubeConfigOptions { context: args.kube_context.clone(), ..Default::default() };
    Config::from_custom_kubeconfig(file, &options).await.map_err(wrap)
}

/// Makes aws-lc-rs the process's TLS provider. Calling it again does nothing.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_never_answers_is_not_waited_for_for_ever() {
        install_crypto_provider();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config::new(format!("http://{}", silent.local_addr().unwrap()).parse().unwrap());
        let client = bounded(config, Duration::from_millis(200)).unwrap();
        let request = http::Request::get("/version").body(Vec::new()).unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(60), client.request_text(request)).await;
        let error = asked.unwrap().unwrap_err();
        assert!(format!("{error:?}").contains("no answer within"), "{error:?}");
    }
}
