//! RestartWorkload: new pods of the same template, by a marker annotation on it.
//!
//! The desired state is kept, so the inverse is empty and the action counts as undoable. The marker is the incident and
//! epoch, an absolute value: writing it twice is one restart.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Act, Inverse, Part, Risk, completed, rolls};

pub(super) const NAME: &str = "RestartWorkload";
const PART: Part = Part { subresource: "", roots: &["/spec/template/metadata/annotations"] };
/// Annotation on the pod template.
const MARKER: &str = "assent.dev/restarted-for";

/// Parameters of RestartWorkload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restart {
    /// `INCIDENT.EPOCH`.
    pub marker: String,
}

impl Restart {
    /// Whether `workload` carries this marker.
    #[must_use]
    pub fn marks(&self, workload: &Value) -> bool {
        let annotations = workload.pointer("/spec/template/metadata/annotations");
        annotations.and_then(|all| all.get(MARKER)).and_then(Value::as_str) == Some(self.marker.as_str())
    }
}

impl Act for Restart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn risk(&self) -> Risk {
        Risk::Low
    }

    fn part(&self) -> Part {
        PART
    }

    fn preconditions(&self, workload: &Value) -> Result<(), String> {
        rolls(workload).map(drop)
    }

    fn expected(&self, old: &Value, _material: Option<&Value>) -> Result<Value, String> {
        let mut new = old.clone();
        let template = new.pointer_mut("/spec/template").and_then(Value::as_object_mut).ok_or("object has no `/spec/template`")?;
        let metadata = object_at(template, "metadata")?;
        object_at(metadata, "annotations")?.insert(MARKER.into(), Value::String(self.marker.clone()));
        Ok(completed(old, new))
    }

    fn inverse(&self, _workload: &Value) -> Result<Inverse, String> {
        Ok(Inverse::Empty)
    }

    fn describe(&self) -> String {
        "restart its pods, a few at a time".into()
    }
}

fn object_at<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Map<String, Value>, String> {
    let slot = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().ok_or(format!("`{key}` is not an object"))
}
