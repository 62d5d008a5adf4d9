//! PodDisruptionBudgets over the workload's pods, from what the disruption controller wrote.
//!
//! A status that is missing, or older than the spec, tells nothing of the budget as it is now. Then there are no facts: the
//! controller catches up within a second, and if it does not, nobody knows what may be disrupted.

use serde_json::Value;

use super::object::Object;
use crate::facts::{Budget, FactsError};
use crate::policy::selector::{Selector, labels_of};
use crate::policy::spec::LabelSelector;

/// Labels that controllers add to pods: the template does not have them, so whether a pod has this value of one is not known.
/// A budget that selects by one counts as one that may select.
const OF_CONTROLLERS: [&str; 5] =
    ["pod-template-hash", "controller-revision-hash", "pod-template-generation", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];

pub(super) fn budgets(workload: &Object<'_>, all: &[Value]) -> Result<Vec<Budget>, FactsError> {
    let template = workload.at("/spec/template").unwrap_or(&Value::Null);
    let mut budgets = Vec::new();
    for value in all {
        let object = Object::of("PodDisruptionBudget", value)?;
        if selects(&object, template)? {
            budgets.push(budget(&object)?);
        }
    }
    Ok(budgets)
}

/// In policy/v1 no selector selects nothing, and an empty one everything.
fn selects(object: &Object<'_>, template: &Value) -> Result<bool, FactsError> {
    const FIELD: &str = "/spec/selector";
    let Some(selector) = object.at(FIELD) else { return Ok(false) };
    let mut selector: LabelSelector = serde::Deserialize::deserialize(selector).map_err(|error| object.unreadable(FIELD, error.to_string()))?;
    selector.match_labels.retain(|key, _| !OF_CONTROLLERS.contains(&key.as_str()));
    selector.match_expressions.retain(|one| !OF_CONTROLLERS.contains(&one.key.as_str()));
    let selector = Selector::compile(&selector).map_err(|reason| object.unreadable(FIELD, reason))?;
    Ok(selector.matches(labels_of(template)))
}

fn budget(object: &Object<'_>) -> Result<Budget, FactsError> {
    let (generation, observed) = (object.generation("/metadata/generation")?, object.generation("/status/observedGeneration")?);
    if observed < generation || !object.has("/status/desiredHealthy") {
        return Err(object.unreadable("/status", format!("the disruption controller has not judged generation {generation} of it yet (last: {observed})")));
    }
    Ok(Budget {
        name: object.name.to_owned(),
        min_available: match object.at("/spec/minAvailable") {
            Some(value) if value.is_string() => None,
            _ => object.count("/spec/minAvailable")?,
        },
        desired_healthy: object.required("/status/desiredHealthy")?,
        current_healthy: object.required("/status/currentHealthy")?,
        disruptions_allowed: object.required("/status/disruptionsAllowed")?,
    })
}
