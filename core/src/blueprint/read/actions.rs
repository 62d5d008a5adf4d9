//! Operations by tier, and who must agree.

use std::collections::BTreeSet;

use super::{Layer, MAX_ITEMS, MAX_NAME};
use crate::blueprint::condition::{Condition, MAX_CONDITION, VARIABLES};
use crate::blueprint::operations::{self, BEYOND_BOUNDS, BEYOND_LIMITS, KNOWN, Reach, is_never, known, within};
use crate::blueprint::problem::{Field, Problems, nearest};
use crate::blueprint::rules::{Approval, Approver, Operations, Restriction, SLACK, Tier};

pub(super) const OPERATIONS: &[&str] = &["allowed", "restricted", "forbidden", "approvers", "count"];
pub(super) const RESTRICTION: &[&str] = &["operation", "condition", "approvers", "count", "chat"];

/// Longest name of an operation.
const MAX_OPERATION: usize = 63;
/// Most people that must agree.
const MAX_COUNT: u32 = 5;

pub(super) fn operations(field: &Field<'_>, layer: Layer, problems: &mut Problems) -> Operations {
    problems.object(field, OPERATIONS);
    let default = approval(field, problems);
    by_chat(field, &default, problems);
    enough(&field.at("count"), &default, problems);
    let mut allowed = BTreeSet::new();
    for item in problems.items(&field.at("allowed"), MAX_ITEMS) {
        if let Some(name) = name(&item, problems)
            && may_be_allowed(&item, &name, layer, problems)
        {
            add(&item, name, &mut allowed, problems);
        }
    }
    let mut forbidden = BTreeSet::new();
    for item in problems.items(&field.at("forbidden"), MAX_ITEMS) {
        let Some(name) = name(&item, problems) else { continue };
        if allowed.contains(&name) {
            problems.tell(&item, "is allowed and forbidden", "leave it on one list");
        }
        add(&item, name, &mut forbidden, problems);
    }
    let mut restricted = Vec::new();
    for item in problems.items(&field.at("restricted"), MAX_ITEMS) {
        let Some(restriction) = restriction(&item, &default, problems) else { continue };
        let at = item.at("operation");
        if is_never(&restriction.operation) {
            problems.tell(&at, "is never done, whoever agrees", "leave it out, or name it under `forbidden`");
        }
        if forbidden.contains(&restriction.operation) {
            problems.tell(&at, "is restricted and forbidden", "leave it on one list");
        }
        if restriction.condition.is_none() && allowed.contains(&restriction.operation) {
            problems.tell(&at, "is allowed, and restricted without a condition", "name a condition, or leave it on one list");
        }
        reaches(&at, &restriction.operation, layer, problems);
        restricted.push(restriction);
    }
    let unlisted = match layer {
        // Who names what all may do leaves the rest to people; who names nothing leaves it to each service.
        Layer::Cluster if field.at("allowed").is_there() => Tier::Restricted,
        Layer::Cluster => Tier::Allowed,
        Layer::Service => Tier::Restricted,
    };
    let beyond = if layer == Layer::Cluster { Tier::Forbidden } else { Tier::Restricted };
    Operations { allowed, restricted, forbidden, unlisted, beyond, approval: default }
}

/// `actions`, as the first version of this kind wrote what is allowed.
pub(super) fn first_form(field: &Field<'_>, problems: &mut Problems) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for item in problems.items(field, 16) {
        problems.object(&item, super::ACTION);
        let at = item.at("name");
        if !at.is_there() {
            problems.tell(&at, "must be given", "the name of an action");
        } else if let Some(name) = name(&at, problems)
            && may_be_allowed(&at, &name, Layer::Service, problems)
        {
            allowed.insert(name);
        }
    }
    allowed
}

fn name(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = problems.needed(field, MAX_OPERATION, "the name of an operation")?;
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !plain {
        problems.tell(field, "must be a letter and then letters, digits, `_` and `-`", "for example `RestartWorkload`");
        return None;
    }
    Some(operations::canonical(text))
}

