//! Whoever watches over security is told when somebody proposes, or a count decides for, what is never done or on a list of what is
//! forbidden. That somebody must be told is an entry of the ledger, and so is that they were: a process that ended in between
//! tells them later, and a receiver that is away is asked again.

use std::path::PathBuf;
use std::time::Duration;

use assent_core::ids::IncidentUid;
use assent_core::ledger::Entry;
use assent_runtime::store::Store as Receiver;
use assent_runtime::telemetry::chain;
use futures::FutureExt as _;
use serde_json::{Value, json};

use crate::director::{Director, Error};
use crate::outbox;

/// Prefixes of the ledger's keys: what must be told, and what was.
const DUE: &str = "security-due/";
const TOLD: &str = "security-told/";
/// How long an alert stands, if nobody silences it.
const STANDS_MS: i64 = 24 * 60 * 60 * 1000;
/// Largest answer that is read.
const ANSWER: usize = 64 * 1024;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SecurityArgs {
    /// Address of an Alertmanager that routes `team: security`. Without one it is only in the ledger, the metrics and the log.
    #[arg(long, env = "ASSENT_SECURITY_ALERTMANAGER_URL")]
    pub security_alertmanager_url: Option<String>,
    /// Bearer token that it is shown; read again for every alert.
    #[arg(long, env = "ASSENT_SECURITY_ALERTMANAGER_TOKEN_FILE", requires = "security_alertmanager_url")]
    pub security_alertmanager_token_file: Option<PathBuf>,
    /// PEM of the CA that signs its certificate, instead of the public ones.
    #[arg(long, env = "ASSENT_SECURITY_ALERTMANAGER_CA_FILE", requires = "security_alertmanager_url")]
    pub security_alertmanager_ca_file: Option<PathBuf>,
}

// === impl SecurityArgs ===

impl SecurityArgs {
    /// The receiver, if there is one.
    ///
    /// # Errors
    /// If its address is none, or its CA cannot be read.
    pub(crate) fn receiver(&self) -> anyhow::Result<Option<Receiver>> {
        let open = |url| Receiver::new(url, self.security_alertmanager_token_file.as_deref(), self.security_alertmanager_ca_file.as_deref());
        self.security_alertmanager_url.as_deref().map(open).transpose()
    }
}

/// Puts on record that somebody must be told of `name`, once.
pub(crate) async fn raise(director: &Director, incident: &IncidentUid, name: &str, body: &Value) -> Result<(), Error> {
    director.store.note(&director.draft(incident, "security-alert", format!("{DUE}{name}"), body.clone())).await?;
    director.metrics.alarmed();
    tracing::warn!(incident.id = %incident, name, "what is forbidden was proposed");
    director.alarmed.send_replace(());
    Ok(())
}

/// Tells whatever is outstanding, until dropped.
pub(crate) async fn run(director: Director, receiver: Option<Receiver>) {
    let Some(receiver) = receiver else { return std::future::pending().await };
    outbox::run(director.alarmed.subscribe(), "whoever watches over security", || tell(&director, &receiver).boxed()).await;
}

/// How many were told.
async fn tell(director: &Director, receiver: &Receiver) -> Result<usize, String> {
    let outstanding = director.store.outstanding(DUE, TOLD).await.map_err(|error| chain(&error))?;
    for (name, entry) in &outstanding {
        let alerts = json!([alert(entry)]);
        let post = tokio::time::timeout(PATIENCE, receiver.post("api/v2/alerts", &alerts, ANSWER));
        post.await.map_err(|_| "no answer in time".to_owned())?.map_err(|error| chain(&error))?;
        let told = director.draft(&entry.incident, "security-told", format!("{TOLD}{name}"), json!({"alert": name, "sequence": entry.sequence}));
        director.store.note(&told).await.map_err(|error| chain(&error))?;
    }
    Ok(outstanding.len())
}

/// As Alertmanager takes it. Its labels are what it is known by, so telling it twice is telling it once.
fn alert(entry: &Entry) -> Value {
    let text = |field: &str| entry.body.get(field).and_then(Value::as_str).unwrap_or_default();
    let (operation, namespace, service, user) = (text("operation"), text("namespace"), text("service"), text("user"));
    let who = if user.is_empty() { "the seats".to_owned() } else { format!("`{user}`") };
    json!({
        "labels": {
            "alertname": "AssentForbiddenOperation", "severity": "critical", "team": "security",
            "operation": operation, "namespace": namespace, "service": service, "incident": entry.incident.as_str(),
        },
        "annotations": {
            "summary": format!("{operation} on {namespace}/{service} was proposed by {who} and is forbidden"),
            "description": format!("{}; said by the proposer: {}", text("because"), text("reason")),
            "command": format!("kubectl assent audit {}", entry.incident),
        },
        "startsAt": entry.at.rfc3339(),
        "endsAt": entry.at.plus(STANDS_MS).rfc3339(),
    })
}

#[cfg(test)]
mod tests {
    use assent_core::ids::UnixMillis;

    use super::*;

    #[test]
    fn an_alert_is_known_by_the_incident_and_says_who_wanted_what() {
        let entry = Entry {
            sequence: 7,
            at: UnixMillis(1_700_000_000_000),
            incident: IncidentUid::of_no_cluster(),
            author: "director".into(),
            kind: "security-alert".into(),
            body: json!({"operation": "delete_deployment", "namespace": "shop", "service": "orders", "user": "bot", "because": "never done", "reason": "tidy"}),
        };
        let alert = alert(&entry);
        assert_eq!(alert["labels"]["incident"], IncidentUid::of_no_cluster().as_str());
        assert_eq!(alert["labels"]["team"], "security");
        assert_eq!(alert["annotations"]["summary"], "delete_deployment on shop/orders was proposed by `bot` and is forbidden");
        assert_eq!(alert["startsAt"], "2023-11-14T22:13:20Z");
    }
}
