//! `kubectl assent`: installs Assent, and explains what it did and why. It recomputes rather than believes: hashes,
//! signatures and tallies are checked with the same pure functions that the processes use. It holds no rights of its own; it
//! acts as whoever runs it.

pub mod bundle;
pub mod crds;
pub mod init;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Assent: an SRE that may touch a cluster only with proof.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-assent", bin_name = "kubectl assent", version, propagate_version = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Write a kustomize overlay that installs Assent
    Init(init::InitArgs),
    /// Print the custom resource definitions
    Crds,
}

/// Does what the arguments say. The code is 0 when all is well and 1 when a check found something.
///
/// # Errors
/// When the command could not be carried out.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Init(args) => init::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Crds => crds::print().map(|()| ExitCode::SUCCESS),
    }
}
