//! Gathers what the seats are shown: the workloads of the namespace with their revisions and configuration, the alerts so
//! far, and digests of Events. Bounded, and read as raw JSON, so that digests are of what the API server holds and not of
//! what our types know of it. Secrets are never read.

use std::collections::BTreeMap;

use assent_api::facts;
use assent_core::action::{referenced_configurations, template_without_hash};
use assent_core::canonical::{self, Digest};
use assent_core::ids::UnixMillis;
use assent_core::incident::{Alert, Configuration, Context, Revision, Symptom, Workload};
use assent_core::target::Target;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
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
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The context of an incident as canonical text.
pub(crate) async fn gather(director: &Director, record: &Record) -> Result<String, Error> {
    let incident = &record.incident;
    let namespace = incident.service.namespace.as_str();
    let (deployments, replica_sets, stateful_sets, events, alerts) = futures::try_join!(
        list::<Deployment>(director, namespace, "list deployments"),
        list::<ReplicaSet>(director, namespace, "list replicasets"),
        list::<StatefulSet>(director, namespace, "list statefulsets"),
        warnings(director, namespace),
        async { director.store.alerts(&incident.uid).await.map_err(Error::from) },
    )?;
    let mut objects: Vec<Value> = deployments.into_iter().chain(stateful_sets).collect();
    // The service that alerted is never the one that is cut off.
    objects.sort_by_key(|object| (name(object) != incident.service.name, name(object).to_owned()));
    objects.truncate(WORKLOADS);
    let configurations = configurations(director, namespace, &objects).await?;
    let workloads = objects.iter().filter_map(|object| workload(object, &replica_sets, &configurations)).collect();
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
async fn list<K: Resource<DynamicType = ()>>(director: &Director, namespace: &str, doing: &'static str) -> Result<Vec<Value>, Error> {
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(director.client.clone(), namespace, &kind);
    let objects = api.list(&ListParams::default().limit(LISTED)).await.map_err(kubernetes(doing))?;
    Ok(objects.items.into_iter().map(|object| whole(&kind, object)).collect())
}

fn whole(kind: &ApiResource, object: DynamicObject) -> Value {
    let mut value = object.data;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".into(), kind.api_version.clone().into());
        fields.insert("kind".into(), kind.kind.clone().into());
        fields.insert("metadata".into(), json!(object.metadata));
    }
    value
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn workload(object: &Value, replica_sets: &[Value], configurations: &BTreeMap<String, Configuration>) -> Option<Workload> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let target = match Target::of(object) {
        Ok(target) => target,
        Err(reason) => {
            tracing::warn!(workload = name(object), reason, "workload left out of the context");
            return None;
        }
    };
    let referenced = object.pointer("/spec/template").map(referenced_configurations).unwrap_or_default();
    Some(Workload {
        revisions: revisions(&target.uid, replica_sets),
        target,
        configurations: referenced.iter().filter_map(|name| configurations.get(name).cloned()).collect(),
        replicas: number("/spec/replicas").unwrap_or(1),
        ready: number("/status/readyReplicas").unwrap_or(0),
    })
}

fn revisions(owner: &str, replica_sets: &[Value]) -> Vec<Revision> {
    let owned = |set: &&Value| {
        let owners = set.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.is_some_and(|owners| {
            owners.iter().any(|of| of.get("uid").and_then(Value::as_str) == Some(owner) && of.get("controller") == Some(&Value::Bool(true)))
        })
    };
    let mut revisions: Vec<Revision> = replica_sets.iter().filter(owned).filter_map(revision).collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    revisions.truncate(REVISIONS);
    revisions
}

fn revision(set: &Value) -> Option<Revision> {
    let created = set.pointer("/metadata/creationTimestamp").and_then(Value::as_str)?.parse::<jiff::Timestamp>().ok()?;
    Some(Revision {
        number: set.get("metadata")?.get("annotations")?.get(REVISION)?.as_str()?.parse().ok()?,
        template: Digest::of(&template_without_hash(set.pointer("/spec/template")?)).ok()?,
        created_at: UnixMillis(created.as_millisecond()),
    })
}

/// The ConfigMaps that the workloads refer to, by name.
async fn configurations(director: &Director, namespace: &str, objects: &[Value]) -> Result<BTreeMap<String, Configuration>, Error> {
    let mut names: Vec<String> = objects.iter().filter_map(|object| object.pointer("/spec/template")).flat_map(referenced_configurations).collect();
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
