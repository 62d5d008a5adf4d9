//! One pod first: a change of a pod template is written so that its controller makes one pod of it and waits. Once that pod has been
//! well for a while, a second write lets the rest follow; if it is not, the change is put back while the other pods still run what
//! they ran.
//!
//! The controllers know no such step, so each kind is held back by what it knows: a Deployment by one pod at a time that must be
//! ready for longer than it is looked at, in place of another where its owner lets one be missing and beside them where not, a StatefulSet by a partition that leaves out all pods but the last. Should nobody come to
//! let go, a Deployment goes on by itself, one pod after the other. A DaemonSet knows nothing of the kind.

mod newest;
mod trial;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::Action;
use crate::ballot::Proposal;
use crate::workload::Kind;

pub use newest::newest;
pub use trial::{READY_MS, Trial, judge};

const ROLLING_UPDATE: &str = "/spec/strategy/rollingUpdate";
const MIN_READY: &str = "/spec/minReadySeconds";
const PARTITIONED: &str = "/spec/updateStrategy/rollingUpdate";
/// Longest look at a first pod: the rest must follow while the plan may write.
pub const MAX_WATCH_MS: u32 = 60_000;
/// What is needed beside looking at the pod, in seconds: to see that it is ready, and to write, or to write back what may not go on.
const RESERVE_SECONDS: u64 = 60;

/// From when on a change begins with one pod, and for how long that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// With so many replicas or more.
    pub replicas: u32,
    /// It must be well for so long without a gap.
    pub watch_ms: u32,
}

/// How one change is held back. The keys of both maps are the same JSON pointers; null stands for a field that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The first pod must be well for so long without a gap.
    pub watch_ms: u32,
    /// The fields while the rest is held back.
    pub held: BTreeMap<String, Value>,
    /// The same fields as they were, and will be.
    pub own: BTreeMap<String, Value>,
}

/// How far a change is that was held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One pod first.
    Held,
    /// As the workload's owner has it.
    Released,
    /// Somebody else set something else.
    Neither,
}

// === impl Canary ===

impl Canary {
    /// How `action` on `workload` begins with one pod; `None` where it does not.
    #[must_use]
    pub fn of(settings: Option<Settings>, action: &Action, workload: &Value) -> Option<Self> {
        let settings = settings.filter(|_| begins_with_one(action))?;
        let kind = Kind::of_object(workload).ok()?;
        let replicas = kind.counts(workload).wanted;
        if replicas < settings.replicas.max(2) || kind.replaces(workload).is_err() {
            return None;
        }
        let held = match kind {
            Kind::Deployment => one_at_a_time(settings, workload, replicas)?,
            Kind::StatefulSet => BTreeMap::from([(PARTITIONED.to_owned(), json!({"partition": replicas - 1}))]),
            Kind::DaemonSet => return None,
        };
        let own: BTreeMap<String, Value> = held.keys().map(|at| (at.clone(), workload.pointer(at).cloned().unwrap_or(Value::Null))).collect();
        // What goes one pod at a time anyway is not told from what was let go.
        (own != held).then_some(Self { watch_ms: settings.watch_ms, held, own })
    }

    /// `changed` with the rest held back.
    ///
    /// # Errors
    /// If it is no such workload.
    pub fn hold(&self, changed: &Value) -> Result<Value, String> {
        with(changed, &self.held)
    }

    /// `held` as its owner has it.
    ///
    /// # Errors
    /// If it is no such workload.
    pub fn release(&self, held: &Value) -> Result<Value, String> {
        with(held, &self.own)
    }

    /// How far `workload` is.
    #[must_use]
    pub fn stage(&self, workload: &Value) -> Stage {
        let is = |fields: &BTreeMap<String, Value>| fields.iter().all(|(at, value)| workload.pointer(at).unwrap_or(&Value::Null) == value);
        match (is(&self.held), is(&self.own)) {
            (true, _) => Stage::Held,
            (false, true) => Stage::Released,
            (false, false) => Stage::Neither,
        }
    }

