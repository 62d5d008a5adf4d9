//! The trust bundle in every namespace that runs sidecars: ConfigMap `assent-trust`, written at
//! once where a namespace opts in and repaired where somebody changes it. Roots are public; nothing
//! secret passes here. A namespace that opts out keeps its copy, which its running pods still mount.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};

use assent_runtime::telemetry;

/// The ConfigMap's name.
pub const CONFIG_MAP: &str = "assent-trust";
/// The entry that holds the roots in PEM.
pub const KEY: &str = "ca-bundle.pem";
const OPT_IN: &str = "assent.dev/inject=enabled";
const FIELD_MANAGER: &str = "assent-identity";
const RETRY: Duration = Duration::from_secs(5);

/// Which namespaces want the bundle, and which still lack it.
#[derive(Debug, Default)]
struct Wanted {
    control: String,
    namespaces: BTreeSet<String>,
    missing: BTreeSet<String>,
}

enum Change {
    Namespace(Event<String>),
    Copy { namespace: String, intact: bool },
}

/// Publishes `bundle` to `control` and every opted-in namespace, for the life of the process.
pub async fn publish(client: Client, control: String, bundle: String) {
    let mut wanted = Wanted { control: control.clone(), ..Wanted::default() };
    wanted.add(control);
    let mut changes = std::pin::pin!(changes(&client, &bundle));
    loop {
        let failed = write_missing(&client, &bundle, &mut wanted).await;
        // A failure is retried on its own; a change is acted on at once.
        let pause = async { if failed { tokio::time::sleep(RETRY).await } else { std::future::pending().await } };
        tokio::select! {
            () = pause => {}
            Some(change) = changes.next() => wanted.apply(change),
        }
    }
}

fn changes(client: &Client, bundle: &str) -> impl futures::Stream<Item = Change> {
    let opted_in = watcher::Config::default().labels(OPT_IN);
    let namespaces = kube::runtime::watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), opted_in)
        .default_backoff()
        .filter_map(async |event| match event {
            Ok(event) => Some(Change::Namespace(names(event))),
            Err(error) => {
                tracing::warn!(error = telemetry::chain(&error), "namespaces cannot be watched");
                None
            }
        })
        .boxed();
    let named = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let bundle = bundle.to_owned();
    let copies = kube::runtime::watcher(Api::<ConfigMap>::all(client.clone()), named)
        .default_backoff()
        .filter_map(move |event| {
            std::future::ready(match event {
                Ok(Event::Apply(copy) | Event::InitApply(copy)) => {
                    let text = copy.data.as_ref().and_then(|data| data.get(KEY));
                    let intact = text.is_some_and(|text| *text == bundle);
                    copy.namespace().map(|namespace| Change::Copy { namespace, intact })
                }
                Ok(Event::Delete(copy)) => copy.namespace().map(|namespace| Change::Copy { namespace, intact: false }),
                Ok(Event::Init | Event::InitDone) => None,
                Err(error) => {
                    tracing::warn!(error = telemetry::chain(&error), "trust config maps cannot be watched");
                    None
                }
            })
        })
        .boxed();
    stream::select(namespaces, copies)
}

fn names<K: kube::Resource>(event: Event<K>) -> Event<String> {
    match event {
        Event::Apply(namespace) => Event::Apply(namespace.name_any()),
        Event::InitApply(namespace) => Event::InitApply(namespace.name_any()),
        Event::Delete(namespace) => Event::Delete(namespace.name_any()),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

async fn write_missing(client: &Client, bundle: &str, wanted: &mut Wanted) -> bool {
    let mut failed = BTreeSet::new();
    for namespace in std::mem::take(&mut wanted.missing) {
        match write(client, &namespace, bundle).await {
            Ok(()) => tracing::info!(k8s.namespace.name = namespace, "trust bundle published"),
            // It is going away, or is gone; the watch says so too.
            Err(kube::Error::Api(status)) if status.code == 404 || status.message.contains("being terminated") => {}
            Err(error) => {
                tracing::warn!(k8s.namespace.name = namespace, error = telemetry::chain(&error), "trust bundle not published");
                failed.insert(namespace);
            }
        }
    }
    wanted.missing = failed;
    !wanted.missing.is_empty()
}

async fn write(client: &Client, namespace: &str, bundle: &str) -> kube::Result<()> {
    let copies = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let patch = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": CONFIG_MAP },
        "data": { KEY: bundle },
    });
    // Forced: whoever else claims this entry would be choosing whom this namespace trusts.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    copies.patch(CONFIG_MAP, &params, &Patch::Apply(&patch)).await.map(|_| ())
}

// === impl Wanted ===

impl Wanted {
    fn add(&mut self, namespace: String) {
        if self.namespaces.insert(namespace.clone()) {
            self.missing.insert(namespace);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Namespace(Event::Apply(name) | Event::InitApply(name)) => self.add(name),
            // The control plane's own copy does not depend on a label.
            Change::Namespace(Event::Delete(name)) if name == self.control => {}
            Change::Namespace(Event::Delete(name)) => {
                self.namespaces.remove(&name);
                self.missing.remove(&name);
            }
            // A namespace that left during a gap in the watch stays wanted: a copy too many, no harm.
            Change::Namespace(Event::Init | Event::InitDone) => {}
            Change::Copy { namespace, intact } => {
                if intact {
                    self.missing.remove(&namespace);
                } else if self.namespaces.contains(&namespace) {
                    self.missing.insert(namespace);
                }
            }
        }
    }
}
