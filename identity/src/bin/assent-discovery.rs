//! The discovery service's process; everything is in the library.

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    assent_identity::discovery::run(assent_identity::discovery::Args::parse()).await
}
