//! EvictPod: one pod of several goes, and its workload's controller makes a new one of the same template.
//!
//! It is asked for through the Eviction API under the pod's UID, so that a pod of the same name that came meanwhile is another
//! one, and every disruption budget is heard. The desired state is kept, so the inverse is empty. The target is the workload:
//! rules, breaker and votes speak of it, and that the pod is one of its own is proven at the plan and at the write.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Act, Inverse, Part, Risk, owned_by_nobody};
use crate::target::Target;
use crate::workload::Kind;

pub(super) const NAME: &str = "EvictPod";
const PART: Part = Part { subresource: Part::EVICTION, roots: &[] };

/// Parameters of EvictPod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evict {
    /// Name of the pod.
    pub pod: String,
    /// Its UID.
    pub uid: String,
}

/// A pod, with the ReplicaSet that stands between it and a Deployment, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The pod.
    pub pod: Value,
    /// What controls it, if that is a ReplicaSet.
    pub between: Option<Value>,
}

/// Who controls an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
}

// === impl Evict ===

impl Evict {
    /// Whether this is the pod that is meant, it still runs, and it is one of `target`'s.
    ///
    /// # Errors
    /// In words, if not.
    pub fn judge(&self, owned: Option<&Owned>, target: &Target) -> Result<(), String> {
        let Some(owned) = owned.filter(|owned| self.is(&owned.pod)) else { return Err(format!("pod `{:.253}` is gone", self.pod)) };
        if owned.pod.pointer("/metadata/deletionTimestamp").is_some() {
            return Err(format!("pod `{:.253}` is going already", self.pod));
        }
        let by = |object: &Value, kind: &str, uid: &str| controller(object).is_some_and(|owner| (owner.kind, owner.uid) == (kind, uid));
        let of_target = |object: &Value| by(object, &target.kind, &target.uid);
        let within = |set: &Value| by(&owned.pod, "ReplicaSet", set.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()) && of_target(set);
        if of_target(&owned.pod) || owned.between.as_ref().is_some_and(within) {
            return Ok(());
        }
        Err(format!("pod `{:.253}` is none of {target}'s", self.pod))
    }

    /// Whether it is there and nobody asked it to go, whoever controls it.
    #[must_use]
    pub fn stands(&self, owned: Option<&Owned>) -> bool {
        owned.is_some_and(|owned| self.is(&owned.pod) && owned.pod.pointer("/metadata/deletionTimestamp").is_none())
    }

    /// Whether `pod` is the one that is meant.
    #[must_use]
    pub fn is(&self, pod: &Value) -> bool {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
        (text("/metadata/name"), text("/metadata/uid")) == (Some(&self.pod), Some(&self.uid))
    }
}

/// What of `apps/v1` controls an object, if something does.
#[must_use]
pub fn controller(object: &Value) -> Option<Controller<'_>> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let text = |key: &str| owner.get(key).and_then(Value::as_str);
    // What has the same kind in another group is another kind.
    (text("apiVersion") == Some("apps/v1")).then_some(Controller { kind: text("kind")?, name: text("name")?, uid: text("uid")? })
}

impl Act for Evict {
    fn name(&self) -> &'static str {
        NAME
    }

    fn risk(&self) -> Risk {
        Risk::Low
    }

    fn part(&self) -> Part {
        PART
    }

    fn preconditions(&self, workload: &Value) -> Result<(), String> {
        let counts = Kind::of_object(workload)?.counts(workload);
        owned_by_nobody(workload)?;
        // Where pods run two templates, the new one might run what the evicted one did not.
        if !counts.observed {
            return Err("its controller has not seen its newest template yet, so a new pod might be of another one".into());
        }
        if counts.updated != counts.exist {
            return Err(format!("{} of {} pods run the newest template, so a new pod might be of another one", counts.updated, counts.exist));
        }
        if counts.exist < 2 {
            return Err("it is the only pod: a restart makes a new one before it takes the old one".into());
        }
        // Whatever holds the others up may hold up the new one, and an ordered StatefulSet makes none before they are ready.
        if counts.ready.saturating_add(1) < counts.exist {
            return Err(format!("{} of {} pods are ready, so it is not one pod alone that is ill", counts.ready, counts.exist));
        }
        Ok(())
    }

    fn expected(&self, _old: &Value, material: Option<&Value>) -> Result<Value, String> {
        let pod = material.filter(|pod| self.is(pod)).ok_or_else(|| format!("pod `{:.253}` is gone", self.pod))?;
        let namespace = pod.pointer("/metadata/namespace").cloned().unwrap_or_default();
        Ok(json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": self.pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": self.uid}},
        }))
    }

    fn inverse(&self, _workload: &Value) -> Result<Inverse, String> {
        Ok(Inverse::Empty)
    }

    fn describe(&self) -> String {
        format!("evict pod {:.253}", self.pod)
    }
}
