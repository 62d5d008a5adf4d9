//! `audit`: the story of one incident, from our ledger and from the API server's own audit log, side by side, and where the
//! two differ. The log is joined on the impersonated user and its one extra: nothing that a requester could choose.

mod compare;
pub(crate) mod events;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Entry;
use serde::Serialize;

use crate::connect::ConnectArgs;
use crate::describe;
use crate::output::{Format, bad, bold, dim, good, warn};
use crate::record::LedgerArgs;

pub use compare::{Difference, compare};
pub use events::{Event, Log, read};

/// Flags of `audit`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent audit 01890a5d-ac96-774b-bcce-b302099a8057
  kubectl assent audit 01890a5d-ac96-774b-bcce-b302099a8057 --audit-log /var/log/kubernetes/audit.log
  kubectl assent audit 01890a5d-ac96-774b-bcce-b302099a8057 --ledger ledger.ndjson --audit-log -

The audit log is the API server's (one JSON event per line, level Metadata or higher). Without it, only our own record is
told. The exit code is 1 when the two differ.")]
pub struct AuditArgs {
    /// Incident-UID.
    #[arg(value_name = "UID", value_parser = crate::record::incident)]
    incident: IncidentUid,
    /// The API server's audit log; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// The ledger.
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Story<'a> {
    incident: &'a IncidentUid,
    ledger: Vec<&'a Entry>,
    api_server: Vec<&'a Event>,
    compared: bool,
    differences: Vec<Difference>,
}

struct Line {
    at: UnixMillis,
    source: String,
    who: String,
    text: String,
}

pub(crate) async fn run(args: &AuditArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = match &args.ledger.ledger {
        Some(_) => None,
        None => Some(connect.client().await?),
    };
    let (ledger, _) = args.ledger.read(client.as_ref()).await?;
    let own: Vec<&Entry> = ledger.iter().filter(|entry| entry.incident == args.incident).collect();
    anyhow::ensure!(!own.is_empty(), "the ledger knows nothing of incident {}", args.incident);
    let log = args.audit_log.as_deref().map(events::open).transpose()?;
    let differences = log.as_ref().map(|log| compare(&args.incident, &own, log)).unwrap_or_default();
    let told: Vec<&Event> = log.iter().flat_map(|log| &log.events).filter(|event| event.concerns(&args.incident)).collect();
    let story = Story { incident: &args.incident, ledger: own, api_server: told, compared: log.is_some(), differences };
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&story).context("print as json")?),
        Format::Table => print(&story, log.as_ref()),
    }
    Ok(if story.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(story: &Story<'_>, log: Option<&Log>) {
    anstream::println!("{}", bold(&format!("incident {}", story.incident)));
    let mut lines: Vec<Line> = story.ledger.iter().map(|entry| of_ledger(entry)).chain(story.api_server.iter().map(|event| of_server(event))).collect();
    lines.sort_by_key(|line| line.at);
    let width = |of: fn(&Line) -> &str| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0);
    let (source, who) = (width(|line| &line.source), width(|line| &line.who));
    for line in &lines {
        anstream::println!("  {}  {}  {:who$}  {}", dim(&describe::time(line.at)), dim(&format!("{:source$}", line.source)), line.who, line.text);
    }
    let Some(log) = log else {
        anstream::println!("{} told from our ledger alone: pass --audit-log to compare it with the API server's", warn("–"));
        return;
    };
    if log.unreadable > 0 {
        anstream::println!("{} {} lines of the audit log could not be read", warn("–"), log.unreadable);
    }
    for difference in &story.differences {
        anstream::println!("{} {}", bad("✗"), describe::plain(&difference.to_string()));
    }
    if story.differences.is_empty() {
        anstream::println!("{} the API server's audit log tells the same story", good("✓"));
    }
}

fn of_ledger(entry: &Entry) -> Line {
    let text = format!("{}: {}", describe::plain(&entry.kind), describe::entry(entry));
    Line { at: entry.at, source: format!("ledger {}", entry.sequence), who: describe::author(entry), text }
}

fn of_server(event: &Event) -> Line {
    let code = if event.succeeded() { good(&event.code.to_string()) } else { warn(&event.code.to_string()) };
    let dry = if event.dry_run { " (dry run)" } else { "" };
    let text = format!("{code} {} {}{dry}", describe::plain(&event.verb), describe::plain(&event.object()));
    let who = event.impersonated.as_ref().unwrap_or(&event.user);
    Line { at: event.at, source: "api".into(), who: describe::plain(who.rsplit(':').next().unwrap_or(who)), text }
}
