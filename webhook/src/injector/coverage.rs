//! Finds pods that should have a sidecar and have none, and tells people: an event on the pod, a gauge and a log line.
//!
//! Injection fails open, so this is how a hole is noticed. It changes and blocks nothing. A pod is reported once per process.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use assent_api::mesh::{Gap, gap, labelled_at};
use assent_runtime::metrics::metrics::{family::Family, gauge::Gauge};
use assent_runtime::metrics::registry::Registry;
use assent_runtime::telemetry;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::ListParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource as _, ResourceExt as _};

use super::pod::Settings;

const LABEL: &str = "assent.dev/inject=enabled";
/// Pods asked for at once.
const PAGE: u32 = 500;

/// Gauges of pods without a sidecar.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    unmeshed: Family<[(&'static str, &'static str); 1], Gauge>,
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
    for (namespace, labelled) in namespaces.iter().map(|namespace| (namespace.name_any(), labelled_at(namespace))) {
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = pods.list(&page).await?;
            for pod in &listed.items {
                let Some(gap) = gap(pod, &namespace, &settings.control_namespace, labelled) else { continue };
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
