//! `import`: Blueprints as other tools print them, made into objects of ours. It says where each field went and what had no
//! place; nothing is dropped without a word.

mod printed;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use assent_core::blueprint::{Problem, read, read_cluster};
use serde::Serialize;
use serde_json::Value;

use crate::blueprint::{report, yaml};
use crate::output::{Format, dim, good, table, warn};
use crate::policy::read::{MAX_FILE, documents};
use printed::{Made, Moved, convert};

/// Flags of `import`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent import blueprints/frontend/blueprint.yaml -n shop > frontend.yaml
  kubectl assent import blueprints/frontend/blueprint.yaml -n shop --mode autonomous | kubectl apply -f -
  kubectl assent import blueprints/global/governance.yaml --cluster > organisation.yaml

The objects go to standard output, where each field went to standard error. The exit code is 1 when the gate would refuse one.")]
pub(crate) struct ImportArgs {
    /// Files in the printed form: `metadata` and `spec`, with `governance` and `verification` beside them.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Namespace of the workloads, where a file names none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// How far Assent may go; the printed form does not say it.
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// Make rules for the whole cluster of it, above every Blueprint.
    #[arg(long)]
    cluster: bool,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The modes on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ModeName {
    /// Look and record.
    #[default]
    Observe,
    /// Ask before every action.
    Approve,
    /// Act within the limits.
    Autonomous,
}

/// One object with what there is to say of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    object: Value,
    moved: Vec<Moved>,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

// === impl ModeName ===

impl ModeName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Autonomous => "autonomous",
        }
    }
}

pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let into = if args.cluster { Made::Cluster } else { Made::Service { namespace: &args.namespace, mode: args.mode.as_str() } };
    let mut all = Vec::new();
    for file in &args.files {
        for (place, document) in documents(file, MAX_FILE)? {
            all.push(imported(&document, &into).with_context(|| place)?);
        }
    }
    ensure!(!all.is_empty(), "there is nothing in these files");
    let refused = all.iter().any(|one| !one.problems.is_empty());
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&all).context("print as json")?);
    } else {
        for one in &all {
            anstream::print!("---\n{}", yaml(&one.object)?);
            told(one);
        }
    }
    Ok(if refused { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn imported(document: &Value, into: &Made<'_>) -> anyhow::Result<Imported> {
    let (object, moved) = convert(document, into)?;
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (problems, notes) = match into {
        Made::Service { .. } => {
            let reading = read(spec);
            (reading.problems, reading.notes)
        }
        Made::Cluster => {
            let reading = read_cluster("imported", spec);
            (reading.problems, reading.notes)
        }
    };
    Ok(Imported { object, moved, problems, notes })
}

fn told(one: &Imported) {
    let mark = |moved: &Moved| if moved.to.is_empty() { warn("left out") } else { good("moved") };
    let rows: Vec<Vec<String>> = one.moved.iter().map(|moved| vec![mark(moved), moved.from.clone(), moved.to.clone(), dim(&moved.note)]).collect();
    anstream::eprint!("{}", table(&["", "FROM", "TO", "NOTE"], &rows));
    anstream::eprint!("{}", report(&one.problems, &one.notes));
}
