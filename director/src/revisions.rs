//! Writes down what each Blueprint says at each generation, so that people see what changed and can go back. Nothing rests on it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use assent_api::resources::{Blueprint, BlueprintRevision};
use futures::StreamExt as _;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};

use crate::director::{Director, exists};

/// How often, and after what wait, the API server is asked to keep one generation.
const ATTEMPTS: u32 = 5;
const AGAIN: Duration = Duration::from_secs(1);

/// Until dropped.
pub(crate) async fn run(director: Director) {
    let api: Api<Blueprint> = Api::all(director.client.clone());
    let kept = director.ours::<BlueprintRevision>();
    let mut blueprints = pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    let mut written: BTreeMap<String, i64> = BTreeMap::new();
    while let Some(event) = blueprints.next().await {
        let stored = match event {
            Ok(stored) => stored,
            // The stream goes on after a wait of its own.
            Err(error) => {
                tracing::warn!(error = %error, "Blueprints cannot be watched");
                continue;
            }
        };
        let (Some(uid), Some(generation)) = (stored.uid(), stored.metadata.generation) else { continue };
        if written.get(&uid) == Some(&generation) {
            continue;
        }
        if keep(&kept, &stored).await {
            written.insert(uid, generation);
        }
    }
}

/// Whether this generation is on record now. One that was changed again meanwhile comes as the next event.
async fn keep(kept: &Api<BlueprintRevision>, stored: &Blueprint) -> bool {
    let (blueprint, generation) = (stored.name_any(), stored.metadata.generation);
    let revision = match BlueprintRevision::of(stored) {
        Ok(revision) => revision,
        Err(reason) => {
            tracing::warn!(blueprint, generation, reason, "this generation of the Blueprint cannot be kept");
            return false;
        }
    };
    for _ in 0..ATTEMPTS {
        match kept.create(&PostParams::default(), &revision).await {
            Ok(_) => return true,
            Err(error) if exists(&error) => return true,
            Err(error) => tracing::warn!(blueprint, generation, error = %error, "this generation of the Blueprint is not kept yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    false
}
