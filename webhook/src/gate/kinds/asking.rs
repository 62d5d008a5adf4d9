//! People's word: what they are asked, and what each of them answers with their own credentials.

use std::collections::BTreeSet;

use assent_api::facts;
use assent_api::names::{self, accounts};
use assent_api::resources::{Approval, ApprovalRequest, ApprovalRequestSpec, ApprovalRule, ApprovalSpec, Verdict as Said};
use assent_api::slack::Press;
use assent_core::approval::{MAX_COMMENT, MAX_EXPIRY_MS};
use assent_core::ballot::Proposal;
use assent_core::blueprint::{self, SLACK};
use assent_core::canonical;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::plan::KEEP_MS;
use assent_core::proof;
use assent_core::refusal::{Refusal, Rule};
use assent_live::{Live, asked, created_at};
use kube::ResourceExt as _;

use super::record::{deletion, immutable, plain_metadata};
use super::{Verdict, only, parse, person, pressed, stranger};
use crate::review::Request;

pub(super) fn unfit(reason: impl Into<String>) -> Refusal {
    Refusal::new(Rule::Payload, reason, "the request that the executor writes for this change")
}

fn refuse(reason: impl Into<String>, would_pass: impl Into<String>) -> Verdict {
    Err(Refusal::new(Rule::Approval, reason, would_pass))
}

/// People are asked only about what a quorum decided for, and told whom the Blueprint asks.
pub(super) async fn request(live: &Live, request: &Request) -> Verdict {
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return deletion(live, request).await,
        _ => return immutable(request),
    }
    only(request, accounts::EXECUTOR, "approval-request")?;
    plain_metadata(&request.object)?;
    let stored: ApprovalRequest = parse(&request.object)?;
    let spec = &stored.spec;
    let proposal: Proposal = serde_json::from_str(&spec.payload).map_err(|error| unfit(format!("its payload is no proposal: {error}")))?;
    let incident = IncidentUid::try_from(spec.incident.clone()).map_err(unfit)?;
    let canonical = |error: canonical::Error| unfit(error.to_string());
    let plain = ApprovalRequestSpec::of(&incident, spec.epoch, &proposal, spec.expires_after_seconds).map_err(canonical)?;
    if (ApprovalRequestSpec { reasons: spec.reasons.clone(), approvals: spec.approvals.clone(), ..plain }) != *spec {
        return Err(unfit("its fields do not say what its payload says"));
    }
    let named = ApprovalRequest::named(&live.cluster().await?, spec.clone()).map_err(unfit)?;
    if named.name_any() != stored.name_any() || stored.labels().get(names::INCIDENT) != named.labels().get(names::INCIDENT) {
        return Err(unfit(format!("it is called `{}` and not `{}`", stored.name_any(), named.name_any())));
    }
    if spec.expires_after_seconds == 0 || spec.expires_after_seconds > MAX_EXPIRY_MS / 1000 {
        return Err(unfit(format!("people have {} s and not 1 to {} s", spec.expires_after_seconds, MAX_EXPIRY_MS / 1000)));
    }
    let target = &proposal.target;
    let workload = live.workload(target).await?;
    let facts = live.authority(&incident, Some(target), workload).await?.facts;
    proof::prove(&facts, &incident, spec.epoch, &proposal, facts.now)?;
    let rules = proof::asks(&facts, &incident, spec.epoch, &proposal)?;
    let rules: Vec<ApprovalRule> = rules.iter().map(ApprovalRule::from).collect();
    if rules.is_empty() || rules != spec.approvals {
        return Err(unfit("it does not ask those whom the Blueprint asks"));
    }
    Ok("approval-request")
}

