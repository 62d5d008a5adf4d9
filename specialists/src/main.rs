//! Binary `assent-specialists`: one seat, chosen by `--seat`. Everything is in the library, so that tests start it in-process.

use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    assent_specialists::run(assent_specialists::Args::parse()).await
}
