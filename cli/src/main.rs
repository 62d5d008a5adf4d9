//! Entry point of `kubectl-assent`; everything is in the library.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match assent_cli::run(assent_cli::Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("kubectl-assent: {error:#}");
            ExitCode::from(2)
        }
    }
}
