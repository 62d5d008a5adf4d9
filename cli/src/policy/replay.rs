//! `policy replay`: what policies would have said of the requests in an API server's audit log. The log is read as a stream, in
//! bounded memory; what it does not have is said, and never taken for a verdict.

mod log;
mod memory;
mod objects;
mod recorded;
mod report;
mod subject;
mod surroundings;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::From;
use super::read::read;
use crate::output::Format;
use log::{Logs, Told};
use memory::Memory;
use recorded::{Change, Recorded, Unjudged, remember};
use report::{Before, Comparison, OfPolicy, Report};
use subject::{Said, Subject};
use surroundings::Surroundings;

/// How often progress is shown.
const EVERY: Duration = Duration::from_millis(500);

/// Flags of `policy replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent policy replay guardrails/ --audit-log /var/log/kubernetes/audit.log
  kubectl assent policy replay new/ --against old/ --audit-log audit.log --audit-log audit-2026-01-01.log.gz
  kubectl assent policy replay policies/ --against-server --params params/ --audit-log - < audit.log

The audit log must have bodies: a policy of level RequestResponse for the writes that matter (at level Request the results of
patches are missing, at level Metadata everything). What was there before a write is recovered from the log's own earlier
answers; a rule that reads what the log does not have is listed as not judged. Guardrails judge Assent's writes only, as the
gate has it. The exit code is 0 whatever is found, and 1 with --fail-on-deny when something would be denied (with --against:
newly).")]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    from: From,
    /// The API server's audit log, plain or gzip; `-` is standard input. Several are merged by time.
    #[arg(long, value_name = "FILE", required = true)]
    audit_log: Vec<PathBuf>,
    /// Params and Namespaces, as YAML: files or folders.
    #[arg(long, value_name = "PATH")]
    params: Vec<PathBuf>,
    /// Compare with what these policies say.
    #[arg(long, value_name = "PATH", conflicts_with = "against_server")]
    against: Vec<PathBuf>,
    /// Compare with what the API server did.
    #[arg(long)]
    against_server: bool,
    /// Let guardrails judge every user's writes, not only Assent's.
    #[arg(long)]
    for_everybody: bool,
    /// How many requests to show of each kind.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    show: u16,
    /// Exit with 1 when something would be denied.
    #[arg(long)]
    fail_on_deny: bool,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let (subjects, unbound) = bound(&args.from.paths, args.for_everybody)?;
    ensure!(!subjects.is_empty(), "no binding names any of the policies, so none has an effect");
    let others = if args.against.is_empty() { Vec::new() } else { bound(&args.against, args.for_everybody)?.0 };
    let wanted = subjects.iter().chain(&others).filter_map(|subject| subject.param_kind.clone()).collect();
    let comparison = match (args.against.is_empty(), args.against_server) {
        (false, _) => Some(args.against.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")),
        (true, true) => Some("what the API server did".to_owned()),
        (true, false) => None,
    };
    let mut replay = Replay {
        surroundings: Surroundings::read(&args.params, wanted).context("read params")?,
        memory: Memory::default(),
        report: Report {
            policies: subjects.iter().map(OfPolicy::new).collect(),
            unbound,
            comparison: comparison.map(|against| Comparison { against, ..Comparison::default() }),
            ..Report::default()
        },
        subjects,
        others,
        against_server: args.against_server,
        show: args.show.into(),
    };
    let mut logs = Logs::open(&args.audit_log)?;
    let mut progress = Progress::new();
    while let Some(told) = logs.next()? {
        replay.one(&told);
        progress.show(logs.tally.lines);
    }
    progress.clear();
    let mut report = replay.report;
    report.requests.forgotten = replay.memory.forgotten;
    report.log = logs.tally;
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&report).context("print as json")?),
        Format::Table => report.print(),
    }
    Ok(if args.fail_on_deny && report.denies() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn bound(paths: &[PathBuf], for_everybody: bool) -> anyhow::Result<(Vec<Subject>, Vec<String>)> {
    let sources = read(paths)?;
    sources.ensure_policies(paths)?;
    Subject::all(&sources, for_everybody)
}

/// A replay under way.
struct Replay {
    subjects: Vec<Subject>,
    /// What is compared with.
    others: Vec<Subject>,
    against_server: bool,
    surroundings: Surroundings,
    memory: Memory,
    report: Report,
    show: usize,
}

// === impl Replay ===

impl Replay {
    fn one(&mut self, told: &Told) {
        // A request is judged by what was there before it.
        match Recorded::of(told, &self.memory) {
            Ok(requests) => requests.iter().for_each(|recorded| self.judge(recorded)),
            Err(Unjudged::Read) => self.report.requests.reads += 1,
            Err(Unjudged::Failed) => self.report.requests.failed += 1,
            Err(Unjudged::HeadOnly) => self.report.requests.head_only += 1,
        }
        if let Some(Change { kind, place, object }) = remember(told, &mut self.memory) {
            self.surroundings.learn(kind, place, object.as_ref());
        }
    }

    fn judge(&mut self, recorded: &Recorded) {
        let requests = &mut self.report.requests;
        match (&recorded.object, &recorded.old_object) {
            (None, _) | (_, None) => requests.partial += 1,
            _ if recorded.presumed.is_empty() => requests.whole += 1,
            _ => requests.presumed += 1,
        }
        let now: Vec<(&str, Said)> = self.subjects.iter().map(|subject| (subject.name.as_str(), subject.judge(recorded, &self.surroundings))).collect();
        for (policy, (_, said)) in self.report.policies.iter_mut().zip(&now) {
            policy.count(recorded, said, self.show);
        }
        if let Some(comparison) = &mut self.report.comparison {
            let before: Vec<(&str, Said)> = self.others.iter().map(|subject| (subject.name.as_str(), subject.judge(recorded, &self.surroundings))).collect();
            comparison.count(recorded, &now, if self.against_server { Before::Server } else { Before::Policies(&before) }, self.show);
        }
    }
}

/// Lines that were read, on a terminal only.
struct Progress {
    wanted: bool,
    shown: Instant,
}

// === impl Progress ===

impl Progress {
    fn new() -> Self {
        Self { wanted: std::io::stderr().is_terminal(), shown: Instant::now() }
    }

    fn show(&mut self, lines: u64) {
        if self.wanted && lines.is_multiple_of(64) && self.shown.elapsed() >= EVERY {
            self.shown = Instant::now();
            anstream::eprint!("\r{lines} lines");
        }
    }

    fn clear(&self) {
        if self.wanted {
            anstream::eprint!("\r                              \r");
        }
    }
}

#[cfg(test)]
mod tests;
