//! Which pod is behind an address, and which workload a pod, an account or a service address stands for.
//!
//! A stream's speaker is proven twice: by its certificate's account and by its source address, which must be one and the
//! same pod. Workloads come from controller references through ReplicaSets, never from labels or names that a tenant
//! chooses. Pods are pruned to what is judged by.

mod facts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use assent_core::target::Service;
use assent_runtime::workload::Name;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1 as core;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use crate::watching::{Change, follow};

pub(crate) use facts::{Pod, SIDECAR, milli};

/// Pods that are kept; a larger cluster needs sharded seats.
const MAX_PODS: usize = 20_000;
const MAX_SERVICES: usize = 5_000;

/// The index, filled by [`Pods::follow`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Pods {
    index: Arc<Mutex<Index>>,
    synced: Arc<watch::Sender<u8>>,
}

#[derive(Debug, Default)]
struct Index {
    pods: HashMap<String, Pod>,
    by_address: HashMap<IpAddr, String>,
    /// Deployment by UID of the ReplicaSet that it controls.
    replica_sets: HashMap<String, String>,
    services: HashMap<String, ClusterService>,
    /// The one workload of an account or a service address; rebuilt after changes, at the first question.
    accounts: HashMap<(String, String), Option<Service>>,
    addresses: HashMap<IpAddr, Option<Service>>,
    stale: bool,
}

#[derive(Debug)]
struct ClusterService {
    namespace: String,
    addresses: Vec<IpAddr>,
    selector: BTreeMap<String, String>,
}

/// A pod that speaks, proven.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) uid: String,
}

/// The same with what is known of it by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaking {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) workload: Service,
    /// Whether it runs, and nobody asked it to go.
    pub(crate) running: bool,
}

/// Why a stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no pod is known at your address")]
    Unknown,
    #[error("the pod at your address runs under another account than your certificate names")]
    Account,
}

// === impl Pods ===

impl Pods {
    /// The pod that speaks from `address` with the certificate of `name`.
    pub(crate) fn speaker(&self, name: &Name, address: IpAddr) -> Result<Speaker, Refused> {
        let index = self.lock();
        let pod = index.by_address.get(&address.to_canonical()).and_then(|uid| index.pods.get(uid)).ok_or(Refused::Unknown)?;
        if (pod.namespace.as_str(), pod.account.as_str()) != (name.namespace(), name.account()) {
            return Err(Refused::Account);
        }
        Ok(Speaker { uid: pod.uid.clone() })
    }

    /// The pod with the workload that it belongs to, if both are still there.
    pub(crate) fn speaking(&self, uid: &str) -> Option<Speaking> {
        let index = self.lock();
        let pod = index.pods.get(uid)?;
        Some(Speaking { uid: pod.uid.clone(), name: pod.name.clone(), workload: index.workload_of(pod)?, running: pod.running })
    }

    /// The workload behind a verified identity, if its account runs exactly one; else behind `destination`.
    pub(crate) fn peer(&self, identity: &str, destination: Option<IpAddr>) -> Option<Service> {
        let mut index = self.lock();
        index.refresh();
        let by_name = identity.parse::<Name>().ok().and_then(|name| {
            let key = (name.namespace().to_owned(), name.account().to_owned());
            index.accounts.get(&key).cloned().flatten()
        });
        by_name.or_else(|| {
            let address = destination?.to_canonical();
            let pod = index.by_address.get(&address).and_then(|uid| index.pods.get(uid));
            pod.and_then(|pod| index.workload_of(pod)).or_else(|| index.addresses.get(&address).cloned().flatten())
        })
    }

    /// Looks at all pods with their workloads.
    pub(crate) fn each(&self, mut look: impl FnMut(&Pod, Option<Service>)) {
        let index = self.lock();
        index.pods.values().for_each(|pod| look(pod, index.workload_of(pod)));
    }

    /// How many pods are known.
    pub(crate) fn len(&self) -> usize {
        self.lock().pods.len()
    }

    /// Returns when pods, ReplicaSets and Services were listed once.
    pub(crate) async fn synced(&self) {
        // The sender is ours, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|kinds| *kinds == 0b111).await;
    }

