//! What every part of the director shares, and the few live reads that several of them need.

use std::collections::BTreeMap;

use assent_api::names;
use assent_api::resources::{self, Ballot, Blueprint, ClusterBlueprint, Remediation};
use assent_api::{facts, parse_plan};
use assent_core::consensus::Roster;
use assent_core::ids::IncidentUid;
use assent_core::incident::Mode;
use assent_core::target::Target;
use assent_runtime::workload::Workload;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::watch;

use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::store::{self, Advance, Draft, Record, Store};

/// Most ballots of one incident that are read: four seats in two rounds of three epochs are 24.
const BALLOTS: u32 = 256;

/// Why a step of the director failed; all of these are tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server did not do it.
    #[error("{doing}")]
    Kubernetes {
        doing: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    /// The store did not do it.
    #[error("use the store")]
    Store(#[from] store::Error),
    /// Something has no canonical form.
    #[error("write {what} in canonical form")]
    Canonical {
        what: &'static str,
        #[source]
        source: assent_core::canonical::Error,
    },
    /// What we made is no object.
    #[error("make a {what}")]
    Object {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// The roster cannot be used.
    #[error("the roster cannot be used: {0}")]
    Roster(String),
}

// === impl Error ===

impl Error {
    /// Whether the store was only away for a moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Director {
    pub(crate) store: Store,
    /// Where alerts are put.
    pub(crate) inbox: Inbox,
    pub(crate) client: Client,
    pub(crate) workload: Workload,
    /// UID of the `kube-system` namespace.
    pub(crate) cluster: String,
    /// Our own identity, the author of our ledger entries.
    pub(crate) author: String,
    pub(crate) metrics: Metrics,
    /// Told whenever there may be something to carry out or to show.
    pub(crate) wake: watch::Sender<()>,
    /// Told whenever whoever watches over security must hear of something.
    pub(crate) alarmed: watch::Sender<()>,
    /// Where seats are that are not at their Service.
    pub(crate) addresses: BTreeMap<String, String>,
}

// === impl Director ===

impl Director {
    /// An entry of the ledger by this director.
    pub(crate) fn draft(&self, incident: &IncidentUid, kind: &str, key: String, body: Value) -> Draft {
        Draft { incident: incident.clone(), author: self.author.clone(), kind: kind.to_owned(), key, body }
    }

    /// A namespaced API of ours.
    pub(crate) fn ours<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), names::SYSTEM_NAMESPACE)
    }

    /// The roster in force, or none.
    pub(crate) async fn roster(&self) -> Result<Option<Roster>, Error> {
        roster(&self.client).await
    }

    /// All ballots of an incident, as the API server has them now.
    pub(crate) async fn ballots(&self, incident: &IncidentUid) -> Result<Vec<Ballot>, Error> {
        let list = ListParams::default().labels(&format!("{}={incident}", names::INCIDENT)).limit(BALLOTS);
        let mut ballots = self.ours::<Ballot>().list(&list).await.map_err(kubernetes("list ballots"))?.items;
        ballots.sort_by_key(Ballot::name_any);
        Ok(ballots)
    }

    /// The Blueprints in `namespace`, and what stands above all Blueprints.
    pub(crate) async fn blueprints(&self, namespace: &str) -> Result<(Vec<Blueprint>, Vec<ClusterBlueprint>), Error> {
        let api: Api<Blueprint> = Api::namespaced(self.client.clone(), namespace);
        let all = api.list(&ListParams::default()).await.map_err(kubernetes("list blueprints"))?.items;
        let api: Api<ClusterBlueprint> = Api::all(self.client.clone());
        let above = api.list(&ListParams::default()).await.map_err(kubernetes("list cluster blueprints"))?.items;
        Ok((all, above))
    }

    /// How far Assent may go for `target`: the strictest of the Blueprints that speak of it and of what stands above them, and
    /// to observe without any.
    pub(crate) async fn mode(&self, target: &Target) -> Result<Mode, Error> {
        let (all, above) = self.blueprints(&target.namespace).await?;
        let about = all.iter().filter(|blueprint| blueprint.spec.speaks_of(&target.kind, &target.name));
        let own = about.map(|blueprint| blueprint.spec.mode).min().unwrap_or(Mode::Observe);
        let concerns = above.iter().filter(|rules| rules.spec.namespaces.is_empty() || rules.spec.namespaces.contains(&target.namespace));
        Ok(concerns.filter_map(|rules| rules.spec.mode).fold(own, Mode::min))
    }

    /// Steps an incident and wakes whoever has to do something about it.
    pub(crate) async fn advance(&self, uid: &IncidentUid, what: Advance) -> Result<Record, Error> {
        let (record, changed) = self.store.advance(uid, &self.author, what).await?;
        if changed {
            self.metrics.entered(record.incident.phase);
            tracing::info!(incident.id = %uid, phase = record.incident.phase.as_str(), epoch = record.incident.epoch, "incident stepped");
        }
        self.wake.send_replace(());
        Ok(record)
    }
}

