//! What the executor reads, each time anew, as its own account: the same facts as the gate reads, through the same
//! conversions, so that what is seen before a write and at the write is the same. It writes nothing.

use std::sync::Arc;

use assent_api::names;
use assent_api::resources::{Ballot, Blueprint, Guardrail, GuardrailBinding, Pause, Remediation, Roster as StoredRoster};
use assent_api::{cast, facts, parse_plan};
use assent_core::consensus::Roster;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::plan::BlueprintFacts;
use assent_core::proof::Facts;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Target;
use assent_policies::{Set, specs_of};
use http_body_util::{BodyExt as _, Limited};
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde_json::Value;
use tokio::sync::OnceCell;

/// Largest answer of the API server that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Reads from the API server.
#[derive(Clone)]
pub(crate) struct Live {
    client: Client,
    cluster: Arc<OnceCell<String>>,
}

/// Now, by our own clock.
pub(crate) fn own_clock() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

pub(crate) fn unavailable(reason: impl Into<String>) -> Refusal {
    Refusal::new(Rule::Unavailable, reason, "the same once the executor can read what it must")
}

// === impl Live ===

impl Live {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, cluster: Arc::new(OnceCell::new()) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// UID of the `kube-system` namespace.
    pub(crate) async fn cluster(&self) -> Result<String, Refusal> {
        let read = || async {
            let namespace = self.get("/api/v1/namespaces/kube-system").await?.ok_or_else(|| unavailable("namespace `kube-system` does not exist"))?;
            let uid = namespace.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
            uid.ok_or_else(|| unavailable("namespace `kube-system` has no uid"))
        };
        self.cluster.get_or_try_init(read).await.cloned()
    }

    /// The workload itself; `None` when it does not exist.
    pub(crate) async fn workload(&self, target: &Target) -> Result<Option<Value>, Refusal> {
        self.get(&workload_path(target)).await
    }

    /// The roster, or why there is none, with the API server's clock.
    pub(crate) async fn roster(&self) -> Result<(Result<Roster, Refusal>, UnixMillis), Refusal> {
        let path = format!("{}/{}", StoredRoster::url_path(&(), None), names::ROSTER);
        let (object, now) = self.get_dated(&path).await?;
        let none = |reason: String| Refusal::new(Rule::NoRoster, reason, "a Roster `default` written by a person");
        let roster = match object {
            None => Err(none("there is no Roster `default`".into())),
            Some(object) => serde_json::from_value::<StoredRoster>(object)
                .map_err(|error| none(format!("the Roster is not readable: {error}")))
                .and_then(|stored| Roster::try_from(&stored.spec).map_err(none)),
        };
        Ok((roster, now))
    }

    /// Everything that a plan for `wanted` is judged by, and the guardrails, which the caller asks about its own requests.
    pub(crate) async fn facts(&self, incident: &IncidentUid, wanted: &Target) -> Result<(Facts, Set), Refusal> {
        let (roster, now) = self.roster().await?;
        let clock = own_clock();
        let (cluster, pauses, remediations, guardrails, target, blueprint) = tokio::try_join!(
            self.cluster(),
            self.list::<Pause>(names::SYSTEM_NAMESPACE, None),
            self.list::<Remediation>(names::SYSTEM_NAMESPACE, None),
            self.guardrails(),
            self.workload(wanted),
            self.blueprint(wanted),
        )?;
        let ballots = match &roster {
            Ok(roster) => self.list::<Ballot>(names::SYSTEM_NAMESPACE, Some(incident)).await?.iter().map(|stored| cast(stored, roster)).collect(),
            Err(refusal) => Err(refusal.clone()),
        };
        let of_incident = remediations.iter().filter(|stored| stored.spec.incident == incident.as_str());
        let plans = of_incident
            .map(|stored| Ok((parse_plan(stored)?, facts::created_at(stored).ok_or_else(|| unavailable("a plan has no creation time"))?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let facts = Facts {
            cluster,
            now,
            own_clock: clock,
            roster: roster.map_err(|refusal| refusal.reason),
            ballots,
            plans,
            ledger: facts::newest_position(&remediations),
            paused: pauses.first().map(|pause| pause.spec.reason.clone()),
            blueprint,
            guardrails: guardrails.digest().clone(),
            guardrail_denial: None,
            target,
            // Only the judgement of a write compares these; the gate makes it, by dry run, before anything is stored.
            configurations: Vec::new(),
        };
        Ok((facts, guardrails))
    }

    async fn guardrails(&self) -> Result<Set, Refusal> {
        // As JSON: a typed reader would drop what it does not know, and with it the reason to refuse.
        let specs = async |path: String| {
            let list = self.get(&path).await?.ok_or_else(|| unavailable(format!("{path} is not served")))?;
            Ok::<_, Refusal>(specs_of(&list))
        };
        let (policies, bindings) = tokio::try_join!(specs(Guardrail::url_path(&(), None)), specs(GuardrailBinding::url_path(&(), None)))?;
        Ok(Set::new(policies, bindings))
    }

    /// A Namespace; `None` when there is none of that name.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<Value>, Refusal> {
        self.get(&format!("/api/v1/namespaces/{name}")).await
    }

    /// The Blueprint that speaks of `target`. Two that do contradict each other whatever they say, so neither counts.
    pub(crate) async fn blueprint(&self, target: &Target) -> Result<Option<BlueprintFacts>, Refusal> {
        let all = self.list::<Blueprint>(&target.namespace, None).await?;
        let mut about = all.iter().filter(|b| b.spec.target.kind == target.kind && b.spec.target.name == target.name);
        match (about.next(), about.next()) {
            (Some(one), None) => facts::blueprint(one).map(Some).ok_or_else(|| unavailable("the Blueprint has no uid or generation")),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Refusal::new(Rule::Blueprint, format!("two Blueprints speak of {target}"), "one Blueprint for one workload")),
        }
    }

    async fn list<K>(&self, namespace: &str, incident: Option<&IncidentUid>) -> Result<Vec<K>, Refusal>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let params = match incident {
            Some(incident) => ListParams::default().labels(&format!("{}={incident}", names::INCIDENT)),
            None => ListParams::default(),
        };
        api.list(&params).await.map(|list| list.items).map_err(|error| unavailable(format!("cannot list {}: {error}", K::plural(&()))))
    }

    /// A raw read; `None` when there is no such object.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, Refusal> {
        self.get_dated(path).await.map(|(object, _)| object)
    }

    /// A raw read with the server's clock.
    async fn get_dated(&self, path: &str) -> Result<(Option<Value>, UnixMillis), Refusal> {
        let failed = |reason: String| unavailable(format!("cannot read {path}: {reason}"));
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| failed(error.to_string()))?;
        let response = self.client.send(request.map(kube::client::Body::from)).await.map_err(|error| failed(error.to_string()))?;
        let date = response.headers().get(http::header::DATE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let now = jiff::fmt::rfc2822::parse(&date).map_err(|_| failed(format!("its Date `{date:.40}` is not readable")))?;
        let now = UnixMillis(now.timestamp().as_millisecond());
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        match status.as_u16() {
            200 => Ok((Some(serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?), now)),
            404 => Ok((None, now)),
            other => Err(failed(format!("status {other}"))),
        }
    }
}

/// Where the target is served. Only kinds of `apps/v1` are modelled; another kind's path does not exist and reads as absent.
pub(crate) fn workload_path(target: &Target) -> String {
    format!("/apis/{}/namespaces/{}/{}s/{}", target.api_version, target.namespace, target.kind.to_lowercase(), target.name)
}
