//! Facts from what was read: a total function of the API server's JSON. It asks nothing and decides nothing; whoever judges
//! (the gate, the executor, a scan, a replay) reads the same sources and calls it, so two of them cannot see different facts.
//!
//! What it cannot read is an error with the object, the field and the reason, and without facts a request is refused. It
//! never guesses in favour of a write: what may hold counts as holding where that is stricter, and each file says where.

mod autoscalers;
mod budgets;
mod changes;
mod gitops;
mod history;
mod object;
mod pod;
mod quotas;
mod revisions;
mod rollout;
mod services;
mod strategy;
mod usage;
mod workload;

use assent_core::action::{Action, Risk};
use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::plan::Plan;
use assent_core::target::Target;
use serde_json::Value;

use self::object::Object;
use super::{ActionFact, Approval, BlueprintFact, ExemptionSource, Facts, FactsError, Freeze, NamespaceFact, TargetFact, exemptions};

/// Most objects of one list that are looked through.
pub const MAX_LISTED: usize = 10_000;
/// Most labels of a namespace and most labels that a Service selects by.
pub const MAX_LABELS: usize = 256;

/// What was read for one request, before it is facts. List items carry no `apiVersion` and `kind`, as the API server leaves
/// them out.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The API server's clock.
    pub now: UnixMillis,
    /// Incident-UID of the request.
    pub incident: &'a str,
    /// The voted action.
    pub action: &'a Action,
    /// What it is aimed at.
    pub target: &'a Target,
    /// The object of the write as it was (a Scale for the `scale` sub-resource); null for a creation.
    pub old: &'a Value,
    /// The object of the write as it will be; null for a deletion.
    pub new: &'a Value,
    /// The target as it is now.
    pub workload: &'a Value,
    /// The pod that is evicted, if that is what is done.
    pub pod: Option<&'a Value>,
    /// Its namespace; none for a target in no namespace.
    pub namespace: Option<&'a Value>,
    /// All PodDisruptionBudgets of the namespace.
    pub budgets: &'a [Value],
    /// All HorizontalPodAutoscalers of the namespace.
    pub autoscalers: &'a [Value],
    /// All Services of the namespace.
    pub services: &'a [Value],
    /// All ResourceQuotas of the namespace.
    pub quotas: &'a [Value],
    /// The earlier templates of all workloads of the target's kind in the namespace, plain.
    pub templates: &'a [Value],
    /// Templates of the target that seats saw healthy, by signed ballots.
    pub healthy: &'a [Healthy],
    /// All Argo CD Applications of the cluster; empty where it is not installed.
    pub applications: &'a [Value],
    /// All Flux Kustomizations of the cluster; empty where it is not installed.
    pub kustomizations: &'a [Value],
    /// All Flux HelmReleases of the cluster; empty where it is not installed.
    pub helm_releases: &'a [Value],
    /// All stored plans but the one under judgement.
    pub plans: &'a [StoredPlan],
    /// Freeze windows of the namespace that are not over.
    pub freezes: Vec<Freeze>,
    /// All exemptions of the cluster.
    pub exemptions: &'a [ExemptionSource],
    /// The one Blueprint of the target, if any.
    pub blueprint: Option<BlueprintFact>,
    /// People who approved this very change.
    pub approvals: Vec<Approval>,
}

/// A pod template that a seat saw healthy, as its ballot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthy {
    /// The revision's number, for people.
    pub revision: i64,
    /// Digest of the template as its workload has it.
    pub template: Digest,
    /// When it was last seen healthy.
    pub healthy_at: UnixMillis,
}

/// A Remediation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPlan {
    /// Its name.
    pub name: String,
    /// Server-set creation time.
    pub created_at: UnixMillis,
    /// Its payload.
    pub plan: Plan,
    /// Whether its status says that nothing more is written for it.
    pub over: bool,
}

// === impl Facts ===

