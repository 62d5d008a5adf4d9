//! Asking people: one request for one change, written once everything else is proven; then waiting for their word, reminding
//! them, and saying how it ended. Answers are counted by the same function as at the gate.

use std::time::Duration;

use assent_api::names;
use assent_api::resources::{ApprovalPhase, ApprovalRequest, ApprovalRequestSpec, ApprovalRequestStatus, ApprovalRule, Condition};
use assent_core::approval::{self, Standing};
use assent_core::ballot::Proposal;
use assent_core::blueprint::Approval;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::proof::{self, Facts};
use assent_core::refusal::{Refusal, Rule};
use assent_live::{Live, asked, own_clock, unavailable};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;

use crate::planning::Decided;
use crate::writes::{Answer, classify, denied, verbatim};

/// Longest line of a request.
const LINE: usize = 600;
/// Shares of the time that people have, in hundredths, after which they are reminded.
const REMINDERS: [i64; 2] = [50, 90];
/// How long a failed look at the answers waits.
const AGAIN: Duration = Duration::from_secs(2);

/// How often it is looked whether what holds a change up has passed: nobody says so.
const HELD_UP: Duration = Duration::from_secs(10);

/// How the waiting ended.
#[derive(Debug)]
pub(crate) enum Word {
    /// Everybody who had to agree did.
    Agreed,
    /// Nothing will be done: why.
    Over(Refusal),
}

/// Name of the request for a change.
pub(crate) fn name(cluster: &str, incident: &IncidentUid, proposal: &Proposal) -> Result<String, Refusal> {
    let unreadable = |error: assent_core::canonical::Error| verbatim(Rule::Payload, &error.to_string());
    approval::request_name(cluster, incident, &approval::change(proposal).map_err(unreadable)?).map_err(unreadable)
}

/// Writes the request that `facts` ask for, if it is not there.
pub(crate) async fn ask(live: &Live, decided: &Decided, facts: &Facts, rules: impl IntoIterator<Item = &Approval>, seconds: u32) -> Result<String, Refusal> {
    let Decided { incident, epoch, proposal } = decided;
    let mut spec = ApprovalRequestSpec::of(incident, *epoch, proposal, seconds).map_err(|error| verbatim(Rule::Payload, &error.to_string()))?;
    spec.approvals = rules.into_iter().map(ApprovalRule::from).collect();
    spec.reasons = proof::why_asked(facts, incident, *epoch, proposal).iter().map(|line| capped(line)).collect();
    if spec.approvals.iter().any(|rule| rule.approvers.is_empty()) {
        let reason = format!("{} on {} asks people, and the Blueprint names none: {}", spec.action, spec.target, spec.reasons.join("; "));
        return Err(Refusal::new(Rule::Approval, reason, "`operations.approvers` in the Blueprint"));
    }
    let object = ApprovalRequest::named(&facts.cluster, spec).map_err(|reason| verbatim(Rule::Payload, &reason))?;
    let name = object.name_any();
    let params = PostParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PostParams::default() };
    match api(live).create(&params, &object).await {
        Ok(_) => tracing::info!(incident.id = %incident, request = name, "people are asked"),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(kube::Error::Api(status)) => {
            return Err(match classify(&status) {
                Answer::Refused(message) => denied("the approval request", &message),
                _ => unavailable(status.message),
            });
        }
        Err(error) => return Err(unavailable(format!("cannot ask people: {error}"))),
    }
    Ok(name)
}

