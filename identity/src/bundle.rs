//! The trust bundle in every namespace that runs sidecars: ConfigMap `assent-trust`, written at
//! once where a namespace opts in and repaired where somebody changes it. Roots are public; nothing
//! secret passes here. A namespace that opts out keeps its copy, which its running pods still mount
//! and which goes on to be written.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

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
    bundle: String,
    namespaces: BTreeSet<String>,
    /// Namespaces with a copy that is ours, whether they want it or not.
    written: BTreeSet<String>,
    missing: BTreeSet<String>,
    /// Whether both watches have told of everything there was.
    listed: (bool, bool),
}

enum Change {
    Namespace(Event<String>),
    Copy { namespace: String, text: Option<String>, ours: bool },
    CopiesListed,
}

/// Publishes `bundle` to `control` and every opted-in namespace, for the life of the process; `published` is the one that all of
/// them are known to have.
pub async fn publish(client: Client, control: String, mut bundle: watch::Receiver<String>, published: watch::Sender<String>) {
    let mut wanted = Wanted { control: control.clone(), bundle: bundle.borrow_and_update().clone(), ..Wanted::default() };
    wanted.add(control);
    let mut changes = std::pin::pin!(changes(&client));
    loop {
        let failed = write_missing(&client, &mut wanted).await;
        if let Some(everywhere) = wanted.everywhere() {
            published.send_if_modified(|known| {
                let news = known != everywhere;
                if news {
                    everywhere.clone_into(known);
                }
                news
            });
        }
        // A failure is retried on its own; a change is acted on at once.
        let pause = async { if failed { tokio::time::sleep(RETRY).await } else { std::future::pending().await } };
        tokio::select! {
            () = pause => {}
            Ok(()) = bundle.changed() => wanted.replace(bundle.borrow_and_update().clone()),
            Some(change) = changes.next() => wanted.apply(change),
        }
    }
}

fn changes(client: &Client) -> impl futures::Stream<Item = Change> {
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
    let copies = kube::runtime::watcher(Api::<ConfigMap>::all(client.clone()), named)
        .default_backoff()
        .filter_map(|event| {
            std::future::ready(match event {
                Ok(Event::Apply(copy) | Event::InitApply(copy)) => {
                    let ours = copy.managed_fields().iter().any(|field| field.manager.as_deref() == Some(FIELD_MANAGER));
                    let text = copy.data.as_ref().and_then(|data| data.get(KEY)).cloned();
                    copy.namespace().map(|namespace| Change::Copy { namespace, text, ours })
                }
                Ok(Event::Delete(copy)) => copy.namespace().map(|namespace| Change::Copy { namespace, text: None, ours: false }),
                Ok(Event::Init) => None,
                Ok(Event::InitDone) => Some(Change::CopiesListed),
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

async fn write_missing(client: &Client, wanted: &mut Wanted) -> bool {
    let mut failed = BTreeSet::new();
    for namespace in std::mem::take(&mut wanted.missing) {
        match write(client, &namespace, &wanted.bundle).await {
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
            Change::Namespace(Event::InitDone) => self.listed.0 = true,
            // A namespace that left during a gap in the watch stays wanted: a copy too many, no harm.
            Change::Namespace(Event::Init) => {}
            Change::CopiesListed => self.listed.1 = true,
            Change::Copy { namespace, text, ours } => {
                if ours {
                    self.written.insert(namespace.clone());
                } else {
                    self.written.remove(&namespace);
                }
                if text.as_ref() == Some(&self.bundle) {
                    self.missing.remove(&namespace);
                } else if ours || self.namespaces.contains(&namespace) {
                    self.missing.insert(namespace);
                }
            }
        }
    }

    /// Everybody who has a bundle of ours, or wants one, is to have `bundle`.
    fn replace(&mut self, bundle: String) {
        self.bundle = bundle;
        self.missing = self.namespaces.union(&self.written).cloned().collect();
    }

    /// The bundle, if nobody lacks it.
    fn everywhere(&self) -> Option<&str> {
        (self.listed == (true, true) && self.missing.is_empty()).then_some(&self.bundle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(namespace: &str, text: &str, ours: bool) -> Change {
        Change::Copy { namespace: namespace.to_owned(), text: Some(text.to_owned()), ours }
    }

    fn wanted() -> Wanted {
        let mut wanted = Wanted { control: "system".to_owned(), bundle: "one".to_owned(), ..Wanted::default() };
        wanted.add("system".to_owned());
        wanted.apply(Change::Namespace(Event::InitApply("shop".to_owned())));
        wanted
    }

    #[test]
    fn a_bundle_is_everywhere_when_all_is_listed_and_nobody_lacks_it() {
        let mut wanted = wanted();
        wanted.missing.clear();
        assert_eq!(wanted.everywhere(), None);
        wanted.apply(Change::Namespace(Event::InitDone));
        assert_eq!(wanted.everywhere(), None);
        wanted.apply(Change::CopiesListed);
        assert_eq!(wanted.everywhere(), Some("one"));
        wanted.replace("two".to_owned());
        assert_eq!(wanted.everywhere(), None);
        wanted.apply(copy("system", "two", true));
        wanted.apply(copy("shop", "one", true));
        assert_eq!(wanted.everywhere(), None);
        wanted.apply(copy("shop", "two", true));
        assert_eq!(wanted.everywhere(), Some("two"));
    }

    #[test]
    fn who_has_opted_out_is_written_to_and_a_stranger_s_copy_is_left_alone() {
        let mut wanted = wanted();
        wanted.missing.clear();
        wanted.apply(copy("shop", "one", true));
        wanted.apply(Change::Namespace(Event::Delete("shop".to_owned())));
        wanted.apply(copy("stranger", "theirs", false));
        assert!(wanted.missing.is_empty(), "{wanted:?}");
        wanted.replace("two".to_owned());
        assert_eq!(wanted.missing, BTreeSet::from(["shop".to_owned(), "system".to_owned()]));
        wanted.apply(Change::Copy { namespace: "shop".to_owned(), text: None, ours: false });
        wanted.missing.clear();
        wanted.replace("three".to_owned());
        assert_eq!(wanted.missing, BTreeSet::from(["system".to_owned()]));
    }
}
