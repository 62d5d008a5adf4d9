//! The change that a voted action makes of the target as it is.

use assent_core::action::{Action, Owned, Part};
use assent_core::ballot::Proposal;
use assent_core::canary::{self, Canary};
use assent_core::canonical::Digest;
use assent_core::refusal::{Refusal, Rule};
use serde_json::{Value, json};

use crate::reader::Live;

/// A write: the object before and after.
#[derive(Clone, Debug)]
pub struct Change {
    /// Before.
    pub old: Value,
    /// After.
    pub new: Value,
}

/// The voted change of `workload`, by the action's own function, with the rest held back where it begins with one pod (`canary`); `pod` is
/// the one that goes, if one goes ([`Live::evicted`]).
///
/// # Errors
/// If it cannot be made, or would change nothing.
pub async fn change(live: &Live, proposal: &Proposal, canary: Option<&Canary>, workload: &Value, pod: Option<&Owned>) -> Result<Change, Refusal> {
    let material = material(live, proposal, pod).await?;
    let act = proposal.action.act();
    let old = object_of(proposal, workload);
    let new = act.expected(&old, material.as_ref()).map_err(|reason| Refusal::new(Rule::Difference, reason, "a target that the action can change"))?;
    if new == old {
        return Err(stale("the target already is as voted, so the write would change nothing"));
    }
    let new = canary::first(canary, new).map_err(|reason| Refusal::new(Rule::Canary, reason, "a workload that can be held back"))?;
    Ok(Change { old, new })
}

/// What the action only names: the pod that goes, or the pod template, from whichever revision still has it.
async fn material(live: &Live, proposal: &Proposal, pod: Option<&Owned>) -> Result<Option<Value>, Refusal> {
    if let Some(evict) = proposal.action.evicts() {
        let pod = pod.map(|owned| &owned.pod).filter(|pod| evict.is(pod));
        return pod.cloned().map(Some).ok_or_else(|| stale("the pod that is to go is gone"));
    }
    let Action::RollbackWorkload(rollback) = &proposal.action else { return Ok(None) };
    let templates = live.templates(&proposal.target).await?;
    let found = templates.into_iter().find(|template| Digest::of(template).is_ok_and(|digest| digest == rollback.template));
    found.map(Some).ok_or_else(|| stale("no revision holds the pod template to roll back to"))
}

fn stale(reason: &str) -> Refusal {
    Refusal::new(Rule::Stale, reason, "the object with the uid, generation and spec that the seats judged")
}

/// The object that the proposed write replaces; null where it makes a new one.
#[must_use]
pub fn object_of(proposal: &Proposal, workload: &Value) -> Value {
    match proposal.action.act().part().subresource {
        Part::SCALE => scale_of(workload),
        Part::EVICTION => Value::Null,
        _ => workload.clone(),
    }
}

/// The Scale of a workload as the API server derives it: all that its update looks at. Built rather than read, so that
/// nobody needs a read verb on it.
#[must_use]
pub fn scale_of(workload: &Value) -> Value {
    let field = |pointer: &str| workload.pointer(pointer).cloned().unwrap_or(Value::Null);
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[key] = field(&format!("/metadata/{key}"));
    }
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": field("/spec/replicas")}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_carries_the_preconditions_of_its_workload() {
        let workload = json!({"metadata": {"name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}}, "spec": {"replicas": 2, "template": {}}});
        let scale = scale_of(&workload);
        assert_eq!(scale.pointer("/metadata/resourceVersion"), Some(&json!("7")));
        assert_eq!(scale.pointer("/metadata/uid"), Some(&json!("u")));
        assert_eq!(scale.get("spec"), Some(&json!({"replicas": 2})));
    }
}
