//! Stored objects as the facts that `core` judges by. The gate, the executor and the plugin all read them through here, so
//! that what is seen before a write and at the write is the same.

use assent_core::blueprint::{ClusterBlueprint, Problem, effective, read, read_cluster};
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

/// A Blueprint by what it is; `None` when the object was never stored.
#[must_use]
pub fn pin(stored: &Blueprint) -> Option<BlueprintPin> {
    Some(BlueprintPin { name: stored.name_any(), uid: stored.uid()?, generation: stored.metadata.generation? })
}

/// A Blueprint as authority, below the rules that stand above its namespace.
///
/// # Errors
/// If it was never stored, or something in it is wrong: what cannot be understood allows nothing.
pub fn blueprint(stored: &Blueprint, above: &[ClusterBlueprint]) -> Result<BlueprintFacts, String> {
    let name = stored.name_any();
    let (Some(created), Some(pin)) = (created_at(stored), pin(stored)) else {
        return Err(format!("Blueprint `{name}` has no uid, generation or creation time"));
    };
    let spec = serde_json::to_value(&stored.spec).map_err(|error| format!("Blueprint `{name}`: {error}"))?;
    let service = read(&spec).into_result().map_err(|problems| format!("Blueprint `{name}`: {}", listed(&problems)))?;
    let namespace = stored.namespace().unwrap_or_default();
    let above: Vec<ClusterBlueprint> = above.iter().filter(|rules| rules.concerns(&namespace)).cloned().collect();
    Ok(BlueprintFacts {
        pin,
        effective: effective(&above, &service),
        // Creation is a change too: `managedFields` may be absent.
        changed_at: changed_at(&stored.metadata).unwrap_or(created).max(created),
    })
}

/// Rules above Blueprints, from the object as it is stored.
///
/// # Errors
/// If something in it is wrong: rules that cannot be understood are not none.
pub fn cluster_blueprint(stored: &Value) -> Result<ClusterBlueprint, String> {
    let name = stored.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let reading = read_cluster(name, stored.get("spec").unwrap_or(&Value::Null));
    reading.into_result().map_err(|problems| format!("ClusterBlueprint `{name}`: {}", listed(&problems)))
}

/// Problems in one text, a line each.
#[must_use]
pub fn listed(problems: &[Problem]) -> String {
    let count = if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
    problems.iter().fold(count, |text, problem| format!("{text}\n  {problem}"))
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
