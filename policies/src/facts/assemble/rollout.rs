//! Where a rollout stands, from the workload's status, by the rules of `kubectl rollout status`.
//!
//! One rule differs: kubectl also waits for every pod to be available, and goes on waiting when a pod falls ill long after
//! its rollout. A repair happens exactly then, so a rollout that the controller has called complete stays settled.

use serde_json::Value;

use super::object::Object;
use super::workload::Kind;
use crate::facts::{FactsError, Rollout};

pub(super) fn rollout(kind: Kind, object: &Object<'_>) -> Result<Rollout, FactsError> {
    // Until the controller has seen the newest spec, nothing in its status is about it.
    if object.generation("/metadata/generation")? > object.generation("/status/observedGeneration")? {
        return Ok(Rollout::Progressing);
    }
    match kind {
        Kind::Deployment => deployment(object),
        Kind::StatefulSet => stateful_set(object).map(settled),
        Kind::DaemonSet => {
            let updated = object.count("/status/updatedNumberScheduled")?.unwrap_or_default();
            Ok(settled(updated >= object.count("/status/desiredNumberScheduled")?.unwrap_or_default()))
        }
    }
}

fn settled(is: bool) -> Rollout {
    if is { Rollout::Settled } else { Rollout::Progressing }
}

fn deployment(object: &Object<'_>) -> Result<Rollout, FactsError> {
    let reason = object.condition("Progressing")?.and_then(|condition| condition.get("reason")).and_then(Value::as_str);
    if reason == Some("ProgressDeadlineExceeded") {
        return Ok(Rollout::Stalled);
    }
    let number = |field: &str| object.count(field).map(Option::unwrap_or_default);
    let (all, updated, available) = (number("/status/replicas")?, number("/status/updatedReplicas")?, number("/status/availableReplicas")?);
    let wanted = object.count("/spec/replicas")?.unwrap_or(1);
    // The controller's own rule: this reason stays from the end of a rollout to the beginning of the next one.
    let completed = reason == Some("NewReplicaSetAvailable") && all == updated;
    Ok(settled(completed || (updated >= wanted && all <= updated && available >= updated)))
}

/// A StatefulSet is done when the revision that it updates to is the one it has, or the part above its partition is updated.
fn stateful_set(object: &Object<'_>) -> Result<bool, FactsError> {
    let partition = object.count("/spec/updateStrategy/rollingUpdate/partition")?.unwrap_or_default();
    let updated = object.count("/status/updatedReplicas")?.unwrap_or_default();
    let wanted = object.count("/spec/replicas")?.unwrap_or(1);
    let same = object.text("/status/updateRevision")? == object.text("/status/currentRevision")?;
    Ok(same || (partition > 0 && updated >= wanted.saturating_sub(partition)))
}
