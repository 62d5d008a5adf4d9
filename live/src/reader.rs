//! Plain reads.

use std::path::PathBuf;
use std::sync::Arc;

use assent_api::names;
use assent_api::resources::{Blueprint, BlueprintRevision};
use assent_core::action::{self, Owned};
use assent_core::ballot::Proposal;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Target;
use assent_core::workload::{Kind, kept_template};
use http_body_util::{BodyExt as _, Limited};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::guardrails::Compiled;

/// Largest answer of the API server that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Objects of one page of a list.
const PAGE: usize = 500;
/// Most pages of a list; one that is longer cannot be judged.
const MAX_PAGES: usize = 20;

/// Reads from the API server. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    client: Client,
    cluster: Arc<OnceCell<String>>,
    pub(crate) compiled: Compiled,
    slack: Slack,
}

/// What is made of words that came by Slack.
#[derive(Clone, Debug)]
pub(crate) enum Slack {
    /// The gate admitted them: enough for whoever only waits, since the gate counts again.
    Believed,
    /// They are verified with the secret in this file; without one there are none.
    Verified(Option<Arc<PathBuf>>),
}

/// Something read, with the API server's clock when it was.
#[derive(Clone, Debug)]
pub struct Dated<T> {
    /// What was read.
    pub value: T,
    /// The `Date` of the answer.
    pub now: UnixMillis,
}

/// Now, by our own clock.
#[must_use]
pub fn own_clock() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

/// A refusal for want of something to judge by.
#[must_use]
pub fn unavailable(reason: impl Into<String>) -> Refusal {
    Refusal::new(Rule::Unavailable, reason, "the same request once everything that it is judged by can be read")
}

/// Name of what controls an object, if that is of this kind of `apps/v1`. It came from the API server, and goes into a path.
fn controller_name<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owner = action::controller(object).filter(|owner| owner.kind == kind)?;
    is_plain(owner.name).then_some(owner.name)
}

pub(crate) fn is_plain(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    plain && !name.is_empty() && name.len() <= 253 && !name.starts_with('.')
}

/// Server-set creation time of any object.
///
/// # Errors
/// If it has none.
pub fn created_at(object: &Value) -> Result<UnixMillis, Refusal> {
    let text = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
    let time: jiff::Timestamp = text.parse().map_err(|_| unavailable(format!("creation time `{text:.40}` is not readable")))?;
    Ok(UnixMillis(time.as_millisecond()))
}

/// Asks once more where the connection ended before an answer: the server gives up idle ones, and reading again changes nothing.
async fn twice<T, F: Future<Output = Result<T, kube::Error>>>(ask: impl Fn() -> F) -> Result<T, kube::Error> {
    match ask().await {
        Err(kube::Error::Service(_) | kube::Error::HyperError(_)) => ask().await,
        answer => answer,
    }
}

