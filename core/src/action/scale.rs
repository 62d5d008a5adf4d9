//! ScaleWorkload: another number of replicas, through the `scale` sub-resource, which can change nothing else.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Act, Inverse, Part, Risk, owned_by_nobody};
use crate::workload::Kind;

pub(super) const NAME: &str = "ScaleWorkload";
const PART: Part = Part { subresource: Part::SCALE, roots: &["/spec/replicas"] };

/// Parameters of ScaleWorkload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// The number to come to; absolute.
    pub replicas: u32,
}

impl Act for Scale {
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
        let kind = Kind::of_object(workload)?;
        if !kind.is_scaled() || self.replicas > kind.counts(workload).wanted {
            kind.grows(workload)?;
        }
        if workload.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenScaled").and_then(Value::as_str) == Some("Delete") {
            return Err("its claims are deleted with the pods that go, also with those that go on the way back".into());
        }
        if self.replicas == 0 {
            return Err("scaling to zero takes the service away".into());
        }
        owned_by_nobody(workload)
    }

    fn expected(&self, old: &Value, _material: Option<&Value>) -> Result<Value, String> {
        with_replicas(old, self.replicas)
    }

    fn inverse(&self, workload: &Value) -> Result<Inverse, String> {
        Ok(Inverse::Replicas { replicas: replicas(workload)? })
    }

    fn describe(&self) -> String {
        format!("scale to {} replicas", self.replicas)
    }
}

/// `spec.replicas`; a Scale of zero omits the field.
fn replicas(object: &Value) -> Result<u32, String> {
    match object.pointer("/spec/replicas") {
        None => Ok(0),
        Some(value) => value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or("`/spec/replicas` is not a number".into()),
    }
}

pub(super) fn with_replicas(old: &Value, replicas: u32) -> Result<Value, String> {
    let mut new = old.clone();
    let object = new.as_object_mut().ok_or("not an object")?;
    let spec = object.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    let spec = spec.as_object_mut().ok_or("`spec` is not an object")?;
    spec.insert("replicas".into(), replicas.into());
    Ok(new)
}
