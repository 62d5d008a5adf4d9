//! The target as a workload: how many pods it has, who owns it, what a change of it would take away.

use serde_json::Value;

use super::object::Object;
use super::{rollout, strategy};
use crate::facts::{FactsError, Owner, WorkloadFact};

/// The kinds of `apps/v1` that are workloads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

// === impl Kind ===

impl Kind {
    /// None for what is no workload.
    pub(super) fn of(object: &Object<'_>) -> Option<Self> {
        match object.kind {
            "Deployment" => Some(Self::Deployment),
            "StatefulSet" => Some(Self::StatefulSet),
            "DaemonSet" => Some(Self::DaemonSet),
            _ => None,
        }
    }
}

/// What it is, without its revisions; none for what is no workload.
pub(super) fn workload(object: &Object<'_>) -> Result<Option<WorkloadFact>, FactsError> {
    let Some(kind) = Kind::of(object) else { return Ok(None) };
    if object.map("/spec/template")?.is_none() {
        return Err(object.unreadable("/spec/template", "it is not there"));
    }
    let replicas = replicas(kind, object)?;
    let available = match kind {
        Kind::DaemonSet => "/status/numberAvailable",
        Kind::Deployment | Kind::StatefulSet => "/status/availableReplicas",
    };
    Ok(Some(WorkloadFact {
        api_version: object.text("/apiVersion")?.unwrap_or_default().to_owned(),
        kind: object.kind.to_owned(),
        name: object.name.to_owned(),
        replicas,
        available: object.count(available)?.unwrap_or_default(),
        paused: object.flag("/spec/paused")?,
        rollout: rollout::rollout(kind, object)?,
        strategy: strategy::strategy(kind, object, replicas)?,
        owner: owner(object)?,
        priority_class: object.word("/spec/template/spec/priorityClassName")?.map(str::to_owned),
        has_claims: has_claims(object)?,
        scaling_deletes_claims: object.text("/spec/persistentVolumeClaimRetentionPolicy/whenScaled")? == Some("Delete"),
        revisions: Vec::new(),
    }))
}

/// The pods that it should have.
fn replicas(kind: Kind, object: &Object<'_>) -> Result<u32, FactsError> {
    match kind {
        Kind::DaemonSet => object.count("/status/desiredNumberScheduled").map(Option::unwrap_or_default),
        Kind::Deployment | Kind::StatefulSet => object.count("/spec/replicas").map(|replicas| replicas.unwrap_or(1)),
    }
}

pub(super) fn owner(object: &Object<'_>) -> Result<Option<Owner>, FactsError> {
    const FIELD: &str = "/metadata/ownerReferences";
    let controls = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let Some(owner) = object.list(FIELD)?.iter().find(controls) else { return Ok(None) };
    let text = |key: &str| {
        let text = owner.get(key).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| object.unreadable(FIELD, format!("the controller has no `{key}`")))
    };
    Ok(Some(Owner { api_version: text("apiVersion")?, kind: text("kind")?, name: text("name")? }))
}

/// A claim by name, one made for each pod, or one of a StatefulSet's own.
fn has_claims(object: &Object<'_>) -> Result<bool, FactsError> {
    let claims = |volume: &Value| ["persistentVolumeClaim", "ephemeral"].iter().any(|kind| volume.get(kind).is_some_and(|claim| !claim.is_null()));
    Ok(object.list("/spec/template/spec/volumes")?.iter().any(claims) || !object.list("/spec/volumeClaimTemplates")?.is_empty())
}
