//! What people change: workloads, their earlier templates and the ConfigMaps that they refer to, pruned to digests on arrival.
//!
//! ConfigMaps are read one by one by name, so that this seat needs no right to list them; Secrets are not read at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assent_api::facts;
use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::seats::Seat as _;
use assent_core::seats::change::{Template, View, Workload};
use assent_core::target::{Service, is_system_namespace};
use assent_core::workload::{Kind, revision};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use crate::held::{Held, now};
use crate::metrics::Metrics;
use crate::pods::Pods;
use crate::watching::{Change, follow};

/// Between two looks at configuration and images.
const LOOK: Duration = Duration::from_secs(3);
/// ConfigMaps that are read at the same time.
const AT_ONCE: usize = 4;
/// Which ControllerRevision a pod is of: its name for a StatefulSet's, this label's value on both for a DaemonSet's.
const REVISION_HASH: &str = "controller-revision-hash";
/// Every kind of workload, ReplicaSets and ControllerRevisions were listed once.
const ALL: u8 = 0b1_1111;

/// An object that keeps an earlier template.
#[derive(Clone, Debug)]
struct Kept {
    service: Service,
    template: Digest,
    pods: PodsOf,
}

/// The pods of one template: UID of who controls them, and where that is the workload itself, the mark of the revision.
type PodsOf = (String, Option<String>);

/// The feeder of the change seat.
#[derive(Debug)]
pub(crate) struct Changes {
    held: Arc<Held<View>>,
    pods: Pods,
    workloads: Mutex<HashMap<String, (Service, Workload)>>,
    kept: Mutex<HashMap<String, Kept>>,
    listed: watch::Sender<u8>,
    metrics: Metrics,
}

// === impl Changes ===

impl Changes {
    pub(crate) fn new(held: Arc<Held<View>>, pods: Pods, metrics: Metrics) -> Self {
        Self { held, pods, workloads: Mutex::default(), kept: Mutex::default(), listed: watch::Sender::new(0), metrics }
    }

    /// Watches and reads for the life of the process.
    pub(crate) async fn run(self, client: Client) {
        let this = &self;
        let objects = |resource: ApiResource| {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            watcher(api, watcher::Config::default()).default_backoff()
        };
        let listed = |bit: u8| move || this.listed.send_modify(|kinds| *kinds |= bit);
        let workloads =
            |kind: Kind, resource: ApiResource, bit: u8| follow(kind.resource(), objects(resource), move |change| this.workload(kind, change), listed(bit));
        let kept = |what, resource: ApiResource, bit: u8| follow(what, objects(resource), |change| this.kept(change), listed(bit));
        tokio::join!(
            workloads(Kind::Deployment, ApiResource::erase::<apps::Deployment>(&()), 0b1),
            workloads(Kind::StatefulSet, ApiResource::erase::<apps::StatefulSet>(&()), 0b10),
            workloads(Kind::DaemonSet, ApiResource::erase::<apps::DaemonSet>(&()), 0b100),
            kept("replicasets", ApiResource::erase::<apps::ReplicaSet>(&()), 0b1000),
            kept("controllerrevisions", ApiResource::erase::<apps::ControllerRevision>(&()), 0b1_0000),
            this.look(&client),
        );
    }

