//! After what went beyond a limit has held: the limit is raised to what people agreed to, where the Blueprint lives. Where git owns
//! it, people are handed the change. That it is not raised takes nothing back; the reason stands with the outcome.

use assent_core::action::Action;
use assent_core::plan::Plan;
use assent_core::proof::{self, RAISE};
use assent_core::refusal::Refusal;
use assent_live::{Live, unavailable};
use serde_json::Value;

use crate::writes::{Answer, Step, Writer};

/// Labels and annotations by which Argo CD and Flux know what they apply.
const MARKS: [&str; 4] = ["argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"];
/// How often what nobody judged is tried again.
const ATTEMPTS: u32 = 5;

/// What became of the limit, in words that follow the outcome; nothing where there was none to raise. Asked again it is the same.
pub(crate) async fn raise(live: &Live, plan: &Plan) -> String {
    let mut backoff = crate::backoff();
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match attempted(live, plan).await {
            Ok(said) => return said,
            Err(refusal) if left > 0 => {
                tracing::warn!(incident.id = %plan.incident, reason = refusal.reason, "the limit is not raised yet");
                backoff.wait().await;
            }
            Err(refusal) => return format!("; `limits.maxReplicas` was not raised: {}", refusal.reason),
        }
    }
}

async fn attempted(live: &Live, plan: &Plan) -> Result<String, Refusal> {
    let target = &plan.proposal.target;
    let Some(blueprint) = live.blueprint(target).await? else { return Ok(String::new()) };
    let name = &plan.blueprint.name;
    // Whoever raised it already, we or a person: there is nothing left to raise.
    let Some((from, to)) = proof::raises(&blueprint.effective, &plan.proposal) else {
        let now = blueprint.effective.service.rules.limits.max_replicas.filter(|_| blueprint.pin != plan.blueprint);
        let meant = now.filter(|now| matches!(&plan.proposal.action, Action::ScaleWorkload(scale) if scale.replicas == *now));
        return Ok(meant.map_or_else(String::new, |now| format!("; `limits.maxReplicas` of Blueprint `{name}` is {now} now")));
    };
    if blueprint.pin != plan.blueprint {
        return Ok(format!("; `limits.maxReplicas` stays {from}: Blueprint `{name}` was changed meanwhile"));
    }
    let path = format!("/apis/{}/{}/namespaces/{}/{}/{name}", RAISE.group, RAISE.version, target.namespace, RAISE.resource);
    let stored = live.object(&path).await?.ok_or_else(|| unavailable(format!("Blueprint `{name}` is gone")))?;
    let git = blueprint.effective.service.gitops.as_ref();
    if git.is_some() || applied_from_git(&stored) {
        let file = git.and_then(|git| git.path.as_deref()).unwrap_or("its file");
        return Ok(format!("; git owns Blueprint `{name}`: set `spec.limits.maxReplicas: {to}` in {file} in place of {from}, or it is asked again"));
    }
    let new = proof::raised(&stored, to).map_err(unavailable)?;
    let writer = Writer { client: live.client(), incident: &plan.incident };
    match writer.send_to(&RAISE, (&target.namespace, name), &new, Step::Raise).await {
        Answer::Done(_) => {
            tracing::info!(incident.id = %plan.incident, blueprint = name, from, to, "limit raised");
            Ok(format!("; `limits.maxReplicas` of Blueprint `{name}` is {to} now, and was {from}"))
        }
        Answer::Changed(message) | Answer::Transient(message) | Answer::Unheard(message) => Err(unavailable(message)),
        Answer::Refused(message) => Ok(format!("; `limits.maxReplicas` was not raised: {message}")),
    }
}

/// Whether a GitOps controller marked the Blueprint as its own: it would take back what is written here.
fn applied_from_git(stored: &Value) -> bool {
    let has = |part: &str, key: &str| stored.pointer("/metadata").and_then(|metadata| metadata.get(part)?.get(key)).is_some();
    MARKS.iter().any(|key| has("annotations", key) || has("labels", key))
}
