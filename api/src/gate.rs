//! What the gate's webhook configuration must look like, as one digest that stands in the roster.

use assent_core::canonical::{self, Digest};
use serde_json::Value;

/// Digest of a ValidatingWebhookConfiguration's `webhooks`, as the API server returns them, without any `caBundle`: those may
/// be renewed, everything else may not change unnoticed.
pub fn configuration_digest(configuration: &Value) -> Result<Digest, canonical::Error> {
    let mut webhooks = configuration.get("webhooks").cloned().unwrap_or(Value::Null);
    for webhook in webhooks.as_array_mut().into_iter().flatten() {
        if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
            client.remove("caBundle");
        }
    }
    Digest::of(&webhooks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_ca_bundle_may_change() {
        let of = |bundle: &str, policy: &str| {
            let webhook = json!({"name": "a", "failurePolicy": policy, "clientConfig": {"url": "u", "caBundle": bundle}});
            configuration_digest(&json!({"metadata": {"generation": 3}, "webhooks": [webhook]})).unwrap()
        };
        assert_eq!(of("x", "Fail"), of("y", "Fail"));
        assert_ne!(of("x", "Fail"), of("x", "Ignore"));
    }
}
