//! Copies of ConfigMaps by the director's account: each true when it is made, none changed, and none taken away while a template
//! reads it. So whoever reads a copy reads what its ConfigMap once held, whatever the director is.

use assent_api::copies;
use assent_core::action::referenced_configurations;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use assent_live::Live;
use serde_json::Value;

use super::Passed;
use crate::review::Request;

/// Judges one write of a ConfigMap by the director's account.
pub(super) async fn judge(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    if is_system_namespace(&request.namespace) || request.namespace.is_empty() {
        return Err(Refusal::new(
            Rule::ForbiddenTarget,
            format!("nothing is kept in namespace `{}`", request.namespace),
            "a ConfigMap outside `assent-system` and `kube-*`",
        ));
    }
    match request.operation.as_str() {
        "CREATE" => creation(live, request).await,
        "DELETE" => deletion(live, request).await,
        _ => Err(Refusal::new(Rule::Immutable, "a copy stays as it is", "a copy of what the ConfigMap holds now")),
    }
}

async fn creation(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    let refuse = |reason: String| Refusal::new(Rule::Payload, reason, "what the ConfigMap holds at this moment, word for word and immutable");
    let written = &request.object;
    let original = copies::original(written).ok_or_else(|| refuse("it is no copy of a ConfigMap by its own words".into()))?;
    let held = live.configuration(&request.namespace, &original.name).await?;
    let held = held.ok_or_else(|| refuse(format!("there is no ConfigMap `{:.253}`", original.name)))?;
    let copy = copies::copy_of(&held).map_err(refuse)?;
    if !copies::is_copy(written, &copy) {
        return Err(refuse(format!("ConfigMap `{:.253}` does not hold that", original.name)));
    }
    Ok(Passed::from("copy"))
}

async fn deletion(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    let refuse = |reason: String| Refusal::new(Rule::Immutable, reason, "a copy that no template reads");
    let old = &request.old_object;
    if copies::original(old).is_none() {
        return Err(refuse(format!("ConfigMap `{:.253}` is no copy that was kept", request.name)));
    }
    let read = |template: &Value| referenced_configurations(template).contains(&request.name);
    if live.kept_templates(&request.namespace).await?.iter().any(read) {
        return Err(refuse(format!("a workload reads copy `{:.253}`, or may go back to it", request.name)));
    }
    Ok(Passed::from("copy-gone"))
}
