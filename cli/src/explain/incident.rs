//! The verdicts on an incident, from the ledger alone: what was refused and by which rule, what guardrails said of it and what
//! each of them saw, and which were asked and let it pass. The record is what the executor wrote when it happened; whether the
//! ledger is whole is `verify`'s to say.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Entry;
use assent_policies::{Decision, Evaluation, Outcome};
use serde::Serialize;
use serde_json::{Value, json};

use super::{rule, text};
use crate::connect::ConnectArgs;
use crate::describe::{self, plain};
use crate::output::{Format, bad, bold, dim, good, warn};
use crate::record::LedgerArgs;

/// One attempt to act.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    plan: String,
    at: UnixMillis,
    /// What was to be done, and to what.
    action: String,
    target: String,
    /// What became of it, as the ledger calls it: `refused`, `apply-intended`, `applied`, `verified`, …
    became: String,
    /// Why it was refused, as far as the record has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Code of the rule that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// What guardrails said, by what they were asked about.
    judged: Vec<Judged>,
    /// The Facts that they were asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Value>,
    /// What would have been written, for whoever writes it themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Value>,
    /// Whether the record says nothing about guardrails.
    unrecorded: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    of: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
struct Story<'a> {
    incident: &'a IncidentUid,
    attempts: Vec<Attempt>,
}

