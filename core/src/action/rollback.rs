//! RollbackWorkload: back to a pod template that a seat saw healthy.
//!
//! A revision number proves nothing (anybody who may create ReplicaSets can forge "revision 7"), so the parameters name the
//! template by the digest of its content, with the images and referenced configuration that ran when it was healthy.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Act, Configuration, Inverse, Part, Risk, rolls_both_ways, template_of, with_template};
use crate::canonical::Digest;
use crate::ids::UnixMillis;
use crate::workload::plain_template;

pub(super) const NAME: &str = "RollbackWorkload";
const PART: Part = Part { subresource: "", roots: &["/spec/template"] };

/// Parameters of RollbackWorkload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// The revision it was, for people only.
    pub revision: i64,
    /// Digest of the pod template as its workload has it.
    pub template: Digest,
    /// Image ids (with digests) that its containers ran when it was healthy, sorted.
    pub images: Vec<String>,
    /// Configuration it refers to, with the digest it had when it was healthy, sorted.
    pub configurations: Vec<Configuration>,
    /// When it was last seen healthy.
    pub healthy_at: UnixMillis,
}

impl Act for Rollback {
    fn name(&self) -> &'static str {
        NAME
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn part(&self) -> Part {
        PART
    }

    fn preconditions(&self, workload: &Value) -> Result<(), String> {
        rolls_both_ways(workload)
    }

    fn expected(&self, old: &Value, material: Option<&Value>) -> Result<Value, String> {
        let template = plain_template(material.ok_or("the pod template to roll back to is missing")?);
        let digest = Digest::of(&template).map_err(|error| format!("the pod template has no digest: {error}"))?;
        if digest != self.template {
            return Err(format!("the pod template has digest {digest}, and the seats saw {} healthy", self.template));
        }
        with_template(old, template)
    }

    fn inverse(&self, workload: &Value) -> Result<Inverse, String> {
        template_of(workload)
    }

    fn describe(&self) -> String {
        format!("roll back to revision {} (template {:.12})", self.revision, self.template.as_str())
    }
}
