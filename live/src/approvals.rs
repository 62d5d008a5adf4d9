//! What people were asked and what they said, and whether each of them may still say it. A word that came by Slack is one for as
//! long as its signature holds: it is verified again whenever it is counted, as of when the API server stored it.

use std::collections::{BTreeMap, BTreeSet};

use assent_api::facts;
use assent_api::names;
use assent_api::resources::{Approval, ApprovalRequest, ApprovalSpec};
use assent_api::slack::{self, Press, Signed};
use assent_core::approval::{Answer, Asked};
use assent_core::canonical::Digest;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::refusal::{Refusal, Rule};
use assent_policies::User;
use assent_policies::authorizer::{Check, Resource, Subject, Target};
use kube::{Api, ResourceExt as _};

use crate::reader::{Live, Slack, unavailable};

/// The virtual verb on `approvalrequests`, in the namespace of the target.
const VERB: &str = "approve";
/// Most answers to one request that are read.
const MAX_ANSWERS: usize = 64;

/// A request as it is judged by.
///
/// # Errors
/// If it is none.
pub fn asked(stored: &ApprovalRequest) -> Result<Asked, Refusal> {
    let name = stored.name_any();
    let unreadable = |what: &str| unavailable(format!("approval request `{name}` has no {what}"));
    Ok(Asked {
        change: Digest::try_from(stored.spec.change.clone()).map_err(|_| unreadable("readable change"))?,
        at: facts::created_at(stored).ok_or_else(|| unreadable("creation time"))?,
        expires_after_ms: stored.spec.expires_after_seconds.saturating_mul(1000),
        // Only the executor asks, for the seats.
        requester: None,
        name,
    })
}

fn said(stored: &Approval, may: bool) -> Result<Answer, Refusal> {
    let unreadable = |what: &str| unavailable(format!("approval `{}` has no {what}", stored.name_any()));
    Ok(Answer {
        user: stored.spec.user.clone(),
        groups: stored.spec.groups.iter().cloned().collect(),
        change: Digest::try_from(stored.spec.change.clone()).map_err(|_| unreadable("readable change"))?,
        word: stored.spec.verdict.into(),
        at: facts::created_at(stored).ok_or_else(|| unreadable("creation time"))?,
        chat: stored.spec.slack.is_some(),
        may,
        comment: stored.spec.comment.clone(),
    })
}

fn not_pressed(error: &slack::Error) -> Refusal {
    Refusal::new(Rule::Approval, error.to_string(), "a button that was pressed a moment ago, as Slack signed it")
}

// === impl Live ===

impl Live {
    /// Everything that people were asked in an incident, with all answers.
    ///
    /// # Errors
    /// If something cannot be read, or an answer is none.
    pub async fn approvals(&self, incident: &IncidentUid) -> Result<Vec<(Asked, Vec<Answer>)>, Refusal> {
        let requests = self.list::<ApprovalRequest>(names::SYSTEM_NAMESPACE, Some(incident)).await?;
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.list::<Approval>(names::SYSTEM_NAMESPACE, None).await?;
        let mut all = Vec::new();
        for request in &requests {
            all.push((asked(request)?, self.answers(request, &answers).await?));
        }
        Ok(all)
    }

    async fn answers(&self, request: &ApprovalRequest, answers: &[Approval]) -> Result<Vec<Answer>, Refusal> {
        let name = request.name_any();
        let own: Vec<&Approval> = answers.iter().filter(|answer| answer.spec.request == name).collect();
        if own.len() > MAX_ANSWERS {
            return Err(unavailable(format!("approval request `{name}` has more than {MAX_ANSWERS} answers")));
        }
        let mut may: BTreeMap<(&str, &[String]), bool> = BTreeMap::new();
        let mut said = Vec::new();
        for answer in own {
            let key = (answer.spec.user.as_str(), answer.spec.groups.as_slice());
            let allowed = match may.get(&key) {
                Some(allowed) => *allowed,
                None => self.may_approve(key.0, key.1, &request.spec.namespace).await?,
            };
            may.insert(key, allowed);
            let is_word = allowed && self.is_word(answer, request).await;
            said.push(self::said(answer, is_word)?);
        }
        Ok(said)
    }

    /// Whether a stored answer is its author's word: what the API server authenticated is, and what came by Slack if Slack signed it.
    async fn is_word(&self, stored: &Approval, request: &ApprovalRequest) -> bool {
        if stored.spec.slack.is_none() {
            return true;
        }
        match (self.slack(), facts::created_at(stored)) {
            (Slack::Believed, _) => true,
            (Slack::Verified(_), Some(at)) => self.pressed(&stored.spec, at).await.is_ok_and(|press| slack::saw(&press, request).is_ok()),
            (Slack::Verified(_), None) => false,
        }
    }

    /// `word`, if Slack signed it. The API server is not asked: whoever forges one costs it nothing.
    async fn signed<'a>(&self, word: &'a ApprovalSpec) -> Result<Signed<'a>, Refusal> {
        let refuse = |reason: &str| Err(Refusal::new(Rule::Approval, reason, "the same word with one's own credentials"));
        let Slack::Verified(Some(file)) = self.slack() else {
            return refuse("nothing tells whether Slack signed it: there is no signing secret");
        };
        // Read anew each time, so that it can be rotated.
        let Ok(secret) = tokio::fs::read(&**file).await else {
            return refuse("nothing tells whether Slack signed it: the signing secret cannot be read");
        };
        slack::signed(&secret, word).map_err(|error| not_pressed(&error))
    }

    async fn pressed(&self, word: &ApprovalSpec, at: UnixMillis) -> Result<Press, Refusal> {
        self.signed(word).await?.pressed(at).map_err(|error| not_pressed(&error))
    }

    /// What was pressed, if Slack signed exactly what `word` says a moment ago, by the API server's clock.
    ///
    /// # Errors
    /// If it did not, there is no secret to tell by, or the API server does not say what time it is.
    pub async fn pressed_now(&self, word: &ApprovalSpec) -> Result<Press, Refusal> {
        let signed = self.signed(word).await?;
        signed.pressed(self.now().await?).map_err(|error| not_pressed(&error))
    }

    /// A request by its name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn approval_request(&self, name: &str) -> Result<Option<ApprovalRequest>, Refusal> {
        let api: Api<ApprovalRequest> = Api::namespaced(self.client().clone(), names::SYSTEM_NAMESPACE);
        api.get_opt(name).await.map_err(|error| unavailable(format!("cannot read approval request `{name}`: {error}")))
    }

    /// Whether the API server's authorizer lets this user, acting for these groups, approve in `namespace`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn may_approve(&self, user: &str, groups: &[String], namespace: &str) -> Result<bool, Refusal> {
        let mut groups: BTreeSet<String> = groups.iter().cloned().collect();
        // Every user is in it, and nobody writes it down.
        groups.insert("system:authenticated".into());
        let groups: Vec<String> = groups.into_iter().collect();
        let extra = BTreeMap::new();
        let user = User { username: user, uid: "", groups: &groups, extra: &extra };
        let check = Check {
            subject: Subject::Requester,
            verb: VERB.into(),
            target: Target::Resource(Resource {
                group: names::GROUP.into(),
                resource: "approvalrequests".into(),
                subresource: "".into(),
                namespace: namespace.into(),
                name: "".into(),
                field_selector: "".into(),
                label_selector: "".into(),
            }),
        };
        let decision = self.review(&user, &check).await;
        match decision.error {
            Some(error) => Err(unavailable(error)),
            None => Ok(decision.allowed),
        }
    }
}
