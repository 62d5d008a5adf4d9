//! `blueprint classify`: the tier of an operation under Blueprints in files, as the gate would say it now.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use assent_api::facts::listed;
use assent_core::blueprint::{Classification, ClusterBlueprint, Operation, ReplicaChange, Tier, effective, read, read_cluster};
use assent_core::ids::UnixMillis;
use serde_json::Value;

use crate::describe::plain;
use crate::output::{Format, bad, bold, good, warn};
use crate::policy::read::{MAX_FILE, documents, files};

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
    /// Files or folders with one Blueprint, and any ClusterBlueprints above it.
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Which Blueprint, where there are several.
    #[arg(long)]
    name: Option<String>,
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
    let (mut services, mut above) = (Vec::new(), Vec::new());
    for file in files(&args.files)? {
        for (place, object) in documents(&file, MAX_FILE)? {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let spec = object.get("spec").unwrap_or(&Value::Null);
            let wrong = |problems: Vec<_>| anyhow::anyhow!("{place}: {}", plain(&listed(&problems)));
            match text("/kind").as_str() {
                "Blueprint" if args.name.as_ref().is_none_or(|name| *name == text("/metadata/name")) => {
                    services.push((text("/metadata/namespace"), read(spec).into_result().map_err(wrong)?));
                }
                "ClusterBlueprint" => above.push(read_cluster(&text("/metadata/name"), spec).into_result().map_err(wrong)?),
                _ => {}
            }
        }
    }
    ensure!(services.len() <= 1, "there are {} Blueprints in these files; choose one with --name", services.len());
    let Some((namespace, service)) = services.pop() else { bail!("there is no such Blueprint in these files") };
    above.retain(|rules: &ClusterBlueprint| rules.concerns(&namespace));
    let replicas = args.replicas.map(|to| ReplicaChange { from: None, to });
    let operation = Operation { replicas, ..Operation::named(&args.operation) };
    let now = UnixMillis(args.at.unwrap_or_else(jiff::Timestamp::now).as_millisecond());
    let said = effective(&above, &service).classify(&operation, now);
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
