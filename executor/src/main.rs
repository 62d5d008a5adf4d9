//! The executor's process; everything is in the library.

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    assent_executor::run(assent_executor::Args::parse()).await
}
