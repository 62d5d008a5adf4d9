//! The set in force, kept by a watch of guardrails and bindings: read as raw JSON, compiled when either changes, and put in
//! place when it is whole. Until then, and while the API server cannot be reached, the set before stays in force.

use std::pin::pin;
use std::sync::Arc;

use assent_api::resources::{Guardrail, GuardrailBinding};
use assent_policies::Set;
use assent_runtime::admin::Unready;
use assent_runtime::telemetry::chain;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::watch;

/// What happened to one of the two kinds.
type Seen = Result<Event<DynamicObject>, watcher::Error>;

/// Until dropped. `starting` is dropped when the first set is in force.
pub(super) async fn follow(client: Client, publish: watch::Sender<Option<Arc<Set>>>, starting: Unready) {
    let mut starting = Some(starting);
    let (policies, of_policies) = raw::<Guardrail>(&client);
    let (bindings, of_bindings) = raw::<GuardrailBinding>(&client);
    let both = stream::select(of_policies.map(|seen| (0, seen)), of_bindings.map(|seen| (1, seen)));
    let mut both = pin!(both);
    // Which of the two have been listed to the end.
    let mut whole = [false; 2];
    while let Some(first) = both.next().await {
        let mut changed = note(&mut whole, first);
        // What else has happened by now is part of the same change.
        while let Some(next) = both.next().now_or_never().flatten() {
            changed |= note(&mut whole, next);
        }
        if !changed || whole.contains(&false) {
            continue;
        }
        let before = publish.borrow().clone();
        let (policies, bindings) = (specs(&policies), specs(&bindings));
        let compiled = tokio::task::spawn_blocking(move || match before {
            Some(before) => before.updated(policies, bindings),
            None => Set::new(policies, bindings),
        });
        match compiled.await {
            Ok(set) => {
                for problem in set.broken() {
                    tracing::warn!(%problem, "a guardrail does not load");
                }
                tracing::info!(digest = %set.digest(), programs = set.programs(), "guardrails are in force");
                publish.send_replace(Some(Arc::new(set)));
                drop(starting.take());
            }
            Err(error) => tracing::error!(error = chain(&error), "guardrails were not compiled; those before stay in force"),
        }
    }
}

/// Whether a store has changed.
fn note(whole: &mut [bool; 2], (which, seen): (usize, Seen)) -> bool {
    match seen {
        // A list that is being read shows in its store when it is whole.
        Ok(Event::Init | Event::InitApply(_)) => false,
        Ok(Event::InitDone) => {
            if let Some(whole) = whole.get_mut(which) {
                *whole = true;
            }
            true
        }
        Ok(Event::Apply(_) | Event::Delete(_)) => true,
        Err(error) => {
            // The stream goes on after a wait of its own.
            tracing::warn!(error = chain(&error), "guardrails cannot be watched; those in force stay");
            false
        }
    }
}

/// A kind as JSON: a typed reader would drop what it does not know, and with it the reason to refuse.
fn raw<K: kube::Resource<DynamicType = ()>>(client: &Client) -> (Store<DynamicObject>, BoxStream<'static, Seen>) {
    let resource = ApiResource::erase::<K>(&());
    let writer = Writer::new(resource.clone());
    let store = writer.as_reader();
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff().modify(|object| object.metadata.managed_fields = None);
    (store, reflector(writer, events).boxed())
}

fn specs(store: &Store<DynamicObject>) -> Vec<(String, Value)> {
    let spec = |object: &DynamicObject| object.data.get("spec").cloned().unwrap_or(Value::Null);
    store.state().iter().map(|object| (object.name_any(), spec(object))).collect()
}
