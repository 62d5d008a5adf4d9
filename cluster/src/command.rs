//! The `assent-cluster` program: a cluster that stays up between runs, for the demo and for looking around.
//!
//! It only wires arguments to the library and prints what to do next.

use std::io::Write;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Error, Node, attach, cleanup, node, up};

/// A Kubernetes cluster on this machine, with one real node, in a network of its own.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "\
The cluster is Kubernetes built from its Go modules (once, some minutes; kept in $ASSENT_CACHE, else ~/.cache/assent)
with the machine's containerd and runc. It needs root, touches no other cluster and no kubeconfig of yours, and reaches
nothing beyond this machine.

Examples:
  assent-cluster up
  export KUBECONFIG=$(assent-cluster status --kubeconfig)
  kubectl get nodes
  assent-cluster down"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Start the cluster and leave it running; does nothing when it is up.
    Up(Name),
    /// Start a cluster and remove it again when this program ends, by Ctrl-C or otherwise.
    Run(Name),
    /// Stop the cluster and remove everything it put on this machine; does nothing when there is none.
    Down(Name),
    /// Say whether the cluster is up and how to reach it; fails when it is not.
    Status {
        #[command(flatten)]
        name: Name,
        /// Print the kubeconfig's path and nothing else.
        #[arg(long, env = "ASSENT_CLUSTER_KUBECONFIG")]
        kubeconfig: bool,
    },
}

/// Which cluster.
#[derive(Clone, Debug, clap::Args)]
struct Name {
    /// Name of the cluster: several of different names can be up side by side.
    #[arg(long, env = "ASSENT_CLUSTER", default_value = "assent")]
    name: String,
}

/// Does what the arguments say.
///
/// # Errors
/// When the cluster cannot be started, found or removed.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Up(Name { name }) => {
            let node = match attach(&name).await {
                Err(Error::Absent { .. } | Error::Unreachable { .. }) => {
                    // A cluster whose API server is gone may still hold the name.
                    cleanup(&name).await?;
                    eprintln!("starting cluster `{name}` …");
                    up(&name).await?
                }
                found => found?,
            };
            say(&describe(&node))?;
        }
        Command::Run(Name { name }) => {
            let node = node(&name).await?;
            say(&describe(&node))?;
            let mut terminated = signal(SignalKind::terminate())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted?,
                _ = terminated.recv() => {}
            }
            drop(node);
            say(&format!("cluster `{name}` removed"))?;
        }
        Command::Down(Name { name }) => {
            let removed = cleanup(&name).await?;
            let what = if removed { "removed" } else { "was not up" };
            say(&format!("cluster `{name}` {what}"))?;
        }
        Command::Status { name: Name { name }, kubeconfig } => {
            let node = attach(&name).await?;
            if kubeconfig {
                say(&node.kubeconfig_path().display().to_string())?;
            } else {
                say(&describe(&node))?;
                let objects = ["get", "nodes,deployments,pods", "--all-namespaces"];
                say(node.kubectl(&objects).await?.trim_end())?;
            }
        }
    }
    Ok(())
}

/// Prints a line; that nobody reads any more is an error like any other, not a panic.
fn say(text: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}")
}

fn describe(node: &Node) -> String {
    let (name, config) = (node.name(), node.kubeconfig_path());
    format!(
        "cluster `{name}` is up at {url}\n  kubeconfig   {config}\n  try          kubectl --kubeconfig {config} get nodes\n  \
         logs         {logs}\n  take it down assent-cluster down --name {name}",
        url = node.url(),
        config = config.display(),
        logs = node.dir().join("logs").display(),
    )
}
