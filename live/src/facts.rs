//! `Facts` of one request: its sources read at the same time, then put together by the one pure function.

use assent_api::resources::{FreezeWindow, GuardrailExemption};
use assent_core::action::Action;
use assent_core::refusal::Refusal;
use assent_policies::Facts;
use assent_policies::facts::{BlueprintFact, Exemption, ExemptionSource, Freeze, Healthy, Sources, StoredPlan};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::authority::{Authority, proposed};
use crate::guardrails::changed_at;
use crate::judging::Subject;
use crate::reader::Live;

/// GitOps objects by API group and plural. An API that is not installed has none.
const APPLICATIONS: (&str, &str) = ("argoproj.io", "applications");
const KUSTOMIZATIONS: (&str, &str) = ("kustomize.toolkit.fluxcd.io", "kustomizations");
const HELM_RELEASES: (&str, &str) = ("helm.toolkit.fluxcd.io", "helmreleases");

// === impl Live ===

impl Live {
    /// The `Facts` of a request as `params`, or why there are none.
    pub(crate) async fn facts(&self, authority: &Authority, subject: &Subject<'_>) -> Result<Value, String> {
        let facts = Box::pin(self.assembled(authority, subject)).await?;
        facts.params().map_err(|error| error.to_string())
    }

    async fn assembled(&self, authority: &Authority, subject: &Subject<'_>) -> Result<Facts, String> {
        if authority.unreadable > 0 {
            return Err(format!("{} stored plans cannot be read", authority.unreadable));
        }
        let target = &subject.proposal.target;
        let of = |root: &str, plural: &str| format!("{root}/namespaces/{}/{plural}", target.namespace);
        let paths = [
            of("/apis/policy/v1", "poddisruptionbudgets"),
            of("/apis/autoscaling/v2", "horizontalpodautoscalers"),
            of("/api/v1", "services"),
            of("/api/v1", "resourcequotas"),
        ];
        let namespace = format!("/api/v1/namespaces/{}", target.namespace);
        let [budgets, autoscalers, services, quotas] = paths.each_ref().map(|path| self.served_items(path));
        let (budgets, autoscalers, services, quotas, templates, namespace, applications, kustomizations, helm_releases, exemptions) = tokio::try_join!(
            budgets,
            autoscalers,
            services,
            quotas,
            self.templates(target),
            self.object(&namespace),
            self.gitops(APPLICATIONS),
            self.gitops(KUSTOMIZATIONS),
            self.gitops(HELM_RELEASES),
            self.stored::<GuardrailExemption>(),
        )
        .map_err(|refusal| refusal.reason)?;
        let now = authority.facts.now;
        let freezes = authority.freezes.iter().map(typed::<FreezeWindow>).collect::<Result<Vec<_>, _>>()?;
        let freezes = freezes.iter().filter(|window| window.spec.concerns(&target.namespace, now)).map(freeze).collect();
        let exemptions = exemptions.iter().filter_map(|object| given(object, authority).transpose()).collect::<Result<Vec<_>, _>>()?;
        let plans: Vec<StoredPlan> = authority.plans.iter().filter(|stored| stored.name != subject.plan).cloned().collect();
        Facts::assemble(&Sources {
            now,
            incident: subject.incident.as_str(),
            action: &subject.proposal.action,
            target,
            old: &subject.change.old,
            new: &subject.change.new,
            workload: subject.workload,
            pod: authority.facts.pod.as_ref().map(|owned| &owned.pod),
            namespace: namespace.as_ref(),
            budgets: &budgets,
            autoscalers: &autoscalers,
            services: &services,
            quotas: &quotas,
            templates: &templates,
            healthy: &healthy(authority, subject),
            applications: &applications,
            kustomizations: &kustomizations,
            helm_releases: &helm_releases,
            plans: &plans,
            freezes,
            exemptions: &exemptions,
            blueprint: blueprint(authority),
            // Nobody can approve yet: what needs a person waits.
            approvals: Vec::new(),
        })
        .map_err(|error| error.to_string())
    }

    /// Objects of a GitOps tool in all namespaces, in the version that the API server prefers.
    async fn gitops(&self, (group, plural): (&str, &str)) -> Result<Vec<Value>, Refusal> {
        let Some(served) = self.object(&format!("/apis/{group}")).await? else { return Ok(Vec::new()) };
        let Some(version) = served.pointer("/preferredVersion/version").and_then(Value::as_str) else { return Ok(Vec::new()) };
        Ok(self.items(&format!("/apis/{group}/{version}/{plural}")).await?.unwrap_or_default())
    }
}

fn typed<K: DeserializeOwned>(object: &Value) -> Result<K, String> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    K::deserialize(object).map_err(|error| format!("`{name}` cannot be read: {error}"))
}

/// An exemption. What was given after the seats began to vote holds for later incidents only.
fn given(object: &Value, authority: &Authority) -> Result<Option<ExemptionSource>, String> {
    let changed = changed_at(object).map_err(|refusal| refusal.reason)?;
    let exemption = typed(object)?;
    authority.first_vote().is_none_or(|first| changed <= first).then(|| source(&exemption)).transpose()
}

/// Templates that seats saw healthy: what they signed in the incident's ballots, and what earlier plans were admitted with.
fn healthy(authority: &Authority, subject: &Subject<'_>) -> Vec<Healthy> {
    let planned = authority.plans.iter().map(|stored| &stored.plan.proposal);
    let mut healthy = Vec::new();
    for proposal in proposed(&authority.facts).chain(planned).filter(|proposal| proposal.target.uid == subject.proposal.target.uid) {
        if let Action::RollbackWorkload(rollback) = &proposal.action {
            healthy.push(Healthy { revision: rollback.revision, template: rollback.template.clone(), healthy_at: rollback.healthy_at });
        }
    }
    healthy
}

fn blueprint(authority: &Authority) -> Option<BlueprintFact> {
    let blueprint = authority.facts.blueprint.as_ref()?;
    let mode = serde_json::to_value(blueprint.effective.mode()).ok()?;
    Some(BlueprintFact {
        name: blueprint.pin.name.clone(),
        mode: mode.as_str().unwrap_or_default().to_owned(),
        criticality: blueprint.effective.service.criticality.as_str().to_owned(),
    })
}

fn freeze(window: &FreezeWindow) -> Freeze {
    let FreezeWindow { spec, .. } = window;
    Freeze { name: window.name_any(), reason: spec.reason.clone(), from: spec.from.clone(), until: spec.until.clone() }
}

fn source(stored: &GuardrailExemption) -> Result<ExemptionSource, String> {
    let spec = &stored.spec;
    let expires = spec.expires_at().map_err(|reason| format!("exemption `{}`: {reason}", stored.name_any()))?;
    Ok(ExemptionSource {
        exemption: Exemption {
            name: stored.name_any(),
            guardrail: spec.guardrail.clone(),
            owner: spec.owner.clone(),
            reason: spec.reason.clone(),
            expires: spec.expires.clone(),
        },
        expires_ms: expires.0,
        kind: spec.target.kind.clone(),
        namespace: spec.target.namespace.clone(),
        target: spec.target.name.clone(),
    })
}