    async fn look(&self, client: &Client) {
        // The sender is ours, so waiting cannot fail.
        let _ = self.listed.subscribe().wait_for(|kinds| *kinds == ALL).await;
        self.pods.synced().await;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.configurations(client).await;
            self.images();
            let healthy = self.held.update(|view| {
                view.synced();
                view.tick(now());
                view.healthy_templates()
            });
            self.metrics.healthy_templates(healthy);
            looks.tick().await;
        }
    }

    fn workload(&self, kind: Kind, change: Change<DynamicObject>) {
        let mut known = self.workloads.lock().unwrap_or_else(PoisonError::into_inner);
        let service = match change {
            Change::Is(object) => {
                let service = Service { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
                if is_system_namespace(&service.namespace) {
                    return;
                }
                let Some(workload) = workload(kind, &object) else { return };
                known.insert(workload.uid.clone(), (service.clone(), workload));
                service
            }
            Change::Gone(uid) => match known.remove(&uid) {
                Some((service, _)) => service,
                None => return,
            },
        };
        let mut of_name = known.values().filter(|(other, _)| *other == service);
        match (of_name.next(), of_name.next()) {
            (Some((_, workload)), None) => self.held.update(|view| view.workload(&service, workload.clone(), now())),
            (Some(_), Some(_)) => self.held.update(|view| view.workload_shared(&service)),
            (None, _) => self.held.update(|view| view.workload_gone(&service)),
        }
    }

    fn kept(&self, change: Change<DynamicObject>) {
        let mut known = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Is(object) => {
                let namespace = object.namespace().unwrap_or_default();
                if is_system_namespace(&namespace) {
                    return;
                }
                let found = serde_json::to_value(&*object).ok().and_then(|value| revision(&value));
                let (Some(found), Some(uid), Some(created)) = (found, object.uid(), facts::created_at(&*object)) else { return };
                let (kind, name) = found.owned_by;
                let pods = match Kind::named(&kind) {
                    Some(Kind::Deployment) => (uid.clone(), None),
                    Some(Kind::StatefulSet) => (found.owner, Some(object.name_any())),
                    Some(Kind::DaemonSet) => (found.owner, object.labels().get(REVISION_HASH).cloned()),
                    None => return,
                };
                let service = Service { namespace, name };
                let template = Template::of(&found.template);
                known.insert(uid, Kept { service: service.clone(), template: template.digest.clone(), pods });
                self.held.update(|view| view.revision(&service, found.number, template, created, now()));
            }
            Change::Gone(uid) => {
                if let Some(kept) = known.remove(&uid) {
                    self.held.update(|view| view.revision_gone(&kept.service, &kept.template));
                }
            }
        }
    }

    /// The images that the pods of each revision run.
    fn images(&self) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut images: HashMap<PodsOf, Vec<String>> = kept.values().map(|kept| (kept.pods.clone(), Vec::new())).collect();
        self.pods.each(|pod, _| {
            let Some(owner) = pod.owner.as_ref().filter(|_| pod.running) else { return };
            let mark = (owner.kind != "ReplicaSet").then(|| pod.labels.get(REVISION_HASH).cloned()).flatten();
            if let Some(images) = images.get_mut(&(owner.uid.clone(), mark)) {
                images.extend(pod.images.iter().cloned());
            }
        });
        self.held.update(|view| {
            for kept in kept.values() {
                if let Some(images) = images.get(&kept.pods).filter(|images| !images.is_empty()) {
                    view.images(&kept.service, &kept.template, images.clone());
                }
            }
        });
        self.metrics.pods(self.pods.len());
    }

    async fn configurations(&self, client: &Client) {
        let names = self.held.read(View::references);
        let reads = names.into_iter().map(|(namespace, name)| async move {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &ApiResource::erase::<core::ConfigMap>(&()));
            match api.get_opt(&name).await {
                Ok(Some(object)) => {
                    if let Some((digest, created, changed)) = configuration(&object) {
                        self.held.update(|view| view.configuration(&namespace, &name, digest, created, changed));
                    }
                }
                Ok(None) => self.held.update(|view| view.configuration_gone(&namespace, &name)),
                Err(error) => tracing::warn!(namespace, name, error = assent_runtime::telemetry::chain(&error), "ConfigMap not read"),
            }
        });
        futures::stream::iter(reads).buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

fn configuration(object: &DynamicObject) -> Option<(Digest, UnixMillis, UnixMillis)> {
    let digest = facts::configuration_content(&object.data).ok()?;
    let created = facts::created_at(object)?;
    Some((digest, created, facts::changed_at(&object.metadata).unwrap_or(created)))
}

fn workload(kind: Kind, object: &DynamicObject) -> Option<Workload> {
    let value = serde_json::to_value(object).ok()?;
    Some(Workload {
        uid: object.uid()?,
        generation: object.metadata.generation?,
        template: Template::of(value.pointer("/spec/template")?),
        counts: kind.counts(&value),
    })
}

#[cfg(test)]
mod tests {
    use assent_core::workload::Counts;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_is_pruned_to_what_is_judged() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "generation": 7},
            "spec": {"replicas": 3, "template": {"metadata": {}, "spec": {"volumes": [{"name": "v", "configMap": {"name": "settings"}}]}}},
            "status": {"observedGeneration": 6, "updatedReplicas": 1, "readyReplicas": 2, "replicas": 4}
        }))
        .unwrap();
        let workload = workload(Kind::Deployment, &object).unwrap();
        assert_eq!(workload.generation, 7);
        assert_eq!(workload.counts, Counts { observed: false, wanted: 3, exist: 4, updated: 1, ready: 2, available: 0 });
        assert_eq!(workload.template.references, ["settings"]);
    }
}
