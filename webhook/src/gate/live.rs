//! What the gate reads, each time anew: nothing that a verdict rests on comes from a cache, but for the cluster's identity,
//! which never changes. Every failure to read is a refusal.

use std::sync::Arc;

use assent_api::names;
use assent_api::resources::{Ballot, Blueprint, Guardrail, GuardrailBinding, Pause, Remediation, Roster as StoredRoster};
use assent_api::{cast, facts, parse_plan};
use assent_core::action::Action;
use assent_core::ballot::CastBallot;
use assent_core::canonical::Digest;
use assent_core::consensus::Roster;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Position;
use assent_core::plan::{BlueprintFacts, Plan};
use assent_core::proof::Facts;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Target;
use assent_policies::{Outcome, Set, specs_of};
use kube::api::ListParams;
use kube::{Api, Client, Resource as _};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::policy;
use crate::review::{Request, Resource};

/// Largest answer of the API server that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Reads from the API server.
#[derive(Clone)]
pub(super) struct Live {
    client: Client,
    cluster: Arc<OnceCell<String>>,
}

/// A name and a spec.
type Spec = (String, Value);

/// Something read, with the API server's clock when it was.
pub(super) struct Dated<T> {
    pub(super) value: T,
    pub(super) now: UnixMillis,
}

/// Server-set creation time of any object.
pub(super) fn created_at(object: &Value) -> Result<UnixMillis, Refusal> {
    let text = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
    let time: jiff::Timestamp = text.parse().map_err(|_| unavailable(&format!("creation time `{text:.40}` is not readable")))?;
    Ok(UnixMillis(time.as_millisecond()))
}

fn dated_plan(stored: &Remediation) -> Result<(Plan, UnixMillis), Refusal> {
    Ok((parse_plan(stored)?, facts::created_at(stored).ok_or_else(|| unavailable("a plan has no creation time"))?))
}

fn unavailable(reason: &str) -> Refusal {
    Refusal::new(Rule::Unavailable, reason, "the same request once the gate can read what it must")
}

// === impl Live ===

impl Live {
    pub(super) fn new(client: Client) -> Self {
        Self { client, cluster: Arc::new(OnceCell::new()) }
    }

    /// UID of the `kube-system` namespace.
    pub(super) async fn cluster(&self) -> Result<String, Refusal> {
        let read = || async {
            let namespace = self.get("/api/v1/namespaces/kube-system").await?.value.ok_or_else(|| unavailable("namespace `kube-system` does not exist"))?;
            let uid = namespace.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
            uid.ok_or_else(|| unavailable("namespace `kube-system` has no uid"))
        };
        self.cluster.get_or_try_init(read).await.cloned()
    }

    /// The API server's clock.
    pub(super) async fn now(&self) -> Result<UnixMillis, Refusal> {
        Ok(self.get("/version").await?.now)
    }

    /// The roster, or why there is none, with the API server's clock.
    pub(super) async fn roster(&self) -> Result<Dated<Result<Roster, Refusal>>, Refusal> {
        let path = format!("{}/{}", StoredRoster::url_path(&(), None), names::ROSTER);
        let read = self.get(&path).await?;
        let none = |reason: String| Refusal::new(Rule::NoRoster, reason, "a Roster `default` written by a person");
        let value = match read.value {
            None => Err(none("there is no Roster `default`".into())),
            Some(object) => serde_json::from_value::<StoredRoster>(object)
                .map_err(|error| none(format!("the Roster is not readable: {error}")))
                .and_then(|stored| Roster::try_from(&stored.spec).map_err(none)),
        };
        Ok(Dated { value, now: read.now })
    }

    /// Every ballot of the incident; one that does not verify refuses all.
    pub(super) async fn ballots(&self, incident: &IncidentUid, roster: &Roster) -> Result<Vec<CastBallot>, Refusal> {
        self.list::<Ballot>(Some(names::SYSTEM_NAMESPACE), Some(incident)).await?.iter().map(|stored| cast(stored, roster)).collect()
    }

    /// Every readable plan of the incident with its creation time.
    pub(super) async fn plans(&self, incident: &IncidentUid) -> Result<Vec<(Plan, UnixMillis)>, Refusal> {
        let stored = self.list::<Remediation>(Some(names::SYSTEM_NAMESPACE), Some(incident)).await?;
        stored.iter().map(dated_plan).collect()
    }

