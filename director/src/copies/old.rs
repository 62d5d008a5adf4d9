//! Which copies go: beyond the newest of each ConfigMap that somebody reads, all those that no template reads, unless they were what it
//! held within the last hour.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assent_api::copies::{self, KEPT_COPIES};
use assent_core::action::referenced_configurations;
use assent_core::workload::kept_template;
use assent_runtime::telemetry::chain;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, Preconditions};
use kube::{Api, ResourceExt as _};

use super::{Keeper, Place};
use crate::context::list;
use crate::director::{Director, Error, kubernetes};

/// What held so lately may be what is gone back to.
const LATELY: Duration = Duration::from_secs(60 * 60);
/// Copies in a page.
const PAGE: u32 = 500;

// === impl Keeper ===

impl Keeper {
    /// Deletes the copies that are old, in all namespaces: also where nobody wants copies any more.
    pub(super) async fn forget(&mut self, director: &Director) -> Result<(), Error> {
        self.current.retain(|_, at| at.elapsed() < LATELY);
        let mut of: BTreeMap<Place, Vec<PartialObjectMeta<ConfigMap>>> = BTreeMap::new();
        let api: Api<ConfigMap> = Api::all(director.client.clone());
        let mut page = ListParams::default().labels(&format!("{}={}", copies::KEPT, copies::CONFIGURATION)).limit(PAGE);
        loop {
            let found = api.list_metadata(&page).await.map_err(kubernetes("list copies of configmaps"))?;
            for copy in found.items {
                let original = copy.annotations().get(copies::COPY_OF).cloned().unwrap_or_default();
                of.entry((copy.namespace().unwrap_or_default(), original)).or_default().push(copy);
            }
            match found.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        let mut in_use: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((namespace, original), mut copies) in of {
            if !in_use.contains_key(&namespace) {
                in_use.insert(namespace.clone(), templates(director, &namespace).await?);
            }
            let used = in_use.get(&namespace);
            copies.sort_by_key(|copy| std::cmp::Reverse(copy.creation_timestamp()));
            let newest = if self.read.contains(&(namespace.clone(), original)) { KEPT_COPIES } else { 0 };
            for copy in copies.into_iter().skip(newest) {
                let place = (namespace.clone(), copy.name_any());
                if used.is_some_and(|used| used.contains(&place.1)) || self.current.contains_key(&place) {
                    continue;
                }
                self.kept.remove(&place);
                delete(director, &place, copy.uid()).await;
            }
        }
        Ok(())
    }
}

/// ConfigMaps that templates of a namespace read, earlier ones and those in use.
async fn templates(director: &Director, namespace: &str) -> Result<BTreeSet<String>, Error> {
    let (sets, revisions) = futures::try_join!(
        list::<ReplicaSet>(director, namespace, "list replicasets"),
        list::<ControllerRevision>(director, namespace, "list controllerrevisions"),
    )?;
    let templates = sets.iter().chain(&revisions).filter_map(kept_template);
    Ok(templates.flat_map(|template| referenced_configurations(&template)).collect())
}

/// The gate says whether it may go; this only asks.
async fn delete(director: &Director, (namespace, name): &Place, uid: Option<String>) {
    let api: Api<ConfigMap> = Api::namespaced(director.client.clone(), namespace);
    let which = DeleteParams { preconditions: Some(Preconditions { uid, resource_version: None }), ..DeleteParams::default() };
    if let Err(error) = api.delete(name, &which).await {
        tracing::warn!(namespace, copy = name, error = chain(&error), "an old copy of a ConfigMap is still there");
    }
}