async fn roster(client: &Client) -> Result<Option<Roster>, Error> {
    let api: Api<resources::Roster> = Api::all(client.clone());
    let stored = api.get_opt(names::ROSTER).await.map_err(kubernetes("read the roster"))?;
    stored.map(|stored| Roster::try_from(&stored.spec).map_err(Error::Roster)).transpose()
}

/// UID of the `kube-system` namespace: what ballots and plans name the cluster by.
pub(crate) async fn cluster(client: &Client) -> Result<String, Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await.map_err(kubernetes("read namespace `kube-system`"))?;
    Ok(namespace.uid().unwrap_or_default())
}

/// Why `store` cannot be the ledger that the admitted plans speak of, if so: what the next plan must extend has to be in it, and
/// every head that a plan of the same era carries. What came before people began a new one is not asked for.
pub(crate) async fn contradiction(client: &Client, store: &Store) -> Result<Option<String>, Error> {
    let api: Api<Remediation> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    // All of them, as the gate does: which is the newest does not show before the last one.
    let stored = api.list(&ListParams::default()).await.map_err(kubernetes("list remediations"))?.items;
    let newest = facts::newest_position(&stored);
    let next = newest.next(roster(client).await?.and_then(|roster| roster.ledger).as_ref());
    if next != newest && store.head_at(next.head.sequence).await?.as_ref() != Some(&next.head) {
        return Ok(Some(format!("the Roster vouches for head {}, which is not in this ledger", next.head.sequence)));
    }
    for plan in stored.iter().filter_map(|stored| parse_plan(stored).ok()) {
        let head = &plan.ledger.head;
        if plan.ledger.era == next.era && store.head_at(head.sequence).await?.as_ref() != Some(head) {
            return Ok(Some(format!("an admitted plan of incident {} carries head {}, which is not in this ledger", plan.incident, head.sequence)));
        }
    }
    Ok(None)
}

/// Looks whether the ledger holds, in itself and beside the plans that were admitted.
pub(crate) async fn examine(client: &Client, store: &Store) -> Result<(), Error> {
    store.examine().await?;
    let reason = contradiction(client, store).await?;
    if let Some(reason) = &reason {
        tracing::error!(reason, "the ledger does not hold; nothing will be decided until a person has looked at it");
    }
    store.contradict(reason);
    Ok(())
}

/// Creation time of an object, zero for one that was never stored.
pub(crate) fn created_at(object: &impl kube::ResourceExt) -> assent_core::ids::UnixMillis {
    facts::created_at(object).unwrap_or(assent_core::ids::UnixMillis(0))
}

pub(crate) fn kubernetes(doing: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Kubernetes { doing, source: Box::new(source) }
}

/// Whether the API server says that the object is there already.
pub(crate) fn exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}
