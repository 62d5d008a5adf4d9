//! Operations that somebody proposes: each is classified, put on record under an Incident-UID of its own, and answered in its
//! status. Nothing that is proposed here is ever carried out: what Assent does, it does by a vote on an incident.

use std::pin::pin;
use std::time::Duration;

use assent_api::facts;
use assent_api::resources::{OperationProposal, OperationProposalStatus};
use assent_core::blueprint::{self, Classification, canonical};
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_runtime::telemetry::chain;
use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::director::{Director, Error, created_at, kubernetes};
use crate::security;
use crate::store::{self, Draft};

/// How often, and after what wait, one proposal is taken up again. After the last, the next list brings it back.
const ATTEMPTS: u32 = 10;
const AGAIN: Duration = Duration::from_secs(1);

/// Until dropped.
pub(crate) async fn run(director: Director) {
    let api: Api<OperationProposal> = Api::all(director.client.clone());
    let mut proposals = pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = proposals.next().await {
        match event {
            Ok(proposal) if proposal.status.is_none() => {
                for _ in 0..ATTEMPTS {
                    let Err(error) = answer(&director, &proposal).await else { break };
                    tracing::warn!(proposal = proposal.name_any(), error = chain(&error), "not answered yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            Ok(_) => {}
            // The stream goes on after a wait of its own.
            Err(error) => tracing::warn!(error = %error, "proposals cannot be watched"),
        }
    }
}

/// On record first, then told to whoever watches over security, then answered. All of it may be repeated.
async fn answer(director: &Director, proposal: &OperationProposal) -> Result<(), Error> {
    let (spec, namespace, name) = (&proposal.spec, proposal.namespace().unwrap_or_default(), proposal.uid().unwrap_or_default());
    let uid = record_uid(proposal)?;
    let status = OperationProposalStatus::of(&classify(director, proposal, &namespace).await?, uid.as_str());
    let alternatives: Vec<&str> = status.alternatives.iter().map(|one| one.name.as_str()).collect();
    let body = json!({
        "proposal": name, "namespace": namespace, "service": spec.service, "operation": canonical(&spec.operation), "user": spec.user, "reason": spec.reason,
        "tier": status.tier, "because": status.message, "alternatives": alternatives,
    });
    let draft = Draft { incident: uid.clone(), author: director.author.clone(), kind: "proposed".into(), key: format!("proposed/{name}"), body: body.clone() };
    director.store.note(&draft).await?;
    if status.alert {
        security::raise(director, &uid, &format!("proposal/{name}"), &body).await?;
    }
    director.metrics.proposed(&status.tier);
    tracing::info!(incident.id = %uid, operation = spec.operation, user = spec.user, tier = status.tier, "a proposal was answered");
    let api: Api<OperationProposal> = Api::namespaced(director.client.clone(), &namespace);
    let patch = json!({"status": status});
    match api.patch_status(&proposal.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        // Its namespace was deleted meanwhile; it is on record.
        Err(kube::Error::Api(gone)) if gone.is_not_found() => Ok(()),
        answered => answered.map(drop).map_err(kubernetes("answer a proposal")),
    }
}

async fn classify(director: &Director, proposal: &OperationProposal, namespace: &str) -> Result<Classification, Error> {
    let (blueprints, above) = director.blueprints(namespace).await?;
    let read = |stored| serde_json::to_value(stored).map_err(|error| error.to_string()).and_then(|stored: Value| facts::cluster_blueprint(&stored));
    let above: Result<Vec<blueprint::ClusterBlueprint>, String> = above.iter().map(read).collect();
    let above = above.as_deref().map_err(String::as_str);
    Ok(facts::proposed(&proposal.spec, namespace, &blueprints, above, store::now()))
}

/// The one Incident-UID of this object, so that whoever takes it up again puts it on record under the same.
fn record_uid(proposal: &OperationProposal) -> Result<IncidentUid, Error> {
    let millis = u64::try_from(created_at(proposal).0).unwrap_or(0);
    let digest = Digest::of_bytes(proposal.uid().unwrap_or_default().as_bytes());
    let mut bytes = [0; 10];
    for (byte, pair) in bytes.iter_mut().zip(digest.as_str().as_bytes().chunks_exact(2)) {
        *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    Ok(store::uid(&uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().to_string())?)
}
