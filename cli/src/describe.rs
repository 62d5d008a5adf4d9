//! Ledger entries in a line each, for people. Whatever came from elsewhere is stripped of control characters, so that no alert
//! text can move the cursor of whoever reads it.

use assent_core::ballot::{Opinion, RemedyVote, StanceVerdict, Statement};
use assent_core::ids::UnixMillis;
use assent_core::ledger::Entry;
use serde_json::Value;

/// Longest line of a body that has no words of its own, in characters.
const MAX_BODY: usize = 160;
/// Fields that hold an entry's words, best first.
const WORDS: [&str; 7] = ["detail", "reason", "summary", "action", "decision", "name", "plan"];

/// What happened, in a line.
pub(crate) fn entry(entry: &Entry) -> String {
    let text = |field: &str| entry.body.get(field).and_then(Value::as_str);
    let line = match entry.kind.as_str() {
        "ballot" => ballot(&entry.body).unwrap_or_else(|| "a ballot that cannot be read".into()),
        "tally" => {
            let count = entry.body.get("ballots").and_then(Value::as_array).map_or(0, Vec::len);
            format!("{count} ballots counted for decision {}", text("decision").unwrap_or("?"))
        }
        "apply-intended" => {
            let approved: Vec<&str> = entry.body.get("approvedBy").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            let approved = if approved.is_empty() { String::new() } else { format!(", approved by {}", approved.join(", ")) };
            let canary = if entry.body.get("canary").and_then(Value::as_bool) == Some(true) { ", one pod first" } else { "" };
            format!("{} on {}, plan {}{canary}{approved}", text("action").unwrap_or("?"), text("target").unwrap_or("?"), text("plan").unwrap_or("?"))
        }
        "roster" => format!("roster {} in force", digest(&entry.body)),
        "trust-bundle" => "trust bundle of the day".into(),
        _ => WORDS.iter().find_map(|field| text(field)).map_or_else(|| entry.body.to_string().chars().take(MAX_BODY).collect(), str::to_owned),
    };
    plain(&line)
}

/// Who wrote it: the account of a workload identity.
pub(crate) fn author(entry: &Entry) -> String {
    plain(entry.author.split('.').next().unwrap_or(&entry.author))
}

/// A moment in UTC, to the millisecond.
pub(crate) fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |time| format!("{time:.3}"))
}

/// Without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn digest(body: &Value) -> String {
    assent_core::canonical::Digest::of(body).map_or_else(|_| "?".into(), |digest| digest.as_str().chars().take(12).collect())
}

fn ballot(body: &Value) -> Option<String> {
    let payload = body.pointer("/signed/payload")?.as_str()?;
    let vote = Statement::parse(payload).ok()?.predicate;
    let says = match &vote.opinion {
        Opinion::Abstain { reason, .. } => format!("abstains: {reason}"),
        Opinion::Cause(cause) => match cause.hypotheses.first() {
            None => "healthy in its domain".into(),
            Some(first) => {
                let remedies: Vec<String> = first.remedies.iter().map(|remedy| remedy.action.act().describe()).collect();
                let would = if remedies.is_empty() { String::new() } else { format!("; would try {}", remedies.join(", ")) };
                format!("{} in {} ({}){would}", first.fault, first.service, first.probability)
            }
        },
        Opinion::Remedy(remedy) => stances(remedy),
    };
    Some(format!("{}, {}, epoch {}: {says}", vote.seat, vote.round(), vote.epoch))
}

fn stances(remedy: &RemedyVote) -> String {
    let count = |verdict| remedy.stances.iter().filter(|stance| stance.verdict == verdict).count();
    let (support, neutral, veto) = (count(StanceVerdict::Support), count(StanceVerdict::NoObjection), count(StanceVerdict::Veto));
    let why = remedy.stances.iter().find(|stance| stance.verdict != StanceVerdict::NoObjection).map_or("", |stance| stance.reason.as_str());
    format!("{support} supported, {neutral} without objection, {veto} vetoed. {why}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_cannot_write_to_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