/// A person's word is their own: who they are and in which groups is what the API server says, never what is written.
pub(super) async fn approval(live: &Live, request: &Request) -> Verdict {
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return withdrawal(live, request).await,
        _ => return immutable(request),
    }
    if !request.is_by(accounts::DIRECTOR) {
        person(request, "approval")?;
    }
    plain_metadata(&request.object)?;
    let stored: Approval = parse(&request.object)?;
    let spec = &stored.spec;
    let user = &spec.user;
    let pressed = authored(live, request, spec).await?;
    if spec.comment.len() > MAX_COMMENT {
        return refuse(format!("its comment has {} bytes", spec.comment.len()), format!("at most {MAX_COMMENT}"));
    }
    let named = Approval::named(spec.clone()).map_err(|error| unfit(error.to_string()))?;
    if stored.name_any() != named.name_any() {
        return refuse(format!("it is called `{}`", stored.name_any()), format!("the one name that this word can have, `{}`", named.name_any()));
    }
    let Some(about) = live.approval_request(&spec.request).await? else {
        return refuse(format!("there is no approval request `{}`", spec.request), "a request that `kubectl get apr -n assent-system` shows");
    };
    if about.spec.change != spec.change {
        return refuse("it is for another change than the request's", format!("`spec.change: {}`", about.spec.change));
    }
    let asked = asked(&about)?;
    let until = asked.at.plus(i64::from(asked.expires_after_ms));
    if live.now().await? > until {
        return refuse(format!("`{}` expired at {}", asked.name, until.rfc3339()), "an answer in time");
    }
    if !live.may_approve(user, &spec.groups, &about.spec.namespace).await? {
        return refuse(
            format!("`{user}` may not `approve` `approvalrequests` in namespace `{}`", about.spec.namespace),
            "a RoleBinding to ClusterRole `assent-approver` there",
        );
    }
    if spec.verdict != Said::Comment && !is_asked(&about, spec) {
        let whom: Vec<String> = about.spec.approvals.iter().flat_map(|rule| rule.approvers.clone()).collect();
        return refuse(format!("`{user}` is not among those who are asked"), format!("one of {}, with the group in `spec.groups`", whom.join(", ")));
    }
    if let Some(press) = pressed {
        pressed::counts(live, &about, &press).await?;
    }
    Ok("approval")
}

/// Whether its author is who it says: whoever created it, or whoever pressed a button of Slack that the director carries here.
async fn authored(live: &Live, request: &Request, spec: &ApprovalSpec) -> Result<Option<Press>, Refusal> {
    let creator = &request.user_info.username;
    if spec.slack.is_some() || request.is_by(accounts::DIRECTOR) {
        return pressed::authored(live, request, spec).await.map(Some);
    }
    // Whom the API server calls like somebody of Slack is not them.
    if spec.user != *creator || creator.starts_with(SLACK) {
        return refuse(format!("it speaks for `{}` and was created by `{creator}`", spec.user), "one's own word").map(|_| None);
    }
    match spec.groups.iter().find(|group| !request.user_info.groups.contains(group)) {
        Some(group) => refuse(format!("`{creator}` is not in group `{group}`"), "groups that `kubectl auth whoami` shows").map(|_| None),
        None => Ok(None),
    }
}

/// Whether the request asks its author, in a rule that their kind of word can satisfy.
fn is_asked(request: &ApprovalRequest, answer: &ApprovalSpec) -> bool {
    let groups: BTreeSet<String> = answer.groups.iter().cloned().collect();
    request.spec.approvals.iter().map(blueprint::Approval::from).any(|rule| match answer.slack {
        Some(_) => rule.names_in_chat(&answer.user),
        None => rule.names_user(&answer.user, &groups),
    })
}

/// A word is not taken back; it goes once no request can rest on it.
async fn withdrawal(live: &Live, request: &Request) -> Verdict {
    if request.is_by_machine() && !request.is_by(accounts::DIRECTOR) {
        return Err(stranger(request, "the director, or a person"));
    }
    let until: UnixMillis = created_at(&request.old_object)?.plus(KEEP_MS).plus(i64::from(MAX_EXPIRY_MS));
    let now = live.now().await?;
    if now <= until {
        let left = until.since(now) / 1000;
        return Err(Refusal::new(Rule::Immutable, "a person's word is not taken back", format!("to deny the request, or deleting it {left} s from now")));
    }
    Ok("expired-approval")
}

/// When something happened that a person dates: now, within a minute.
pub(super) fn dated_now(text: &str, now: UnixMillis) -> bool {
    facts::moment(text).is_some_and(|at| at.since(now).abs() <= 60_000)
}
