//! `policy`: guardrails at a desk. What stands in files is judged by the same engine that judges at the gate; no cluster is
//! asked, and nothing is written but what was asked for.

pub(crate) mod read;
mod replay;
mod test;
mod types;

use std::process::ExitCode;

use anyhow::Context as _;
use assent_policies::spec::{BindingSpec, PolicySpec};
use assent_policies::{Part, Set, expand, export, lint};
use clap::Subcommand;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connect::ConnectArgs;
use crate::output::{Format, bad, good, table, warn};
use read::{Sources, read};

/// Where guardrails are read from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct From {
    /// Files, or folders whose YAML files are read (not those below them): Guardrail and GuardrailBinding, or
    /// ValidatingAdmissionPolicy and its binding.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<std::path::PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Judge the cases beside the guardrails (NAME.cases.yaml)
    Test(test::TestArgs),
    /// Say what does not load, what has no effect, and what is not covered
    Lint(LintArgs),
    /// Say what guardrails would have done to the requests in an API server's audit log
    Replay(replay::ReplayArgs),
    /// Derive rules for workloads from rules for Pods
    Expand(ExpandArgs),
    /// Write native ValidatingAdmissionPolicies, so that the rules hold where Assent's gate is not
    Export(ExportArgs),
}

/// Flags of `policy lint`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent policy lint guardrails/
  kubectl assent policy lint guardrails/ --server               types too, by what the cluster describes
  kubectl assent policy lint guardrails/ --openapi schemas/ -o json

The exit code is 1 when something does not load or cannot be right. A gap in the coverage is told and is no failure.")]
pub(crate) struct LintArgs {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    types: types::TypesArgs,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `policy expand`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent policy expand pod-rules.yaml > workload-rules.yaml")]
pub(crate) struct ExpandArgs {
    #[command(flatten)]
    from: From,
}

/// Flags of `policy export`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent policy export guardrails/ | kubectl apply -f -       for Assent's writes, as before
  kubectl assent policy export --for-everybody guardrails/            for every user's writes

What reads `Facts` cannot be exported, since no API server has them; it is named on standard error.")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    from: From,
    /// Let the native policies judge every user's writes, not only those of `assent:executor`.
    #[arg(long)]
    for_everybody: bool,
}

/// Something to know about a guardrail.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    name: String,
    code: String,
    text: String,
    /// Whether it does not load.
    fatal: bool,
}

pub(crate) async fn run(command: &PolicyCommand, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Test(args) => test::run(args),
        PolicyCommand::Lint(args) => lint(args, connect).await,
        PolicyCommand::Replay(args) => replay::run(args),
        PolicyCommand::Expand(args) => expand(args).map(|()| ExitCode::SUCCESS),
        PolicyCommand::Export(args) => export(args).map(|()| ExitCode::SUCCESS),
    }
}

async fn lint(args: &LintArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let sources = read(&args.from.paths)?;
    sources.ensure_policies(&args.from.paths)?;
    let set = Set::new(sources.policies.clone(), sources.bindings.clone());
    let mut findings: Vec<Finding> = set
        .problems()
        .iter()
        .map(|problem| {
            let part = if problem.part == Part::Policy { "policy" } else { "binding" };
            Finding { name: problem.name.clone(), code: part.into(), text: format!("{}: {}", problem.place, problem.reason), fatal: problem.fatal }
        })
        .collect();
    findings.extend(set.unbound().iter().map(|name| Finding {
        name: name.clone(),
        code: "unbound".into(),
        text: "no binding names it, so it has no effect".into(),
        fatal: false,
    }));
    // What does not load has been told of; the rest is looked at.
    let (policies, bindings) = sources.loadable();
    let mut gaps = lint::gaps(&policies, &bindings);
    gaps.retain(|gap| !findings.iter().any(|known| known.name == gap.name && known.code == gap.code));
    findings.extend(gaps.into_iter().map(|gap| Finding { name: gap.name, code: gap.code.into(), text: gap.text, fatal: false }));
    findings.extend(types::findings(&args.types, connect, &sources, &policies).await?);
    let failed = findings.iter().any(|finding| finding.fatal);
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&findings).context("print as json")?),
        Format::Table if findings.is_empty() => anstream::println!("{}: nothing to say of {} guardrails", good("ok"), sources.policies.len()),
        Format::Table => {
            let mark = |finding: &Finding| if finding.fatal { bad("error") } else { warn("gap") };
            let rows: Vec<Vec<String>> =
                findings.iter().map(|finding| vec![mark(finding), finding.name.clone(), finding.code.clone(), finding.text.clone()]).collect();
            anstream::print!("{}", table(&["", "NAME", "CODE", "WHAT"], &rows));
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn expand(args: &ExpandArgs) -> anyhow::Result<()> {
    let (policies, bindings) = parsed(&args.from)?;
    let expansion = expand::expand(&policies, &bindings);
    let objects = expansion.policies.iter().map(|(name, spec)| object("Guardrail", name, spec));
    let objects = objects.chain(expansion.bindings.iter().map(|(name, spec)| object("GuardrailBinding", name, spec)));
    print(&objects.collect::<Vec<_>>(), &expansion.left)
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let (policies, bindings) = parsed(&args.from)?;
    let only_for = (!args.for_everybody).then_some(assent_api::names::EXECUTOR_USER);
    let export = export::export(&policies, &bindings, only_for);
    print(&export.objects, &export.left)
}

fn parsed(from: &From) -> anyhow::Result<Parsed> {
    let sources = read(&from.paths)?;
    sources.ensure_policies(&from.paths)?;
    sources.parsed()
}

fn object(kind: &str, name: &str, spec: &impl Serialize) -> Value {
    json!({"apiVersion": "assent.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Objects on standard output, what is not among them on standard error.
fn print(objects: &[Value], left: &[(String, String)]) -> anyhow::Result<()> {
    for object in objects {
        anstream::print!("---\n{}", serde_yaml_ng::to_string(object).context("write yaml")?);
    }
    for (name, reason) in left {
        anstream::eprintln!("{} `{name}`: {reason}", warn("left out"));
    }
    Ok(())
}

// === impl Sources ===

type Parsed = (Vec<(String, PolicySpec)>, Vec<(String, BindingSpec)>);

impl Sources {
    /// Specs as values; the first that cannot be read is an error.
    fn parsed(&self) -> anyhow::Result<Parsed> {
        Ok((specs(&self.policies).collect::<anyhow::Result<_>>()?, specs(&self.bindings).collect::<anyhow::Result<_>>()?))
    }

    /// Those specs that can be read at all.
    fn loadable(&self) -> Parsed {
        (specs(&self.policies).flatten().collect(), specs(&self.bindings).flatten().collect())
    }
}

fn specs<T: DeserializeOwned>(named: &[(String, Value)]) -> impl Iterator<Item = anyhow::Result<(String, T)>> {
    named.iter().map(|(name, spec)| Ok((name.clone(), T::deserialize(spec).with_context(|| format!("`{name}`"))?)))
}
