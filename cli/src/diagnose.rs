//! `diagnose`: what the seats and the tally make of recorded data. The same rules judge live incidents.

mod incident;
pub(crate) mod read;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use assent_core::consensus::TallyConfiguration;
use assent_core::seats::recorded::Diagnosis;
use serde::Serialize;

use crate::connect::ConnectArgs;
use crate::output::{Format, table};
use read::Case;

/// Flags of `diagnose`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent diagnose UID                                      an open incident, or one on record
  kubectl assent diagnose --dataset recorded/                     a table of causes
  kubectl assent diagnose --dataset recorded/ --out answers.jsonl  one JSON object a line, for scoring
  kubectl assent diagnose --dataset recorded/ --case web-17 -o json
  kubectl assent diagnose --dataset recorded/ --only metrics,edges --without network

A folder holds cases.jsonl, graph.csv and a folder for each kind of data; labels are never read. What a case lacks is an abstention
of the seats that would judge by it, never health.")]
pub(crate) struct DiagnoseArgs {
    #[command(flatten)]
    incident: incident::IncidentArgs,
    /// Folder of recorded cases.
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
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
    ranked: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    look: &'a [String],
    domain: String,
    confidence: f64,
    abstain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    abstained: &'a [String],
}

/// Diagnoses an incident, or every case of a folder.
pub(crate) async fn run(args: &DiagnoseArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    match (&args.incident.incident, &args.dataset) {
        (Some(incident), _) => incident::run(&args.incident, incident, args.output, connect).await,
        (None, Some(folder)) => recorded(args, folder),
        (None, None) => anyhow::bail!("name an incident, or a folder with --dataset"),
    }
}

fn recorded(args: &DiagnoseArgs, folder: &Path) -> anyhow::Result<()> {
    let known: BTreeSet<&str> = assent_core::seats::SEATS.iter().map(|entry| entry.name).collect();
    if let Some(stranger) = args.without.iter().find(|seat| !known.contains(seat.as_str())) {
        anyhow::bail!("there is no seat `{stranger}`; seats are {}", known.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut data = read::Folder::open(folder, &args.only)?;
    let cases: Vec<Case> = data.cases()?.into_iter().filter(|case| args.case.as_ref().is_none_or(|wanted| *wanted == case.case)).collect();
    anyhow::ensure!(!cases.is_empty(), "`{}` has no such case", folder.display());
    let without: Vec<&str> = args.without.iter().map(String::as_str).collect();
    let configuration = TallyConfiguration::shipped();
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    let mut times = Vec::new();
    for case in &cases {
        let began = Instant::now();
        let recording = data.recording(case)?;
        let diagnosis = assent_core::seats::recorded::judge(&recording, &configuration, &without);
        times.push(began.elapsed());
        let answer = answer(case, &diagnosis, recording.surroundings.is_some());
        lines.push(serde_json::to_string(&answer)?);
        rows.push(row(&answer));
        if args.case.is_some() && args.output == Format::Table {
            explain(&diagnosis);
        }
    }
    for note in data.notes() {
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
fn answer<'a>(case: &'a Case, diagnosis: &'a Diagnosis, changes: bool) -> Answer<'a> {
    let domain = diagnosis.causes.first().map_or_else(|| "none".to_owned(), |cause| cause.domain.to_string());
    Answer {
        case: &case.case,
        ranked: &diagnosis.ranked,
        look: &diagnosis.look,
        domain,
        confidence: f64::from(diagnosis.confidence.get()) / 1e6,
        abstain: diagnosis.abstain.is_some(),
        // Where changes were recorded, that none of them is to blame is an answer.
        commit: changes.then(|| diagnosis.commit.as_deref().unwrap_or("none")),
        remedy: diagnosis.remedy.map(|remedy| remedy.to_string()),
        reason: diagnosis.abstain.as_deref(),
        abstained: &diagnosis.abstained,
    }
}

fn row(answer: &Answer<'_>) -> Vec<String> {
    let mut ranked = answer.ranked.iter();
    let first = ranked.next().cloned().unwrap_or_else(|| "unknown".into());
    let then = ranked.take(2).cloned().collect::<Vec<_>>().join(", ");
    let look = answer.look.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let look = if look.is_empty() { look } else { format!("; most unlike before: {look}") };
    let note = answer.reason.map(|reason| format!("abstains: {reason}{look}")).unwrap_or_default();
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