/// What the target is. Its names go into paths, so they must be names and nothing else.
///
/// # Errors
/// If no action is modelled for it.
pub fn plain_names(target: &Target) -> Result<Kind, Refusal> {
    let names = is_plain(&target.namespace) && is_plain(&target.name);
    Kind::of(&target.api_version, &target.kind).filter(|_| names).ok_or_else(|| {
        let wanted = format!("{} of apps/v1", Kind::NAMES.join(", "));
        Refusal::new(Rule::ForbiddenTarget, format!("`{:.80}` is no target", target.to_string()), wanted)
    })
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

// === impl Live ===

impl Live {
    /// Reads with this client's rights.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, cluster: Arc::new(OnceCell::new()), compiled: Compiled::default(), slack: Slack::Believed }
    }

    /// Believes no word that came by Slack, but verifies each with the signing secret in `secret`, as often as it is counted.
    #[must_use]
    pub fn verifying_slack(self, secret: Option<PathBuf>) -> Self {
        Self { slack: Slack::Verified(secret.map(Arc::new)), ..self }
    }

    pub(crate) fn slack(&self) -> &Slack {
        &self.slack
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// UID of the `kube-system` namespace.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn cluster(&self) -> Result<String, Refusal> {
        let read = || async {
            let namespace = self.object("/api/v1/namespaces/kube-system").await?.ok_or_else(|| unavailable("namespace `kube-system` does not exist"))?;
            let uid = namespace.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
            uid.ok_or_else(|| unavailable("namespace `kube-system` has no uid"))
        };
        self.cluster.get_or_try_init(read).await.cloned()
    }

    /// The API server's clock.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn now(&self) -> Result<UnixMillis, Refusal> {
        Ok(self.get("/version").await?.now)
    }

    /// The workload itself; `None` when it does not exist.
    ///
    /// # Errors
    /// If it is not modelled, or cannot be read.
    pub async fn workload(&self, target: &Target) -> Result<Option<Value>, Refusal> {
        let resource = plain_names(target)?.resource();
        self.object(&format!("/apis/apps/v1/namespaces/{}/{resource}/{}", target.namespace, target.name)).await
    }

    /// The pod that this action evicts, if it evicts one and the pod is there, with the ReplicaSet between it and the target.
    ///
    /// # Errors
    /// If it has no plain name, or cannot be read.
    pub async fn evicted(&self, proposal: &Proposal) -> Result<Option<Owned>, Refusal> {
        let Some(evict) = proposal.action.evicts() else { return Ok(None) };
        plain_names(&Target { name: evict.pod.clone(), ..proposal.target.clone() })?;
        self.pod(&proposal.target.namespace, &evict.pod).await
    }

    /// The pod of this name, with the ReplicaSet that controls it, if one does.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Owned>, Refusal> {
        let Some(pod) = self.object(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await? else { return Ok(None) };
        let between = match controller_name(&pod, "ReplicaSet") {
            Some(set) => self.object(&format!("/apis/apps/v1/namespaces/{namespace}/replicasets/{set}")).await?,
            None => None,
        };
        Ok(Some(Owned { pod, between }))
    }

    /// The workload that this pod is one of, if it is of a kind that is modelled.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn workload_of(&self, namespace: &str, owned: &Owned) -> Result<Option<Value>, Refusal> {
        let object = owned.between.as_ref().unwrap_or(&owned.pod);
        let found = Kind::ALL.into_iter().find_map(|kind| Some((kind, controller_name(object, kind.name())?)));
        let Some((kind, name)) = found else { return Ok(None) };
        self.object(&format!("/apis/apps/v1/namespaces/{namespace}/{}/{name}", kind.resource())).await
    }

    /// The earlier templates of its namespace, plain, wherever workloads of the target's kind keep them.
    ///
    /// # Errors
    /// If the target is not modelled, or they cannot be read.
    pub async fn templates(&self, target: &Target) -> Result<Vec<Value>, Refusal> {
        let resource = plain_names(target)?.revisions();
        let items = self.served_items(&format!("/apis/apps/v1/namespaces/{}/{resource}", target.namespace)).await?;
        Ok(items.iter().filter_map(kept_template).collect())
    }

    /// All templates of a namespace, earlier ones and those in use, plain.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn kept_templates(&self, namespace: &str) -> Result<Vec<Value>, Refusal> {
        let of = async |resource: &str| self.served_items(&format!("/apis/apps/v1/namespaces/{namespace}/{resource}")).await;
        let (sets, revisions) = tokio::try_join!(of("replicasets"), of("controllerrevisions"))?;
        Ok(sets.iter().chain(&revisions).filter_map(kept_template).collect())
    }

    /// The ConfigMap of this name, if it is there.
    ///
    /// # Errors
    /// If it has no plain name, or cannot be read.
    pub async fn configuration(&self, namespace: &str, name: &str) -> Result<Option<Value>, Refusal> {
        if !is_plain(name) {
            return Err(Refusal::new(Rule::Request, format!("`{name:.253}` is no name of a ConfigMap"), "a plain name"));
        }
        self.object(&format!("/api/v1/namespaces/{namespace}/configmaps/{name}")).await
    }

    /// An object, whatever the clock; `None` when there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn object(&self, path: &str) -> Result<Option<Value>, Refusal> {
        Ok(self.get(path).await?.value)
    }

    /// An object with the server's clock; its value is `None` when there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn get(&self, path: &str) -> Result<Dated<Option<Value>>, Refusal> {
        let failed = |reason: String| unavailable(format!("cannot read {path}: {reason}"));
        let send = || async {
            let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
            self.client.send(request.map(kube::client::Body::from)).await
        };
        let response = twice(send).await.map_err(|error| failed(error.to_string()))?;
        let date = response.headers().get(http::header::DATE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let now = jiff::fmt::rfc2822::parse(&date).map_err(|_| failed(format!("its Date `{date:.40}` is not readable")))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        let now = UnixMillis(now.timestamp().as_millisecond());
        match status.as_u16() {
            200 => Ok(Dated { value: Some(serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?), now }),
            404 => Ok(Dated { value: None, now }),
            other => Err(failed(format!("status {other}"))),
        }
    }

    /// All items of the list at `path`, page by page; `None` when nothing is served there.
    ///
    /// # Errors
    /// If a page cannot be read, or there are too many.
    pub async fn items(&self, path: &str) -> Result<Option<Vec<Value>>, Refusal> {
        let mut items = Vec::new();
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = format!("{path}{separator}limit={PAGE}{next}");
            let Some(mut list) = self.object(&page).await? else { return Ok(None) };
            if let Some(Value::Array(more)) = list.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match list.pointer("/metadata/continue").and_then(Value::as_str) {
                None | Some("") => return Ok(Some(items)),
                // A token is base64 in the URL-safe alphabet.
                Some(token) => next = format!("&continue={token}"),
            }
        }
        Err(unavailable(format!("{path} has more than {} objects", PAGE * MAX_PAGES)))
    }

    /// All items of a list that every API server with Assent serves.
    pub(crate) async fn served_items(&self, path: &str) -> Result<Vec<Value>, Refusal> {
        self.items(path).await?.ok_or_else(|| unavailable(format!("{path} is not served")))
    }

    /// The Blueprint of this name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn blueprint_named(&self, namespace: &str, name: &str) -> Result<Option<Blueprint>, Refusal> {
        Ok(self.list::<Blueprint>(namespace, None).await?.into_iter().find(|blueprint| blueprint.name_any() == name))
    }

    /// What Blueprints said, as far as it is kept.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn blueprint_revisions(&self) -> Result<Vec<BlueprintRevision>, Refusal> {
        self.list(names::SYSTEM_NAMESPACE, None).await
    }

    /// Objects of a kind of ours.
    pub(crate) async fn list<K>(&self, namespace: &str, incident: Option<&IncidentUid>) -> Result<Vec<K>, Refusal>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let params = match incident {
            Some(incident) => ListParams::default().labels(&format!("{}={incident}", names::INCIDENT)),
            None => ListParams::default(),
        };
        twice(|| api.list(&params)).await.map(|list| list.items).map_err(|error| unavailable(format!("cannot list {}: {error}", K::plural(&()))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use assent_core::canonical::Digest;

    use super::*;

    #[tokio::test]
    async fn only_a_connection_that_ended_is_asked_again_and_only_once() {
        let asked = AtomicU32::new(0);
        let ask = |error: fn() -> kube::Error, until: u32| {
            let asked = &asked;
            asked.store(0, Ordering::Relaxed);
            twice(move || async move { if asked.fetch_add(1, Ordering::Relaxed) < until { Err(error()) } else { Ok(()) } })
        };
        let ended = || kube::Error::Service("the connection ended".into());
        let refused = || kube::Error::Api(Box::new(kube::core::Status::failure("no", "Forbidden").with_code(403)));
        assert!(ask(ended, 1).await.is_ok());
        assert!(ask(ended, 2).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(ask(refused, 1).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn only_plain_names_of_modelled_kinds_go_into_paths() {
        let judge = |kind: &str, namespace: &str, name: &str| {
            let text = |text: &str| text.to_owned();
            let spec = Digest::of_bytes(b"");
            plain_names(&Target {
                api_version: text("apps/v1"),
                kind: text(kind),
                namespace: text(namespace),
                name: text(name),
                uid: text("u"),
                generation: 1,
                spec,
            })
        };
        assert_eq!(judge("Deployment", "shop", "orders.v2-a"), Ok(Kind::Deployment));
        assert_eq!(judge("DaemonSet", "shop", "orders"), Ok(Kind::DaemonSet));
        assert!(judge("ReplicaSet", "shop", "orders").is_err());
        for bad in ["", "..", "a/b", "a?dryRun=All", "a%2fb", "Orders", "a b", &"a".repeat(254)] {
            assert!(judge("Deployment", "shop", bad).is_err(), "{bad}");
            assert!(judge("Deployment", bad, "orders").is_err(), "{bad}");
        }
    }
}
