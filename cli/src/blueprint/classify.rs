//! `blueprint classify`: the tier of an operation under Blueprints in files, as the gate would say it now.

use std::process::ExitCode;

use anyhow::Context as _;
use assent_core::blueprint::{Classification, Operation, ReplicaChange, Tier};
use assent_core::ids::UnixMillis;

use super::chosen::ChosenArgs;
use crate::describe::plain;
use crate::output::{Format, bad, bold, good, warn};

/// Flags of `blueprint classify`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint classify ScaleWorkload --replicas 6 -f orders.yaml
  kubectl assent blueprint classify delete_deployment -f orders.yaml -f organisation.yaml
  kubectl assent blueprint classify RestartWorkload -f orders.yaml --at 2026-12-24T12:00:00Z

The exit code is 0 when it is allowed, 2 when people must agree, and 3 when it is forbidden.")]
pub(crate) struct ClassifyArgs {
    /// Any name; what nobody knows is restricted.
    operation: String,
    #[command(flatten)]
    chosen: ChosenArgs,
    /// Replicas that a scale would come to.
    #[arg(long)]
    replicas: Option<u32>,
    /// When, RFC 3339; now where nothing is said.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &ClassifyArgs) -> anyhow::Result<ExitCode> {
    let replicas = args.replicas.map(|to| ReplicaChange { from: None, to });
    let operation = Operation { replicas, ..Operation::named(&args.operation) };
    let now = UnixMillis(args.at.unwrap_or_else(jiff::Timestamp::now).as_millisecond());
    let said = args.chosen.read()?.effective.classify(&operation, now);
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&said).context("print as json")?);
    } else {
        anstream::print!("{}", told(&said));
    }
    Ok(match said.tier {
        Tier::Allowed => ExitCode::SUCCESS,
        Tier::Restricted => ExitCode::from(2),
        Tier::Forbidden => ExitCode::from(3),
    })
}

fn told(said: &Classification) -> String {
    let tier = match said.tier {
        Tier::Allowed => good("allowed"),
        Tier::Restricted => warn("restricted"),
        Tier::Forbidden => bad("forbidden"),
    };
    let mut text = format!("{}: {tier}\n", bold(&plain(&said.operation)));
    let mut line = |words: String| text.extend(["  ", &plain(&words), "\n"]);
    for reason in said.reasons.iter().rev() {
        line(format!("{}: {}", reason.layer, reason.text));
    }
    // Nobody is asked for what is not done.
    for approval in said.approvals.iter().filter(|_| said.tier == Tier::Restricted) {
        line(format!("needs: {approval}"));
    }
    for alternative in &said.alternatives {
        line(format!("instead: {} ({}), {}", alternative.name, alternative.operation, alternative.how));
    }
    if !said.executable && said.tier != Tier::Forbidden {
        line("it is no action that can be carried out: it is recorded and answered".into());
    }
    if said.alert {
        line("whoever watches over security is told when this is proposed".into());
    }
    text
}
