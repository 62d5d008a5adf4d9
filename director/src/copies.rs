//! Keeps what ConfigMaps hold, as immutable copies beside them, so that an edit can be undone (RevertConfig): those that workloads
//! read whose own Blueprint lists that operation. Nothing rests on a copy by itself: the gate sees that each is true when it is made,
//! and which content was healthy the seats say.

mod old;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use assent_api::copies;
use assent_api::resources::Blueprint;
use assent_core::action::{REVERT_CONFIG, configurations_of};
use assent_core::blueprint;
use assent_core::target::is_system_namespace;
use assent_runtime::telemetry::chain;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tokio::time::Instant;

use crate::context::{list, name, whole};
use crate::director::{Director, Error, exists, kubernetes};

/// How often ConfigMaps are looked at. What held for a shorter time was never seen healthy.
const TURN: Duration = Duration::from_secs(10);
/// How often old copies go, in turns; and copies that somebody deleted are made again.
const TURNS: u32 = 60;
/// ConfigMaps of one namespace that are kept.
const MOST: usize = 256;
/// Copies of one ConfigMap that are made between two times that old ones go: whoever writes one all the time fills no cluster.
const MADE: u32 = 6;

/// A namespace and a name in it.
type Place = (String, String);

/// What is known of one director's turns.
#[derive(Debug, Default)]
struct Keeper {
    /// Copies that are there, as far as is known.
    kept: BTreeSet<Place>,
    /// When a copy was last what its ConfigMap holds.
    current: BTreeMap<Place, Instant>,
    /// How many copies of each ConfigMap were made since old ones went last.
    made: BTreeMap<Place, u32>,
    /// ConfigMaps that are read, as of this turn.
    read: BTreeSet<Place>,
}

/// Until dropped.
pub(crate) async fn run(director: Director) {
    let writer = Writer::default();
    let known = writer.as_reader();
    let stream = watcher(Api::<Blueprint>::all(director.client.clone()), watcher::Config::default()).default_backoff();
    let following = async {
        let mut stream = pin!(reflector(writer, stream));
        while let Some(event) = stream.next().await {
            if let Err(error) = event {
                tracing::warn!(error = %error, "Blueprints cannot be watched");
            }
        }
    };
    let keeping = async {
        if known.wait_until_ready().await.is_err() {
            return;
        }
        let (mut turns, mut keeper) = (tokio::time::interval(TURN), Keeper::default());
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0_u32.. {
            turns.tick().await;
            let clean = turn % TURNS == 0;
            if clean {
                (keeper.kept, keeper.made) = (BTreeSet::new(), BTreeMap::new());
            }
            let mut wanted: BTreeMap<String, Vec<blueprint::Blueprint>> = BTreeMap::new();
            for (namespace, blueprint) in known.state().iter().filter_map(|stored| wants(stored)) {
                wanted.entry(namespace).or_default().push(blueprint);
            }
            keeper.read.clear();
            let mut whole = true;
            for (namespace, blueprints) in &wanted {
                if let Err(error) = keeper.keep(&director, namespace, blueprints).await {
                    whole = false;
                    tracing::warn!(namespace, error = chain(&error), "what its workloads read is not known, so nothing is kept");
                }
            }
            // Where it is not known what is read, nothing is old.
            if clean
                && whole
                && let Err(error) = keeper.forget(&director).await
            {
                tracing::warn!(error = chain(&error), "old copies of ConfigMaps are still there");
            }
        }
    };
    tokio::join!(following, keeping);
}

/// The Blueprint with its namespace, if it lists RevertConfig: whether allowed or for people to agree to.
fn wants(stored: &Blueprint) -> Option<(String, blueprint::Blueprint)> {
    let namespace = stored.namespace().filter(|namespace| !is_system_namespace(namespace))?;
    let spec = serde_json::to_value(&stored.spec).ok()?;
    let read = blueprint::read(&spec).into_result().ok()?;
    let operations = &read.rules.operations;
    let listed = operations.allowed.contains(REVERT_CONFIG) || operations.restricted.iter().any(|one| one.operation == REVERT_CONFIG);
    listed.then_some((namespace, read))
}

// === impl Keeper ===

impl Keeper {
    /// One turn in one namespace.
    async fn keep(&mut self, director: &Director, namespace: &str, blueprints: &[blueprint::Blueprint]) -> Result<(), Error> {
        let (deployments, stateful_sets, daemon_sets) = futures::try_join!(
            list::<Deployment>(director, namespace, "list deployments"),
            list::<StatefulSet>(director, namespace, "list statefulsets"),
            list::<DaemonSet>(director, namespace, "list daemonsets"),
        )?;
        let mut names = BTreeSet::new();
        for object in deployments.iter().chain(&stateful_sets).chain(&daemon_sets) {
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
            if blueprints.iter().any(|blueprint| blueprint.speaks_of(kind, name(object))) {
                names.extend(configurations_of(object));
            }
        }
        self.read.extend(names.iter().map(|name| (namespace.to_owned(), name.clone())));
        let kind = ApiResource::erase::<ConfigMap>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(director.client.clone(), namespace, &kind);
        for name in names.into_iter().take(MOST) {
            // One that cannot be kept must not keep the others from it.
            if let Err(error) = self.copy(&api, &kind, (namespace.to_owned(), name.clone())).await {
                tracing::warn!(namespace, name, error = chain(&error), "what this ConfigMap holds is not kept");
            }
        }
        Ok(())
    }

    async fn copy(&mut self, api: &Api<DynamicObject>, kind: &ApiResource, original: Place) -> Result<(), Error> {
        let Some(held) = api.get_opt(&original.1).await.map_err(kubernetes("read a configmap"))? else { return Ok(()) };
        let Ok(copy) = copies::copy_of(&whole(kind, held)) else { return Ok(()) };
        let place = (original.0.clone(), name(&copy).to_owned());
        self.current.insert(place.clone(), Instant::now());
        if self.kept.contains(&place) || self.made.get(&original).is_some_and(|made| *made >= MADE) {
            return Ok(());
        }
        let object: DynamicObject = serde_json::from_value(copy).map_err(|source| Error::Object { what: "copy of a configmap", source })?;
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {
                *self.made.entry(original.clone()).or_default() += 1;
                tracing::info!(namespace = original.0, name = original.1, copy = place.1, "kept what a ConfigMap holds");
            }
            Err(error) if exists(&error) => {
                let there = api.get_opt(&place.1).await.map_err(kubernetes("read a copy of a configmap"))?;
                if there.is_some_and(|there| copies::original(&whole(kind, there)).is_none()) {
                    tracing::warn!(namespace = original.0, name = original.1, copy = place.1, "something that is no copy has the name of one");
                }
            }
            Err(error) => return Err(kubernetes("create a copy of a configmap")(error)),
        }
        self.kept.insert(place);
        Ok(())
    }
}
