//! Keeping the index current: a watch for each kind, each object cut to the few fields that are answered
//! with as it arrives, so memory follows the number of pods and not the size of their manifests.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use assent_runtime::telemetry;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, Object};
use kube::core::{NotUsed, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::inbound::{ANNOTATION, Callers};
use super::index::{Index, Key, Pod, Service, Slice};
use super::wire::ip;

const SIDECAR: &str = "assent-sidecar";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const TEMPLATE_LABEL: &str = "pod-template-hash";
// Finished pods keep their last address, which by then is another pod's.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The index and its version. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    index: Arc<RwLock<Index>>,
    version: watch::Sender<u64>,
    unsynced: watch::Sender<BTreeSet<&'static str>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    service_account_name: String,
    host_network: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
    #[serde(rename = "hostIP")]
    host_ip: String,
    #[serde(rename = "hostIPs")]
    host_ips: Vec<PodIp>,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    ready: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ServicePort {
    name: String,
    port: u16,
}

type SlimPod = Object<PodSpec, PodStatus>;
type SlimService = Object<ServiceSpec, NotUsed>;

// === impl Live ===

impl Default for Live {
    fn default() -> Self {
        Self {
            index: Arc::default(),
            version: watch::Sender::new(0),
            unsynced: watch::Sender::new(BTreeSet::from(["endpointslices", "namespaces", "pods", "services"])),
        }
    }
}

impl Live {
    /// The index as it is now.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with every change of the index.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Returns when every kind was listed once.
    pub(crate) async fn synced(&self) {
        // The sender is ours, so waiting cannot fail.
        let _ = self.unsynced.subscribe().wait_for(BTreeSet::is_empty).await;
    }

    /// Watches for the life of the process.
    pub(crate) async fn follow(self, client: Client) {
        let all = watcher::Config::default;
        let pods = Api::<SlimPod>::all_with(client.clone(), &ApiResource::erase::<core::Pod>(&()));
        let pods = kube::runtime::watcher(pods, all().fields(RUNNING)).default_backoff();
        let services = Api::<SlimService>::all_with(client.clone(), &ApiResource::erase::<core::Service>(&()));
        let services = kube::runtime::watcher(services, all()).default_backoff();
        let namespaces = Api::<PartialObjectMeta<core::Namespace>>::all(client.clone());
        let namespaces = kube::runtime::watcher(namespaces, all()).default_backoff();
        let slices = Api::<EndpointSlice>::all(client);
        let slices = kube::runtime::watcher(slices, all().labels(SERVICE_LABEL)).default_backoff();
        tokio::join!(
            self.apply("pods", pods, pod, Index::pod, Index::pod_keys),
            self.apply("namespaces", namespaces, namespace, Index::namespace, Index::namespace_keys),
            self.apply("services", services, service, Index::service, Index::service_keys),
            self.apply("endpointslices", slices, slice, Index::slice, Index::slice_keys),
        );
    }

    async fn apply<K, T>(
        &self,
        kind: &'static str,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        cut: fn(K) -> (Key, Option<T>),
        replace: fn(&mut Index, &Key, Option<T>) -> bool,
        keys: fn(&Index) -> Vec<Key>,
    ) where
        K: kube::Resource,
    {
        let mut events = std::pin::pin!(events);
        // What a running relist has named so far.
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    let (key, value) = cut(object);
                    self.change(|index| replace(index, &key, value));
                    listed.insert(key);
                }
                Ok(Event::InitDone) => {
                    let listed = std::mem::take(&mut listed);
                    self.change(|index| {
                        let mut changed = false;
                        for key in keys(index).iter().filter(|key| !listed.contains(key)) {
                            changed |= replace(index, key, None);
                        }
                        changed
                    });
                    self.unsynced.send_if_modified(|unsynced| unsynced.remove(kind));
                }
                Ok(Event::Apply(object)) => {
                    let (key, value) = cut(object);
                    self.change(|index| replace(index, &key, value));
                }
                Ok(Event::Delete(object)) => {
                    let (key, _) = cut(object);
                    self.change(|index| replace(index, &key, None));
                }
                // What is known stays: stale endpoints beat none.
                Err(error) => tracing::warn!(kind, error = telemetry::chain(&error), "watch failed; retrying"),
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Index) -> bool) {
        let changed = change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.version.send_modify(|version| *version += 1);
        }
    }
}

