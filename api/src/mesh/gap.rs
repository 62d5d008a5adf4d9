//! Why a pod that exists is not meshed though it should be: what the injector reports by itself, and `kubectl assent mesh
//! check` on demand.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{REDIRECT, judge};

/// A pod without a sidecar, or with one that nothing passes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// A metric label.
    pub reason: &'static str,
    /// For people.
    pub note: String,
}

/// Why `pod` is not meshed though it should be; none when it is, wants not to be, or is over. `labelled` is when its namespace
/// was labelled, where that is known.
#[must_use]
pub fn gap(pod: &Pod, namespace: &str, control: &str, labelled: Option<Timestamp>) -> Option<Gap> {
    if is_over(pod) {
        return None;
    }
    if let Some(why) = redirect_failure(pod) {
        return Some(Gap { reason: "redirect_failed", note: format!("the pod's traffic is not redirected: {why}") });
    }
    let value = serde_json::to_value(pod).ok()?;
    match judge(&value, namespace, control) {
        Ok(_) => {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let early = matches!((created, labelled), (Some(created), Some(labelled)) if created < labelled);
            let (reason, why) = if early { ("early", "before its namespace was labelled") } else { ("missed", "while no injector answered") };
            Some(Gap { reason, note: format!("the pod was created {why} and is not meshed; recreate it") })
        }
        Err(skip) if skip.is_expected() => None,
        Err(skip) => Some(Gap { reason: skip.reason(), note: format!("the pod is not meshed: {skip}") }),
    }
}

/// Whether `pod` has ended or is about to.
#[must_use]
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some()
}

/// What the redirect said when it could not be made. It fails open, so the pod runs.
#[must_use]
pub fn redirect_failure(pod: &Pod) -> Option<&str> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let ended = statuses.iter().find(|status| status.name == REDIRECT)?.state.as_ref()?.terminated.as_ref()?;
    ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty())
}

/// When `namespace` got its label, as far as the API server remembers who wrote it.
#[must_use]
pub fn labelled_at(namespace: &Namespace) -> Option<Timestamp> {
    let label = format!("f:{}", super::INJECT);
    let wrote = |fields: &Value| fields.pointer("/f:metadata/f:labels").is_some_and(|labels| labels.get(&label).is_some());
    let entries = namespace.metadata.managed_fields.iter().flatten();
    let writers = entries.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| wrote(&fields.0)));
    writers.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).min()
}
