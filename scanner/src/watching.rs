//! Following guardrails and bindings, raw: a typed reader would drop what it does not know, and with it the reason to say that
//! something does not load.

use std::collections::BTreeMap;

use assent_api::resources::{Guardrail, GuardrailBinding};
use assent_policies::Part;
use assent_runtime::telemetry;
use futures::{Stream, StreamExt as _};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;

use crate::known::{Item, Known};

/// What is known, once both kinds were listed.
pub(crate) type Latest = Option<Known>;

/// Keeps `latest` up to date for the life of the process.
pub(crate) async fn follow(client: Client, latest: watch::Sender<Latest>) {
    let guardrails = events(client.clone(), &ApiResource::erase::<Guardrail>(&()));
    let bindings = events(client, &ApiResource::erase::<GuardrailBinding>(&()));
    let all = futures::stream::select(guardrails.map(|event| (Part::Policy, event)), bindings.map(|event| (Part::Binding, event)));
    let mut all = std::pin::pin!(all);
    let (mut known, mut listing) = (Known::default(), Known::default());
    let mut listed = (false, false);
    while let Some((part, event)) = all.next().await {
        let (items, coming, done) = match part {
            Part::Policy => (&mut known.guardrails, &mut listing.guardrails, &mut listed.0),
            Part::Binding => (&mut known.bindings, &mut listing.bindings, &mut listed.1),
        };
        match event {
            Ok(event) => *done |= apply(items, coming, event),
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "watch of guardrails failed; retrying"),
        }
        if listed == (true, true) {
            latest.send_if_modified(|latest| {
                let changed = latest.as_ref() != Some(&known);
                if changed {
                    *latest = Some(known.clone());
                }
                changed
            });
        }
    }
}

fn events(client: Client, resource: &ApiResource) -> impl Stream<Item = watcher::Result<Event<DynamicObject>>> + use<> {
    let api: Api<DynamicObject> = Api::all_with(client, resource);
    kube::runtime::watcher(api, watcher::Config::default()).default_backoff()
}

/// Takes an event in; true when a listing is complete.
fn apply(items: &mut BTreeMap<String, Item>, coming: &mut BTreeMap<String, Item>, event: Event<DynamicObject>) -> bool {
    match event {
        Event::Init => coming.clear(),
        Event::InitApply(object) => {
            let (name, item) = item(object);
            coming.insert(name, item);
        }
        Event::InitDone => {
            *items = std::mem::take(coming);
            return true;
        }
        Event::Apply(object) => {
            let (name, item) = item(object);
            items.insert(name, item);
        }
        Event::Delete(object) => {
            items.remove(&item(object).0);
        }
    }
    false
}

fn item(mut object: DynamicObject) -> (String, Item) {
    let mut part = |name: &str| object.data.get_mut(name).map_or(Value::Null, Value::take);
    let (spec, status) = (part("spec"), part("status"));
    let annotations = object.metadata.annotations.unwrap_or_default();
    let annotations = annotations.into_iter().filter(|(key, _)| key.starts_with("assent.dev/")).collect();
    (object.metadata.name.unwrap_or_default(), Item { generation: object.metadata.generation, annotations, spec, status })
}