impl Facts {
    /// The facts that `sources` tell.
    ///
    /// # Errors
    /// If a list is longer than its bound, or something in an object that matters cannot be read.
    pub fn assemble(sources: &Sources<'_>) -> Result<Self, FactsError> {
        listed(sources)?;
        let target = sources.target;
        let workload = Object::of(&target.kind, sources.workload)?;
        same(&workload, target)?;
        // Of the target an eviction changes nothing.
        let changes = if sources.action.evicts().is_some() { Vec::new() } else { changes::changes(sources.old, sources.new)? };
        let action = action(sources, changes)?;
        let mut facts = Self::new(time(sources.now)?, sources.incident.to_owned(), action, target_fact(target, &workload));
        facts.namespace = match sources.namespace {
            Some(namespace) => Some(namespace_fact(namespace, target)?),
            None if target.namespace.is_empty() => None,
            None => return Err(workload.unreadable("/metadata/namespace", "the namespace itself was not read")),
        };
        if let Some(mut fact) = workload::workload(&workload)? {
            fact.revisions = revisions::revisions(sources)?;
            facts.budgets = budgets::budgets(&workload, sources.budgets)?;
            facts.autoscalers = autoscalers::autoscalers(&workload, target, sources.autoscalers)?;
            facts.services = services::services(&workload, sources.services)?;
            facts.quotas = quotas::quotas(&workload, sources.quotas)?;
            facts.workload = Some(fact);
        }
        facts.pod = sources.pod.map(pod::pod).transpose()?;
        facts.gitops = gitops::gitops(&workload, sources, &facts.action.changes)?;
        facts.remediations = history::plans(sources.plans, sources.now)?;
        facts.freezes.clone_from(&sources.freezes);
        facts.blueprint.clone_from(&sources.blueprint);
        facts.approvals.clone_from(&sources.approvals);
        facts.exemptions = exemptions(sources.exemptions, &target.kind, &target.namespace, &target.name, sources.now.0);
        facts.bounded()?;
        Ok(facts)
    }
}

fn listed(sources: &Sources<'_>) -> Result<(), FactsError> {
    let lengths = [
        ("PodDisruptionBudgets of the namespace", sources.budgets.len()),
        ("HorizontalPodAutoscalers of the namespace", sources.autoscalers.len()),
        ("Services of the namespace", sources.services.len()),
        ("ResourceQuotas of the namespace", sources.quotas.len()),
        ("earlier templates of the namespace", sources.templates.len()),
        ("healthy templates", sources.healthy.len()),
        ("Applications", sources.applications.len()),
        ("Kustomizations", sources.kustomizations.len()),
        ("HelmReleases", sources.helm_releases.len()),
        ("stored plans", sources.plans.len()),
        ("stored exemptions", sources.exemptions.len()),
    ];
    match lengths.into_iter().find(|(_, count)| *count > MAX_LISTED) {
        Some((field, count)) => Err(FactsError::Bound { field, count, most: MAX_LISTED }),
        None => Ok(()),
    }
}

/// Whether what was read is what the plan names. An object of the same name that is another one tells nothing of the target.
fn same(object: &Object<'_>, target: &Target) -> Result<(), FactsError> {
    let wanted = [
        ("/apiVersion", &target.api_version),
        ("/kind", &target.kind),
        ("/metadata/namespace", &target.namespace),
        ("/metadata/name", &target.name),
        ("/metadata/uid", &target.uid),
    ];
    for (field, wanted) in wanted {
        // A cluster-scoped object has no namespace.
        let found = object.text(field)?.unwrap_or_default();
        if found != wanted {
            return Err(object.unreadable(field, format!("it is `{found:.80}`, and the plan is aimed at `{wanted:.80}`")));
        }
    }
    Ok(())
}

fn action(sources: &Sources<'_>, changes: Vec<String>) -> Result<ActionFact, FactsError> {
    let act = sources.action.act();
    let risk = match act.risk() {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
    };
    Ok(ActionFact {
        name: act.name().to_owned(),
        risk: risk.to_owned(),
        // An action whose undoing cannot be written down is not undone.
        reversible: act.inverse(sources.workload).is_ok(),
        changes,
        restores: revisions::restores(sources)?,
    })
}

fn target_fact(target: &Target, object: &Object<'_>) -> TargetFact {
    TargetFact {
        api_version: target.api_version.clone(),
        kind: target.kind.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        uid: target.uid.clone(),
        deleting: object.has("/metadata/deletionTimestamp"),
    }
}

fn namespace_fact(value: &Value, target: &Target) -> Result<NamespaceFact, FactsError> {
    let namespace = Object::of("Namespace", value)?;
    if namespace.name != target.namespace {
        return Err(namespace.unreadable("/metadata/name", format!("the target is in namespace `{:.80}`", target.namespace)));
    }
    let labels = namespace.labels("/metadata/labels")?;
    if labels.len() > MAX_LABELS {
        return Err(FactsError::Bound { field: "labels of the namespace", count: labels.len(), most: MAX_LABELS });
    }
    let deleting = namespace.has("/metadata/deletionTimestamp") || namespace.text("/status/phase")? == Some("Terminating");
    Ok(NamespaceFact { name: target.namespace.clone(), labels, deleting })
}

/// RFC 3339 in UTC, whole seconds; a part of a second is dropped.
fn time(at: UnixMillis) -> Result<String, FactsError> {
    let whole = jiff::Timestamp::from_second(at.0.div_euclid(1000)).map_err(|_| FactsError::Time(at.0))?;
    Ok(whole.to_string())
}

#[cfg(test)]
mod cases;
