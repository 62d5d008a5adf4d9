//! What people change: Deployments, their ReplicaSets and the ConfigMaps that they refer to, pruned to digests on arrival.
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
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::watch;

use crate::held::{Held, now};
use crate::metrics::Metrics;
use crate::pods::Pods;
use crate::watching::{Change, follow};

/// Between two looks at configuration and images.
const LOOK: Duration = Duration::from_secs(3);
/// ConfigMaps that are read at the same time.
const AT_ONCE: usize = 4;
const REVISION: &str = "deployment.kubernetes.io/revision";

/// A ReplicaSet that is a revision.
#[derive(Clone, Debug)]
struct Set {
    service: Service,
    template: Digest,
}

/// The feeder of the change seat.
#[derive(Debug)]
pub(crate) struct Changes {
    held: Arc<Held<View>>,
    pods: Pods,
    deployments: Mutex<HashMap<String, Service>>,
    sets: Mutex<HashMap<String, Set>>,
    listed: watch::Sender<u8>,
    metrics: Metrics,
}

// === impl Changes ===

impl Changes {
    pub(crate) fn new(held: Arc<Held<View>>, pods: Pods, metrics: Metrics) -> Self {
        Self { held, pods, deployments: Mutex::default(), sets: Mutex::default(), listed: watch::Sender::new(0), metrics }
    }

    /// Watches and reads for the life of the process.
    pub(crate) async fn run(self, client: Client) {
        let objects = |resource: ApiResource| {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            watcher(api, watcher::Config::default()).default_backoff()
        };
        let deployments = objects(ApiResource::erase::<apps::Deployment>(&()));
        let sets = objects(ApiResource::erase::<apps::ReplicaSet>(&()));
        tokio::join!(
            follow("deployments", deployments, |change| self.deployment(change), || self.listed.send_modify(|kinds| *kinds |= 0b01)),
            follow("replicasets", sets, |change| self.set(change), || self.listed.send_modify(|kinds| *kinds |= 0b10)),
            self.look(&client),
        );
    }

    async fn look(&self, client: &Client) {
        // The sender is ours, so waiting cannot fail.
        let _ = self.listed.subscribe().wait_for(|kinds| *kinds == 0b11).await;
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

    fn deployment(&self, change: Change<DynamicObject>) {
        let mut known = self.deployments.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Is(object) => {
                let service = Service { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
                if is_system_namespace(&service.namespace) {
                    return;
                }
                if let Some(workload) = workload(&object) {
                    known.insert(workload.uid.clone(), service.clone());
                    self.held.update(|view| view.workload(&service, workload, now()));
                }
            }
            Change::Gone(uid) => {
                if let Some(service) = known.remove(&uid)
                    && !known.values().any(|other| *other == service)
                {
                    self.held.update(|view| view.workload_gone(&service));
                }
            }
        }
    }

    fn set(&self, change: Change<DynamicObject>) {
        let mut known = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Is(object) => {
                let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind == "Deployment");
                let namespace = object.namespace().unwrap_or_default();
                let number = object.annotations().get(REVISION).and_then(|number| number.parse::<i64>().ok());
                let (Some(owner), Some(number), Some(uid), Some(created)) = (owner, number, object.uid(), facts::created_at(&*object)) else { return };
                if is_system_namespace(&namespace) {
                    return;
                }
                let Some(template) = object.data.pointer("/spec/template").map(Template::of) else { return };
                let service = Service { namespace, name: owner.name.clone() };
                known.insert(uid, Set { service: service.clone(), template: template.digest.clone() });
                self.held.update(|view| view.revision(&service, number, template, created, now()));
            }
            Change::Gone(uid) => {
                if let Some(set) = known.remove(&uid) {
                    self.held.update(|view| view.revision_gone(&set.service, &set.template));
                }
            }
        }
    }

    /// The images that the pods of each revision run.
    fn images(&self) {
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut images: HashMap<&str, Vec<String>> = HashMap::new();
        self.pods.each(|pod, _| {
            if let Some((uid, _)) = pod.owner.as_ref().filter(|_| pod.running).and_then(|owner| sets.get_key_value(&owner.uid)) {
                images.entry(uid).or_default().extend(pod.images.iter().cloned());
            }
        });
        self.held.update(|view| {
            for (uid, images) in images {
                if let Some(set) = sets.get(uid).filter(|_| !images.is_empty()) {
                    view.images(&set.service, &set.template, images);
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

fn workload(object: &DynamicObject) -> Option<Workload> {
    let number = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    Some(Workload {
        uid: object.uid()?,
        generation: object.metadata.generation?,
        observed_generation: object.data.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or(0),
        template: Template::of(object.data.pointer("/spec/template")?),
        replicas: number("/spec/replicas").unwrap_or(1),
        updated: number("/status/updatedReplicas").unwrap_or(0),
        ready: number("/status/readyReplicas").unwrap_or(0),
        total: number("/status/replicas").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_pruned_to_what_is_judged() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "generation": 7},
            "spec": {"replicas": 3, "template": {"metadata": {}, "spec": {"volumes": [{"name": "v", "configMap": {"name": "settings"}}]}}},
            "status": {"observedGeneration": 6, "updatedReplicas": 1, "readyReplicas": 2, "replicas": 4}
        }))
        .unwrap();
        let workload = workload(&object).unwrap();
        assert_eq!((workload.replicas, workload.updated, workload.ready, workload.total), (3, 1, 2, 4));
        assert_eq!((workload.generation, workload.observed_generation), (7, 6));
        assert_eq!(workload.template.references, ["settings"]);
    }
}
