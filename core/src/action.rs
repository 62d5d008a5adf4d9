//! The closed catalogue of actions. Each is one file that says what it writes, what it permits to change, how it is undone
//! and what must hold before; the executor and the gate use the same functions, so they cannot disagree.
//!
//! To add one: a file in `action/` with a parameter struct that implements [`Act`], one variant and one line in
//! [`Action::act`], and its cases beside it.

mod adjust;
mod configuration;
mod evict;
mod restart;
mod rollback;
mod scale;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workload::Kind;

pub use adjust::{Adjust, Sizes};
pub use configuration::{Configuration, RevertConfig, configurations_at_start, configurations_of, referenced_configurations};
pub use evict::{Controller, Evict, Owned, controller};
pub use restart::Restart;
pub use rollback::Rollback;
pub use scale::Scale;

/// An action with its parameters; values are absolute, never relative.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// A new pod for one of several. First, since of two that help alike the smaller is chosen by this order.
    EvictPod(Evict),
    /// Back to a pod template that was seen healthy.
    RollbackWorkload(Rollback),
    /// A ConfigMap as it was when all was well.
    RevertConfig(RevertConfig),
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

/// What an action writes of a workload, whatever its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Sub-resource, empty for the object itself.
    pub subresource: &'static str,
    /// The paths (JSON pointers) below which some of it may change; [`Act::roots`] says which.
    pub roots: &'static [&'static str],
}

/// How an action writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A new object.
    Create,
    /// Another state of one that is there.
    Update,
}

/// The one API resource that an action writes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// By what kind of request.
    pub verb: Verb,
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
        /// How many replicas there were. They are not put back; by them it is told who only scaled from who changed something else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replicas: Option<u32>,
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
    /// What it writes of a workload.
    fn part(&self) -> Part;
    /// The paths (JSON pointers) below which anything may change, and others may lose what they own.
    fn roots(&self) -> Vec<String> {
        self.part().roots.iter().map(ToString::to_string).collect()
    }
    /// What the workload must be for this action to be modelled at all: kind, strategy, owners.
    fn preconditions(&self, workload: &Value) -> Result<(), String>;
    /// The object after the write. `material` is what the parameters only name: a pod template by its digest, a pod by its UID.
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
            Self::EvictPod(evict) => evict,
            Self::RollbackWorkload(rollback) => rollback,
            Self::RevertConfig(revert) => revert,
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

    /// ConfigMaps that must be so when it is carried out, whatever else changed.
    #[must_use]
    pub fn configurations(&self) -> Vec<Configuration> {
        match self {
            Self::RollbackWorkload(rollback) => rollback.configurations.clone(),
            Self::RevertConfig(revert) => vec![revert.changed.clone(), revert.copy()],
            _ => Vec::new(),
        }
    }

    /// The pod that goes, if that is what it does.
    #[must_use]
    pub fn evicts(&self) -> Option<&Evict> {
        match self {
            Self::EvictPod(evict) => Some(evict),
            _ => None,
        }
    }
}

/// Every name in the catalogue, for schemas, Blueprints and help.
pub const NAMES: [&str; 6] = [rollback::NAME, restart::NAME, scale::NAME, adjust::NAME, evict::NAME, configuration::NAME];

/// The name of [`Action::EvictPod`], for those who ask beforehand whether it may be done.
pub const EVICT_POD: &str = evict::NAME;

/// The name of [`Action::RevertConfig`], likewise.
pub const REVERT_CONFIG: &str = configuration::NAME;

// === impl Verb ===

impl Verb {
    /// As admission names it.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
        }
    }
}

// === impl Part ===

impl Part {
    /// The sub-resource that changes replicas and nothing else.
    pub const SCALE: &'static str = "scale";
    /// The sub-resource of a pod by which it is asked to go.
    pub const EVICTION: &'static str = "eviction";
    /// The API group of workloads.
    pub const GROUP: &'static str = "apps";

    /// What it is on the API server for a workload of this kind.
    #[must_use]
    pub fn of(self, workload: Kind) -> Write {
        let of = |kind| Write { verb: Verb::Update, group: Self::GROUP, version: "v1", resource: workload.resource(), subresource: self.subresource, kind };
        match self.subresource {
            Self::EVICTION => Write { verb: Verb::Create, group: "", resource: "pods", ..of("Eviction") },
            Self::SCALE => of("Scale"),
            _ => of(workload.name()),
        }
    }
}

// === impl Inverse ===

impl Inverse {
    /// The object after the revert, from the object as the action left it. `None` when there is nothing to write.
    pub fn expected(&self, old: &Value) -> Result<Option<Value>, String> {
        match self {
            Self::Empty => Ok(None),
            Self::Template { template, .. } => with_template(old, template.clone()).map(Some),
            Self::Replicas { replicas } => scale::with_replicas(old, *replicas).map(Some),
        }
    }
}

/// A workload whose pods a change of the template replaces, and that belongs to nobody.
fn rolls(workload: &Value) -> Result<Kind, String> {
    let kind = Kind::of_object(workload)?;
    kind.rolls(workload)?;
    owned_by_nobody(workload)?;
    Ok(kind)
}

/// As [`rolls`], and the template can be put back.
fn rolls_both_ways(workload: &Value) -> Result<(), String> {
    rolls(workload)?.rolls_back(workload)
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

/// How a workload's template is put back.
fn template_of(workload: &Value) -> Result<Inverse, String> {
    let template = workload.pointer("/spec/template").ok_or("object has no `/spec/template`")?.clone();
    let replicas = workload.pointer("/spec/replicas").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    Ok(Inverse::Template { template, replicas })
}

fn with_template(old: &Value, template: Value) -> Result<Value, String> {
    let mut new = old.clone();
    let slot = new.pointer_mut("/spec/template").ok_or("object has no `/spec/template`")?;
    *slot = template;
    Ok(completed(old, new))
}

/// With what the API server changes beside a template by itself.
fn completed(old: &Value, mut new: Value) -> Value {
    if let Ok(kind) = Kind::of_object(old) {
        kind.complete(old, &mut new);
    }
    new
}

#[cfg(test)]
mod cases;
