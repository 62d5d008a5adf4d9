//! What people want of services: whether an ill pod may be evicted, and how replicas and sizes follow the load. Blueprints with what
//! stands above them, the workloads that they speak of, and whoever else sets replicas are joined here, so that the view is told of
//! whole intents only.
//!
//! A DaemonSet has no number of replicas, so its load is nobody's to follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use assent_api::facts;
use assent_api::resources::{Blueprint, ClusterBlueprint};
use assent_core::action;
use assent_core::blueprint::{self, Effective, Operation, Why};
use assent_core::demand::{Allocation, Autoscaler, Container};
use assent_core::ids::UnixMillis;
use assent_core::seats::compute::{Intent, View};
use assent_core::target::Service;
use assent_core::workload::Kind;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1 as core;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use crate::held::{Held, now};
use crate::pods::{SIDECAR, milli};
use crate::watching::{Change, follow};

/// Objects of a kind that are kept; further ones are not followed.
const MAX_OBJECTS: usize = 20_000;
/// All five kinds were listed once.
const ALL: u8 = 0b1_1111;

/// The feeder of intents.
#[derive(Debug)]
pub(crate) struct Intents {
    held: Arc<Held<View>>,
    known: Mutex<Known>,
    listed: watch::Sender<u8>,
}

/// Objects by UID, as far as they matter.
#[derive(Debug, Default)]
struct Known {
    blueprints: BTreeMap<String, Blueprint>,
    /// One that is not understood might forbid anything, so then nothing is followed.
    above: BTreeMap<String, Option<blueprint::ClusterBlueprint>>,
    workloads: BTreeMap<String, (Workload, Running)>,
    autoscalers: BTreeMap<String, (Workload, Autoscaler)>,
}

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Workload {
    kind: Kind,
    service: Service,
}

/// A workload pruned to what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    replicas: u32,
    ready: u32,
    rolling_out: bool,
    resizes: bool,
    containers: Vec<Container>,
}

// === impl Intents ===

impl Intents {
    pub(crate) fn new(held: Arc<Held<View>>) -> Self {
        Self { held, known: Mutex::default(), listed: watch::Sender::new(0) }
    }

    /// Watches for the life of the process.
    pub(crate) async fn run(self, client: Client) {
        // As they are stored: one object that is not understood must not hide the others.
        let raw = |kind: ApiResource| watcher(Api::<DynamicObject>::all_with(client.clone(), &kind), watcher::Config::default()).default_backoff();
        let blueprints = raw(ApiResource::erase::<Blueprint>(&()));
        let above = raw(ApiResource::erase::<ClusterBlueprint>(&()));
        let deployments = raw(ApiResource::erase::<Deployment>(&()));
        let stateful_sets = raw(ApiResource::erase::<StatefulSet>(&()));
        let autoscalers = watcher(Api::<HorizontalPodAutoscaler>::all(client.clone()), watcher::Config::default()).default_backoff();
        let this = &self;
        let listed = |bit: u8| {
            move || {
                this.listed.send_modify(|kinds| *kinds |= bit);
                this.tell(|_| true);
            }
        };
        tokio::join!(
            follow("blueprints", blueprints, |change| this.blueprint(change), listed(0b1)),
            follow("clusterblueprints", above, |change| this.above(change), listed(0b10)),
            follow("deployments", deployments, |change| this.workload(Kind::Deployment, change), listed(0b100)),
            follow("statefulsets", stateful_sets, |change| this.workload(Kind::StatefulSet, change), listed(0b1000)),
            follow("horizontalpodautoscalers", autoscalers, |change| this.autoscaler(change), listed(0b1_0000)),
        );
    }
}

impl Intents {
    fn blueprint(&self, change: Change<DynamicObject>) {
        let mut known = self.lock();
        let before = match change {
            Change::Gone(uid) => known.blueprints.remove(&uid),
            Change::Is(object) => {
                let (uid, name) = (object.uid().unwrap_or_default(), object.name_any());
                let read = serde_json::to_value(&*object).and_then(serde_json::from_value::<Blueprint>);
                let before = known.blueprints.remove(&uid);
                match read {
                    Ok(blueprint) if known.blueprints.len() < MAX_OBJECTS => drop(known.blueprints.insert(uid, blueprint)),
                    Ok(_) => tracing::warn!(blueprint = name, "more Blueprints than are followed"),
                    Err(error) => tracing::warn!(blueprint = name, error = %error, "a Blueprint is not readable, so its services' load is not followed"),
                }
                before.or_else(|| known.blueprints.get(&object.uid().unwrap_or_default()).cloned())
            }
        };
        drop(known);
        let namespace = before.and_then(|blueprint| blueprint.namespace());
        self.tell(|service| Some(&service.namespace) == namespace.as_ref());
    }

