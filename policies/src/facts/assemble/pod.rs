//! The pod that is evicted: what would be lost with it, and who makes a new one.

use assent_core::workload::is_on_node;
use serde_json::Value;

use super::object::Object;
use super::workload::owner;
use crate::facts::{FactsError, PodFact};

/// What `value` is.
pub(super) fn pod(value: &Value) -> Result<PodFact, FactsError> {
    let pod = Object::of("Pod", value)?;
    let uid = pod.text("/metadata/uid")?.ok_or_else(|| pod.unreadable("/metadata/uid", "it is not there"))?;
    let ready = pod.condition("Ready")?.and_then(|ready| ready.get("status")).and_then(Value::as_str) == Some("True");
    Ok(PodFact { name: pod.name.to_owned(), uid: uid.to_owned(), ready, owner: owner(&pod)?, local_volumes: local_volumes(&pod)? })
}

/// Volumes whose content goes with the pod.
fn local_volumes(pod: &Object<'_>) -> Result<Vec<String>, FactsError> {
    const FIELD: &str = "/spec/volumes";
    let name = |volume: &Value| volume.get("name").and_then(Value::as_str).map(str::to_owned);
    let volumes = pod.list(FIELD)?.iter().filter(|volume| is_on_node(volume));
    volumes.map(|volume| name(volume).ok_or_else(|| pod.unreadable(FIELD, "a volume has no name"))).collect()
}
