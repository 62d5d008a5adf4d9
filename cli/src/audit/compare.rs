//! Where ledger and audit log differ. Each difference is one of a closed list, found by a pure comparison: a component that
//! lies to the ledger cannot lie to the API server's log, and the other way round.

use std::fmt;

use assent_api::names::{account_user, accounts};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Entry;
use serde::Serialize;
use serde_json::Value;

use super::events::{Event, Log};

/// Largest difference between the director's clock and the API server's that is not held against anybody.
const SKEW_MS: i64 = 5_000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Difference {
    /// The log begins after the incident did, so that what is missing in it proves nothing.
    LogTooYoung,
    /// A write of the executor's user that names no incident, or several.
    Unattributed(Event),
    /// A write of the executor's user that another account made.
    Impostor(Event),
    /// A write of the executor's own account to something that is not ours.
    OwnName(Event),
    /// A write for the incident whose intent is not in the ledger.
    NotIntended(Event),
    /// More writes for a plan than it may make, and how many that are.
    TooMany(String, usize, usize),
    /// The ledger says that a plan was applied or reverted; the server saw too few writes.
    NotSeen(String, &'static str),
    /// A ballot on record that the server did not see its seat create.
    BallotNotSeen(String),
    /// A ballot that somebody else created.
    BallotBy(String, String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogTooYoung => f.write_str("the audit log begins after the incident: what is missing in it was not compared"),
            Self::Unattributed(event) => write!(f, "`assent:executor` wrote {} for {} incidents, not for one", event.object(), event.incidents.len()),
            Self::Impostor(event) => write!(f, "`{}` wrote {} as `assent:executor`", event.user, event.object()),
            Self::OwnName(event) => write!(f, "the executor's own account wrote {}", event.object()),
            Self::NotIntended(event) => write!(f, "the API server saw {} {} and the ledger has no intent for it", event.verb, event.object()),
            Self::TooMany(plan, count, most) => write!(f, "{count} writes for plan {plan}, where {most} are possible"),
            Self::NotSeen(plan, what) => write!(f, "the ledger says that plan {plan} was {what}; the API server saw no such write"),
            Self::BallotNotSeen(name) => write!(f, "the API server did not see ballot {name} being created"),
            Self::BallotBy(name, user) => write!(f, "ballot {name} was created by `{user}`"),
        }
    }
}

/// A plan as the ledger tells of it.
struct Intent<'a> {
    plan: &'a str,
    /// What it writes with, `RESOURCE NAMESPACE/NAME`.
    writes: Option<&'a str>,
    /// `KIND NAMESPACE/NAME`, which is all that earlier versions recorded.
    target: &'a str,
    at: UnixMillis,
    /// It begins with one pod, so that it is applied by two writes.
    halves: bool,
    applied: bool,
    reverted: bool,
}

/// Compares the entries of one incident with the log.
#[must_use]
pub fn compare(incident: &IncidentUid, story: &[&Entry], log: &Log) -> Vec<Difference> {
    let mut differences = strangers(log);
    let begun = story.iter().map(|entry| entry.at).min();
    let complete = matches!((log.since, begun), (Some(since), Some(begun)) if since.0 <= begun.plus(SKEW_MS).0);
    if !complete {
        differences.push(Difference::LogTooYoung);
    }
    let writes: Vec<&Event> = log.events.iter().filter(|event| event.by_executor() && event.wrote() && event.incidents == [incident.as_str()]).collect();
    let intents = intents(story);
    for intent in &intents {
        let count = writes.iter().filter(|event| is_of(event, intent)).count();
        let applying = 1 + usize::from(intent.halves);
        if count > applying + 1 {
            differences.push(Difference::TooMany(intent.plan.to_owned(), count, applying + 1));
        }
        // A person may have let the rest follow.
        if complete && intent.applied && count < 1 {
            differences.push(Difference::NotSeen(intent.plan.to_owned(), "applied"));
        }
        if complete && intent.reverted && count < 2 {
            differences.push(Difference::NotSeen(intent.plan.to_owned(), "reverted"));
        }
    }
    let unintended = writes.iter().filter(|event| !intents.iter().any(|intent| is_of(event, intent)));
    differences.extend(unintended.map(|event| Difference::NotIntended((*event).clone())));
    differences.extend(story.iter().filter(|entry| entry.kind == "ballot").filter_map(|entry| ballot(entry, log, complete)));
    differences
}

/// Writes that no incident explains, whichever is asked about.
fn strangers(log: &Log) -> Vec<Difference> {
    let account = account_user(accounts::EXECUTOR);
    let mut differences = Vec::new();
    for event in log.events.iter().filter(|event| event.wrote()) {
        if event.by_executor() {
            if event.incidents.len() != 1 {
                differences.push(Difference::Unattributed(event.clone()));
            }
            if event.user != account {
                differences.push(Difference::Impostor(event.clone()));
            }
        } else if event.user == account && event.impersonated.is_none() && (event.group == "apps" || event.resource.starts_with("pods")) {
            differences.push(Difference::OwnName(event.clone()));
        }
    }
    differences
}

fn intents<'a>(story: &[&'a Entry]) -> Vec<Intent<'a>> {
    let text = |entry: &'a Entry, field: &str| entry.body.get(field).and_then(Value::as_str).unwrap_or_default();
    let told = |plan: &str, kind: &str| story.iter().any(|entry| entry.kind == kind && text(entry, "plan") == plan);
    let intended = story.iter().filter(|entry| entry.kind == "apply-intended");
    intended
        .map(|entry| {
            let plan = text(entry, "plan");
            let writes = Some(text(entry, "writes")).filter(|writes| !writes.is_empty());
            let halves = entry.body.get("canary").and_then(Value::as_bool) == Some(true);
            let [applied, reverted] = ["applied", "reverted"].map(|kind| told(plan, kind));
            Intent { plan, writes, target: text(entry, "target"), at: entry.at, halves, applied, reverted }
        })
        .collect()
}

fn is_of(event: &Event, intent: &Intent<'_>) -> bool {
    let is_object = match intent.writes {
        Some(writes) => event.object() == writes,
        None => intent.target.split(' ').nth(1) == Some(&format!("{}/{}", event.namespace, event.name)),
    };
    is_object && event.at.plus(SKEW_MS) >= intent.at
}

fn ballot(entry: &Entry, log: &Log, complete: bool) -> Option<Difference> {
    let name = entry.body.get("name").and_then(Value::as_str).unwrap_or_default();
    let created = log.events.iter().find(|event| event.resource == "ballots" && event.verb == "create" && event.wrote() && event.name == name);
    let seat = entry.author.split('.').next().unwrap_or_default();
    match created {
        Some(event) if event.user != account_user(seat) || event.impersonated.is_some() => {
            Some(Difference::BallotBy(name.to_owned(), event.impersonated.clone().unwrap_or_else(|| event.user.clone())))
        }
        None if complete => Some(Difference::BallotNotSeen(name.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