pub(super) async fn run(incident: &IncidentUid, ledger: &LedgerArgs, output: Format, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = match &ledger.ledger {
        Some(_) => None,
        None => Some(connect.client().await?),
    };
    let (entries, _) = ledger.read(client.as_ref()).await?;
    let own: Vec<&Entry> = entries.iter().filter(|entry| entry.incident == *incident).collect();
    ensure!(!own.is_empty(), "the ledger knows nothing of incident {incident}; `kubectl assent incidents` lists those that there are");
    let story = Story { incident, attempts: attempts(&own) };
    match output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&story).context("print as json")?),
        Format::Table => {
            for line in lines(&story.attempts, incident, &own) {
                anstream::println!("{line}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every attempt that the entries of one incident tell of.
pub(super) fn attempts(story: &[&Entry]) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for entry in story {
        let field = |name: &str| entry.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let plan = field("plan");
        if plan.is_empty() {
            continue;
        }
        let begins = matches!(entry.kind.as_str(), "refused" | "apply-intended");
        let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.plan == plan) else {
            if begins {
                attempts.push(Attempt::of(entry, plan));
            }
            continue;
        };
        attempt.became = entry.kind.clone();
        attempt.reason = Some(field("reason")).filter(|reason| !reason.is_empty()).or_else(|| attempt.reason.take());
        if entry.kind == "refused" {
            attempt.rule = rule_of(entry);
            attempt.judge(&entry.body);
        }
    }
    attempts
}

/// The code of the rule that an entry names; older ones have it in their words only.
fn rule_of(entry: &Entry) -> Option<String> {
    let field = |name: &str| entry.body.get(name).and_then(Value::as_str);
    let stated = field("rule").map(str::to_owned);
    stated.or_else(|| field("reason")?.split_once("assent[").and_then(|(_, rest)| rest.split_once(']')).map(|(code, _)| code.to_owned()))
}

// === impl Attempt ===

impl Attempt {
    fn of(entry: &Entry, plan: String) -> Self {
        let field = |name: &str| entry.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut attempt = Self {
            plan,
            at: entry.at,
            action: field("action"),
            target: field("target"),
            became: entry.kind.clone(),
            reason: Some(field("reason")).filter(|reason| !reason.is_empty()),
            rule: if entry.kind == "refused" { rule_of(entry) } else { None },
            judged: Vec::new(),
            facts: None,
            patch: None,
            unrecorded: true,
        };
        attempt.judge(&entry.body);
        attempt
    }

    /// Reads what guardrails said; a later record of the same plan replaces an earlier one.
    fn judge(&mut self, body: &Value) {
        self.patch = body.get("patch").cloned().or_else(|| self.patch.take());
        let Some(record) = body.get("guardrails").and_then(Value::as_object) else { return };
        self.unrecorded = false;
        self.facts = record.get("facts").cloned();
        let judged = record.iter().filter(|(of, _)| *of != "facts");
        self.judged = judged.filter_map(|(of, said)| Some(Judged { of: of.clone(), outcome: serde_json::from_value(said.clone()).ok()? })).collect();
        // What stands there and cannot be read is not "nothing was said".
        self.unrecorded = self.judged.len() + usize::from(self.facts.is_some()) != record.len();
    }

    fn lines(&self) -> Vec<String> {
        let became = match self.became.as_str() {
            "refused" => bad("refused"),
            "verified" | "applied" => good(&self.became),
            "apply-intended" => warn("planned"),
            "canary" => warn("one pod first"),
            other => warn(&plain(other)),
        };
        let mut lines = vec![format!("{} {}  {became}", bold("plan"), plain(&self.plan)), format!("  {}", dim(&describe::time(self.at)))];
        if !self.action.is_empty() {
            lines.push(format!("  {} on {}", plain(&self.action), plain(&self.target)));
        }
        if let Some(reason) = &self.reason {
            lines.push(format!("  {}", plain(reason)));
        }
        if let Some(rule) = self.rule.as_deref().and_then(rule) {
            let (meaning, remedy) = text(rule);
            lines.push(format!("  {} {meaning} {remedy}", dim(&format!("rule `{}`:", rule.code()))));
        }
        for Judged { of, outcome } in &self.judged {
            lines.extend(said(of, outcome));
        }
        if self.unrecorded {
            lines.push(format!("  {}", dim("what guardrails said is not on record: they were not reached, or an older executor wrote it")));
        }
        if let Some(facts) = &self.facts {
            lines.push(format!("  {} {}", dim("judged with these facts:"), plain(&facts.to_string())));
        }
        if let Some(patch) = self.patch.as_ref().and_then(kustomized) {
            lines.push(format!("  {}", dim("the same change in git, as a patch for a kustomization:")));
            lines.extend(patch.lines().map(|line| format!("    {}", plain(line))));
        }
        lines
    }
}

/// A recorded patch as kustomize takes it.
fn kustomized(patch: &Value) -> Option<String> {
    let operations = serde_yaml_ng::to_string(patch.get("operations")?).ok()?;
    let target = patch.get("target")?.clone();
    serde_yaml_ng::to_string(&json!({"patches": [{"target": target, "patch": operations}]})).ok()
}

/// What guardrails said of one request.
fn said(of: &str, outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for decision in &outcome.decisions {
        lines.extend(objection(of, decision));
    }
    if outcome.omitted > 0 {
        lines.push(format!("  {} {} further objections are not on record", warn("–"), outcome.omitted));
    }
    let objects = |policy: &str, binding: &str| outcome.decisions.iter().any(|one| one.policy == policy && one.binding.as_deref() == Some(binding));
    let passed: Vec<String> = outcome
        .asked
        .iter()
        .filter(|asked| !objects(&asked.policy, &asked.binding))
        .map(|asked| {
            let cost = outcome.costs.iter().find(|(policy, _)| *policy == asked.policy).map(|(_, cost)| format!(", cost {cost}")).unwrap_or_default();
            let param = asked.param.as_ref().map(|param| format!(", param {param}")).unwrap_or_default();
            plain(&format!("{} (binding {}{param}{cost})", asked.policy, asked.binding))
        })
        .collect();
    if !passed.is_empty() {
        lines.push(format!("  {} asked about the {} and let it pass: {}", good("✓"), plain(of), passed.join(", ")));
    } else if outcome.decisions.is_empty() {
        lines.push(format!("  {} no guardrail speaks of the {}", dim("–"), plain(of)));
    }
    lines
}

fn objection(of: &str, decision: &Decision) -> Vec<String> {
    let (mark, does) = match (decision.denies(), decision.evaluation) {
        (true, Evaluation::Deny) => (bad("✗"), "denies"),
        (true, _) => (bad("✗"), "cannot be judged, which denies"),
        (false, Evaluation::Deny) => (warn("!"), "objects to, without denying"),
        (false, _) => (warn("!"), "cannot be judged, without denying"),
    };
    let binding = decision.binding.as_ref().map(|binding| format!(", binding `{binding}`")).unwrap_or_default();
    let param = decision.param.as_ref().map(|param| format!(", param `{param}`")).unwrap_or_default();
    let validation = decision.index.map(|index| format!(" by validations[{index}]")).unwrap_or_default();
    let mut lines = vec![
        format!("  {mark} guardrail `{}`{}{} {does} the {}{validation}", bold(&plain(&decision.policy)), plain(&binding), plain(&param), plain(of)),
        format!("      {}", plain(&decision.message)),
    ];
    if let Some(explanation) = &decision.explanation {
        lines.push(format!("      {} {}", dim("not true:  "), plain(&explanation.expression)));
        for (at, seen) in explanation.seen.iter().enumerate() {
            let head = if at == 0 { "it saw:    " } else { "           " };
            lines.push(format!("      {} {} = {}", dim(head), plain(&seen.what), plain(&seen.value)));
        }
        lines.push(format!("      {} a request for which `{}` is true", dim("would pass:"), plain(&explanation.expression)));
    }
    lines
}

fn lines(attempts: &[Attempt], incident: &IncidentUid, story: &[&Entry]) -> Vec<String> {
    let mut lines = vec![bold(&format!("incident {incident}"))];
    if attempts.is_empty() {
        lines.push("nothing was planned or refused for it".into());
        if let Some(last) = story.last() {
            lines.push(format!("  last on record, {}: {}: {}", describe::time(last.at), plain(&last.kind), describe::entry(last)));
        }
        lines.push(format!("  the whole story: `kubectl assent audit {incident}`"));
    }
    lines.extend(attempts.iter().flat_map(Attempt::lines));
    lines
}

#[cfg(test)]
mod tests;
