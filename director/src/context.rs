//! Gathers what the seats are shown: the workloads of the namespace with their revisions and configuration, the alerts so
//! far, and digests of Events. Bounded, and read as raw JSON, so that digests are of what the API server holds and not of
//! what our types know of it. Secrets are never read.

use std::collections::BTreeMap;

use assent_api::facts;
use assent_core::action::configurations_of;
use assent_core::canonical::{self, Digest};
use assent_core::ids::UnixMillis;
use assent_core::incident::{Alert, Configuration, Context, Revision, Symptom, Workload};
use assent_core::target::Target;
use assent_core::workload::{Kind, revision};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Resource, ResourceExt as _};
use serde_json::{Value, json};

use crate::director::{Director, Error, created_at, kubernetes};
use crate::intake::line;
use crate::store::{self, Record};

/// Most workloads, revisions of each, and Events in a context.
const WORKLOADS: usize = 64;
const REVISIONS: usize = 8;
const EVENTS: usize = 32;
/// Most ConfigMaps that are read for one context.
const CONFIGURATIONS: usize = 128;
/// Most objects of one kind that are listed; what lies beyond is not seen.
const LISTED: u32 = 500;
/// Largest context that seats take, with room to spare, in bytes.
const TEXT: usize = 200 * 1024;

/// The context of an incident as canonical text.
pub(crate) async fn gather(director: &Director, record: &Record) -> Result<String, Error> {
    let incident = &record.incident;
    let namespace = incident.service.namespace.as_str();
    let (deployments, stateful_sets, daemon_sets, replica_sets, controller_revisions, events, alerts) = futures::try_join!(
        list::<Deployment>(director, namespace, "list deployments"),
        list::<StatefulSet>(director, namespace, "list statefulsets"),
        list::<DaemonSet>(director, namespace, "list daemonsets"),
        list::<ReplicaSet>(director, namespace, "list replicasets"),
        list::<ControllerRevision>(director, namespace, "list controllerrevisions"),
        warnings(director, namespace),
        async { director.store.alerts(&incident.uid).await.map_err(Error::from) },
    )?;
    let mut objects = only_ones(deployments.into_iter().chain(stateful_sets).chain(daemon_sets).collect());
    let kept: Vec<Value> = replica_sets.into_iter().chain(controller_revisions).collect();
    // The service that alerted is never the one that is cut off.
    objects.sort_by_key(|object| (name(object) != incident.service.name, name(object).to_owned()));
    objects.truncate(WORKLOADS);
    let configurations = configurations(director, namespace, &objects).await?;
    let workloads = objects.iter().filter_map(|object| workload(object, &kept, &configurations)).collect();
    let mut context = Context {
        incident: incident.uid.clone(),
        cluster: director.cluster.clone(),
        service: incident.service.clone(),
        symptom: if incident.routine { Symptom::Demand } else { symptom(&alerts) },
        since: alerts.iter().map(|alert| alert.since).min().unwrap_or(incident.opened_at),
        gathered_at: store::now(),
        alerts,
        workloads,
        events,
    };
    loop {
        let text = canonical::text(&context).map_err(|source| Error::Canonical { what: "incident context", source })?;
        if text.len() <= TEXT || context.workloads.pop().is_none() {
            return Ok(text);
        }
    }
}

/// The first class that anybody named.
fn symptom(alerts: &[Alert]) -> Symptom {
    alerts.iter().map(|alert| alert.symptom).find(|symptom| *symptom != Symptom::Unspecified).unwrap_or(Symptom::Unspecified)
}

/// Objects of one kind in a namespace as the API server writes them, with the kind that lists leave out.
pub(crate) async fn list<K: Resource<DynamicType = ()>>(director: &Director, namespace: &str, doing: &'static str) -> Result<Vec<Value>, Error> {
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(director.client.clone(), namespace, &kind);
    let objects = api.list(&ListParams::default().limit(LISTED)).await.map_err(kubernetes(doing))?;
    Ok(objects.items.into_iter().map(|object| whole(&kind, object)).collect())
}

