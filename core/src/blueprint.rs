//! What people want of a service and how far Assent may go for it: the Blueprint, the rules that stand above it, and the
//! tier of every operation under both.
//!
//! [`read()`] takes a specification as it is written and names everything that is wrong with it at once. [`effective`] puts
//! a service's rules below those of the whole cluster: each layer judges for itself and the strictest wins, so a service can
//! tighten and never loosen. [`Effective::classify`] is total: any name of an operation, known or not, has a tier.

mod classify;
mod condition;
mod effective;
mod moments;
mod operations;
mod problem;
mod read;
mod rules;
mod service;
mod values;

pub use classify::{Classification, Operation, Reason, ReplicaChange, ResourceChange, Why, judge_in_flight};
pub use condition::{Condition, VARIABLES};
pub use effective::{Breaker, Effective, Safeguards, Undoing, effective};
pub(crate) use moments::moment;
pub use moments::{Freeze, Window};
pub use operations::{Alternative, BEYOND_BOUNDS, BEYOND_LIMITS, KNOWN, Known, NEVER, Reach, canonical, known};
pub use problem::{MAX_PROBLEMS, Problem};
pub use read::{FIELDS, Reading, read, read_cluster};
pub use rules::{
    Approval, Approver, Bounds, Check, Comparison, ContainerBounds, Figure, Limits, Operations, Restriction, Rollback, Rules, SLACK, Safety, Tier, Verification,
};
pub use service::{
    Blueprint, ClusterBlueprint, Criticality, GitOps, Latency, MIN_GAP, Objectives, Priority, Saturation, Scaling, ShareObjective, Tuning, Weights, Workload,
};
pub use values::{bytes, duration, millicores, share};

#[cfg(test)]
mod cases;
