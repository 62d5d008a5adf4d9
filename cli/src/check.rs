//! `check`: whether the installation is still what the threat model counts on, read from the cluster as it is. It changes
//! nothing, and it only sees what the person who runs it may read.

mod access;
mod installation;

use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, bad, bold, good, warn};

/// Flags of `check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
What is checked:
  access         nobody but administrators can become `assent:executor`, mint tokens, create or enter pods, or read Secrets
                 in assent-system
  gate           its configuration is the one that the Roster pins, and somebody answers
  policies       the native policies stand, fail closed and deny
  aggregation    the kinds that actions write are not served by an aggregated API, which no webhook sees
  seats          the seats that vote do not share a node (a warning)
  pods           assent-system enforces the restricted profile (a warning)

The exit code is 1 when something is wrong; warnings do not count.

Examples:
  kubectl assent check
  kubectl assent check -o json")]
pub struct CheckArgs {
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Warning,
    /// A rule of the threat model does not hold.
    Wrong,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// In words.
    pub text: String,
}

pub(crate) async fn run(args: &CheckArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let findings = check(&connect.client().await?).await?;
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&findings).context("print as json")?),
        Format::Table => print(&findings),
    }
    let wrong = findings.iter().any(|finding| finding.level == Level::Wrong);
    Ok(if wrong { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Everything that is found.
///
/// # Errors
/// If the cluster cannot be read.
pub async fn check(client: &kube::Client) -> anyhow::Result<Vec<Finding>> {
    let mut findings = access::findings(&access::read(client).await?);
    findings.extend(installation::findings(client).await?);
    Ok(findings)
}

fn print(findings: &[Finding]) {
    for Finding { check, level, text } in findings {
        let mark = match level {
            Level::Good => good("✓"),
            Level::Warning => warn("!"),
            Level::Wrong => bad("✗"),
        };
        anstream::println!("{mark} {}: {}", bold(check), plain(text));
    }
}

pub(crate) fn finding(check: &'static str, level: Level, text: impl Into<String>) -> Finding {
    Finding { check, level, text: text.into() }
}