/// Who agreed to the change, as the record keeps it.
pub(crate) fn agreed(facts: &Facts, decided: &Decided) -> Vec<String> {
    let Decided { incident, epoch, proposal } = decided;
    let standing = proof::asks(facts, incident, *epoch, proposal).and_then(|rules| proof::standing(facts, incident, proposal, &rules));
    match standing {
        Ok(Some(Standing::Granted(by))) => by.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Waits for people's word on `request`; `heard` changes whenever somebody says something.
pub(crate) async fn wait(live: &Live, decided: &Decided, request: &str, mut heard: watch::Receiver<()>) -> Word {
    loop {
        heard.mark_unchanged();
        let next = match look(live, decided, request).await {
            Ok(Look::Word(word)) => return word,
            Ok(Look::Later(next)) => next,
            Err(refusal) => {
                tracing::warn!(request, reason = refusal.reason, "cannot count the answers yet");
                AGAIN
            }
        };
        // The sender lives as long as whoever waits. What is missed by both is a time that passed.
        let _ = tokio::time::timeout(next, heard.changed()).await;
    }
}

enum Look {
    Word(Word),
    /// Nothing yet; when to look again if nobody says anything.
    Later(Duration),
}

async fn look(live: &Live, decided: &Decided, name: &str) -> Result<Look, Refusal> {
    let Decided { incident, epoch, proposal } = decided;
    let over = |reason: String| Refusal::new(Rule::Approval, reason, "a fresh vote, and people who agree to it in time");
    let Some(stored) = live.approval_request(name).await? else {
        return Ok(Look::Word(Word::Over(over("the approval request was deleted".into()))));
    };
    let workload = live.workload(&proposal.target).await?;
    let facts = live.authority(incident, Some(&proposal.target), workload).await?.facts;
    let request = asked(&stored)?;
    let until = request.at.plus(i64::from(request.expires_after_ms));
    // What holds it up now may have passed when people agree, so it only shows.
    let rules = match proof::asks(&facts, incident, *epoch, proposal) {
        Ok(rules) if rules.is_empty() => return Ok(Look::Word(Word::Agreed)),
        Ok(rules) => rules,
        Err(refusal) if facts.now > until => return end(live, &stored, ApprovalPhase::Expired, refusal).await,
        Err(refusal) => {
            pending(live, &stored, until, facts.now, &refusal.to_string()).await?;
            return Ok(Look::Later(HELD_UP));
        }
    };
    let what = format!("{} on {}", stored.spec.action, stored.spec.target);
    match proof::standing(&facts, incident, proposal, &rules)? {
        None => Err(unavailable("the approval request was written while it was looked at")),
        Some(Standing::Granted(_)) => Ok(Look::Word(Word::Agreed)),
        Some(Standing::Pending(missing)) => pending(live, &stored, until, facts.now, &missing.join(", and ")).await,
        Some(Standing::Denied(who)) => end(live, &stored, ApprovalPhase::Denied, over(format!("{what} was denied by {who}"))).await,
        Some(Standing::Expired) => end(live, &stored, ApprovalPhase::Expired, over(format!("nobody agreed to {what} in time"))).await,
    }
}

async fn end(live: &Live, stored: &ApprovalRequest, phase: ApprovalPhase, refusal: Refusal) -> Result<Look, Refusal> {
    note(live, stored, phase, &refusal.reason, stored.status.as_ref().and_then(|status| status.reminders)).await?;
    Ok(Look::Word(Word::Over(refusal)))
}

async fn pending(live: &Live, stored: &ApprovalRequest, until: UnixMillis, now: UnixMillis, missing: &str) -> Result<Look, Refusal> {
    let whole = i64::from(stored.spec.expires_after_seconds) * 1000;
    let begun = until.plus(-whole);
    let due = REMINDERS.map(|share| begun.plus(whole / 100 * share));
    let reminders = u32::try_from(due.iter().filter(|at| now >= **at).count()).unwrap_or_default();
    let before = stored.status.as_ref().and_then(|status| status.reminders).unwrap_or_default();
    if reminders > before {
        tracing::warn!(request = stored.name_any(), until = until.rfc3339(), missing, "people have not answered yet");
    }
    let message = if reminders == 0 { format!("waits for {missing}") } else { format!("still waits for {missing}; it ends at {}", until.rfc3339()) };
    note(live, stored, ApprovalPhase::Pending, &message, Some(reminders)).await?;
    let next = due.into_iter().chain([until.plus(1)]).find(|at| *at > now).map_or(1000, |at| at.since(now));
    // Server times are whole seconds.
    Ok(Look::Later(Duration::from_millis(u64::try_from(next).unwrap_or(1000).max(1000))))
}

/// Notes on the request of a change how it stands, if there is one; without a phase only what there is to say.
pub(crate) async fn settle(live: &Live, request: &str, phase: Option<ApprovalPhase>, message: &str) -> Result<(), Refusal> {
    let Some(stored) = live.approval_request(request).await? else { return Ok(()) };
    let before = stored.status.as_ref();
    let phase_before = before.and_then(|status| status.phase).unwrap_or(ApprovalPhase::Pending);
    if phase_before.is_final() {
        return Ok(());
    }
    note(live, &stored, phase.unwrap_or(phase_before), message, before.and_then(|status| status.reminders)).await
}

async fn note(live: &Live, stored: &ApprovalRequest, phase: ApprovalPhase, message: &str, reminders: Option<u32>) -> Result<(), Refusal> {
    let before = stored.status.clone().unwrap_or_default();
    let until = asked(stored)?;
    let mut status = ApprovalRequestStatus {
        phase: Some(phase),
        message: Some(capped(message)),
        until: Some(until.at.plus(i64::from(until.expires_after_ms)).rfc3339()),
        reminders,
        observed_generation: stored.metadata.generation,
        conditions: before.conditions.clone(),
    };
    let approved = match phase {
        ApprovalPhase::Approved | ApprovalPhase::Used => "True",
        ApprovalPhase::Denied | ApprovalPhase::Expired | ApprovalPhase::Dropped => "False",
        ApprovalPhase::Pending => "Unknown",
    };
    let condition = Condition {
        kind: "Approved".into(),
        status: approved.into(),
        reason: format!("{phase:?}"),
        message: capped(message),
        last_transition_time: own_clock().rfc3339(),
        observed_generation: stored.metadata.generation,
    };
    condition.set_in(&mut status.conditions);
    if (before.phase, &before.message, before.reminders) == (status.phase, &status.message, status.reminders) {
        return Ok(());
    }
    let patch = json!({"metadata": {"resourceVersion": stored.resource_version()}, "status": status});
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
    match api(live).patch_status(&stored.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(unavailable(format!("the request's status is not stored: {error}"))),
    }
}

fn capped(text: &str) -> String {
    text.chars().take(LINE / 4).collect()
}

fn api(live: &Live) -> Api<ApprovalRequest> {
    Api::namespaced(live.client().clone(), names::SYSTEM_NAMESPACE)
}
