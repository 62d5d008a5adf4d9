//! What a replay found: by policy, and in comparison. Data first; the printing of it for people decides nothing.

use std::collections::BTreeMap;

use assent_core::ids::UnixMillis;
use assent_policies::{Decision, Outcome};
use serde::Serialize;

use super::log::Tally;
use super::recorded::{Real, Recorded};
use super::subject::{Said, Subject};
use crate::describe::{self, plain};
use crate::output::{bad, bold, dim, good, table, warn};

/// Most different reasons that are counted by themselves for one policy.
const MAX_REASONS: usize = 32;
const OTHER_REASONS: &str = "other reasons";

/// Everything.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) log: Tally,
    pub(super) requests: Requests,
    pub(super) policies: Vec<OfPolicy>,
    /// Policies without a binding: they have no effect.
    pub(super) unbound: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comparison: Option<Comparison>,
}

/// How many requests there were, by what the log has of them.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Requests {
    /// Judged with both objects as they were.
    pub(super) whole: u64,
    /// Judged with objects of which something is presumed.
    pub(super) presumed: u64,
    /// Judged as far as that goes without the object, the one before it, or both.
    pub(super) partial: u64,
    /// Not judged: the log has no bodies (level Metadata).
    pub(super) head_only: u64,
    /// Not judged: refused or failed before any policy was asked.
    pub(super) failed: u64,
    /// Reads, which nobody judges.
    pub(super) reads: u64,
    /// Objects that had to be forgotten for want of memory.
    pub(super) forgotten: u64,
}

/// One policy.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfPolicy {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_replayable: Option<&'static str>,
    /// Requests that it speaks of.
    matched: u64,
    denied: u64,
    warned: u64,
    audited: u64,
    /// Requests on which an expression could not be evaluated; where failurePolicy denies, they are denied too.
    errors: u64,
    not_judged: u64,
    /// Why, and how often.
    reasons: BTreeMap<String, u64>,
    first: Vec<Finding>,
}

/// A request to which a policy objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    audit_id: String,
    at: UnixMillis,
    user: String,
    verb: String,
    object: String,
    dry_run: bool,
    /// Policy that objects.
    policy: String,
    /// Whether it would deny.
    denies: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_pass: Option<String>,
    presumed: Vec<&'static str>,
    /// What the server did.
    real: Real,
}

/// Two verdicts on the same requests.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Comparison {
    pub(super) against: String,
    pub(super) both_allow: u64,
    pub(super) both_deny: u64,
    pub(super) newly_denied: u64,
    pub(super) no_longer_denied: u64,
    /// One of the two could not be judged, and the other does not settle it.
    pub(super) unsure: u64,
    pub(super) first_newly_denied: Vec<Finding>,
    pub(super) first_no_longer_denied: Vec<Finding>,
}

// === impl OfPolicy ===

impl OfPolicy {
    pub(super) fn new(subject: &Subject) -> Self {
        Self { name: subject.name.clone(), not_replayable: subject.not_replayable(), ..Self::default() }
    }

    /// Counts what the policy said; keeps the first `most` objections.
    pub(super) fn count(&mut self, recorded: &Recorded, said: &Said, most: usize) {
        match said {
            Said::Nothing => {}
            Said::Unknown(reason) => {
                self.matched += 1;
                self.not_judged += 1;
                let known = self.reasons.contains_key(reason) || self.reasons.len() < MAX_REASONS;
                *self.reasons.entry(if known { reason.clone() } else { OTHER_REASONS.to_owned() }).or_default() += 1;
            }
            Said::Judged(outcome) => {
                self.matched += 1;
                self.denied += u64::from(!outcome.allowed());
                self.warned += u64::from(!outcome.warnings.is_empty());
                self.audited += u64::from(outcome.annotations.contains_key(assent_policies::FAILURES));
                self.errors += u64::from(Said::has_errors(outcome));
                if self.first.len() < most {
                    self.first.extend(Finding::of(&self.name, recorded, outcome));
                }
            }
        }
    }

    fn row(&self) -> Vec<String> {
        let count = |n: u64, style: fn(&str) -> String| if n == 0 { "0".to_owned() } else { style(&n.to_string()) };
        vec![
            plain(&self.name),
            self.matched.to_string(),
            count(self.denied, bad),
            count(self.warned, warn),
            self.audited.to_string(),
            count(self.errors, bad),
            count(self.not_judged, warn),
        ]
    }
}