    /// Watches for the life of the process.
    pub(crate) async fn follow(self, client: Client) {
        let all = watcher::Config::default;
        let synced = |bit: u8| {
            let sender = self.synced.clone();
            move || sender.send_modify(|kinds| *kinds |= bit)
        };
        let pods = watcher(Api::<core::Pod>::all(client.clone()), all()).default_backoff();
        let sets = watcher(Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()), all()).default_backoff();
        let services = watcher(Api::<core::Service>::all(client), all()).default_backoff();
        tokio::join!(
            follow("pods", pods, |change| self.lock().pod(change), synced(0b001)),
            follow("replicasets", sets, |change| self.lock().replica_set(change), synced(0b010)),
            follow("services", services, |change| self.lock().service(change), synced(0b100)),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Index ===

impl Index {
    fn pod(&mut self, change: Change<core::Pod>) {
        self.stale = true;
        let (uid, pod) = match change {
            Change::Is(pod) => (pod.uid().unwrap_or_default(), Pod::of(&pod)),
            Change::Gone(uid) => (uid, None),
        };
        if let Some(before) = self.pods.remove(&uid) {
            for address in before.addresses {
                // The address may have passed on to another pod already.
                if self.by_address.get(&address) == Some(&uid) {
                    self.by_address.remove(&address);
                }
            }
        }
        let Some(pod) = pod.filter(|_| self.pods.len() < MAX_PODS) else { return };
        // A pod on the host's network shares its address with others and is nobody in particular.
        if !pod.host_network && !pod.finished {
            for address in &pod.addresses {
                self.by_address.insert(*address, uid.clone());
            }
        }
        self.pods.insert(uid, pod);
    }

    fn replica_set(&mut self, change: Change<PartialObjectMeta<ReplicaSet>>) {
        self.stale = true;
        match change {
            Change::Gone(uid) => drop(self.replica_sets.remove(&uid)),
            Change::Is(set) => {
                let deployment = set.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind == "Deployment");
                if let (Some(uid), Some(deployment)) = (set.uid(), deployment)
                    && self.replica_sets.len() < 4 * MAX_PODS
                {
                    self.replica_sets.insert(uid, deployment.name.clone());
                }
            }
        }
    }

    fn service(&mut self, change: Change<core::Service>) {
        self.stale = true;
        match change {
            Change::Gone(uid) => drop(self.services.remove(&uid)),
            Change::Is(service) => {
                let spec = service.spec.as_ref();
                let addresses = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
                let selector = spec.and_then(|spec| spec.selector.clone()).unwrap_or_default().into_iter().collect();
                if let Some(uid) = service.uid().filter(|_| self.services.len() < MAX_SERVICES) {
                    let namespace = service.namespace().unwrap_or_default();
                    self.services.insert(uid, ClusterService { namespace, addresses, selector });
                }
            }
        }
    }

    fn workload_of(&self, pod: &Pod) -> Option<Service> {
        let owner = pod.owner.as_ref()?;
        let name = match owner.kind.as_str() {
            // A ReplicaSet without a Deployment is a workload that no action is modelled for.
            "ReplicaSet" => self.replica_sets.get(&owner.uid)?.clone(),
            _ => owner.name.clone(),
        };
        Some(Service { namespace: pod.namespace.clone(), name })
    }

    fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut accounts: HashMap<(String, String), HashSet<Service>> = HashMap::new();
        let live: Vec<(&Pod, Service)> = self.pods.values().filter(|pod| !pod.finished).filter_map(|pod| Some((pod, self.workload_of(pod)?))).collect();
        for (pod, workload) in &live {
            accounts.entry((pod.namespace.clone(), pod.account.clone())).or_default().insert(workload.clone());
        }
        let mut addresses = HashMap::new();
        for service in self.services.values().filter(|service| !service.selector.is_empty()) {
            let selected = |pod: &Pod| pod.namespace == service.namespace && service.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value));
            let workloads: HashSet<&Service> = live.iter().filter(|(pod, _)| selected(pod)).map(|(_, workload)| workload).collect();
            let one = only(workloads.into_iter().cloned());
            service.addresses.iter().for_each(|address| drop(addresses.insert(*address, one.clone())));
        }
        self.accounts = accounts.into_iter().map(|(account, workloads)| (account, only(workloads))).collect();
        self.addresses = addresses;
    }
}

/// The only one, or none.
fn only(services: impl IntoIterator<Item = Service>) -> Option<Service> {
    let mut services = services.into_iter();
    services.next().filter(|_| services.next().is_none())
}

#[cfg(test)]
mod tests;