pub(crate) fn whole(kind: &ApiResource, object: DynamicObject) -> Value {
    let mut value = object.data;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".into(), kind.api_version.clone().into());
        fields.insert("kind".into(), kind.kind.clone().into());
        fields.insert("metadata".into(), json!(object.metadata));
    }
    value
}

pub(crate) fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Without those that share their name with another one: what is measured is known by namespace and name, so nobody could say
/// which of them is meant.
fn only_ones(objects: Vec<Value>) -> Vec<Value> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    objects.iter().for_each(|object| *count.entry(name(object).to_owned()).or_default() += 1);
    let (ones, shared): (Vec<Value>, Vec<Value>) = objects.into_iter().partition(|object| count.get(name(object)) == Some(&1));
    for object in shared {
        tracing::warn!(workload = name(&object), "workload left out of the context: another kind of the namespace has its name");
    }
    ones
}

fn workload(object: &Value, kept: &[Value], configurations: &BTreeMap<String, Configuration>) -> Option<Workload> {
    let target = match Target::of(object) {
        Ok(target) => target,
        Err(reason) => {
            tracing::warn!(workload = name(object), reason, "workload left out of the context");
            return None;
        }
    };
    let counts = Kind::of_object(object).ok()?.counts(object);
    let referenced = configurations_of(object);
    Some(Workload {
        revisions: revisions(&target.uid, kept),
        target,
        configurations: referenced.iter().filter_map(|name| configurations.get(name).cloned()).collect(),
        replicas: counts.wanted,
        ready: counts.ready,
    })
}

fn revisions(owner: &str, kept: &[Value]) -> Vec<Revision> {
    let of_owner = |object: &Value| {
        let found = revision(object).filter(|found| found.owner == owner)?;
        let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str)?.parse::<jiff::Timestamp>().ok()?;
        Some(Revision { number: found.number, template: Digest::of(&found.template).ok()?, created_at: UnixMillis(created.as_millisecond()) })
    };
    let mut revisions: Vec<Revision> = kept.iter().filter_map(of_owner).collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    revisions.truncate(REVISIONS);
    revisions
}

/// The ConfigMaps that the workloads refer to, by name.
async fn configurations(director: &Director, namespace: &str, objects: &[Value]) -> Result<BTreeMap<String, Configuration>, Error> {
    let mut names: Vec<String> = objects.iter().flat_map(configurations_of).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(CONFIGURATIONS);
    let kind = ApiResource::erase::<ConfigMap>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(director.client.clone(), namespace, &kind);
    let reads = names.into_iter().map(|name| {
        let api = api.clone();
        async move {
            // One that does not exist is what a pod that does not start refers to; its absence is visible in the list.
            let Some(map) = api.get_opt(&name).await.map_err(kubernetes("read a configmap"))? else { return Ok(None) };
            let digest = facts::configuration_content(&map.data).map_err(|source| Error::Canonical { what: "configmap", source })?;
            let changed_at = facts::changed_at(&map.metadata).unwrap_or_else(|| created_at(&map));
            Ok::<_, Error>(Some((name.clone(), Configuration { name, digest, changed_at })))
        }
    });
    let read: Vec<_> = futures::stream::iter(reads).buffer_unordered(8).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Digests of the newest warnings.
async fn warnings(director: &Director, namespace: &str) -> Result<Vec<Digest>, Error> {
    let api: Api<Event> = Api::namespaced(director.client.clone(), namespace);
    let list = ListParams::default().fields("type=Warning").limit(LISTED);
    let mut events = api.list(&list).await.map_err(kubernetes("list events"))?.items;
    let last = |event: &Event| {
        let seen = event.last_timestamp.as_ref().map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0));
        seen.map_or_else(|| created_at(event).0, |time| time.as_millisecond())
    };
    events.sort_by_key(|event| (-last(event), event.name_any()));
    events.truncate(EVENTS);
    let digest = |event: &Event| {
        let about = json!({
            "kind": event.involved_object.kind,
            "name": event.involved_object.name,
            "reason": event.reason.as_deref().map(line),
            "message": event.message.as_deref().map(line),
            "last": last(event),
        });
        Digest::of(&about).map_err(|source| Error::Canonical { what: "event", source })
    };
    events.iter().map(digest).collect()
}
