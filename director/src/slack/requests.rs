//! What people are asked now, as a watch shows it: what somebody is to be asked in chat about, and what a button can be for.

use std::pin::pin;

use assent_api::resources::{ApprovalPhase, ApprovalRequest};
use assent_core::blueprint::{Approval, Approver};
use assent_core::ids::UnixMillis;
use futures::StreamExt as _;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use crate::director::created_at;

/// Requests as they are now. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests {
    api: Api<ApprovalRequest>,
    known: watch::Sender<Option<Store<ApprovalRequest>>>,
    news: watch::Sender<()>,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// Until when people may answer.
fn until(request: &ApprovalRequest) -> UnixMillis {
    created_at(request).plus(i64::from(request.spec.expires_after_seconds) * 1000)
}

/// Whether an answer may still count.
fn is_open(request: &ApprovalRequest, now: UnixMillis) -> bool {
    let over = request.status.as_ref().and_then(|status| status.phase).is_some_and(ApprovalPhase::is_final);
    !over && now <= until(request)
}

/// Whether one person of Slack suffices for one of its rules.
pub(crate) fn asks_in_chat(request: &ApprovalRequest) -> bool {
    let slack = |rule: Approval| rule.count == 1 && rule.approvers.iter().any(|approver| matches!(approver, Approver::Slack(_)));
    request.spec.approvals.iter().map(Approval::from).any(slack)
}

// === impl Requests ===

impl Requests {
    pub(crate) fn new(client: Client) -> Self {
        Self { api: Api::namespaced(client, assent_api::names::SYSTEM_NAMESPACE), known: watch::Sender::default(), news: watch::Sender::default() }
    }

    /// Keeps them up to date, until dropped.
    pub(crate) async fn follow(&self) {
        let writer = Writer::default();
        self.known.send_replace(Some(writer.as_reader()));
        let stream = watcher(self.api.clone(), watcher::Config::default()).default_backoff();
        let mut stream = pin!(reflector(writer, stream));
        while let Some(event) = stream.next().await {
            match event {
                Ok(_) => self.news.send_replace(()),
                // The stream goes on after a wait of its own.
                Err(error) => tracing::warn!(error = %error, "approval requests cannot be watched"),
            }
        }
    }

    /// Waits until all that there are are known.
    pub(crate) async fn ready(&self) {
        let known = self.known.subscribe().wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        match known {
            Some(known) if known.wait_until_ready().await.is_ok() => {}
            // Whoever follows them is gone, and with them the process soon.
            _ => std::future::pending().await,
        }
    }

    /// Told whenever something changed.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// All that are open now, by name.
    pub(crate) fn open(&self, now: UnixMillis) -> Vec<ApprovalRequest> {
        let known = self.known.borrow().as_ref().map(Store::state).unwrap_or_default();
        let mut open: Vec<ApprovalRequest> = known.iter().filter(|request| is_open(request, now)).map(|request| request.as_ref().clone()).collect();
        open.sort_by_key(ApprovalRequest::name_any);
        open
    }

    /// Whether the one of this name is open and asks somebody in chat.
    pub(crate) fn expects(&self, name: &str, now: UnixMillis) -> bool {
        let reference = ObjectRef::new(name).within(assent_api::names::SYSTEM_NAMESPACE);
        let request = self.known.borrow().as_ref().and_then(|known| known.get(&reference));
        request.is_some_and(|request| is_open(&request, now) && asks_in_chat(&request))
    }
}