// === impl Finding ===

impl Finding {
    fn of(policy: &str, recorded: &Recorded, outcome: &Outcome) -> Option<Self> {
        let decision = outcome.denial().or(outcome.decisions.first())?;
        Some(Self::new(policy, recorded, decision.denies(), decision.message.clone(), Some(decision)))
    }

    /// What the log alone says of a request.
    fn of_log(recorded: &Recorded) -> Self {
        let message = match &recorded.real {
            Real::DeniedByPolicy(words) | Real::Refused(words) => words.clone(),
            Real::Done => String::new(),
        };
        Self::new("", recorded, true, message, None)
    }

    fn new(policy: &str, recorded: &Recorded, denies: bool, message: String, decision: Option<&Decision>) -> Self {
        Self {
            audit_id: recorded.id.clone(),
            at: recorded.event.at,
            user: recorded.username.clone(),
            verb: recorded.event.verb.clone(),
            object: recorded.event.object(),
            dry_run: recorded.event.dry_run,
            policy: policy.to_owned(),
            denies,
            message,
            would_pass: decision.and_then(|decision| decision.explanation.as_ref()).map(assent_policies::Explanation::would_pass),
            presumed: recorded.presumed.clone(),
            real: recorded.real.clone(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let dry = if self.dry_run { " (dry run)" } else { "" };
        let policy = if self.policy.is_empty() { String::new() } else { format!("{}: ", self.policy) };
        let mark = if self.denies { bad("✗") } else { warn("!") };
        let request = plain(&format!("{} {} {}{dry}", self.user, self.verb, self.object));
        let mut lines =
            vec![format!("  {mark} {}  {request}", dim(&describe::time(self.at))), format!("      {}", plain(&format!("{policy}{}", self.message)))];
        lines.extend(self.would_pass.iter().map(|text| format!("      {} {}", dim("would pass:"), plain(text))));
        if !self.presumed.is_empty() {
            lines.push(format!("      {} {}", dim("presumed:"), self.presumed.join("; ")));
        }
        lines
    }
}

// === impl Comparison ===

impl Comparison {
    /// Counts one request: what the policies say now, and what the others or the server said.
    pub(super) fn count(&mut self, recorded: &Recorded, now: &[(&str, Said)], before: Before<'_>, most: usize) {
        let ours = Verdict::of(now);
        let theirs = match before {
            Before::Policies(said) => Verdict::of(said),
            Before::Server => match &recorded.real {
                Real::Done => Verdict::Allows,
                Real::DeniedByPolicy(_) => Verdict::Denies,
                Real::Refused(_) => Verdict::Unsure,
            },
        };
        let finding = |said: &[(&str, Said)]| {
            said.iter().find_map(|(name, said)| match said {
                Said::Judged(outcome) if !outcome.allowed() => Finding::of(name, recorded, outcome),
                _ => None,
            })
        };
        match (ours, theirs) {
            (Verdict::Denies, Verdict::Denies) => self.both_deny += 1,
            (Verdict::Allows, Verdict::Allows) => self.both_allow += 1,
            (Verdict::Denies, Verdict::Allows) => {
                self.newly_denied += 1;
                if self.first_newly_denied.len() < most {
                    self.first_newly_denied.extend(finding(now));
                }
            }
            (Verdict::Allows, Verdict::Denies) => {
                self.no_longer_denied += 1;
                if self.first_no_longer_denied.len() < most {
                    self.first_no_longer_denied.extend(match before {
                        Before::Policies(said) => finding(said),
                        Before::Server => Some(Finding::of_log(recorded)),
                    });
                }
            }
            _ => self.unsure += 1,
        }
    }
}

/// What the other verdict is.
#[derive(Clone, Copy)]
pub(super) enum Before<'s> {
    Policies(&'s [(&'s str, Said)]),
    Server,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allows,
    Denies,
    Unsure,
}

