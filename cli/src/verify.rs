//! `verify`: proves one incident's decision again, from the record alone: that the ledger is whole and leads to its head, that each
//! ballot in it is its seat's own, that counting them again gives the decision, and that the plan is that decision and names
//! the ledger as it was. It believes no component's word; it cannot say what was never recorded.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use assent_api::resources::{Ballot, Decision, Remediation};
use assent_api::{cast, parse_plan};
use assent_core::ballot::{CastBallot, Statement};
use assent_core::canonical::Digest;
use assent_core::consensus::{Outcome, Roster, Verdict, tally};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::{self, Entry};
use assent_core::plan::Plan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde::Serialize;
use serde_json::Value;

use crate::connect::ConnectArgs;
use crate::output::{Format, bad, bold, good, warn};
use crate::record::{Bundle, LedgerArgs};

/// Flags of `verify`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent verify 01890a5d-ac96-774b-bcce-b302099a8057
  kubectl assent verify 01890a5d-ac96-774b-bcce-b302099a8057 --save proof.json
  kubectl assent verify 01890a5d-ac96-774b-bcce-b302099a8057 --bundle proof.json   (no cluster is asked)

The exit code is 0 when everything holds, 1 when something does not.")]
pub struct VerifyArgs {
    /// Incident-UID.
    #[arg(value_name = "UID", value_parser = crate::record::incident)]
    incident: IncidentUid,
    /// Verify what an earlier run saved, and ask no cluster.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "save"])]
    bundle: Option<PathBuf>,
    /// Save everything that was read, for verifying it elsewhere.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The ledger.
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Whether it holds; nothing when it could not be asked.
    pub holds: Option<bool>,
    /// What was checked.
    pub what: String,
    /// What was found.
    pub found: String,
}

pub(crate) async fn run(args: &VerifyArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let bundle = match &args.bundle {
        Some(path) => Bundle::open(path)?,
        None => Bundle::read(&connect.client().await?, &args.incident, &args.ledger).await?,
    };
    anyhow::ensure!(bundle.incident == args.incident, "the bundle is of incident {}", bundle.incident);
    if let Some(path) = &args.save {
        bundle.save(path)?;
    }
    let checks = verify(&bundle);
    let holds = checks.iter().all(|check| check.holds != Some(false));
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&checks).context("print as json")?),
        Format::Table => print(&bundle.incident, &checks, holds),
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(incident: &IncidentUid, checks: &[Check], holds: bool) {
    anstream::println!("{}", bold(&format!("incident {incident}")));
    for Check { holds, what, found } in checks {
        let mark = match holds {
            Some(true) => good("✓"),
            Some(false) => bad("✗"),
            None => warn("–"),
        };
        anstream::println!("  {mark} {what}: {}", crate::describe::plain(found));
    }
    anstream::println!("{}", if holds { good("everything that is on record holds") } else { bad("the record does not hold") });
}

/// Every check there is, in the order of the story.
#[must_use]
pub fn verify(bundle: &Bundle) -> Vec<Check> {
    let mut checks = whole(bundle);
    let story: Vec<&Entry> = bundle.story().collect();
    if story.is_empty() {
        checks.push(check(false, "record", "the ledger knows nothing of this incident"));
    }
    let tallies: Vec<&&Entry> = story.iter().filter(|entry| entry.kind == "tally").collect();
    if tallies.is_empty() {
        checks.push(Check { holds: None, what: "decision".into(), found: "no tally is on record".into() });
    }
    checks.extend(tallies.into_iter().flat_map(|entry| count(bundle, &story, entry)));
    if bundle.live {
        checks.push(withheld(bundle, &story));
    }
    checks.extend(bundle.remediations.iter().flat_map(|stored| plan(bundle, stored, &story)));
    checks
}

fn check(holds: bool, what: impl Into<String>, found: impl Into<String>) -> Check {
    Check { holds: Some(holds), what: what.into(), found: found.into() }
}

fn whole(bundle: &Bundle) -> Vec<Check> {
    let head = match ledger::verify(&bundle.ledger) {
        Ok(head) => head,
        Err(reason) => return vec![check(false, "ledger", reason)],
    };
    let found = format!("{} entries lead to {:.16}…", head.sequence, head.hash.as_str());
    let mut checks = vec![check(true, "ledger", found)];
    if let Some(announced) = &bundle.head {
        // It was announced when the answer began; entries may have followed.
        let at = usize::try_from(announced.sequence).ok().and_then(|n| bundle.ledger.get(..n)).map(ledger::verify);
        let same = at == Some(Ok(announced.clone()));
        checks.push(check(same, "head", format!("the director announces {}:{:.16}…", announced.sequence, announced.hash.as_str())));
    }
    checks
}

