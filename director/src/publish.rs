//! Shows incidents to people: an `Incident` object with its status and an Event per phase. The store is the record; what is
//! shown is repeated until it is the newest, and nothing is decided from it.

use std::time::Duration;

use assent_api::names;
use assent_api::resources::{Condition, Incident, IncidentSpec, IncidentStatus, decision_name};
use assent_core::consensus::Verdict;
use assent_core::incident::Phase;
use assent_runtime::telemetry::chain;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::decision;
use crate::director::{Director, Error, exists, kubernetes};
use crate::intake::{capped, line};
use crate::store::Record;

/// Field manager of what we show.
const MANAGER: &str = "assent-director";
/// Competing hypotheses that are shown.
const HYPOTHESES: usize = 8;
/// Incidents that are shown in one turn.
const AT_ONCE: usize = 32;
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Shows whatever is not shown yet, whenever something happened.
pub(crate) async fn run(director: Director) {
    let mut woken = director.wake.subscribe();
    loop {
        woken.mark_unchanged();
        match turn(&director).await {
            Ok(true) => {}
            Ok(false) => {
                // The sender is in `director`, so this ends only with us.
                if woken.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "incidents not shown, trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Whether there may be more to show.
async fn turn(director: &Director) -> Result<bool, Error> {
    let uids = director.store.unpublished(AT_ONCE).await?;
    for uid in &uids {
        let record = director.store.incident(uid).await?;
        publish(director, &record).await?;
        director.store.published(uid, record.revision).await?;
    }
    Ok(uids.len() == AT_ONCE)
}

/// Shows one incident as it is in `record`.
pub(crate) async fn publish(director: &Director, record: &Record) -> Result<(), Error> {
    let api = director.ours::<Incident>();
    let uid = record.incident.uid.as_str();
    let stored = match api.get_opt(uid).await.map_err(kubernetes("read an incident object"))? {
        Some(stored) => stored,
        None => match api.create(&PostParams::default(), &object(record)).await {
            Err(error) if exists(&error) => api.get(uid).await.map_err(kubernetes("read an incident object"))?,
            created => created.map_err(kubernetes("create an incident object"))?,
        },
    };
    let conditions = stored.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let status = status(record, stored.metadata.generation, conditions);
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(uid, &PatchParams::apply(MANAGER), &patch).await.map_err(kubernetes("write an incident's status"))?;
    announce(director, record, stored.uid().unwrap_or_default()).await
}

fn object(record: &Record) -> Incident {
    let uid = record.incident.uid.to_string();
    let spec = IncidentSpec {
        source: record.source.clone(),
        service: capped(&record.incident.service.to_string(), 320),
        symptom: record.symptom.clone(),
        summary: line(&record.summary),
    };
    let mut object = Incident::new(&uid, spec);
    object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
    object.metadata.labels = Some([(names::INCIDENT.to_owned(), uid.clone())].into());
    object.metadata.annotations = Some([(names::INCIDENT.to_owned(), uid)].into());
    object
}

fn status(record: &Record, generation: Option<i64>, mut conditions: Vec<Condition>) -> IncidentStatus {
    let incident = &record.incident;
    let outcome = record.outcome.as_ref();
    let action = outcome.map(|outcome| match (&incident.covered_by, &outcome.verdict) {
        (Some(parent), _) => format!("none: incident {parent} acts on the same cause"),
        (None, Verdict::Act { proposal, .. }) => format!("{} on {}", proposal.action.act().describe(), proposal.target),
        (None, Verdict::Hold { rule, .. }) => format!("none: {}", rule.code()),
    });
    let told = matches!(incident.phase, Phase::Escalated | Phase::RolledBack | Phase::Watching);
    let closed = Condition {
        kind: "Closed".into(),
        status: if incident.phase.is_final() { "True" } else { "False" }.into(),
        reason: incident.phase.as_str().into(),
        message: capped(incident.outcome.as_deref().unwrap_or("under way"), 1024),
        last_transition_time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        observed_generation: generation,
    };
    closed.set_in(&mut conditions);
    IncidentStatus {
        phase: Some(incident.phase.as_str().into()),
        epoch: Some(incident.epoch),
        cause: outcome.and_then(decision::cause),
        action,
        decision: outcome.and_then(|_| decided_epoch(incident)).map(|epoch| decision_name(incident.uid.as_str(), epoch)),
        remediation: record.remediation.clone(),
        outcome: incident.outcome.as_deref().map(|text| capped(text, 1024)),
        hypotheses: outcome.filter(|_| told).map(|outcome| decision::hypotheses(outcome).into_iter().take(HYPOTHESES).collect()).unwrap_or_default(),
        observed_generation: generation,
        conditions,
    }
}

/// The newest epoch that has a decision; what another incident covers has none.
fn decided_epoch(incident: &assent_core::incident::Incident) -> Option<u32> {
    match incident.phase {
        _ if incident.covered_by.is_some() => None,
        Phase::Open | Phase::Investigating => incident.epoch.checked_sub(1).filter(|epoch| *epoch > 0),
        _ => Some(incident.epoch),
    }
}

/// One Event per phase, named by it, so that it is announced once; another one after new evidence opened the incident again.
async fn announce(director: &Director, record: &Record, object_uid: String) -> Result<(), Error> {
    let incident = &record.incident;
    let phase = incident.phase.as_str();
    let now = Time(jiff::Timestamp::now());
    // What was told before it was opened again was another thing.
    let again = if incident.reopened { format!(".{}", incident.epoch) } else { String::new() };
    let warning = matches!(incident.phase, Phase::Escalated | Phase::RolledBack);
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}{again}", incident.uid, phase.to_ascii_lowercase())),
            namespace: Some(names::SYSTEM_NAMESPACE.into()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{}/{}", names::GROUP, names::VERSION)),
            kind: Some("Incident".into()),
            name: Some(incident.uid.to_string()),
            namespace: Some(names::SYSTEM_NAMESPACE.into()),
            uid: Some(object_uid),
            ..ObjectReference::default()
        },
        reason: Some(phase.into()),
        message: Some(capped(incident.outcome.as_deref().unwrap_or(&record.summary), 1000)),
        type_: Some(if warning { "Warning" } else { "Normal" }.into()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource { component: Some(MANAGER.into()), host: None }),
        reporting_component: Some(MANAGER.into()),
        ..Event::default()
    };
    match director.ours::<Event>().create(&PostParams::default(), &event).await {
        Err(error) if !exists(&error) => Err(kubernetes("create an event")(error)),
        _ => Ok(()),
    }
}
