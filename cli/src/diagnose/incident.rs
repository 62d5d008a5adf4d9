//! The diagnosis of one incident, counted again from its ballots: causes with their probability, the way from the cause to the alert, who
//! disagrees, what is missing, and what each seat saw.

use std::path::PathBuf;

use anyhow::Context as _;
use assent_core::ballot::{CastBallot, Hypothesis, Opinion};
use assent_core::consensus::{Outcome, RankedCause, Verdict};
use assent_core::ids::IncidentUid;
use serde::Serialize;

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, bold, dim, good, warn};
use crate::record::{Bundle, LedgerArgs};
use crate::verify::{Counted, counted};

/// Which incident, and where it is read from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IncidentArgs {
    /// Incident-UID: one that is open, or one that is only on record any more.
    #[arg(value_name = "UID", value_parser = crate::record::incident, conflicts_with = "dataset", required_unless_present = "dataset")]
    pub(super) incident: Option<IncidentUid>,
    /// Read what `verify --save` saved, and ask no cluster.
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    bundle: Option<PathBuf>,
    /// The ledger.
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// The newest count, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    incident: &'a IncidentUid,
    decision: &'a str,
    path: Vec<String>,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

pub(super) async fn run(args: &IncidentArgs, incident: &IncidentUid, output: Format, connect: &ConnectArgs) -> anyhow::Result<()> {
    let bundle = match &args.bundle {
        Some(path) => Bundle::open(path)?,
        None => Bundle::read(&connect.client().await?, incident, &args.ledger).await?,
    };
    anyhow::ensure!(bundle.incident == *incident, "the bundle is of incident {}", bundle.incident);
    let counts = counted(&bundle);
    let newest =
        counts.last().context("no ballots of this incident can be counted: it is unknown, its seats have not voted yet, or its roster is not on record")?;
    match output {
        Format::Json => {
            let answer = Answer { incident, decision: &newest.decision, path: path(newest), outcome: &newest.outcome };
            anstream::println!("{}", serde_json::to_string_pretty(&answer).context("print as json")?);
        }
        Format::Table => print(incident, newest),
    }
    Ok(())
}

fn print(incident: &IncidentUid, counted: &Counted) {
    let outcome = &counted.outcome;
    anstream::println!("{} {}", bold(&format!("incident {incident}")), dim(&counted.decision));
    if outcome.causes.is_empty() {
        anstream::println!("  nobody names a cause");
    }
    for (place, cause) in outcome.causes.iter().take(5).enumerate() {
        anstream::println!("  {}", line(place, cause));
    }
    let path = path(counted);
    if path.len() > 1 {
        anstream::println!("  from the cause to the alert: {}", plain(&path.join(" → ")));
    }
    match &outcome.verdict {
        Verdict::Act { proposal, supporters } => {
            let what = format!("{} on {}", proposal.action.act().describe(), proposal.target);
            anstream::println!("  {} {}, supported by {}", good("act:"), plain(&what), supporters.join(", "));
        }
        Verdict::Hold { rule, reason } => anstream::println!("  {} [{}] {}", warn("hold:"), rule.code(), plain(reason)),
    }
    for dissent in &outcome.dissent {
        anstream::println!("  dissent: {} {}", dissent.seat, plain(&dissent.reason));
    }
    if outcome.conflict.get() > 0 {
        anstream::println!("  conflict: {} of the seats' certainty is for causes at unconnected places", outcome.conflict);
    }
    if let Some(question) = &outcome.question {
        anstream::println!("  would change its mind: {}, who has no live data; {}", question.seat, plain(&question.why));
    }
    for cast in &counted.casts {
        seen(cast);
    }
}

fn line(place: usize, cause: &RankedCause) -> String {
    let bar = "█".repeat(usize::try_from(cause.probability.get() / 100_000).unwrap_or(0));
    let faults = if cause.faults.is_empty() { String::new() } else { format!(" ({})", plain(&cause.faults.join(", "))) };
    let away = cause.explained_by.as_ref().map(|edge| format!("; explained by what it calls, {}", edge.callee)).unwrap_or_default();
    let text = format!("{bar:<10} {:>8}  {} at {}{faults}{away}", cause.probability.to_string(), cause.domain, plain(&cause.service.to_string()));
    if place == 0 { bold(&text) } else { text }
}

/// The way from the first cause to the alert, as the surest seat that holds it says.
fn path(counted: &Counted) -> Vec<String> {
    let Some(first) = counted.outcome.causes.first() else { return Vec::new() };
    let hypotheses = counted.casts.iter().flat_map(hypotheses).filter(|h| h.service == first.service && h.domain == first.domain);
    let surest = hypotheses.max_by_key(|hypothesis| (hypothesis.path.len(), hypothesis.probability));
    surest.map(|hypothesis| hypothesis.path.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn hypotheses(cast: &CastBallot) -> &[Hypothesis] {
    match &cast.ballot.opinion {
        Opinion::Cause(vote) => &vote.hypotheses,
        _ => &[],
    }
}

/// What a seat saw, in its own words.
fn seen(cast: &CastBallot) {
    let seat = &cast.ballot.seat;
    match &cast.ballot.opinion {
        Opinion::Abstain { round, reason } => anstream::println!("  {seat} abstained on the {round}: {}", plain(reason)),
        Opinion::Cause(vote) => {
            for evidence in vote.hypotheses.iter().flat_map(|hypothesis| &hypothesis.evidence).chain(&vote.healthy).take(6) {
                anstream::println!("  {seat} saw ({:?}): {}", evidence.principal, plain(&evidence.summary));
            }
        }
        Opinion::Remedy(_) => {}
    }
}
