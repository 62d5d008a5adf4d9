//! Deletes what nobody can rest on any more: plans whose time is over, ballots and decisions a day old, incidents a week
//! old. The gate says what may go; this only asks, and takes no for an answer. The ledger keeps everything.

use std::collections::BTreeSet;
use std::time::Duration;

use assent_api::parse_plan;
use assent_api::resources::{
    Approval, ApprovalRequest, Ballot, Blueprint, BlueprintRevision, Decision, Incident, KEPT_REVISIONS, OperationProposal, Remediation,
};
use assent_api::{facts, names};
use assent_core::approval::MAX_EXPIRY_MS;
use assent_core::ids::UnixMillis;
use assent_core::plan::{KEEP_MS, MAX_REVERT_MS};
use assent_core::proof;
use assent_runtime::telemetry::chain;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::director::{Director, Error, created_at, kubernetes};
use crate::store;

/// How often.
const TURN: Duration = Duration::from_secs(10 * 60);
/// Most objects of a kind that are looked at in a turn.
const LISTED: u32 = 500;
/// How long an incident that is over stays visible.
const SHOWN_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Most incidents that are forgotten in a turn.
const FORGOTTEN: i64 = 200;

/// Until dropped.
pub(crate) async fn run(director: Director) {
    let mut turns = tokio::time::interval(TURN);
    loop {
        turns.tick().await;
        if let Err(error) = clean(&director, store::now()).await {
            tracing::warn!(error = chain(&error), "not everything old was deleted");
        }
    }
}

/// One turn, as of `now`.
pub(crate) async fn clean(director: &Director, now: UnixMillis) -> Result<(), Error> {
    plans(director, now).await?;
    let old = now.plus(-(KEEP_MS + i64::from(MAX_REVERT_MS)));
    records::<Ballot>(director, old).await?;
    records::<Decision>(director, old).await?;
    records::<ApprovalRequest>(director, old).await?;
    words(director, old.plus(-i64::from(MAX_EXPIRY_MS))).await?;
    revisions(director).await?;
    proposals(director, now.plus(-SHOWN_MS)).await?;
    for uid in director.store.ended_before(now.plus(-SHOWN_MS), FORGOTTEN).await? {
        delete(&director.ours::<Incident>(), uid.as_str(), None).await?;
        director.store.forget(&uid).await?;
    }
    director.store.forget_strays(now.plus(-SHOWN_MS)).await?;
    Ok(())
}

async fn plans(director: &Director, now: UnixMillis) -> Result<(), Error> {
    let api = director.ours::<Remediation>();
    let stored = api.list(&ListParams::default().limit(LISTED)).await.map_err(kubernetes("list remediations"))?.items;
    let newest = facts::newest_position(&stored);
    for object in &stored {
        let over = match parse_plan(object) {
            Ok(plan) => proof::permits_deletion(&plan, created_at(object), newest.order() <= plan.ledger.position().order(), now).is_ok(),
            // Another version's: only its age tells.
            Err(_) => now.since(created_at(object)) > KEEP_MS + i64::from(MAX_REVERT_MS),
        };
        if over {
            delete(&api, &object.name_any(), object.uid()).await?;
        }
    }
    Ok(())
}

async fn records<K>(director: &Director, before: UnixMillis) -> Result<(), Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api = director.ours::<K>();
    let list = ListParams::default().labels(names::INCIDENT).limit(LISTED);
    let stored = api.list_metadata(&list).await.map_err(kubernetes("list old records"))?;
    for object in stored.items.iter().filter(|object| created_at(*object) < before) {
        delete(&api, &object.name_any(), object.uid()).await?;
    }
    Ok(())
}

/// People's answers, which their authors write: without a label to find them by.
async fn words(director: &Director, before: UnixMillis) -> Result<(), Error> {
    let api = director.ours::<Approval>();
    let stored = api.list_metadata(&ListParams::default().limit(LISTED)).await.map_err(kubernetes("list old approvals"))?;
    for object in stored.items.iter().filter(|object| created_at(*object) < before) {
        delete(&api, &object.name_any(), object.uid()).await?;
    }
    Ok(())
}

/// What Blueprints said long ago; those whose Blueprint is gone go with it.
async fn revisions(director: &Director) -> Result<(), Error> {
    let api = director.ours::<BlueprintRevision>();
    let mut stored = api.list(&ListParams::default()).await.map_err(kubernetes("list blueprint revisions"))?.items;
    let there = Api::<Blueprint>::all(director.client.clone()).list_metadata(&ListParams::default()).await.map_err(kubernetes("list blueprints"))?.items;
    let there: BTreeSet<String> = there.iter().filter_map(kube::ResourceExt::uid).collect();
    stored.sort_by_key(|revision| (revision.spec.uid.clone(), std::cmp::Reverse(revision.spec.generation)));
    for of_one in stored.chunk_by(|one, other| one.spec.uid == other.spec.uid) {
        let keep = if of_one.iter().any(|revision| there.contains(&revision.spec.uid)) { KEPT_REVISIONS } else { 0 };
        for revision in of_one.iter().skip(keep) {
            delete(&api, &revision.name_any(), revision.uid()).await?;
        }
    }
    Ok(())
}

/// What was proposed long ago, in any namespace; the ledger keeps it.
async fn proposals(director: &Director, before: UnixMillis) -> Result<(), Error> {
    let all = Api::<OperationProposal>::all(director.client.clone());
    let stored = all.list_metadata(&ListParams::default().limit(LISTED)).await.map_err(kubernetes("list old proposals"))?;
    for object in stored.items.iter().filter(|object| created_at(*object) < before) {
        let api: Api<OperationProposal> = Api::namespaced(director.client.clone(), &object.namespace().unwrap_or_default());
        delete(&api, &object.name_any(), object.uid()).await?;
    }
    Ok(())
}

/// Deletes this very object. That it is gone, is another one, or must stay, is no error.
async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>) -> Result<(), Error>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let parameters = DeleteParams { preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }), ..DeleteParams::default() };
    match api.delete(name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_invalid() => {
            tracing::debug!(name, reason = status.message, "old object stays");
            Ok(())
        }
        Err(error) => Err(kubernetes("delete an old object")(error)),
    }
}

#[cfg(test)]
mod tests;
