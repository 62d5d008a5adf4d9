//! What is still ours to put back though others scaled the workload meanwhile, as autoscalers do all day.
//!
//! The generation no longer says that nobody else touched it, so the object must: with as many replicas as there were it is, word
//! for word, what the seats judged or what we left; and below what we wrote, our own write in this plan's time is the last one, as
//! `managedFields` have it. So a revert is done once: after it the object is not as we left it, and who sets the change again by their
//! own hand is the last one to write. What leaves no trace there does not count: a change that only removes fields is ours to put back
//! while nobody else touched the target at all.

use serde_json::{Value, json};

use super::MAX_SKEW_MS;
use super::difference::written_last;
use super::write::as_left;
use crate::action::Inverse;
use crate::canary::Stage;
use crate::ids::UnixMillis;
use crate::plan::Plan;
use crate::target::Target;

/// Whether `target`, which is later than the plan's write, is as that write left it, or as the one that let go did, but for the number of
/// replicas. The plan was created at `created_at`.
#[must_use]
pub fn untouched(plan: &Plan, created_at: UnixMillis, target: &Value) -> bool {
    let writes = match plan.canary.as_ref().map(|canary| canary.stage(target)) {
        None | Some(Stage::Held) => 1,
        Some(Stage::Released) => 2,
        Some(Stage::Neither) => return false,
    };
    let generation = target.pointer("/metadata/generation").and_then(Value::as_i64);
    // One change of a specification is one generation. Whoever let the rest go changed nothing else with it.
    let alone = generation == Some(plan.proposal.target.generation.saturating_add(writes));
    let alone = alone && (writes == 1 || undone(plan, target));
    as_left(&plan.proposal.action, target) && (alone || only_scaled(plan, created_at, target))
}

/// Whether putting `target` back comes to what was judged, but for the number of replicas.
fn undone(plan: &Plan, target: &Value) -> bool {
    plan.restored(target).ok().flatten().is_some_and(|undone| as_judged(plan, &undone))
}

/// Whether `target` is what was judged and what we wrote but for the number of replicas, and our write is the last one.
fn only_scaled(plan: &Plan, created_at: UnixMillis, target: &Value) -> bool {
    let until = created_at.plus(plan.writes_within_ms()).plus(MAX_SKEW_MS);
    undone(plan, target) && written_last(target, &plan.roots(), created_at.plus(-MAX_SKEW_MS), until)
}

/// Whether `object` is as the seats judged it but for the number of replicas.
#[must_use]
pub fn as_judged(plan: &Plan, object: &Value) -> bool {
    let Inverse::Template { replicas: Some(replicas), .. } = &plan.inverse else { return false };
    let mut object = object.clone();
    let Some(slot) = object.pointer_mut("/spec/replicas") else { return false };
    *slot = json!(replicas);
    Target::of(&object).is_ok_and(|now| now.uid == plan.proposal.target.uid && now.spec == plan.proposal.target.spec)
}
