//! The scanner's process; everything is in the library.

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    assent_scanner::run(assent_scanner::Args::parse()).await
}