impl Verdict {
    fn of(said: &[(&str, Said)]) -> Self {
        if said.iter().any(|(_, said)| said.denies()) {
            Self::Denies
        } else if said.iter().any(|(_, said)| matches!(said, Said::Unknown(_))) {
            Self::Unsure
        } else {
            Self::Allows
        }
    }
}

// === impl Report ===

impl Report {
    /// Whether something would be denied: newly, where it is compared.
    pub(super) fn denies(&self) -> bool {
        match &self.comparison {
            Some(comparison) => comparison.newly_denied > 0,
            None => self.policies.iter().any(|policy| policy.denied > 0),
        }
    }

    pub(super) fn print(&self) {
        let rows: Vec<Vec<String>> = self.policies.iter().filter(|policy| policy.not_replayable.is_none()).map(OfPolicy::row).collect();
        if !rows.is_empty() {
            anstream::print!("{}", table(&["POLICY", "MATCHED", "DENIED", "WARNED", "AUDITED", "ERRORS", "NOT JUDGED"], &rows));
        }
        for policy in &self.policies {
            self.print_policy(policy);
        }
        if let Some(comparison) = &self.comparison {
            print_comparison(comparison);
        }
        let named = |policies: Vec<String>| plain(&policies.join(", "));
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for policy in &self.policies {
            if let Some(reason) = policy.not_replayable {
                reasons.entry(reason).or_default().push(format!("{} ({} requests)", policy.name, policy.matched));
            }
        }
        for (reason, policies) in reasons {
            anstream::println!("{} not replayable, {reason}: {}", warn("–"), named(policies));
        }
        if !self.unbound.is_empty() {
            anstream::println!("{} without a binding, so without effect: {}", warn("–"), named(self.unbound.clone()));
        }
        self.print_log();
    }

    fn print_policy(&self, policy: &OfPolicy) {
        if policy.not_replayable.is_some() || policy.first.is_empty() && policy.reasons.is_empty() {
            return;
        }
        anstream::println!("\n{}", bold(&plain(&policy.name)));
        for line in policy.first.iter().flat_map(Finding::lines) {
            anstream::println!("{line}");
        }
        for (reason, count) in &policy.reasons {
            anstream::println!("  {} {count} not judged: {}", warn("–"), plain(reason));
        }
    }

    fn print_log(&self) {
        let Requests { whole, presumed, partial, head_only, failed, reads, forgotten } = self.requests;
        let span = self.log.since.zip(self.log.until).map(|(since, until)| format!(", {} to {}", describe::time(since), describe::time(until)));
        anstream::println!("\n{} lines{}", self.log.lines, span.unwrap_or_default());
        anstream::println!("{whole} requests judged as they were, {presumed} with something presumed, {partial} as far as the log shows them");
        if head_only > 0 {
            anstream::println!("{} {head_only} writes were not judged: the log has only their heads (its level is Metadata)", warn("–"));
        }
        anstream::println!("{}", dim(&format!("{failed} refused or failed before any policy was asked, {reads} reads")));
        if forgotten > 0 {
            anstream::println!("{} {forgotten} objects were forgotten for want of memory", warn("–"));
        }
        if self.log.unreadable > 0 {
            anstream::println!("{} {} lines could not be read, and were passed over:", warn("–"), self.log.unreadable);
            for place in &self.log.places {
                anstream::println!("    {}", plain(place));
            }
        }
    }
}

fn print_comparison(comparison: &Comparison) {
    let Comparison { against, both_allow, both_deny, newly_denied, no_longer_denied, unsure, first_newly_denied, first_no_longer_denied } = comparison;
    anstream::println!("\n{}", bold(&plain(&format!("against {against}"))));
    let count = |n: u64, style: fn(&str) -> String| if n == 0 { n.to_string() } else { style(&n.to_string()) };
    anstream::println!("  {} newly denied, {} no longer denied", count(*newly_denied, bad), count(*no_longer_denied, good));
    anstream::println!("  {both_allow} allowed by both, {both_deny} denied by both, {unsure} that one of the two cannot be sure of");
    for (title, findings) in [("newly denied", first_newly_denied), ("no longer denied", first_no_longer_denied)] {
        if !findings.is_empty() {
            anstream::println!("  {title}:");
            findings.iter().flat_map(Finding::lines).for_each(|line| anstream::println!("  {line}"));
        }
    }
}
