//! Finds pods that should have a sidecar and have none, and tells people: an event on the pod, a gauge and a log line.
//!
//! Injection fails open, so this is how a hole is noticed. It changes and blocks nothing. A pod is reported once per process.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use assent_runtime::metrics::metrics::{family::Family, gauge::Gauge};
use assent_runtime::metrics::registry::Registry;
use assent_runtime::telemetry;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::ListParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource as _, ResourceExt as _};

use super::pod::{Settings, inject};

const LABEL: &str = "assent.dev/inject=enabled";
/// Pods asked for at once.
const PAGE: u32 = 500;
/// Admitted while the injector was away, or before the namespace was labelled.
const MISSED: &str = "missed";

/// Gauges of pods without a sidecar.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    unmeshed: Family<[(&'static str, &'static str); 1], Gauge>,
}

/// A pod without a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    reason: &'static str,
    note: String,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("assent_injector_unmeshed_pods", "Pods of labelled namespaces without a sidecar, by reason", metrics.unmeshed.clone());
        metrics
    }
}

/// Searches every `every`, for ever.
pub(super) async fn watch(client: Client, settings: Settings, metrics: Metrics, every: Duration) {
    let recorder = Recorder::new(client.clone(), Reporter::from("assent-injector"));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported = HashSet::new();
    loop {
        ticks.tick().await;
        if let Err(error) = search(&client, &settings, &metrics, &recorder, &mut reported).await {
            tracing::warn!(error = telemetry::chain(&error), "pods without a sidecar could not be searched for");
        }
    }
}

async fn search(client: &Client, settings: &Settings, metrics: &Metrics, recorder: &Recorder, reported: &mut HashSet<String>) -> Result<(), kube::Error> {
    let mut counts: BTreeMap<&'static str, i64> = BTreeMap::new();
    let mut present = HashSet::new();
    let namespaces = Api::<Namespace>::all(client.clone()).list(&ListParams::default().labels(LABEL)).await?;
    for namespace in namespaces.iter().map(|namespace| namespace.name_any()) {
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = pods.list(&page).await?;
            for pod in &listed.items {
                let Some(gap) = gap(pod, &namespace, settings) else { continue };
                *counts.entry(gap.reason).or_default() += 1;
                let uid = pod.uid().unwrap_or_default();
                present.insert(uid.clone());
                if !reported.contains(&uid) && report(recorder, pod, &namespace, &gap).await {
                    reported.insert(uid);
                }
            }
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    reported.retain(|uid| present.contains(uid));
    metrics.unmeshed.clear();
    for (reason, count) in counts {
        metrics.unmeshed.get_or_create(&[("reason", reason)]).set(count);
    }
    Ok(())
}

/// Why `pod` has no sidecar though it should; none when it has one, wants none, or is over.
fn gap(pod: &Pod, namespace: &str, settings: &Settings) -> Option<Gap> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let value = serde_json::to_value(pod).ok()?;
    match inject(&value, namespace, settings) {
        Ok(_) => Some(Gap { reason: MISSED, note: "the pod was created without a sidecar and is not meshed; recreate it".to_owned() }),
        Err(skip) if skip.is_expected() => None,
        Err(skip) => Some(Gap { reason: skip.reason(), note: format!("the pod is not meshed: {skip}") }),
    }
}

/// Whether the event was written; one that was not is tried again at the next search.
async fn report(recorder: &Recorder, pod: &Pod, namespace: &str, gap: &Gap) -> bool {
    tracing::warn!(k8s.namespace.name = namespace, k8s.pod.name = pod.name_any(), reason = gap.reason, "a pod has no sidecar");
    let event = Event { type_: EventType::Warning, reason: "Unmeshed".to_owned(), note: Some(gap.note.clone()), action: "Inject".to_owned(), secondary: None };
    match recorder.publish(&event, &pod.object_ref(&())).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = telemetry::chain(&error), "an event could not be written");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn check(change: serde_json::Value) -> Option<&'static str> {
        let settings = Command::parse_from(["injector", "--sidecar-image=x"]).settings;
        let mut pod = json!({
            "metadata": { "name": "web", "annotations": {} },
            "spec": { "serviceAccountName": "web", "containers": [{ "name": "app" }] },
            "status": { "phase": "Running" },
        });
        json_patch::merge(&mut pod, &change);
        gap(&serde_json::from_value(pod).unwrap(), "shop", &settings).map(|gap| gap.reason)
    }

    #[test]
    fn reports_only_living_pods_that_should_be_meshed() {
        assert_eq!(check(json!({})), Some(MISSED));
        assert_eq!(check(json!({ "spec": { "hostNetwork": true } })), Some("host_network"));
        assert_eq!(check(json!({ "metadata": { "annotations": { "assent.dev/inject": "disabled" } } })), None);
        assert_eq!(check(json!({ "status": { "phase": "Succeeded" } })), None);
        assert_eq!(check(json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })), None);
        assert_eq!(check(json!({ "spec": { "initContainers": [{ "name": "assent-sidecar" }] } })), None);
    }
}
