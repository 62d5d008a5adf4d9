//! `POST /v1/slack`: somebody pressed a button. What arrives is brought to the API server as it is, as an `Approval` that the gate
//! judges; what is looked at here only spares it junk. Slack waits three seconds, and is told what the gate said.

use std::sync::Arc;
use std::time::Duration;

use assent_api::resources::{Approval, ApprovalSpec, Pressed, Verdict};
use assent_api::slack::{self, MAX_BODY};
use assent_core::approval::Word;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::sync::Semaphore;

use super::requests::Requests;
use crate::store;

/// Callbacks at once; further ones are told to come again.
const AT_ONCE: usize = 8;
/// How long a body may take to come, and the gate to judge: together less than what Slack waits.
const DELIVERY: Duration = Duration::from_millis(500);
const JUDGEMENT: Duration = Duration::from_millis(2200);
/// Longest reason that is repeated.
const REASON: usize = 600;

#[derive(Clone)]
struct Answering {
    requests: Requests,
    approvals: Api<Approval>,
    slots: Arc<Semaphore>,
}

/// The route.
pub(super) fn router(requests: Requests, approvals: Api<Approval>) -> Router {
    Router::new().route("/v1/slack", post(receive)).with_state(Answering { requests, approvals, slots: Arc::new(Semaphore::new(AT_ONCE)) })
}

async fn receive(State(answering): State<Answering>, headers: HeaderMap, body: Body) -> Response {
    let Ok(_slot) = answering.slots.try_acquire() else {
        let body = Json(json!({"error": "too many answers at once", "fix": "press it again"}));
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response();
    };
    let body = match tokio::time::timeout(DELIVERY, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {MAX_BODY} bytes")),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
    };
    let word = match word(&headers, &body) {
        Ok(word) => word,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, &reason),
    };
    if !answering.requests.expects(&word.request, store::now()) {
        return refuse(StatusCode::NOT_FOUND, &format!("nobody is asked about `{}` in chat now", word.request));
    }
    let (user, verdict) = (word.user.clone(), word.verdict);
    let Ok(approval) = Approval::named(word) else { return refuse(StatusCode::BAD_REQUEST, "the answer has no name") };
    let params = PostParams::default();
    let create = answering.approvals.create(&params, &approval);
    let said = match tokio::time::timeout(JUDGEMENT, create).await {
        Ok(Ok(stored)) => {
            tracing::info!(user, ?verdict, request = stored.spec.request, "somebody answered in Slack");
            format!("{verdict:?}: your word on `{}` is on record", stored.spec.request)
        }
        Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => "you said so already".into(),
        Ok(Err(kube::Error::Api(status))) => {
            // Who it claims to be, and not what it was signed with.
            tracing::warn!(user, reason = status.message, "an answer by Slack was not taken");
            // Behind what the API server says of whose webhook it was.
            let reason = status.message.split_once("denied the request: ").map_or(status.message.as_str(), |(_, reason)| reason);
            format!("your word was not taken: {}", reason.chars().take(REASON).collect::<String>())
        }
        Ok(Err(_)) => "your word was not taken: the API server cannot be asked; press it again".into(),
        Err(_) => "your word may not have been taken: the API server did not answer in time; press it again".into(),
    };
    Json(json!({"response_type": "ephemeral", "replace_original": false, "text": said})).into_response()
}

/// What the callback claims to say. Nothing of it is proven here.
fn word(headers: &HeaderMap, body: &[u8]) -> Result<ApprovalSpec, String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned).ok_or_else(|| format!("there is no readable {name}"));
    let (timestamp, signature) = (header("X-Slack-Request-Timestamp")?, header("X-Slack-Signature")?);
    slack::is_timely(&timestamp, store::now()).map_err(|error| error.to_string())?;
    let body = std::str::from_utf8(body).map_err(|_| "the body is no text".to_owned())?.to_owned();
    let press = slack::press(&body).map_err(|error| error.to_string())?;
    let verdict = if press.word == Word::Approve { Verdict::Approve } else { Verdict::Deny };
    let slack = Some(Pressed { timestamp, signature, body });
    Ok(ApprovalSpec {
        request: press.request,
        change: press.change.to_string(),
        verdict,
        user: press.author,
        groups: Vec::new(),
        comment: String::new(),
        slack,
    })
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({"error": reason}))).into_response()
}
