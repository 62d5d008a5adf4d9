//! The injector as a process.

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(name = "assent-injector", version, about = "Adds the sidecar to new pods of labelled namespaces")]
struct Command {
    #[command(flatten)]
    args: assent_webhook::injector::Args,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    assent_webhook::injector::run(Command::parse().args).await
}