    fn above(&self, change: Change<DynamicObject>) {
        match change {
            Change::Gone(uid) => drop(self.lock().above.remove(&uid)),
            Change::Is(object) => {
                let read = serde_json::to_value(&*object).map_err(|error| error.to_string()).and_then(|stored| facts::cluster_blueprint(&stored));
                if let Err(reason) = &read {
                    tracing::warn!(reason, "a ClusterBlueprint is not readable, so no load is followed");
                }
                self.lock().above.insert(object.uid().unwrap_or_default(), read.ok());
            }
        }
        self.tell(|_| true);
    }

    fn workload(&self, kind: Kind, change: Change<DynamicObject>) {
        let mut known = self.lock();
        let service = match change {
            Change::Gone(uid) => known.workloads.remove(&uid).map(|(workload, _)| workload.service),
            Change::Is(object) => {
                let workload = Workload { kind, service: service_of(&*object, object.name_any()) };
                let Some(running) = running(kind, &object) else {
                    return tracing::warn!(service = %workload.service, kind = kind.name(), "a workload is not readable");
                };
                let uid = object.uid().unwrap_or_default();
                // Most changes are of conditions, which matter to nobody here.
                let same = known.workloads.get(&uid).is_some_and(|(_, before)| *before == running);
                if same || known.workloads.len() >= MAX_OBJECTS {
                    return;
                }
                let service = workload.service.clone();
                known.workloads.insert(uid, (workload, running));
                Some(service)
            }
        };
        drop(known);
        self.tell(|other| Some(other) == service.as_ref());
    }

    fn autoscaler(&self, change: Change<HorizontalPodAutoscaler>) {
        let mut known = self.lock();
        let before = match &change {
            Change::Gone(uid) => known.autoscalers.remove(uid),
            Change::Is(object) => known.autoscalers.remove(&object.uid().unwrap_or_default()),
        };
        let mut concerned: Vec<Service> = before.into_iter().map(|(workload, _)| workload.service).collect();
        if let Change::Is(object) = change
            && let Some(target) = object.spec.as_ref().map(|spec| spec.scale_target_ref.clone())
            && let Some(kind) = Kind::named(&target.kind)
            && known.autoscalers.len() < MAX_OBJECTS
        {
            let service = service_of(&*object, target.name);
            concerned.push(service.clone());
            known.autoscalers.insert(object.uid().unwrap_or_default(), (Workload { kind, service }, autoscaler(&object)));
        }
        drop(known);
        self.tell(|service| concerned.contains(service));
    }