    /// Where the ledger stood for the newest of all plans.
    pub(super) async fn newest_position(&self) -> Result<Position, Refusal> {
        Ok(facts::newest_position(&self.list::<Remediation>(Some(names::SYSTEM_NAMESPACE), None).await?))
    }

    /// A workload by the resource it is served as.
    pub(super) async fn workload(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let Resource { group, version, resource } = resource;
        let path = format!("/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}");
        let found = self.get(&path).await?.value;
        found.ok_or_else(|| Refusal::new(Rule::Stale, format!("{resource} `{namespace}/{name}` does not exist"), "a target that exists"))
    }

    /// Everything that a request about `wanted` is judged by, and what the guardrails say of it. Without `wanted`, no Blueprint
    /// and no configuration is read.
    pub(super) async fn facts(
        &self,
        incident: &IncidentUid,
        wanted: Option<&Target>,
        request: &Request,
        target: Option<Value>,
    ) -> Result<(Facts, Outcome), Refusal> {
        let Dated { value: roster, now } = self.roster().await?;
        let (cluster, pauses, remediations, guardrails) = tokio::try_join!(
            self.cluster(),
            self.list::<Pause>(Some(names::SYSTEM_NAMESPACE), None),
            self.list::<Remediation>(Some(names::SYSTEM_NAMESPACE), None),
            self.guardrails(),
        )?;
        let ballots = match &roster {
            Ok(roster) => self.ballots(incident, roster).await,
            Err(refusal) => Err(refusal.clone()),
        };
        let blueprint = match wanted {
            Some(target) => self.blueprint(target).await?,
            None => None,
        };
        let of_incident = remediations.iter().filter(|stored| stored.spec.incident == incident.as_str());
        let plans = of_incident.map(dated_plan).collect::<Result<Vec<_>, Refusal>>()?;
        let configurations = self.configurations(&plans, ballots.as_deref().unwrap_or_default(), wanted).await?;
        let said = self.said(&guardrails, request).await?;
        let facts = Facts {
            cluster,
            now,
            own_clock: UnixMillis(jiff::Timestamp::now().as_millisecond()),
            roster: roster.map_err(|refusal| refusal.reason),
            ballots,
            plans,
            ledger: facts::newest_position(&remediations),
            paused: pauses.first().map(|pause| pause.spec.reason.clone()),
            blueprint,
            guardrails: guardrails.digest().clone(),
            guardrail_denial: said.refusal(),
            target,
            configurations,
        };
        Ok((facts, said))
    }

    /// The guardrails and what binds them. A cluster without their definitions has been tampered with: that is no empty set.
    async fn guardrails(&self) -> Result<Set, Refusal> {
        let (policies, bindings) = self.policies().await?;
        Ok(Set::new(policies, bindings))
    }

    /// Names and specs of guardrails and of bindings.
    async fn policies(&self) -> Result<(Vec<Spec>, Vec<Spec>), Refusal> {
        tokio::try_join!(self.specs::<Guardrail>(), self.specs::<GuardrailBinding>())
    }

    /// Names and specs of cluster-scoped objects, as JSON: a typed reader would drop what it does not know, and with it the
    /// reason to refuse.
    async fn specs<K: kube::Resource<DynamicType = ()>>(&self) -> Result<Vec<Spec>, Refusal> {
        let path = K::url_path(&(), None);
        let list = self.get(&path).await?.value.ok_or_else(|| unavailable(&format!("{path} is not served")))?;
        Ok(specs_of(&list))
    }

    /// Names of the guardrails, and which of them each binding names.
    pub(super) async fn bound(&self) -> Result<(Vec<String>, Vec<String>), Refusal> {
        let (policies, bindings) = self.policies().await?;
        let policy = |spec: &Value| spec.get("policyName").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((policies.into_iter().map(|(name, _)| name).collect(), bindings.iter().map(|(_, spec)| policy(spec)).collect()))
    }

