//! `policy test`: what every guardrail says of its cases, against what they expect.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use assent_policies::cases::{self, Case, Subject};
use serde::Serialize;

use super::From;
use super::read::{Sources, Suite, read};
use crate::output::{Format, bad, dim, good};

/// Most guardrails that are listed in an error.
const MAX_NAMED: usize = 10;

/// Flags of `policy test`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent policy test policies/library
  kubectl assent policy test guardrails/ -o json

A guardrail NAME is judged by NAME.cases.yaml beside it; docs/guardrails.md says what a case looks like. The exit code is 1
when a case comes out otherwise than it expects.")]
pub(crate) struct TestArgs {
    #[command(flatten)]
    from: From,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One case and how it came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    guardrail: String,
    case: String,
    passed: bool,
    /// What was expected and what came.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let sources = read(&args.from.paths)?;
    if sources.cases.is_empty() {
        sources.ensure_policies(&args.from.paths)?;
    }
    ensure!(
        !sources.cases.is_empty(),
        "there are no cases: a guardrail NAME has them in NAME.cases.yaml beside it; docs/guardrails.md shows what they look like"
    );
    let mut results = Vec::new();
    for suite in &sources.cases {
        match ready(suite, &sources) {
            Ok((subject, cases)) => results.extend(judge(suite, &subject, &cases)),
            // One bad file does not keep the others from being judged.
            Err(error) => {
                results.push(Judged {
                    guardrail: suite.guardrail.clone(),
                    case: suite.path.display().to_string(),
                    passed: false,
                    reason: Some(format!("{error:#}")),
                });
            }
        }
    }
    let untested: Vec<&str> =
        sources.policies.iter().map(|(name, _)| name.as_str()).filter(|name| sources.cases.iter().all(|suite| suite.guardrail != **name)).collect();
    let failed = results.iter().filter(|result| !result.passed).count();
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&results).context("print as json")?),
        Format::Table => {
            for result in results.iter().filter(|result| !result.passed) {
                anstream::println!("{} {}, `{}`: {}", bad("failed"), result.guardrail, result.case, result.reason.as_deref().unwrap_or_default());
            }
            for name in &untested {
                anstream::println!("{} {name} has no cases", dim("note"));
            }
            let took = format!("{} guardrails in {:.1} s", sources.cases.len(), started.elapsed().as_secs_f64());
            let passed = results.len() - failed;
            anstream::println!("{}", if failed == 0 { good(&format!("{passed} passed, 0 failed")) } else { bad(&format!("{passed} passed, {failed} failed")) });
            anstream::println!("{}", dim(&took));
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The guardrail that a suite is for, and its cases.
fn ready(suite: &Suite, sources: &Sources) -> anyhow::Result<(Subject, Vec<Case>)> {
    let name = &suite.guardrail;
    let Some((_, spec)) = sources.policies.iter().find(|(known, _)| known == name) else {
        let known = sources.policies.iter().take(MAX_NAMED).map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        bail!("there is no guardrail `{name}`; there are {}", if known.is_empty() { "none" } else { &known });
    };
    let bindings: Vec<_> = sources.bindings.iter().filter(|(_, spec)| spec["policyName"] == **name).cloned().collect();
    ensure!(!bindings.is_empty(), "no binding names `{name}`, so it has no effect: its file needs a GuardrailBinding whose `policyName` is `{name}`");
    let subject = Subject::new(name, spec, &bindings).map_err(anyhow::Error::msg)?;
    let (folder, file) = suite.read()?;
    let cases = cases::expand(&folder, &file)?;
    ensure!(!cases.is_empty(), "there are no cases in it");
    Ok((subject, cases))
}

fn judge(suite: &Suite, subject: &Subject, cases: &[Case]) -> Vec<Judged> {
    let results = cases.iter().map(|case| {
        let reason = subject.judge(case).and_then(|said| said.meets(case)).err();
        Judged { guardrail: suite.guardrail.clone(), case: case.name.clone(), passed: reason.is_none(), reason }
    });
    results.collect()
}
