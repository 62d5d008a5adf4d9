//! Installs the redirect of a pod's traffic through its sidecar, and exits.

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(name = "assent-redirect", version, about = "Redirects a pod's traffic through its sidecar")]
struct Command {
    #[command(flatten)]
    args: assent_sidecar::redirect::Args,
}

fn main() -> anyhow::Result<()> {
    assent_sidecar::redirect::run(&Command::parse().args)
}
