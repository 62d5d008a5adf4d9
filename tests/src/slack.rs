//! Slack, played: an API that takes messages, and an app's buttons, signed as Slack signs. The real one is never reached.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use assent_api::resources::{Approval, ApprovalRequest, ApprovalSpec, Pressed, Verdict};
use assent_api::slack;
use aws_lc_rs::hmac;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{SHOP, World, apply};

/// The app's signing secret, the gate's alone.
pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// The bot's token, the director's.
pub const BOT_TOKEN: &str = "xoxb-played-by-a-test";
/// The channel.
pub const CHANNEL: &str = "C024BE91L";
/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message that is shown: what it says, and what its buttons name.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its blocks.
    pub blocks: Value,
    /// The value of its buttons.
    pub value: String,
}

/// What Slack posts when a button is pressed.
#[derive(Clone, Debug)]
pub struct Callback {
    /// As it is in the header.
    pub timestamp: String,
    /// As it is in the header.
    pub signature: String,
    /// The form.
    pub body: String,
}

/// A running one; it ends when dropped.
#[derive(Debug)]
pub struct Slack {
    address: SocketAddr,
    messages: watch::Receiver<Vec<Value>>,
    task: JoinHandle<()>,
}

impl Drop for Slack {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Now, in seconds.
#[must_use]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

// === impl Message ===

impl Message {
    /// What an honest director posts about `request`.
    #[must_use]
    pub fn of(request: &ApprovalRequest) -> Self {
        Self { blocks: slack::blocks(request), value: slack::value(&request.name_any(), &request.spec.change) }
    }
}

// === impl Callback ===

impl Callback {
    /// `user`, as TEAM/USER, pressed the button `verdict` of `message` at `at`, in an app that signs with `secret`.
    #[must_use]
    pub fn pressed(secret: &str, user: &str, verdict: &str, message: &Message, at: i64) -> Self {
        let (team, user) = user.split_once('/').unwrap();
        let payload = json!({
            "type": "block_actions", "api_app_id": "A0EXAMPLE", "team": {"id": team, "domain": "test"},
            "user": {"id": user, "username": "somebody", "name": "somebody", "team_id": team}, "channel": {"id": CHANNEL, "name": "sre"},
            "response_url": "https://hooks.slack.invalid/actions/1/x", "trigger_id": "1.2.3",
            "actions": [{"type": "button", "block_id": "assent_approval", "action_id": verdict, "value": message.value, "action_ts": format!("{at}.000000")}],
            "message": {"type": "message", "text": "Assent asks", "ts": "1531420618.000100", "blocks": message.blocks},
        });
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = format!("v0={}", hex::encode(hmac::sign(&key, format!("v0:{at}:{body}").as_bytes())));
        Self { timestamp: at.to_string(), signature, body }
    }

    /// The approval that the director makes of it, where it says this of `request`.
    #[must_use]
    pub fn word(&self, user: &str, verdict: Verdict, request: &ApprovalRequest) -> Approval {
        let slack = Some(Pressed { timestamp: self.timestamp.clone(), signature: self.signature.clone(), body: self.body.clone() });
        let (request, change) = (request.name_any(), request.spec.change.clone());
        Approval::named(ApprovalSpec { request, change, verdict, user: format!("slack:{user}"), groups: vec![], comment: String::new(), slack }).unwrap()
    }

    /// Posts it to a director, once that listens; status and body of what it says.
    pub async fn post(&self, director: SocketAddr) -> (u16, String) {
        let post = || {
            let request = reqwest::Client::new().post(format!("http://{director}/v1/slack")).header("X-Slack-Request-Timestamp", &self.timestamp);
            let form = request.header("X-Slack-Signature", &self.signature).header("Content-Type", "application/x-www-form-urlencoded");
            form.body(self.body.clone()).send()
        };
        let answered = async {
            loop {
                match post().await {
                    Ok(answer) => return (answer.status().as_u16(), answer.text().await.unwrap()),
                    // It was killed a moment ago.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("the director never answered")
    }
}

// === impl Slack ===

impl Slack {
    /// One that takes messages of the bot alone.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (taken, messages) = watch::channel(Vec::new());
        let router = Router::new().route("/api/chat.postMessage", post(take)).with_state(taken);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, messages, task }
    }

    /// What a director is told to ask there; `files` keeps the token.
    #[must_use]
    pub fn flags(&self, files: &Path) -> Vec<String> {
        let token = files.join("slack-token");
        std::fs::write(&token, BOT_TOKEN).unwrap();
        vec![format!("--slack-channel={CHANNEL}"), format!("--slack-token-file={}", token.display()), format!("--slack-api-url=http://{}/api", self.address)]
    }

    /// Everything that was posted, once it is so much.
    pub async fn messages(&mut self, count: usize) -> Vec<Value> {
        let posted = tokio::time::timeout(PATIENCE, self.messages.wait_for(|messages| messages.len() >= count));
        posted.await.expect("nothing was posted").unwrap().clone()
    }
}

async fn take(State(taken): State<watch::Sender<Vec<Value>>>, headers: HeaderMap, Json(message): Json<Value>) -> Json<Value> {
    if headers.get("Authorization").and_then(|value| value.to_str().ok()) != Some(&format!("Bearer {BOT_TOKEN}")) {
        return Json(json!({"ok": false, "error": "invalid_auth"}));
    }
    taken.send_modify(|messages| messages.push(message));
    Json(json!({"ok": true, "channel": CHANNEL, "ts": "1531420618.000100"}))
}

// === impl World ===

impl World {
    /// Gives the gate this signing secret.
    pub fn sign_with(&self, secret: &str) {
        std::fs::write(self.files().join("slack-secret"), secret).unwrap();
    }

    /// Lets somebody of Slack, as TEAM/USER, approve in the shop.
    pub async fn let_slack_approve(&self, user: &str) {
        self.approvers().await;
        let name = format!("slack:{user}");
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "assent-approver"});
        let subjects = json!([{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]);
        let metadata = json!({"name": format!("approves-{}", user.to_lowercase().replace('/', "-")), "namespace": SHOP});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects});
        apply(&self.admin, &binding).await;
    }

    /// A Blueprint that asks one of `approvers`, in chat too, before `operation`.
    pub async fn chat_blueprint(&self, name: &str, operation: &str, approvers: &[&str]) {
        let spec = json!({
            "target": {"kind": "Deployment", "name": name}, "mode": "autonomous", "limits": {"maxReplicas": 5},
            "operations": {"allowed": ["RollbackWorkload"], "restricted": [{"operation": operation, "approvers": approvers, "chat": true}]},
        });
        apply(&self.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": name, "namespace": SHOP}, "spec": spec}))
            .await;
    }
}
