//! Following objects of one kind for the life of the process: relists are told apart from changes, so that what vanished
//! while the watch was away is removed. What is kept of an object is the caller's choice.

use std::collections::HashSet;

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt as _};

/// One change of one object, named by its UID.
#[derive(Debug)]
pub(crate) enum Change<K> {
    Is(Box<K>),
    Gone(String),
}

/// Feeds `take` with every change; `synced` is called after each complete list.
pub(crate) async fn follow<K, S>(what: &'static str, stream: S, mut take: impl FnMut(Change<K>), mut synced: impl FnMut())
where
    K: Resource,
    S: Stream<Item = watcher::Result<Event<K>>>,
{
    let mut stream = std::pin::pin!(stream);
    let mut known: HashSet<String> = HashSet::new();
    let mut listed: HashSet<String> = HashSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                if let Some(uid) = object.uid() {
                    listed.insert(uid);
                    take(Change::Is(Box::new(object)));
                }
            }
            Ok(Event::InitDone) => {
                for gone in known.difference(&listed) {
                    take(Change::Gone(gone.clone()));
                }
                known = std::mem::take(&mut listed);
                synced();
            }
            Ok(Event::Apply(object)) => {
                if let Some(uid) = object.uid() {
                    known.insert(uid);
                    take(Change::Is(Box::new(object)));
                }
            }
            Ok(Event::Delete(object)) => {
                if let Some(uid) = object.uid() {
                    known.remove(&uid);
                    take(Change::Gone(uid));
                }
            }
            Err(error) => tracing::warn!(what, error = %error, "watch interrupted"),
        }
    }
}
