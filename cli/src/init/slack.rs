//! People in Slack, as an overlay names them: what the director is told, and that it and Slack may reach each other. Both secrets are
//! made by whoever made the Slack app; the signing secret is the gate's alone.

use serde_json::{Value, json};

use super::keys::metadata;

/// What the director is told.
pub(super) fn environment(channel: &str) -> Vec<Value> {
    let all = [("ASSENT_SLACK_CHANNEL", channel), ("ASSENT_SLACK_TOKEN_FILE", "/var/run/assent/slack/token")];
    all.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// Slack has no address that a policy could name, and neither has whoever brings in what was pressed there.
pub(super) fn policy() -> Value {
    let director = json!({"matchLabels": {"app.kubernetes.io/name": "assent-director"}});
    let egress = json!([{"ports": [{"protocol": "TCP", "port": 443}]}]);
    let ingress = json!([{"ports": [{"protocol": "TCP", "port": 8082}]}]);
    let spec = json!({"podSelector": director, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata("assent-director-slack"), "spec": spec})
}

/// A channel by its id: a name can be given to another one.
pub(super) fn channel(text: &str) -> Result<String, String> {
    let is_id = (2..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if is_id { Ok(text.to_owned()) } else { Err("expected a channel's id, for example `C024BE91L`".into()) }
}
