//! The `assent-shop` binary: parses the command line and runs one part of the shop. Everything
//! else is in the library, where tests reach it.

use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    assent_shop::run(assent_shop::Args::parse()).await
}
