//! The only code that writes to workloads: one PUT of a whole object, or one eviction, as the user `assent:executor`, for one
//! incident, under the uid that was read and, of an object that is there, its resourceVersion. It never forces and never patches.

use assent_api::names;
use assent_core::action::{Verb, Write};
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_core::refusal::{Refusal, Rule};
use kube::Client;
use kube::core::Status;
use serde_json::Value;

/// Which write of an incident; the number in its `Audit-ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The write without proof that must be refused.
    Challenge = 0,
    /// The voted change, stored nowhere.
    DryRun = 1,
    /// The voted change.
    Apply = 2,
    /// Its inverse.
    Revert = 3,
    /// The limit of the Blueprint that people agreed to go beyond.
    Raise = 4,
    /// What lets the rest follow the first pod.
    Release = 5,
}

/// What the API server answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Stored, or with a dry run what would be stored.
    Done(Value),
    /// Somebody wrote in between, or the gate saw it half way: to be looked at again.
    Changed(String),
    /// Nobody judged it, so nothing was done: to be tried again.
    Transient(String),
    /// Nothing says whether it was done: to be looked at, and tried again.
    Unheard(String),
    /// A verdict.
    Refused(String),
}

/// Writes for one incident.
#[derive(Clone)]
pub(crate) struct Writer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) incident: &'a IncidentUid,
}

// === impl Writer ===

impl Writer<'_> {
    /// Sends `object`, which carries the uid and, of an object that is there, the resourceVersion that were read, to where `proposal`
    /// writes.
    pub(crate) async fn send(&self, write: &Write, proposal: &Proposal, object: &Value, step: Step) -> Answer {
        self.send_to(write, (&proposal.target.namespace, proposal.object_name()), object, step).await
    }

    /// As [`Writer::send`], by namespace and name.
    pub(crate) async fn send_to(&self, write: &Write, at: (&str, &str), object: &Value, step: Step) -> Answer {
        let dry_run = matches!(step, Step::Challenge | Step::DryRun);
        match self.request(write, at, object, step, dry_run) {
            Ok(request) => match self.client.request::<Value>(request).await {
                Ok(stored) => Answer::Done(stored),
                Err(kube::Error::Api(status)) => classify(&status),
                Err(error) => Answer::Unheard(error.to_string()),
            },
            Err(error) => Answer::Refused(format!("the write cannot be expressed: {error}")),
        }
    }

    fn request(
        &self,
        write: &Write,
        (namespace, name): (&str, &str),
        object: &Value,
        step: Step,
        dry_run: bool,
    ) -> Result<http::Request<Vec<u8>>, http::Error> {
        let Write { verb, group, version, resource, subresource, .. } = write;
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let method = match verb {
            Verb::Create => http::Method::POST,
            Verb::Update => http::Method::PUT,
        };
        let slash = if subresource.is_empty() { "" } else { "/" };
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        let manager = names::FIELD_MANAGER;
        let uri = format!("{root}/namespaces/{namespace}/{resource}/{name}{slash}{subresource}?fieldManager={manager}{dry_run}");
        http::Request::builder()
            .method(method)
            .uri(uri)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("Impersonate-User", names::EXECUTOR_USER)
            .header(format!("Impersonate-Extra-{}", names::INCIDENT.replace('/', "%2f")), self.incident.as_str())
            .header("Audit-ID", format!("{}.{}", self.incident, step as u8))
            .body(object.to_string().into_bytes())
    }
}

/// What an API server answers that judged nothing: its admission plugins or its authorizer are not there yet, in its first moments
/// for everybody. A right that is really missing is still missing when the plan expires.
const NOT_JUDGED: [&str; 4] = ["failed calling webhook", "failed to call webhook", "not yet ready to handle request", "is forbidden: User \""];

/// Verdicts end it; everything that is no verdict may be tried again.
pub(crate) fn classify(status: &Status) -> Answer {
    let message = status.message.clone();
    if message.contains(&code(Rule::Unavailable)) || NOT_JUDGED.iter().any(|words| message.contains(words)) {
        return Answer::Transient(message);
    }
    if message.contains(&code(Rule::Stale)) || status.code == 409 {
        return Answer::Changed(message);
    }
    match status.code {
        429 => Answer::Transient(message),
        408 | 500 | 502 | 503 | 504 => Answer::Unheard(message),
        _ => Answer::Refused(message),
    }
}

/// A rule as it stands in a refusal's text.
pub(crate) fn code(rule: Rule) -> String {
    format!("assent[{}]", rule.code())
}

/// A refusal by whoever judged a request: under our own rule where the gate names one, or else as somebody else's.
pub(crate) fn denied(what: &str, message: &str) -> Refusal {
    let named = message.split_once("assent[").and_then(|(_, rest)| rest.split_once(']'));
    let rule = named.and_then(|(code, _)| serde_json::from_value(Value::from(code)).ok()).unwrap_or(Rule::Denied);
    verbatim(rule, &format!("{what} was refused: {message}"))
}

/// A refusal of ours with words of somebody else.
pub(crate) fn verbatim(rule: Rule, message: &str) -> Refusal {
    Refusal::new(rule, message.chars().take(600).collect::<String>(), "a write that the API server and all whom it asks let through")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> Answer {
        classify(&Status::failure(message, "").with_code(code))
    }

    #[test]
    fn a_refusal_is_under_the_rule_of_whoever_refused() {
        let gate = denied("the dry run", "admission webhook \"x\" denied the request: assent[paused]: a pause is in force");
        assert_eq!((gate.rule, gate.reason.starts_with("the dry run was refused: admission")), (Rule::Paused, true));
        assert_eq!(denied("the write", "ValidatingAdmissionPolicy 'freeze' denied request").rule, Rule::Denied);
        assert_eq!(denied("the write", "assent[no-such-rule]: x").rule, Rule::Denied);
    }

    #[test]
    fn only_what_nobody_judged_is_tried_again() {
        assert!(matches!(answer(500, "Internal error occurred: failed calling webhook \"x\": failed to call webhook: Post"), Answer::Transient(_)));
        assert!(matches!(answer(403, "admission webhook \"x\" denied the request: assent[unavailable]: cannot read"), Answer::Transient(_)));
        assert!(matches!(answer(429, "slow down"), Answer::Transient(_)));
        assert!(matches!(answer(504, "the server was unable to return a response in the time allotted"), Answer::Unheard(_)));
        assert!(matches!(answer(403, "admission webhook \"x\" denied the request: assent[paused]: a pause"), Answer::Refused(_)));
        assert!(matches!(answer(403, "deployments.apps \"orders\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no"), Answer::Refused(_)));
        assert!(matches!(answer(403, "deployments.apps \"orders\" is forbidden: not yet ready to handle request"), Answer::Transient(_)));
        assert!(matches!(answer(403, "users \"assent:executor\" is forbidden: User \"x\" cannot impersonate resource \"users\""), Answer::Transient(_)));
        assert!(matches!(answer(404, "not found"), Answer::Refused(_)));
        assert!(matches!(answer(409, "the object has been modified"), Answer::Changed(_)));
        assert!(matches!(answer(403, "denied the request: assent[stale]: the workload changed"), Answer::Changed(_)));
    }
}
