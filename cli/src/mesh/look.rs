//! What there is to say about the sidecar of each pod: a pure function of the pods.

use assent_api::mesh::{ADDED, Mode, SIDECAR, Skip, gap, is_over, judge};
use assent_api::names::SYSTEM_NAMESPACE;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

/// One thing about one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remark {
    pub(super) namespace: String,
    pub(super) pod: String,
    /// What made the pod, `KIND/NAME`.
    pub(super) workload: String,
    pub(super) reason: &'static str,
    pub(super) note: String,
    /// Whether somebody should do something.
    pub(super) to_do: bool,
}

/// How many pods are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) meshed: usize,
    pub(super) unmeshed: usize,
    pub(super) opted_out: usize,
}

/// Looks at the pods of one namespace that was labelled at `labelled`, where `installed` is the sidecar's image.
pub(super) fn look(pods: &[Pod], namespace: &str, labelled: Option<Timestamp>, installed: &str) -> (Vec<Remark>, Counts) {
    let (mut remarks, mut counts) = (Vec::new(), Counts::default());
    for pod in pods.iter().filter(|pod| !is_over(pod)) {
        let mut remark = |reason, to_do, note: String| {
            let (namespace, pod_name, workload) = (namespace.to_owned(), pod.name_any(), workload(pod));
            remarks.push(Remark { namespace, pod: pod_name, workload, reason, note, to_do });
        };
        if let Some(gap) = gap(pod, namespace, SYSTEM_NAMESPACE, labelled) {
            counts.unmeshed += 1;
            remark(gap.reason, true, gap.note);
            continue;
        }
        let Some(sidecar) = sidecar(pod) else {
            let value = serde_json::to_value(pod).unwrap_or_default();
            if judge(&value, namespace, SYSTEM_NAMESPACE) == Err(Skip::OptedOut) {
                counts.opted_out += 1;
                remark("opted_out", false, "the pod wants no sidecar".into());
            }
            continue;
        };
        counts.meshed += 1;
        if !status(pod).is_some_and(|status| status.ready) {
            remark("not_ready", true, format!("its sidecar is not ready{}", why(pod)));
        }
        let image = sidecar.image.as_deref().unwrap_or_default();
        if image != installed {
            remark("outdated", true, format!("its sidecar is {image}; `kubectl assent mesh upgrade` gives it the installed one"));
        }
        if Mode::of(&serde_json::to_value(pod).unwrap_or_default()) == Some(Mode::Explicit) {
            let said = pod.annotations().get(ADDED).and_then(|said| said.split_once("; ")).map_or("no redirect", |(_, said)| said);
            remark("explicit", false, said.to_owned());
        }
    }
    (remarks, counts)
}

/// The sidecar as it stands in the pod.
pub(super) fn sidecar(pod: &Pod) -> Option<&Container> {
    pod.spec.as_ref()?.init_containers.as_ref()?.iter().find(|container| container.name == SIDECAR)
}

/// The sidecar as it runs.
pub(super) fn status(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.init_container_statuses.as_ref()?.iter().find(|status| status.name == SIDECAR)
}

/// Who made the pod.
pub(super) fn workload(pod: &Pod) -> String {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    owner.map_or_else(|| format!("Pod/{}", pod.name_any()), |owner| format!("{}/{}", owner.kind, owner.name))
}

/// What the kubelet says about a container that does not run, as `: REASON`.
pub(super) fn why(pod: &Pod) -> String {
    let state = status(pod).and_then(|status| status.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| waiting.reason.clone());
    let ended = state.and_then(|state| state.terminated.as_ref()).map(|ended| format!("it ended with {}", ended.exit_code));
    waiting.or(ended).map(|why| format!(": {why}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const INSTALLED: &str = "registry.example/assent-sidecar:2";

    fn pod(name: &str, init: Value, statuses: Value, annotations: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "creationTimestamp": "2026-01-02T00:00:00Z", "annotations": annotations,
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1", "controller": true }],
            },
            "spec": { "serviceAccountName": "db", "initContainers": init, "containers": [{ "name": "app" }] },
            "status": { "phase": "Running", "initContainerStatuses": statuses },
        }))
        .unwrap()
    }

    fn ready(ready: bool, state: Value) -> Value {
        json!([{ "name": SIDECAR, "image": "", "imageID": "", "ready": ready, "restartCount": 0, "state": state }])
    }

    #[test]
    fn says_what_is_wrong_with_whom_and_what_only_is_so() {
        let of = |image: &str| json!([{ "name": SIDECAR, "image": image }, { "name": "assent-redirect", "image": image }]);
        let crashed = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let pods = [
            pod("well", of(INSTALLED), ready(true, json!({})), json!({})),
            pod("old", of("registry.example/assent-sidecar:1"), ready(true, json!({})), json!({})),
            pod("broken", of(INSTALLED), ready(false, crashed), json!({})),
            pod("bare", json!([]), json!([]), json!({})),
            pod("out", json!([]), json!([]), json!({ "assent.dev/inject": "disabled" })),
            pod("explicit", json!([{ "name": SIDECAR, "image": INSTALLED }]), ready(true, json!({})), json!({ ADDED: "a native sidecar; no redirect: some" })),
        ];
        let (remarks, counts) = look(&pods, "shop", Some("2026-01-01T00:00:00Z".parse().unwrap()), INSTALLED);
        let short: Vec<(&str, &str, bool)> = remarks.iter().map(|remark| (remark.pod.as_str(), remark.reason, remark.to_do)).collect();
        let expected =
            [("old", "outdated", true), ("broken", "not_ready", true), ("bare", "missed", true), ("out", "opted_out", false), ("explicit", "explicit", false)];
        assert_eq!(short, expected);
        assert_eq!(counts, Counts { meshed: 4, unmeshed: 1, opted_out: 1 });
        assert_eq!(remarks[1].note, "its sidecar is not ready: CrashLoopBackOff");
        assert_eq!((remarks[4].note.as_str(), remarks[0].workload.as_str()), ("no redirect: some", "StatefulSet/db"));
    }

    #[test]
    fn a_pod_from_before_the_label_is_told_from_one_that_was_missed() {
        let early = [pod("bare", json!([]), json!([]), json!({}))];
        assert_eq!(look(&early, "shop", Some("2026-01-03T00:00:00Z".parse().unwrap()), INSTALLED).0[0].reason, "early");
    }
}
