//! Entry point of `assent-cluster`; everything is in the library's `command` module.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    assent_cluster::run(assent_cluster::Args::parse()).await
}
