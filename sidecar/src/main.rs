//! Starts the sidecar on one thread; connections get threads of their own.

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(name = "assent-sidecar", version, about = "Mesh agent of one pod")]
struct Command {
    #[command(flatten)]
    args: assent_sidecar::Args,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    assent_sidecar::run(Command::parse().args).await
}
