//! HorizontalPodAutoscalers of the workload: same API group in any version, same kind, same name.

use assent_core::target::Target;
use serde_json::Value;

use super::object::Object;
use crate::facts::{Autoscaler, FactsError};

pub(super) fn autoscalers(workload: &Object<'_>, target: &Target, all: &[Value]) -> Result<Vec<Autoscaler>, FactsError> {
    let mut autoscalers = Vec::new();
    for value in all {
        let object = Object::of("HorizontalPodAutoscaler", value)?;
        let text = |part: &str| object.text(&format!("/spec/scaleTargetRef/{part}"));
        let group = |api_version: &str| api_version.rsplit_once('/').map_or_else(String::new, |(group, _)| group.to_owned());
        let same_group = group(text("apiVersion")?.unwrap_or_default()) == group(&target.api_version);
        if same_group && text("kind")? == Some(workload.kind) && text("name")? == Some(workload.name) {
            autoscalers.push(autoscaler(&object)?);
        }
    }
    Ok(autoscalers)
}

fn autoscaler(object: &Object<'_>) -> Result<Autoscaler, FactsError> {
    let scaling = object.condition("ScalingActive")?.and_then(|condition| condition.get("status")).and_then(Value::as_str);
    // What the controller said of an older spec says nothing of this one, and an autoscaler that may work counts as one that does.
    let observed = object.generation("/status/observedGeneration")? >= object.generation("/metadata/generation")?;
    Ok(Autoscaler {
        name: object.name.to_owned(),
        min_replicas: object.count("/spec/minReplicas")?.unwrap_or(1),
        max_replicas: object.required("/spec/maxReplicas")?,
        active: !(observed && scaling == Some("False")),
    })
}
