//! Services whose selector matches the workload's pod template. A Service without selector selects nothing, and so does one
//! of type ExternalName, whose selector the API server ignores.

use serde_json::Value;

use super::MAX_LABELS;
use super::object::Object;
use crate::facts::{FactsError, ServiceFact};
use crate::policy::selector::labels_of;

const SELECTOR: &str = "/spec/selector";

pub(super) fn services(workload: &Object<'_>, all: &[Value]) -> Result<Vec<ServiceFact>, FactsError> {
    let labels = workload.at("/spec/template").and_then(labels_of);
    let mut services = Vec::new();
    for value in all {
        let object = Object::of("Service", value)?;
        let Some(selector) = object.map(SELECTOR)?.filter(|selector| !selector.is_empty()) else { continue };
        let selected = selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
        if !selected || object.text("/spec/type")? == Some("ExternalName") {
            continue;
        }
        if selector.len() > MAX_LABELS {
            return Err(FactsError::Bound { field: "labels that a Service selects by", count: selector.len(), most: MAX_LABELS });
        }
        services.push(ServiceFact { name: object.name.to_owned(), selector: object.labels(SELECTOR)? });
    }
    Ok(services)
}
