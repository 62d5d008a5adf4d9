//! Stored objects as the facts that `core` judges by. The gate, the executor and the plugin all read them through here, so
//! that what is seen before a write and at the write is the same.

use assent_core::canonical::{self, Digest};
use assent_core::ids::UnixMillis;
use assent_core::ledger::Position;
use assent_core::plan::{BlueprintFacts, BlueprintPin};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cast::parse_plan;
use crate::resources::{Blueprint, Remediation};

/// Server-set creation time.
pub fn created_at(object: &impl ResourceExt) -> Option<UnixMillis> {
    object.creation_timestamp().map(|time| UnixMillis(time.0.as_millisecond()))
}

/// A Blueprint as authority; `None` when the object was never stored.
#[must_use]
pub fn blueprint(stored: &Blueprint) -> Option<BlueprintFacts> {
    let created = created_at(stored)?;
    Some(BlueprintFacts {
        pin: BlueprintPin { name: stored.name_any(), uid: stored.uid()?, generation: stored.metadata.generation? },
        mode: stored.spec.mode,
        actions: stored.spec.actions.iter().map(|action| action.name.clone()).collect(),
        min_replicas: stored.spec.limits.min_replicas,
        max_replicas: stored.spec.limits.max_replicas,
        // Creation is a change too: `managedFields` may be absent.
        changed_at: changed_at(&stored.metadata).unwrap_or(created).max(created),
    })
}

/// When anybody last wrote the object itself, as its `managedFields` say; writes of its status do not count.
#[must_use]
pub fn changed_at(metadata: &ObjectMeta) -> Option<UnixMillis> {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let times = entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty()).filter_map(|entry| entry.time.as_ref());
    times.map(|time| UnixMillis(time.0.as_millisecond())).max()
}

/// Where the ledger stood for the newest of these plans, and the start when there is none; plans that cannot be read do not
/// count.
#[must_use]
pub fn newest_position(plans: &[Remediation]) -> Position {
    let positions = plans.iter().filter_map(|stored| parse_plan(stored).ok()).map(|plan| plan.ledger.position());
    positions.max_by_key(Position::order).unwrap_or_else(Position::start)
}

/// Digest of what a ConfigMap says: its `data` and `binaryData`.
pub fn configuration_content(config_map: &Value) -> Result<Digest, canonical::Error> {
    let part = |key: &str| config_map.get(key).cloned().filter(|value| !value.is_null()).unwrap_or(json!({}));
    Digest::of(&json!({"data": part("data"), "binaryData": part("binaryData")}))
}