fn may_be_allowed(field: &Field<'_>, name: &str, layer: Layer, problems: &mut Problems) -> bool {
    if is_never(name) {
        problems.tell(field, "is never done, whatever a Blueprint says", "leave it out, or name it under `forbidden`");
        return false;
    }
    if [BEYOND_LIMITS, BEYOND_BOUNDS].contains(&name) {
        problems.tell(field, "would make the limits mean nothing", "name it under `restricted`, or widen `limits`");
        return false;
    }
    if known(name).is_none() {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        let hint = nearest(name, &names).map_or_else(|| format!("one of {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
        problems.tell(field, "is nothing that Assent can do", hint);
        return false;
    }
    reaches(field, name, layer, problems)
}

fn reaches(field: &Field<'_>, name: &str, layer: Layer, problems: &mut Problems) -> bool {
    let far = layer == Layer::Service && known(name).is_some_and(|known| known.reach == Reach::Node);
    if far {
        problems.tell(field, "reaches a node, and with it everybody's workloads", "a ClusterBlueprint can allow it");
    }
    !far
}

fn add(field: &Field<'_>, name: String, list: &mut BTreeSet<String>, problems: &mut Problems) {
    if !list.insert(name) {
        problems.tell(field, "is named twice", "leave one out");
    }
}

fn restriction(item: &Field<'_>, default: &Approval, problems: &mut Problems) -> Option<Restriction> {
    problems.object(item, RESTRICTION);
    let at = item.at("operation");
    if !at.is_there() {
        problems.tell(&at, "must be given", "the name of an operation");
    }
    let operation = if at.is_there() { name(&at, problems) } else { None };
    let condition = problems.text(&item.at("condition"), MAX_CONDITION).and_then(|text| match Condition::parse(text) {
        Ok(condition) => Some(condition),
        Err(why) => {
            problems.tell(&item.at("condition"), why, format!("for example `target_replicas > max_replicas`; figures: {}", VARIABLES.join(", ")));
            None
        }
    });
    let mut wanted = approval(item, problems);
    if wanted.approvers.is_empty() {
        wanted.approvers.clone_from(&default.approvers);
    }
    if !item.at("count").is_there() {
        wanted.count = default.count;
    }
    wanted.chat = problems.flag(&item.at("chat")).unwrap_or(false);
    if wanted.approvers.is_empty() {
        problems.tell(&item.at("approvers"), "nobody could approve it", "name groups or `user:NAME`, here or as `operations.approvers`");
    }
    by_chat(item, &wanted, problems);
    enough(&item.at("count"), &wanted, problems);
    let operation = operation?;
    if wanted.chat && (wanted.count > 1 || known(within(&operation)).is_none_or(|known| !known.reversible)) {
        problems.tell(&item.at("chat"), "an answer in chat never counts for two people or for what cannot be undone", "leave it out");
    }
    Some(Restriction { operation, condition, approval: wanted })
}

fn approval(field: &Field<'_>, problems: &mut Problems) -> Approval {
    let mut approvers: Vec<Approver> = Vec::new();
    for item in problems.items(&field.at("approvers"), MAX_ITEMS) {
        let Some(text) = problems.needed(&item, MAX_NAME, "a group, or `user:NAME`") else { continue };
        match Approver::parse(text) {
            Some(Approver::User(name)) if name.starts_with("system:serviceaccount:") => {
                problems.tell(&item, "a service account is no person", "a group of people, or `user:NAME`");
            }
            Some(approver) if approvers.contains(&approver) => problems.tell(&item, "is named twice", "leave one out"),
            Some(approver) => approvers.push(approver),
            None if text.starts_with(SLACK) => {
                problems.tell(&item, "must be slack:TEAM/USER", "the ids that Slack shows, for example `slack:T1DC2JH3J/U2CERLKJA`");
            }
            None => problems.tell(&item, "must be a group, `group:NAME`, `user:NAME` or `slack:TEAM/USER`", "as the API server authenticates them"),
        }
    }
    let count = problems.integer(&field.at("count"), 1..=MAX_COUNT).unwrap_or(1);
    Approval { approvers, count, chat: false }
}

/// Whoever answers by Slack is heard only where one word suffices and its author said that chat does.
fn by_chat(field: &Field<'_>, approval: &Approval, problems: &mut Problems) {
    let names_slack = approval.approvers.iter().any(|approver| matches!(approver, Approver::Slack(_)));
    if names_slack && !approval.chat {
        problems.tell(&field.at("approvers"), "names somebody of Slack, whose word would never count", "name them in a restriction with `chat: true`");
    }
    if approval.chat && !names_slack {
        problems.note(&field.at("chat"), "names nobody who answers in chat", "name them: `slack:TEAM/USER`");
    }
}

/// Users that are named one by one must be as many as are needed.
fn enough(field: &Field<'_>, approval: &Approval, problems: &mut Problems) {
    let single = !approval.approvers.iter().any(|approver| matches!(approver, Approver::Group(_)));
    let users = u32::try_from(approval.approvers.len()).unwrap_or(u32::MAX);
    if single && users > 0 && users < approval.count && field.is_there() {
        problems.tell(field, format!("{} people must agree, and {users} are named", approval.count), "name more, or a group");
    }
}