    /// Tells the view what is wanted of the services that `concerned` picks.
    fn tell(&self, concerned: impl Fn(&Service) -> bool) {
        if *self.listed.borrow() != ALL {
            return;
        }
        let known = self.lock();
        let above: Option<Vec<blueprint::ClusterBlueprint>> = known.above.values().cloned().collect();
        let at = now();
        let intents: BTreeMap<Service, (bool, Option<Intent>)> = known
            .workloads
            .values()
            .filter(|(workload, _)| concerned(&workload.service))
            .map(|(workload, running)| {
                let effective = known.effective(above.as_deref(), workload);
                let evicts = effective.as_ref().is_some_and(|effective| lists(effective, action::EVICT_POD, at));
                (workload.service.clone(), (evicts, effective.and_then(|effective| known.intent(effective, workload, running))))
            })
            .collect();
        let told: BTreeSet<Service> = self.held.read(|view| view.followed().chain(view.evicting()).filter(|service| concerned(service)).cloned().collect());
        drop(known);
        self.held.update(|view| {
            for service in told.iter().filter(|service| !intents.contains_key(*service)) {
                view.evicts(service, false);
                view.intent(service, None, at);
            }
            for (service, (evicts, intent)) in intents {
                view.evicts(&service, evicts);
                view.intent(&service, intent, at);
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    /// What the one Blueprint of a workload says below what stands above it. `above` is that, if all of it is understood.
    fn effective(&self, above: Option<&[blueprint::ClusterBlueprint]>, workload: &Workload) -> Option<Effective> {
        let Workload { kind, service } = workload;
        let speaks =
            |blueprint: &&Blueprint| blueprint.namespace().as_ref() == Some(&service.namespace) && blueprint.spec.speaks_of(kind.name(), &service.name);
        let mut speaking = self.blueprints.values().filter(speaks);
        // Two that speak of one workload contradict each other whatever they say.
        let (Some(blueprint), None) = (speaking.next(), speaking.next()) else { return None };
        // What its pods use is known by namespace and name, so of two nobody could say which one does.
        if self.workloads.values().filter(|(other, _)| other.service == *service).count() > 1 {
            return None;
        }
        let read = facts::blueprint(blueprint, above?).inspect_err(|reason| tracing::warn!(%service, reason, "what is wanted of it is not known"));
        Some(read.ok()?.effective)
    }

    fn intent(&self, effective: Effective, workload: &Workload, running: &Running) -> Option<Intent> {
        effective.service.scaling.as_ref()?;
        Some(Intent {
            effective,
            replicas: running.replicas,
            ready: running.ready,
            rolling_out: running.rolling_out,
            resizes: running.resizes,
            containers: running.containers.clone(),
            autoscalers: self.autoscalers.values().filter(|(of, _)| of == workload).map(|(_, autoscaler)| autoscaler.clone()).collect(),
        })
    }
}

/// Whether `operation` is on the list of what may be done, whatever the hour.
fn lists(effective: &Effective, operation: &str, now: UnixMillis) -> bool {
    let classified = effective.classify(&Operation::named(operation), now);
    classified.reasons.iter().all(|reason| matches!(reason.why, Why::Mode | Why::Freeze | Why::Window | Why::Limits))
}

fn service_of(object: &impl kube::ResourceExt, name: String) -> Service {
    Service { namespace: object.namespace().unwrap_or_default(), name }
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

/// None for an object whose pods cannot be read.
fn running(kind: Kind, object: &DynamicObject) -> Option<Running> {
    let value = serde_json::to_value(object).ok()?;
    let counts = kind.counts(&value);
    let pod: core::PodSpec = serde_json::from_value(value.pointer("/spec/template/spec")?.clone()).ok()?;
    Some(Running {
        replicas: counts.wanted,
        ready: counts.ready,
        rolling_out: !counts.observed || counts.updated < counts.exist,
        resizes: kind.rolls(&value).and_then(|()| kind.rolls_back(&value)).is_ok(),
        containers: pod.containers.iter().filter(|container| container.name != SIDECAR).map(container).collect(),
    })
}

fn container(container: &core::Container) -> Container {
    let resources = container.resources.as_ref();
    let of = |name: &str, unit: u64| {
        let requests = resources.and_then(|resources| resources.requests.as_ref()).and_then(|requests| milli(requests.get(name)?));
        let limit = resources.and_then(|resources| resources.limits.as_ref()).and_then(|limits| milli(limits.get(name)?));
        // What requests nothing requests its limit. Sizes are changed in the template, so pods are replaced.
        Allocation { request: requests.or(limit).unwrap_or(0) / unit, limit: limit.map(|limit| limit / unit), restarts: true }
    };
    let stated = |name: &str| resources.and_then(|resources| resources.requests.as_ref()?.get(name)).is_some();
    Container {
        name: container.name.clone(),
        cpu: of("cpu", 1),
        memory: of("memory", 1_000),
        cpu_is_implied: !stated("cpu"),
        memory_is_implied: !stated("memory"),
        ..Container::default()
    }
}

fn autoscaler(object: &HorizontalPodAutoscaler) -> Autoscaler {
    let spec = object.spec.as_ref();
    let metrics = spec.and_then(|spec| spec.metrics.as_deref()).unwrap_or_default();
    let by = |name: &str| {
        metrics.iter().filter_map(|metric| metric.resource.as_ref()).any(|resource| resource.name == name && resource.target.type_ == "Utilization")
    };
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    Autoscaler {
        name: object.name_any(),
        min: spec.and_then(|spec| spec.min_replicas).map_or(1, |min| count(Some(min))),
        max: spec.map_or(0, |spec| count(Some(spec.max_replicas))),
        active: conditions.iter().any(|condition| condition.type_ == "ScalingActive" && condition.status == "True"),
        // Without metrics it goes by CPU.
        by_cpu_request: metrics.is_empty() || by("cpu"),
        by_memory_request: by("memory"),
    }
}

#[cfg(test)]
mod tests;