/// Checks one tally: roster, ballots, signatures, and the count again.
fn count(bundle: &Bundle, story: &[&Entry], entry: &Entry) -> Vec<Check> {
    let text = |field: &str| entry.body.get(field).and_then(Value::as_str).unwrap_or_default();
    let what = format!("decision {}", text("decision"));
    let Some(roster) = roster(bundle, text("roster")) else {
        return vec![check(false, what, "the roster that it was counted under is not on record")];
    };
    let digests: Vec<Digest> = entry.body.get("ballots").and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default();
    let mut checks = Vec::new();
    let mut casts = Vec::new();
    for digest in &digests {
        let Some(stored) = recorded(story, digest) else {
            checks.push(check(false, "ballot", format!("{:.16}… was counted and is not on record", digest.as_str())));
            continue;
        };
        match cast(&stored, &roster) {
            Ok(cast) => {
                checks.push(check(
                    true,
                    format!("ballot {}", stored.name_any()),
                    format!("signed by seat `{}`, with a certificate of the roster's roots", cast.ballot.seat),
                ));
                casts.push(cast);
            }
            Err(refusal) => checks.push(check(false, format!("ballot {}", stored.name_any()), refusal.reason)),
        }
    }
    if casts.len() == digests.len() {
        checks.push(recount(bundle, text("decision"), &tally(&roster, &casts), &casts));
    } else {
        checks.push(check(false, what, "it cannot be counted again"));
    }
    checks
}

/// One count of an incident's ballots.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Name of the decision; `counted now` for ballots that nobody has counted yet.
    pub decision: String,
    /// What the count gives.
    pub outcome: Outcome,
    /// The ballots that are their seats' own.
    pub casts: Vec<CastBallot>,
}

/// Every count that is on record, oldest first, done again; without any, the ballots of the cluster under the newest roster on record.
#[must_use]
pub fn counted(bundle: &Bundle) -> Vec<Counted> {
    let story: Vec<&Entry> = bundle.story().collect();
    let again = |entry: &&&Entry| {
        let text = |field: &str| entry.body.get(field).and_then(Value::as_str).unwrap_or_default();
        let roster = roster(bundle, text("roster"))?;
        let digests: Vec<Digest> = serde_json::from_value(entry.body.get("ballots")?.clone()).ok()?;
        let casts: Vec<CastBallot> = digests.iter().filter_map(|digest| cast(&recorded(&story, digest)?, &roster).ok()).collect();
        Some(Counted { decision: text("decision").to_owned(), outcome: tally(&roster, &casts), casts })
    };
    let counts: Vec<Counted> = story.iter().filter(|entry| entry.kind == "tally").filter_map(|entry| again(&entry)).collect();
    if !counts.is_empty() || bundle.ballots.is_empty() {
        return counts;
    }
    let rosters = bundle.ledger.iter().rev().filter(|entry| entry.kind == "roster");
    let Some(roster) = rosters.filter_map(|entry| serde_json::from_value::<Roster>(entry.body.clone()).ok()).next() else { return counts };
    let casts: Vec<CastBallot> = bundle.ballots.iter().filter_map(|stored| cast(stored, &roster).ok()).collect();
    vec![Counted { decision: "counted now".into(), outcome: tally(&roster, &casts), casts }]
}

fn recount(bundle: &Bundle, decision: &str, outcome: &Outcome, casts: &[CastBallot]) -> Check {
    let what = format!("decision {decision}");
    let says = match &outcome.verdict {
        Verdict::Act { proposal, supporters } => {
            format!("{} ballots decide for {} on {}, supported by {}", casts.len(), proposal.action.act().describe(), proposal.target, supporters.join(", "))
        }
        Verdict::Hold { rule, reason } => format!("{} ballots decide for nothing [{}]: {reason}", casts.len(), rule.code()),
    };
    let stored = bundle.decisions.iter().find(|stored| stored.name_any() == decision);
    match stored.map(|stored| same(stored, outcome)) {
        Some(true) => check(true, what, format!("{says}; the Decision says the same")),
        Some(false) => check(false, what, format!("{says}; the Decision says something else")),
        None => check(true, what, format!("{says}; there is no Decision to compare with")),
    }
}

/// Whether the same follows from the stored decision: a ballot that came in later may have changed its figures.
fn same(stored: &Decision, outcome: &Outcome) -> bool {
    let Ok(decided) = serde_json::from_str::<Outcome>(&stored.spec.payload) else { return false };
    match (&decided.verdict, &outcome.verdict) {
        (Verdict::Act { proposal: one, .. }, Verdict::Act { proposal: other, .. }) => one == other,
        (Verdict::Hold { .. }, Verdict::Hold { .. }) => true,
        _ => false,
    }
}

fn roster(bundle: &Bundle, digest: &str) -> Option<Roster> {
    let entries = bundle.ledger.iter().filter(|entry| entry.kind == "roster");
    entries
        .filter_map(|entry| serde_json::from_value::<Roster>(entry.body.clone()).ok())
        .find(|roster| roster.digest().is_ok_and(|found| found.as_str() == digest))
}

