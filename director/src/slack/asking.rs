//! Asking in Slack: one message for a request that asks somebody there. That they must be asked is an entry of the ledger,
//! and so is that they were. Slack knows no key by which it would take a message once, so a process that ends between a message and
//! its entry posts it again: the same buttons, for the same one word.

use std::time::Duration;

use assent_api::resources::ApprovalRequest;
use assent_api::slack;
use assent_core::ids::IncidentUid;
use assent_runtime::telemetry::chain;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Slack;
use super::requests::asks_in_chat;
use crate::director::{Director, Error};
use crate::store;

/// Prefixes of the ledger's keys: what must be asked, and what was.
const DUE: &str = "slack-due/";
const TOLD: &str = "slack-told/";
/// Largest answer that is read.
const ANSWER: usize = 64 * 1024;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
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
        let still = open.iter().find(|request| request.name_any() == *name);
        if let Some(request) = still {
            post(slack, request).await?;
            tracing::info!(incident.id = %entry.incident, request = name, "people are asked in Slack");
        }
        let told = director.draft(
            &entry.incident,
            "slack-told",
            format!("{TOLD}{name}"),
            json!({"request": name, "posted": still.is_some(), "sequence": entry.sequence}),
        );
        director.store.note(&told).await.map_err(|error| chain(&error))?;
    }
    Ok(outstanding.len())
}

/// Puts on record that somebody must be asked, once.
async fn note(director: &Director, request: &ApprovalRequest) -> Result<(), Error> {
    let Ok(incident) = IncidentUid::try_from(request.spec.incident.clone()) else { return Ok(()) };
    let (name, key) = (request.name_any(), format!("{DUE}{}", request.name_any()));
    let body = json!({"request": name, "action": request.spec.action, "target": request.spec.target, "change": request.spec.change});
    Ok(director.store.note(&director.draft(&incident, "slack-due", key, body)).await?)
}

async fn post(slack: &Slack, request: &ApprovalRequest) -> Result<(), String> {
    // Shown in notifications, where there are no blocks; nothing in it is markup or a mention.
    let text = slack::title(request).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let message = json!({
        "channel": slack.channel, "text": text, "mrkdwn": false, "parse": "none", "link_names": false, "unfurl_links": false, "unfurl_media": false,
        "blocks": slack::blocks(request),
    });
    let answer = tokio::time::timeout(PATIENCE, slack.api.post("chat.postMessage", &message, ANSWER)).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| chain(&error))?;
    // Slack says 200 to everything.
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| format!("its answer is none: {error}"))?;
    match answer["ok"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("Slack says {:?}", answer["error"].as_str().unwrap_or_default().chars().take(REASON).collect::<String>())),
    }
}
