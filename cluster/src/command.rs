//! The `assent-cluster` program: a cluster that stays up between runs, for the demo and for looking around.
//!
//! It only wires arguments to the library and prints what to do next.

use clap::{Parser, Subcommand};

use crate::{Error, Node, attach, cleanup, up};

/// A Kubernetes cluster on this machine, with one real node, in a network of its own.
#[derive(Clone, Debug, Parser)]
#[command(version, after_help = "\
The cluster is Kubernetes built from its Go modules (once, some minutes; kept in $ASSENT_CACHE, else ~/.cache/assent)
with the machine's containerd and runc. It needs root, touches no other cluster and no kubeconfig of yours, and reaches
nothing beyond this machine.

Examples:
  assent-cluster up
  export KUBECONFIG=$(assent-cluster status --kubeconfig)
  kubectl get nodes
  assent-cluster down")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Start the cluster and leave it running; does nothing when it is up.
    Up(Name),
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
#[expect(clippy::print_stdout, reason = "printing is what a command line program does")]
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
            println!("{}", describe(&node));
        }
        Command::Down(Name { name }) => {
            let removed = cleanup(&name).await?;
            println!("cluster `{name}` {}", if removed { "removed" } else { "was not up" });
        }
        Command::Status { name: Name { name }, kubeconfig } => {
            let node = attach(&name).await?;
            if kubeconfig {
                println!("{}", node.kubeconfig_path().display());
            } else {
                println!("{}", describe(&node));
                print!("{}", node.kubectl(&["get", "nodes,deployments,pods", "--all-namespaces"]).await?);
            }
        }
    }
    Ok(())
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
