//! `authorizer` in guardrails: the API server is asked by access reviews, once for each question of a request.
//!
//! Evaluation does not wait: a question that has no answer yet is noted and answered as an error, the notes are asked, and the
//! request is judged again. So the engine stays a pure function, and a slow authorizer cannot hold a thread.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use assent_policies::authorizer::{Check, Decision, Subject, Target};
use assent_policies::{Authorizer, User};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::reader::Live;

/// Most questions of one request.
const MAX_QUESTIONS: usize = 64;

/// Answers of one request.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    given: Mutex<HashMap<Check, Decision>>,
    open: Mutex<Vec<Check>>,
}

impl Authorizer for Answers {
    fn authorize(&self, check: &Check) -> Decision {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decision) = given.get(check) {
            return decision.clone();
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() + open.len() >= MAX_QUESTIONS {
            return failed(format!("a request may ask {MAX_QUESTIONS} access reviews"));
        }
        if !open.contains(check) {
            open.push(check.clone());
        }
        failed("not answered yet".to_owned())
    }
}

fn failed(error: String) -> Decision {
    Decision { error: Some(error), ..Decision::default() }
}

// === impl Answers ===

impl Answers {
    /// Questions without an answer; they count as asked now.
    pub(crate) fn open(&self) -> Vec<Check> {
        std::mem::take(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn give(&self, check: Check, decision: Decision) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(check, decision);
    }
}

// === impl Live ===

impl Live {
    /// Asks the API server's authorizer.
    pub(crate) async fn review(&self, user: &User<'_>, check: &Check) -> Decision {
        let review: SubjectAccessReview = match serde_json::from_value(json!({"metadata": {}, "spec": spec(user, check)})) {
            Ok(review) => review,
            Err(error) => return failed(format!("the access review cannot be expressed: {error}")),
        };
        match Api::<SubjectAccessReview>::all(self.client().clone()).create(&PostParams::default(), &review).await {
            Ok(answer) => {
                let status = answer.status.unwrap_or_default();
                Decision {
                    allowed: status.allowed,
                    reason: status.reason.unwrap_or_default(),
                    error: status.evaluation_error.filter(|error| !error.is_empty() && !status.allowed),
                }
            }
            Err(error) => failed(format!("the access review was not answered: {error}")),
        }
    }
}

fn spec(user: &User<'_>, check: &Check) -> Value {
    let mut spec = match &check.subject {
        Subject::Requester => json!({"user": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra}),
        Subject::ServiceAccount { namespace, name } => json!({
            "user": format!("system:serviceaccount:{namespace}:{name}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
        }),
    };
    let selector = |text: &str| if text.is_empty() { Value::Null } else { json!({"rawSelector": text}) };
    match &check.target {
        Target::Path(path) => spec["nonResourceAttributes"] = json!({"path": path.as_ref(), "verb": check.verb.as_ref()}),
        Target::Resource(resource) => {
            spec["resourceAttributes"] = json!({
                "verb": check.verb.as_ref(),
                "group": resource.group.as_ref(),
                "version": "*",
                "resource": resource.resource.as_ref(),
                "subresource": resource.subresource.as_ref(),
                "namespace": resource.namespace.as_ref(),
                "name": resource.name.as_ref(),
                "fieldSelector": selector(&resource.field_selector),
                "labelSelector": selector(&resource.label_selector),
            });
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verb: &str) -> Check {
        Check { subject: Subject::Requester, verb: verb.into(), target: Target::Path("/healthz".into()) }
    }

    #[test]
    fn a_question_is_asked_once_and_remembered() {
        let answers = Answers::default();
        assert!(answers.authorize(&check("get")).error.is_some());
        assert!(answers.authorize(&check("get")).error.is_some());
        let open = answers.open();
        assert_eq!(open, [check("get")]);
        answers.give(check("get"), Decision { allowed: true, ..Decision::default() });
        assert!(answers.authorize(&check("get")).allowed);
        assert!(answers.open().is_empty());
    }

    #[test]
    fn questions_are_bounded() {
        let answers = Answers::default();
        for number in 0..MAX_QUESTIONS + 10 {
            assert!(!answers.authorize(&check(&format!("verb{number}"))).allowed);
        }
        assert_eq!(answers.open().len(), MAX_QUESTIONS);
    }
}
