//! The certificate authority's process; everything is in the library.

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    assent_identity::run(assent_identity::Args::parse()).await
}
