//! The cluster that the command is about: the kubeconfig that kubectl itself would use, or the one that is named.

use std::path::PathBuf;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ConnectArgs {
    /// Kubeconfig file; without it, as kubectl: $KUBECONFIG, else ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context in it; without it, the current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

// === impl ConnectArgs ===

impl ConnectArgs {
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let file = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).with_context(|| format!("read kubeconfig `{}`", path.display()))?,
            None => Kubeconfig::read().context("read the kubeconfig (name one with --kubeconfig)")?,
        };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(file, &options).await.context("use the kubeconfig")?;
        Client::try_from(config).context("set up the kubernetes client")
    }
}