    /// Longest time from the first write to the one that lets go.
    #[must_use]
    pub fn within_ms(&self) -> u32 {
        within_ms(self.watch_ms)
    }

    /// What was changed to hold the rest back, for people who find it so.
    #[must_use]
    pub fn describe(&self) -> String {
        let fields: Vec<String> = self.own.iter().map(|(at, value)| format!("{} was {value}", at.trim_start_matches('/').replace('/', "."))).collect();
        fields.join(", ")
    }
}

/// What is written first of `changed`, the object with the whole change.
///
/// # Errors
/// If it cannot be held back.
pub fn first(canary: Option<&Canary>, changed: Value) -> Result<Value, String> {
    match canary {
        Some(canary) => canary.hold(&changed),
        None => Ok(changed),
    }
}

/// The paths (JSON pointers) of what is written below which anything may change, and others may lose what they own.
#[must_use]
pub fn roots(proposal: &Proposal, canary: Option<&Canary>) -> Vec<String> {
    let beside = canary.into_iter().flat_map(|canary| canary.held.keys()).cloned();
    proposal.roots().into_iter().chain(beside).collect()
}

/// See [`Canary::within_ms`].
#[must_use]
pub fn within_ms(watch_ms: u32) -> u32 {
    READY_MS.saturating_add(trial::patience_ms(watch_ms))
}

/// Whether it gives pods another template. A restart keeps it: what runs already says how its pods fare.
fn begins_with_one(action: &Action) -> bool {
    match action {
        Action::RollbackWorkload(_) | Action::RevertConfig(_) | Action::AdjustResources(_) => true,
        Action::EvictPod(_) | Action::RestartWorkload(_) | Action::ScaleWorkload(_) => false,
    }
}

/// One pod, and no further one before it has been ready for longer than it is looked at.
fn one_at_a_time(settings: Settings, workload: &Value, replicas: u32) -> Option<BTreeMap<String, Value>> {
    let at = |pointer: &str| workload.pointer(pointer);
    // Where the owner lets none be missing there is room for one more; where one may be, there need not be.
    let one = if may_miss(at(&format!("{ROLLING_UPDATE}/maxUnavailable")), replicas) {
        json!({"maxSurge": 0, "maxUnavailable": 1})
    } else {
        json!({"maxSurge": 1, "maxUnavailable": 0})
    };
    let looked_at = u64::from(trial::patience_ms(settings.watch_ms)).div_ceil(1000);
    let seconds = at(MIN_READY).and_then(Value::as_u64).unwrap_or(0).max(looked_at + RESERVE_SECONDS);
    // The API server wants a deadline beyond it.
    if at("/spec/progressDeadlineSeconds").and_then(Value::as_u64).is_some_and(|deadline| deadline <= seconds) {
        return None;
    }
    Some(BTreeMap::from([(ROLLING_UPDATE.to_owned(), one), (MIN_READY.to_owned(), json!(seconds))]))
}

/// Whether that is a pod of so many replicas or more: a number, or a share that the controller rounds down; a quarter where nothing is said.
fn may_miss(unavailable: Option<&Value>, replicas: u32) -> bool {
    let share = |text: &str| text.trim_end_matches('%').parse::<u64>().unwrap_or(0).saturating_mul(replicas.into()) >= 100;
    match unavailable {
        None | Some(Value::Null) => share("25%"),
        Some(Value::String(text)) => share(text),
        Some(number) => number.as_u64().is_some_and(|pods| pods > 0),
    }
}

fn with(object: &Value, fields: &BTreeMap<String, Value>) -> Result<Value, String> {
    let mut object = object.clone();
    for (at, value) in fields {
        let (parent, key) = at.rsplit_once('/').ok_or_else(|| format!("`{at:.80}` is no path"))?;
        let slot = object.pointer_mut(parent).and_then(Value::as_object_mut).ok_or_else(|| format!("object has no `{parent:.80}`"))?;
        if value.is_null() {
            slot.remove(key);
        } else {
            slot.insert(key.to_owned(), value.clone());
        }
    }
    Ok(object)
}

#[cfg(test)]
mod cases;