/// The ballot of this digest on record, as an object that says what its signed payload says.
fn recorded(story: &[&Entry], digest: &Digest) -> Option<Ballot> {
    let entry = story.iter().filter(|entry| entry.kind == "ballot").find(|entry| {
        let payload = entry.body.pointer("/signed/payload").and_then(Value::as_str);
        payload.is_some_and(|payload| Digest::of_bytes(payload.as_bytes()) == *digest)
    })?;
    let signed: assent_api::signed::Signed = serde_json::from_value(entry.body.get("signed")?.clone()).ok()?;
    let vote = Statement::parse(&signed.payload).ok()?.predicate;
    let at = UnixMillis(entry.body.get("createdAt")?.as_i64()?);
    let mut stored = Ballot::of(&vote, String::new(), signed);
    stored.metadata.creation_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::from_millisecond(at.0).ok()?));
    Some(stored)
}

/// Ballots of the cluster that no count knows: one that was there at the count and left out may be a veto.
fn withheld(bundle: &Bundle, story: &[&Entry]) -> Check {
    let what = "ballots in the cluster";
    if bundle.ballots.is_empty() {
        return Check { holds: None, what: what.into(), found: "none are kept any more; those on record were checked".into() };
    }
    let digest = |stored: &Ballot| Digest::of_bytes(stored.spec.signed.payload.as_bytes());
    let missing: Vec<&Ballot> = bundle.ballots.iter().filter(|stored| recorded(story, &digest(stored)).is_none()).collect();
    let counted_at = story.iter().filter(|entry| entry.kind == "tally").map(|entry| entry.at).max();
    let names = |ballots: &[&Ballot]| ballots.iter().map(|stored| stored.name_any()).collect::<Vec<_>>().join(", ");
    // Server times are whole seconds.
    let early = |stored: &&Ballot| assent_api::facts::created_at(*stored).is_some_and(|at| counted_at.is_some_and(|counted| at.plus(1000) < counted));
    let left_out: Vec<&Ballot> = missing.iter().copied().filter(early).collect();
    match (missing.as_slice(), left_out.as_slice()) {
        ([], _) => check(true, what, format!("all {} are on record", bundle.ballots.len())),
        (late, []) => Check { holds: None, what: what.into(), found: format!("came after the count, and the gate counts them: {}", names(late)) },
        (_, left_out) => check(false, what, format!("were there at the count and are not on record: {}", names(left_out))),
    }
}

fn plan(bundle: &Bundle, stored: &Remediation, story: &[&Entry]) -> Vec<Check> {
    let name = stored.name_any();
    let what = format!("plan {name:.16}…");
    let plan = match parse_plan(stored) {
        Ok(plan) => plan,
        Err(refusal) => return vec![check(false, what, refusal.reason)],
    };
    let proven = prove(bundle, &plan, story);
    let pinned = usize::try_from(plan.ledger.head.sequence).ok().and_then(|n| bundle.ledger.get(..n)).map(ledger::verify);
    let intent = story.iter().find(|entry| entry.kind == "apply-intended" && entry.body.get("plan").and_then(Value::as_str) == Some(&name));
    let intended = intent.is_some_and(|entry| entry.sequence <= plan.ledger.head.sequence);
    let at = format!("it names the ledger at entry {}, {:.16}…", plan.ledger.head.sequence, plan.ledger.head.hash.as_str());
    vec![
        check(proven.is_ok(), &what, proven.unwrap_or_else(|reason| reason)),
        check(pinned == Some(Ok(plan.ledger.head)), format!("{what} ledger"), at),
        check(
            intended,
            format!("{what} intent"),
            intent.map_or("no intent is on record".to_owned(), |entry| format!("entry {}, before anything was written", entry.sequence)),
        ),
    ]
}

/// Whether the ballots that the plan names decide for it.
fn prove(bundle: &Bundle, plan: &Plan, story: &[&Entry]) -> Result<String, String> {
    let roster = roster(bundle, plan.roster.as_str()).ok_or("the roster that it was made under is not on record")?;
    let live = |digest: &Digest| bundle.ballots.iter().find(|stored| Digest::of_bytes(stored.spec.signed.payload.as_bytes()) == *digest).cloned();
    let find = |digest: &Digest| recorded(story, digest).or_else(|| live(digest)).ok_or(format!("its ballot {:.16}… is nowhere", digest.as_str()));
    let casts = plan.ballots.iter().map(|digest| cast(&find(digest)?, &roster).map_err(|refusal| refusal.reason)).collect::<Result<Vec<_>, String>>()?;
    match tally(&roster, &casts).verdict {
        Verdict::Act { proposal, .. } if *proposal == plan.proposal => {
            Ok(format!("{} on {}: its {} ballots decide for exactly this", plan.proposal.action.act().describe(), plan.proposal.target, casts.len()))
        }
        Verdict::Act { proposal, .. } => Err(format!("its ballots decide for {} on {}", proposal.action.act().describe(), proposal.target)),
        Verdict::Hold { rule, reason } => Err(format!("its ballots decide for nothing [{}]: {reason}", rule.code())),
    }
}

#[cfg(test)]
mod tests;