    /// What the guardrails say of `request`. Its Namespace is read only if one of them could ask for it.
    async fn said(&self, guardrails: &Set, request: &Request) -> Result<Outcome, Refusal> {
        let namespace = match request.namespace.as_str() {
            name if !name.is_empty() && policy::needs_namespace(guardrails, request) => Some(self.get(&format!("/api/v1/namespaces/{name}")).await?.value),
            _ => None,
        };
        Ok(policy::evaluate(guardrails, request, namespace.as_ref().map(Option::as_ref)))
    }

    /// The Blueprint that speaks of `target`. Two that do contradict each other whatever they say, so neither counts.
    async fn blueprint(&self, target: &Target) -> Result<Option<BlueprintFacts>, Refusal> {
        let all = self.list::<Blueprint>(Some(&target.namespace), None).await?;
        let mut about = all.iter().filter(|b| b.spec.target.kind == target.kind && b.spec.target.name == target.name);
        match (about.next(), about.next()) {
            (Some(one), None) => facts::blueprint(one).map(Some).ok_or_else(|| unavailable("the Blueprint has no uid or generation")),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Refusal::new(Rule::Blueprint, format!("two Blueprints speak of {target}"), "one Blueprint for one workload")),
        }
    }

    /// ConfigMaps that a rollback under judgement says were seen healthy, as they are now.
    async fn configurations(&self, plans: &[(Plan, UnixMillis)], ballots: &[CastBallot], wanted: Option<&Target>) -> Result<Vec<(String, Digest)>, Refusal> {
        let Some(target) = wanted else { return Ok(Vec::new()) };
        let planned = plans.iter().map(|(plan, _)| &plan.proposal);
        let proposed = ballots.iter().flat_map(|cast| match &cast.ballot.opinion {
            assent_core::ballot::Opinion::Cause(vote) => vote.hypotheses.iter().flat_map(|h| h.remedies.iter()).collect(),
            _ => Vec::new(),
        });
        let mut names: Vec<&str> = Vec::new();
        for proposal in planned.chain(proposed).filter(|proposal| proposal.target.service() == target.service()) {
            if let Action::RollbackWorkload(rollback) = &proposal.action {
                names.extend(rollback.configurations.iter().map(|c| c.name.as_str()));
            }
        }
        names.sort_unstable();
        names.dedup();
        let mut configurations = Vec::new();
        for name in names {
            let path = format!("/api/v1/namespaces/{}/configmaps/{name}", target.namespace);
            if let Some(object) = self.get(&path).await?.value {
                let digest = facts::configuration_content(&object).map_err(|error| unavailable(&format!("ConfigMap `{name}` has no digest: {error}")))?;
                configurations.push((name.to_owned(), digest));
            }
        }
        Ok(configurations)
    }

    async fn list<K>(&self, namespace: Option<&str>, incident: Option<&IncidentUid>) -> Result<Vec<K>, Refusal>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace.unwrap_or(names::SYSTEM_NAMESPACE));
        let params = match incident {
            Some(incident) => ListParams::default().labels(&format!("{}={incident}", names::INCIDENT)),
            None => ListParams::default(),
        };
        api.list(&params).await.map(|list| list.items).map_err(|error| unavailable(&format!("cannot list {}: {error}", K::plural(&()))))
    }

    /// A raw read with the server's clock; `None` when there is no such object.
    async fn get(&self, path: &str) -> Result<Dated<Option<Value>>, Refusal> {
        let failed = |reason: String| unavailable(&format!("cannot read {path}: {reason}"));
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| failed(error.to_string()))?;
        let response = self.client.send(request.map(kube::client::Body::from)).await.map_err(|error| failed(error.to_string()))?;
        let date = response.headers().get(http::header::DATE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let now = jiff::fmt::rfc2822::parse(&date).map_err(|_| failed(format!("its Date `{date:.40}` is not readable")))?;
        let status = response.status();
        let body = http_body_util::BodyExt::collect(http_body_util::Limited::new(response.into_body(), MAX_ANSWER)).await;
        let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
        let now = UnixMillis(now.timestamp().as_millisecond());
        match status.as_u16() {
            200 => Ok(Dated { value: Some(serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?), now }),
            404 => Ok(Dated { value: None, now }),
            other => Err(failed(format!("status {other}"))),
        }
    }
}
