//! `diagnose`: what the seats and the tally make of recorded data. The same rules judge live incidents.

mod read;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use assent_core::consensus::TallyConfiguration;
use assent_core::diagnosis::changes::{self, Finding};
use assent_core::seats::recorded::{self, Diagnosis};
use serde::Serialize;

use crate::output::{Format, table};
use read::Case;

/// Flags of `diagnose`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent diagnose --dataset recorded/                     a table of causes
  kubectl assent diagnose --dataset recorded/ --out answers.jsonl  one JSON object a line, for scoring
  kubectl assent diagnose --dataset recorded/ --case web-17 -o json
  kubectl assent diagnose --dataset recorded/ --only metrics,edges --without network

A folder holds cases.jsonl, graph.csv and a folder for each kind of data; labels are never read. What a case lacks is an abstention
of the seats that would judge by it, never health.")]
pub(crate) struct DiagnoseArgs {
    /// Folder of recorded cases.
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Write one answer a line to this file (`-`: standard output).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Read these kinds of data only: metrics, edges, traces, logs, patterns, changes, samples, rollouts.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    only: Vec<String>,
    /// Judge without these seats.
    #[arg(long, value_delimiter = ',', value_name = "SEAT")]
    without: Vec<String>,
    /// This case only.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// How to print the answers.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One line of answers.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    case: &'a str,
    ranked: Vec<String>,
    domain: String,
    confidence: f64,
    abstain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    abstained: &'a [String],
}

/// Diagnoses every case of the folder.
pub(crate) fn run(args: &DiagnoseArgs) -> anyhow::Result<()> {
    let known: BTreeSet<&str> = assent_core::seats::SEATS.iter().map(|entry| entry.name).collect();
    if let Some(stranger) = args.without.iter().find(|seat| !known.contains(seat.as_str())) {
        anyhow::bail!("there is no seat `{stranger}`; seats are {}", known.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut folder = read::Folder::open(&args.dataset, &args.only)?;
    let cases: Vec<Case> = folder.cases()?.into_iter().filter(|case| args.case.as_ref().is_none_or(|wanted| *wanted == case.case)).collect();
    anyhow::ensure!(!cases.is_empty(), "`{}` has no such case", args.dataset.display());
    let without: Vec<&str> = args.without.iter().map(String::as_str).collect();
    let configuration = TallyConfiguration::shipped();
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    let mut times = Vec::new();
    for case in &cases {
        let began = Instant::now();
        let recording = folder.recording(case)?;
        let diagnosis = recorded::judge(&recording, &configuration, &without);
        let finding = folder.incident(case)?.map(|incident| changes::judge(&incident));
        times.push(began.elapsed());
        let answer = answer(case, &diagnosis, finding.as_ref());
        lines.push(serde_json::to_string(&answer)?);
        rows.push(row(&answer));
        if args.case.is_some() && args.output == Format::Table {
            explain(&diagnosis);
        }
    }
    for note in folder.notes() {
        anstream::eprintln!("note: {note}");
    }
    if args.out.is_none() || args.output == Format::Json {
        match args.output {
            Format::Json => lines.iter().for_each(|line| anstream::println!("{line}")),
            Format::Table => anstream::println!("{}", table(&["CASE", "CAUSE", "DOMAIN", "SURE", "THEN", "NOTE"], &rows)),
        }
    }
    if let Some(out) = &args.out {
        write(out, &lines).with_context(|| format!("write `{}`", out.display()))?;
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or(Duration::ZERO);
        anstream::eprintln!("{} cases diagnosed, {} ms each (median)", cases.len(), median.as_millis());
    }
    Ok(())
}

/// What the seats and the tally say; of an incident that was recorded with its changes, what those say.
fn answer<'a>(case: &'a Case, diagnosis: &'a Diagnosis, finding: Option<&Finding>) -> Answer<'a> {
    let mut answer = Answer {
        case: &case.case,
        ranked: diagnosis.ranked.clone(),
        domain: diagnosis.causes.first().map_or("none".to_owned(), |cause| cause.domain.to_string()),
        confidence: f64::from(diagnosis.confidence.get()) / 1e6,
        abstain: diagnosis.abstain.is_some(),
        commit: None,
        remedy: None,
        reason: diagnosis.abstain.as_deref(),
        abstained: &diagnosis.abstained,
    };
    if let Some(finding) = finding
        && let Some(first) = finding.suspicions.first()
    {
        answer.ranked = finding.suspicions.iter().map(|suspicion| suspicion.service.clone()).collect();
        answer.domain = first.domain.to_string();
        answer.confidence = first.strength;
        answer.abstain = finding.remedy.is_none();
        answer.reason = answer.abstain.then_some("no kind of fault fits");
        answer.commit = Some(finding.commit.clone().unwrap_or_else(|| "none".to_owned()));
        answer.remedy = finding.remedy.map(|remedy| remedy.to_string());
    }
    answer
}

fn row(answer: &Answer<'_>) -> Vec<String> {
    let mut ranked = answer.ranked.iter();
    let first = ranked.next().cloned().unwrap_or_else(|| "unknown".into());
    let then = ranked.take(2).cloned().collect::<Vec<_>>().join(", ");
    let note = answer.reason.map(|reason| format!("abstains: {reason}")).unwrap_or_default();
    vec![answer.case.to_owned(), first, answer.domain.clone(), format!("{:.0} %", answer.confidence * 100.0), then, note]
}

fn explain(diagnosis: &Diagnosis) {
    for (seat, suspicions) in &diagnosis.votes {
        if diagnosis.abstained.contains(seat) {
            anstream::println!("{seat}: abstains, no figures of its classes");
            continue;
        }
        if suspicions.is_empty() {
            anstream::println!("{seat}: nothing of its classes is unusual");
        }
        for suspicion in suspicions {
            anstream::println!("{seat}: {} at {}, {} ({})", suspicion.fault, suspicion.service, suspicion.probability, suspicion.domain);
            suspicion.grounds.iter().for_each(|ground| anstream::println!("    {ground}"));
        }
    }
}

fn write(out: &PathBuf, lines: &[String]) -> std::io::Result<()> {
    let mut text = lines.join("\n");
    text.push('\n');
    if out.as_os_str() == "-" {
        return std::io::stdout().write_all(text.as_bytes());
    }
    std::fs::write(out, text)
}