fn key(object: &impl kube::Resource) -> Key {
    let meta = object.meta();
    Key { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}

fn pod(mut object: SlimPod) -> (Key, Option<Pod>) {
    let key = key(&object);
    let status = object.status.take().unwrap_or_default();
    let addresses = if object.spec.host_network { Vec::new() } else { status.pod_ips.iter().filter_map(|address| ip(&address.ip)).collect() };
    let node = status.host_ips.iter().map(|address| address.ip.as_str()).chain([status.host_ip.as_str()]);
    let node: BTreeSet<_> = node.filter_map(ip).collect();
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses);
    let pod = Pod {
        account: std::mem::take(&mut object.spec.service_account_name),
        workload: workload(&object),
        meshed: statuses.into_iter().any(|container| container.name == SIDECAR && container.ready),
        addresses,
        node: node.into_iter().collect(),
        callers: callers(&object),
        key: key.clone(),
    };
    (key, Some(pod))
}

fn namespace(object: PartialObjectMeta<core::Namespace>) -> (Key, Option<Callers>) {
    (key(&object), callers(&object))
}

/// Whom the object's annotation lets in, if it has one.
fn callers(object: &impl kube::Resource) -> Option<Callers> {
    let callers = Callers::parse(object.annotations().get(ANNOTATION)?);
    if callers.malformed() {
        let key = key(object);
        tracing::warn!(
            k8s.namespace.name = key.namespace,
            name = key.name,
            annotation = ANNOTATION,
            "an annotation has entries that are no NAMESPACE/SERVICEACCOUNT; they let in nobody"
        );
    }
    Some(callers)
}

/// What owns the pod; a ReplicaSet that a Deployment made counts as the Deployment.
fn workload(pod: &SlimPod) -> Option<(String, String)> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    if owner.kind == "ReplicaSet"
        && let Some(hash) = pod.labels().get(TEMPLATE_LABEL)
        && let Some(name) = owner.name.strip_suffix(hash.as_str()).and_then(|name| name.strip_suffix('-'))
    {
        return Some(("deployment".to_owned(), name.to_owned()));
    }
    Some((owner.kind.to_lowercase(), owner.name.clone()))
}

fn service(object: SlimService) -> (Key, Option<Service>) {
    // Headless is `None` in words, which is no address.
    let addresses = object.spec.cluster_ips.iter().filter_map(|address| ip(address)).collect();
    let ports = object.spec.ports.iter().map(|port| (port.port, port.name.clone())).collect();
    (key(&object), Some(Service { addresses, ports }))
}

fn slice(object: EndpointSlice) -> (Key, Option<Slice>) {
    let key = key(&object);
    let Some(service) = object.labels().get(SERVICE_LABEL).cloned() else {
        return (key, None);
    };
    let ports = object.ports.unwrap_or_default();
    let ports = ports.into_iter().filter_map(|port| Some((port.name.unwrap_or_default(), u16::try_from(port.port?).ok()?))).collect();
    let mut endpoints = Vec::new();
    for endpoint in object.endpoints {
        // Absent means ready.
        if endpoint.conditions.and_then(|conditions| conditions.ready) == Some(false) {
            continue;
        }
        let pod = endpoint
            .target_ref
            .filter(|target| target.kind.as_deref() == Some("Pod"))
            .map(|target| Key { namespace: target.namespace.unwrap_or_else(|| key.namespace.clone()), name: target.name.unwrap_or_default() });
        endpoints.extend(endpoint.addresses.iter().filter_map(|address| Some((ip(address)?, pod.clone()))));
    }
    let service = Key { namespace: key.namespace.clone(), name: service };
    (key, Some(Slice { service, ports, endpoints }))
}
