//! Asking in Slack: one message for a request that asks somebody there. That they must be asked is an entry of the ledger with
//! everything that they will see, and so is that they were. Slack knows no key by which it would take a message once, so a process
//! that ends between a message and its entry posts it again: the same buttons, for the same one word.

use assent_api::resources::ApprovalRequest;
use assent_core::action::Inverse;
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_core::ledger::Entry;
use assent_core::target::Target;
use assent_runtime::telemetry::chain;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::Slack;
use super::message::Question;
use super::requests::{asks_in_chat, until};
use crate::director::{Director, Error, kubernetes};
use crate::store::{self, Draft};

/// Prefixes of the ledger's keys: what must be asked, and what was.
const DUE: &str = "slack-due/";
const TOLD: &str = "slack-told/";
/// Largest answer that is read.
const ANSWER: usize = 64 * 1024;
/// How long one answer may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// Longest reason of Slack's that is repeated.
const REASON: usize = 100;

/// How many were asked.
pub(super) async fn ask(director: &Director, slack: &Slack) -> Result<usize, String> {
    let open = slack.requests.open(store::now());
    for request in open.iter().filter(|request| asks_in_chat(request)) {
        note(director, request).await.map_err(|error| chain(&error))?;
    }
    let outstanding = director.store.outstanding(DUE, TOLD).await.map_err(|error| chain(&error))?;
    for (name, entry) in &outstanding {
        // What was answered or expired while nobody could be asked is asked no more.
        let still = open.iter().any(|request| request.name_any() == *name);
        if still {
            post(slack, entry).await?;
            tracing::info!(incident.id = %entry.incident, request = name, "people are asked in Slack");
        }
        let told = draft(director, &entry.incident, "slack-told", format!("{TOLD}{name}"), json!({"request": name, "posted": still, "sequence": entry.sequence}));
        director.store.note(&told).await.map_err(|error| chain(&error))?;
    }
    Ok(outstanding.len())
}

/// Puts on record that somebody must be asked, and what they will see, once.
async fn note(director: &Director, request: &ApprovalRequest) -> Result<(), Error> {
    let Ok(incident) = IncidentUid::try_from(request.spec.incident.clone()) else { return Ok(()) };
    let name = request.name_any();
    let key = format!("{DUE}{name}");
    if director.store.is_noted(&key).await? {
        return Ok(());
    }
    let spec = &request.spec;
    let question = Question {
        change: spec.change.clone(),
        action: spec.action.clone(),
        target: spec.target.clone(),
        reasons: spec.reasons.clone(),
        undo: undo(director, &spec.payload).await?,
        until: until(request).rfc3339(),
        request: name,
    };
    let body = serde_json::to_value(&question).unwrap_or(Value::Null);
    Ok(director.store.note(&draft(director, &incident, "slack-due", key, body)).await?)
}

async fn post(slack: &Slack, entry: &Entry) -> Result<(), String> {
    let question: Question = serde_json::from_value(entry.body.clone()).map_err(|error| format!("entry {} is no question: {error}", entry.sequence))?;
    let message = question.message(&slack.channel);
    let answer = tokio::time::timeout(PATIENCE, slack.api.post("chat.postMessage", &message, ANSWER)).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| chain(&error))?;
    // Slack says 200 to everything.
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| format!("its answer is none: {error}"))?;
    match answer["ok"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("Slack says {:?}", answer["error"].as_str().unwrap_or_default().chars().take(REASON).collect::<String>())),
    }
}

/// What would undo the action, from the target as it is now.
async fn undo(director: &Director, payload: &str) -> Result<String, Error> {
    let Ok(proposal) = serde_json::from_str::<Proposal>(payload) else { return Ok("what its plan says".into()) };
    let said = match deployment(director, &proposal.target).await?.map(|workload| proposal.action.act().inverse(&workload)) {
        Some(Ok(Inverse::Replicas { replicas })) => format!("back to {replicas} replicas"),
        Some(Ok(Inverse::Empty)) => "nothing, since what is wanted stays as it is".into(),
        Some(Ok(_)) => "putting back what is there now".into(),
        Some(Err(_)) | None => "what its plan says".into(),
    };
    Ok(said)
}

async fn deployment(director: &Director, target: &Target) -> Result<Option<Value>, Error> {
    let api: Api<Deployment> = Api::namespaced(director.client.clone(), &target.namespace);
    let named = ListParams::default().fields(&format!("metadata.name={}", target.name));
    let found = api.list(&named).await.map_err(kubernetes("list deployments"))?.items;
    Ok(found.first().and_then(|deployment| serde_json::to_value(deployment).ok()))
}

fn draft(director: &Director, incident: &IncidentUid, kind: &str, key: String, body: Value) -> Draft {
    Draft { incident: incident.clone(), author: director.author.clone(), kind: kind.to_owned(), key, body }
}
