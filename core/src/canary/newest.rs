//! Which pods run a workload's newest template.

use serde_json::Value;

use crate::action::controller;
use crate::workload::{Kind, kept_template, plain_template};

/// Of `pods`, those that run `workload`'s newest template and are not on their way out; `sets` are the namespace's ReplicaSets. Empty while
/// the controller has not made one.
#[must_use]
pub fn newest<'a>(workload: &Value, sets: &[Value], pods: &'a [Value]) -> Vec<&'a Value> {
    let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let stays = pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
    let controlled = |object: &Value, uid: &Option<String>| controller(object).map(|owner| owner.uid) == uid.as_deref() && uid.is_some();
    let own = text(workload, "/metadata/uid");
    match Kind::of_object(workload) {
        Ok(Kind::Deployment) => {
            let template = workload.pointer("/spec/template").map(plain_template);
            let set = sets.iter().find(|set| controlled(set, &own) && kept_template(set) == template);
            let set = set.and_then(|set| text(set, "/metadata/uid"));
            stays.filter(|pod| controlled(pod, &set)).collect()
        }
        Ok(Kind::StatefulSet | Kind::DaemonSet) => {
            let revision = text(workload, "/status/updateRevision");
            let runs = |pod: &&Value| revision.is_some() && text(pod, "/metadata/labels/controller-revision-hash") == revision;
            stays.filter(|pod| controlled(pod, &own)).filter(runs).collect()
        }
        Err(_) => Vec::new(),
    }
}
