//! The closed catalogue of actions. Each is one file that says what it writes, what it permits to change, how it is undone
//! and what must hold before; the executor and the gate use the same functions, so they cannot disagree.
//!
//! To add one: a file in `action/` with a parameter struct that implements [`Act`], one variant and one line in
//! [`Action::act`], and its cases beside it.

mod adjust;
mod restart;
mod rollback;
mod scale;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use adjust::{Adjust, Sizes};
pub use restart::Restart;
pub use rollback::{Configuration, Rollback, referenced_configurations};
pub use scale::Scale;

/// An action with its parameters; values are absolute, never relative.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Back to a pod template that was seen healthy.
    RollbackWorkload(Rollback),
    /// New pods of the same template.
    RestartWorkload(Restart),
    /// Another number of replicas.
    ScaleWorkload(Scale),
    /// Other requests and limits.
    AdjustResources(Adjust),
}

/// How much an action can harm; thresholds of the tally and ties go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Keeps what runs and its configuration.
    Low,
    /// Changes what runs, and can be undone.
    Medium,
    /// Cannot be undone, or reaches beyond one workload.
    High,
}

/// The one API resource and verb that an action writes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// API group.
    pub group: &'static str,
    /// API version; another version of the same kind is refused.
    pub version: &'static str,
    /// Plural resource.
    pub resource: &'static str,
    /// Sub-resource, empty for the object itself.
    pub subresource: &'static str,
    /// Kind of the object that is written.
    pub kind: &'static str,
    /// The paths (JSON pointers) below which some of its kind may change; [`Act::roots`] says which.
    pub roots: &'static [&'static str],
}

/// How an action is undone. Written into the plan before the action is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Inverse {
    /// The desired state is kept, so there is nothing to restore.
    Empty,
    /// Put this pod template back.
    Template {
        /// The whole `spec.template` as it was.
        template: Value,
    },
    /// Put this number of replicas back.
    Replicas {
        /// Absolute.
        replicas: u32,
    },
}

/// What an action is, as pure functions. `old` is the object before the write, as the API server shows it.
pub trait Act {
    /// The action's name as people and policies write it.
    fn name(&self) -> &'static str;
    /// How much it can harm.
    fn risk(&self) -> Risk;
    /// What it writes with.
    fn write(&self) -> Write;
    /// The paths (JSON pointers) below which anything may change, and others may lose what they own.
    fn roots(&self) -> Vec<String> {
        self.write().roots.iter().map(ToString::to_string).collect()
    }
    /// What the workload must be for this action to be modelled at all: kind, strategy, owners.
    fn preconditions(&self, workload: &Value) -> Result<(), String>;
    /// The object after the write. `material` is content that the parameters name by digest only (a pod template).
    fn expected(&self, old: &Value, material: Option<&Value>) -> Result<Value, String>;
    /// How `workload`, as it is now, would be restored.
    fn inverse(&self, workload: &Value) -> Result<Inverse, String>;
    /// One line for people.
    fn describe(&self) -> String;
}

// === impl Action ===

impl Action {
    /// The action's functions: the table of the catalogue.
    #[must_use]
    pub fn act(&self) -> &dyn Act {
        match self {
            Self::RollbackWorkload(rollback) => rollback,
            Self::RestartWorkload(restart) => restart,
            Self::ScaleWorkload(scale) => scale,
            Self::AdjustResources(adjust) => adjust,
        }
    }

    /// The action's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.act().name()
    }
}

/// Every name in the catalogue, for schemas, Blueprints and help.
pub const NAMES: [&str; 4] = [rollback::NAME, restart::NAME, scale::NAME, adjust::NAME];

/// The writes of the whole catalogue, for RBAC and the native policies.
#[must_use]
pub fn writes() -> Vec<Write> {
    vec![rollback::WRITE, scale::WRITE]
}

// === impl Inverse ===

impl Inverse {
    /// The object after the revert, from the object as the action left it. `None` when there is nothing to write.
    pub fn expected(&self, old: &Value) -> Result<Option<Value>, String> {
        match self {
            Self::Empty => Ok(None),
            Self::Template { template } => with_template(old, template.clone()).map(Some),
            Self::Replicas { replicas } => scale::with_replicas(old, *replicas).map(Some),
        }
    }
}

/// The workloads that template actions model: a Deployment that rolls, is not paused and belongs to nobody.
fn rolling_deployment(workload: &Value) -> Result<(), String> {
    let text = |pointer: &str| workload.pointer(pointer).and_then(Value::as_str);
    if (text("/apiVersion"), text("/kind")) != (Some("apps/v1"), Some("Deployment")) {
        return Err("only Deployments of apps/v1 are modelled".into());
    }
    if workload.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Err("the rollout is paused, so the write would change nothing".into());
    }
    if text("/spec/strategy/type").is_some_and(|strategy| strategy != "RollingUpdate") {
        return Err("strategy `Recreate` takes every replica down at once and is not modelled".into());
    }
    owned_by_nobody(workload)
}

fn owned_by_nobody(workload: &Value) -> Result<(), String> {
    let owners = workload.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    if owners.is_some_and(|owners| !owners.is_empty()) {
        return Err("the workload has an owner, which would undo the write".into());
    }
    if workload.pointer("/metadata/deletionTimestamp").is_some() {
        return Err("the workload is being deleted".into());
    }
    Ok(())
}

fn with_template(old: &Value, template: Value) -> Result<Value, String> {
    let mut new = old.clone();
    let slot = new.pointer_mut("/spec/template").ok_or("object has no `/spec/template`")?;
    *slot = template;
    Ok(new)
}

/// A ReplicaSet's pod template as its Deployment had it: without the label that the controller adds.
#[must_use]
pub fn template_without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    template
}

#[cfg(test)]
mod cases;
