//! People's word on one change: what exactly they are asked about, and whether those who may have agreed.
//!
//! An approval is bound to the change, not to the vote: the action with its parameters, the target's uid and specification.
//! Who votes for it, in which epoch and until when may change; the thing that people looked at may not. Nothing is kept: the
//! gate reads request and answers live at each write, and counts again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::Action;
use crate::ballot::Proposal;
use crate::blueprint::{Approval, Approver};
use crate::canonical::{self, Digest};
use crate::ids::{IncidentUid, UnixMillis};

/// Longest time that people have.
pub const MAX_EXPIRY_MS: u32 = 24 * 60 * 60 * 1000;
/// Longest comment.
pub const MAX_COMMENT: usize = 1000;

/// What people are asked: a request as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the request.
    pub name: String,
    /// The change.
    pub change: Digest,
    /// When it was stored, by the API server.
    pub at: UnixMillis,
    /// How long people have.
    pub expires_after_ms: u32,
    /// Who wants it, if a person does. Nobody approves what they want themselves.
    pub requester: Option<String>,
}

/// One person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Word {
    /// It may be done.
    Approve,
    /// It may not; one suffices.
    Deny,
    /// For the others to read.
    Comment,
}

/// An answer as it is stored, with what the API server says of its author now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose, as the API server authenticated them.
    pub user: String,
    /// Groups that they acted for, as the API server authenticated them.
    pub groups: BTreeSet<String>,
    /// The change that they saw.
    pub change: Digest,
    /// What they said.
    pub word: Word,
    /// When it was stored, by the API server.
    pub at: UnixMillis,
    /// Whether it came by chat.
    pub chat: bool,
    /// Whether the API server's authorizer lets them approve here as of now.
    pub may: bool,
    /// Why, in their words.
    pub comment: String,
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// People have not answered yet: what is missing.
    Pending(Vec<String>),
    /// Everybody who had to agree did: who.
    Granted(BTreeSet<String>),
    /// Somebody who may approve it refused: who, and why.
    Denied(String),
    /// Its time is up.
    Expired,
}

/// Digest of what people approve. A restart is the same whichever epoch asks for it.
///
/// # Errors
/// If it has no canonical form.
pub fn change(proposal: &Proposal) -> Result<Digest, canonical::Error> {
    let action = match &proposal.action {
        Action::RestartWorkload(_) => json!(proposal.action.name()),
        other => serde_json::to_value(other).unwrap_or(Value::Null),
    };
    let target = &proposal.target;
    Digest::of(&json!({
        "action": action, "apiVersion": target.api_version, "kind": target.kind, "namespace": target.namespace, "name": target.name,
        "uid": target.uid, "spec": target.spec,
    }))
}

/// The one name that a request for this change in this incident can have.
///
/// # Errors
/// If it has no canonical form.
pub fn request_name(cluster: &str, incident: &IncidentUid, change: &Digest) -> Result<String, canonical::Error> {
    let digest = Digest::of(&("approval-request", cluster, incident, change))?;
    Ok(format!("apr-{}", digest.as_str().get(..20).unwrap_or_default()))
}

/// The one name of a person's word on a request: the same person cannot say the same twice.
///
/// # Errors
/// If it has no canonical form.
pub fn answer_name(request: &str, user: &str, word: Word, comment: &str) -> Result<String, canonical::Error> {
    // Comments add up; approving and refusing does not.
    let comment = if word == Word::Comment { comment } else { "" };
    let digest = Digest::of(&("approval", user, word, comment))?;
    Ok(format!("{request}-{}", digest.as_str().get(..16).unwrap_or_default()))
}

/// How `asked` stands at `now` where each of `rules` must be satisfied. A person counts once for each rule that names them.
#[must_use]
pub fn standing(asked: &Asked, answers: &[Answer], rules: &BTreeSet<Approval>, undoable: bool, now: UnixMillis) -> Standing {
    let until = asked.at.plus(i64::from(asked.expires_after_ms));
    let heard = |answer: &&Answer| answer.change == asked.change && answer.may && answer.at <= until && asked.requester.as_ref() != Some(&answer.user);
    let named = |answer: &Answer| rules.iter().any(|rule| rule.names(answer));
    if let Some(no) = answers.iter().filter(heard).find(|answer| answer.word == Word::Deny && named(answer)) {
        return Standing::Denied(if no.comment.is_empty() { no.user.clone() } else { format!("{}: {}", no.user, no.comment) });
    }
    if now > until {
        return Standing::Expired;
    }
    let mut given = BTreeSet::new();
    let mut missing = Vec::new();
    for rule in rules {
        let chat = rule.chat && rule.count == 1 && undoable;
        let agreed = |answer: &&Answer| answer.word == Word::Approve && rule.names(answer) && (chat || !answer.chat);
        let people: BTreeSet<&str> = answers.iter().filter(heard).filter(agreed).map(|answer| answer.user.as_str()).collect();
        let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
        // A rule that asks for nobody is asked of nobody, and nobody can grant it.
        if rule.count == 0 || have < rule.count {
            missing.push(format!("{rule} ({have} so far)"));
        }
        given.extend(people.into_iter().map(str::to_owned));
    }
    if missing.is_empty() && !rules.is_empty() { Standing::Granted(given) } else { Standing::Pending(missing) }
}

// === impl Approval ===

impl Approval {
    /// Whether it names the author of `answer`: by name, by a group that they acted for, or as a user of Slack. Whoever came by
    /// chat is nobody that the API server knows, and the other way round, whatever their names.
    fn names(&self, answer: &Answer) -> bool {
        if answer.chat { self.names_in_chat(&answer.user) } else { self.names_user(&answer.user, &answer.groups) }
    }

    /// Whether it names this author of a word that came by chat, and one such word suffices.
    #[must_use]
    pub fn names_in_chat(&self, author: &str) -> bool {
        self.count == 1 && self.approvers.iter().any(|approver| matches!(approver, Approver::Slack(_)) && approver.to_string() == author)
    }

    /// Whether it names this user, or one of these groups.
    #[must_use]
    pub fn names_user(&self, user: &str, groups: &BTreeSet<String>) -> bool {
        self.approvers.iter().any(|approver| match approver {
            Approver::User(name) => name == user,
            Approver::Group(name) => groups.contains(name),
            Approver::Slack(_) => false,
        })
    }
}

#[cfg(test)]
mod cases;
