//! Names of operations: what Assent can do or will be able to, other people's words for it, and what to do instead of what is
//! forbidden. Any name may be proposed; only a name of the catalogue of actions can be carried out.

use serde::Serialize;

/// What reaches how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One workload of the Blueprint's own namespace.
    Workload,
    /// A node, and with it everybody's workloads: only rules of the whole cluster can give it.
    Node,
}

/// An operation that has a meaning here.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its one name.
    pub name: &'static str,
    /// Other words for it.
    pub aliases: &'static [&'static str],
    /// How far it reaches.
    pub reach: Reach,
    /// Whether what it did can be put back.
    pub reversible: bool,
}

/// Something that can be done instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alternative {
    /// A short name.
    pub name: &'static str,
    /// The operation that does it.
    pub operation: &'static str,
    /// What it is, for people.
    pub how: &'static str,
}

/// A scale to more or fewer replicas than the limits name; on a list of its own name.
pub const BEYOND_LIMITS: &str = "scale_beyond_limits";
/// Resources outside the bounds of a container; on a list of its own name.
pub const BEYOND_BOUNDS: &str = "adjust_resources_beyond_bounds";

const fn known_as(name: &'static str, aliases: &'static [&'static str], reach: Reach, reversible: bool) -> Known {
    Known { name, aliases, reach, reversible }
}

/// Every operation that a list may name as allowed.
pub const KNOWN: [Known; 12] = [
    known_as("RollbackWorkload", &["rollback", "rollback_deployment"], Reach::Workload, true),
    known_as("RestartWorkload", &["restart_pods", "restart_deployment", "restart"], Reach::Workload, true),
    known_as("ScaleWorkload", &["scale_within_limits", "scale", "scale_deployment"], Reach::Workload, true),
    known_as("AdjustResources", &["adjust_resources_within_bounds", "resize"], Reach::Workload, true),
    known_as("EvictPod", &["evict_pods"], Reach::Workload, true),
    known_as("IsolatePod", &["isolate_pods"], Reach::Workload, true),
    known_as("ShiftTraffic", &["disable_ingress"], Reach::Workload, true),
    known_as("RevertConfig", &["revert_configuration"], Reach::Workload, true),
    known_as("FailoverDatabase", &["failover"], Reach::Workload, false),
    known_as("CordonNode", &["cordon"], Reach::Node, true),
    known_as("UncordonNode", &["uncordon"], Reach::Node, true),
    known_as("Notify", &["notify_person"], Reach::Workload, true),
];

/// Never done, whatever a Blueprint says: what these destroy or widen cannot be put back.
pub const NEVER: [&str; 9] = [
    "delete_deployment",
    "delete_workload",
    "delete_namespace",
    "modify_namespace",
    "change_rbac",
    "delete_volume",
    "modify_secret",
    "modify_definition",
    "modify_admission",
];

const TO_ZERO: Alternative =
    Alternative { name: "scale_to_zero", operation: "ScaleWorkload", how: "no replicas: nothing runs, and the object and its history stay" };
const NO_INGRESS: Alternative = Alternative { name: "disable_ingress", operation: "ShiftTraffic", how: "no requests from outside, while everything runs on" };
const ROLL_BACK: Alternative = Alternative { name: "roll_back", operation: "RollbackWorkload", how: "the template that was last seen healthy" };
const RESTART: Alternative = Alternative { name: "restart", operation: "RestartWorkload", how: "new pods of the same template" };
const ISOLATE: Alternative = Alternative { name: "isolate_pod", operation: "IsolatePod", how: "one pod without traffic, kept for a look" };
const TELL: Alternative = Alternative { name: "ask_a_person", operation: "Notify", how: "tell whoever may do this by hand" };

// === impl Known ===

impl Known {
    fn is_called(&self, plain: &str) -> bool {
        self.aliases.iter().chain([&self.name]).any(|name| plainly(name) == plain)
    }
}

/// The known operation of this name or alias.
#[must_use]
pub fn known(name: &str) -> Option<&'static Known> {
    let plain = plainly(name);
    KNOWN.iter().find(|known| known.is_called(&plain))
}

/// The one name for all that mean the same: case, hyphens and underscores make no other operation.
#[must_use]
pub fn canonical(name: &str) -> String {
    let plain = plainly(name);
    let fixed = NEVER.iter().chain(&[BEYOND_LIMITS, BEYOND_BOUNDS]).find(|fixed| plainly(fixed) == plain);
    match (KNOWN.iter().find(|known| known.is_called(&plain)), fixed) {
        (Some(known), _) => known.name.to_owned(),
        (None, Some(fixed)) => (*fixed).to_owned(),
        (None, None) => name.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}

/// The operation that goes beyond its limits under this name, or the name itself.
pub(super) fn within(name: &str) -> &str {
    match name {
        BEYOND_LIMITS => "ScaleWorkload",
        BEYOND_BOUNDS => "AdjustResources",
        other => other,
    }
}

/// Whether two names mean the same operation.
pub(super) fn same(one: &str, other: &str) -> bool {
    plainly(&canonical(one)) == plainly(&canonical(other))
}

/// Whether this is never done.
pub(super) fn is_never(name: &str) -> bool {
    NEVER.iter().any(|never| same(never, name))
}

/// What could be done instead of an operation, safest first.
pub(super) fn instead_of(name: &str) -> Vec<Alternative> {
    let plain = plainly(&canonical(name));
    match plain.as_str() {
        _ if plain.contains("delete") => vec![TO_ZERO, NO_INGRESS, TELL],
        "scaleworkload" | "scalebeyondlimits" => vec![RESTART, ROLL_BACK, TELL],
        "adjustresources" | "adjustresourcesbeyondbounds" => vec![RESTART, ROLL_BACK, TELL],
        "restartworkload" | "evictpod" => vec![ISOLATE, ROLL_BACK, TELL],
        "rollbackworkload" | "revertconfig" => vec![RESTART, TELL],
        _ => vec![TELL],
    }
}

/// Letters and digits in lower case.
fn plainly(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).take(64).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_the_catalogue_is_known_and_no_name_is_twice() {
        for name in crate::action::NAMES {
            assert!(KNOWN.iter().any(|known| known.name == name), "{name}");
        }
        let mut names: Vec<String> = KNOWN.iter().flat_map(|known| known.aliases.iter().chain([&known.name])).map(|name| plainly(name)).collect();
        names.extend(NEVER.iter().chain(&[BEYOND_LIMITS, BEYOND_BOUNDS]).map(|name| plainly(name)));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn another_spelling_is_no_other_operation() {
        for name in ["delete_deployment", "DeleteDeployment", "DELETE-DEPLOYMENT", " delete deployment"] {
            assert_eq!(canonical(name), "delete_deployment");
            assert!(is_never(name));
        }
        assert_eq!(canonical("restart_pods"), "RestartWorkload");
        assert_eq!(canonical("scale_beyond_limits"), BEYOND_LIMITS);
        assert_eq!(canonical("make\u{1b}coffee"), "makecoffee");
        assert!(!is_never("makecoffee"));
    }

    #[test]
    fn there_is_always_something_to_do_instead() {
        assert!(instead_of("delete_deployment").contains(&TO_ZERO) && instead_of("delete_deployment").contains(&NO_INGRESS));
        for name in KNOWN.iter().map(|known| known.name).chain(NEVER).chain(["", "x"]) {
            let all = instead_of(name);
            assert!(!all.is_empty() && all.iter().all(|alternative| !same(alternative.operation, name) || name == "Notify"), "{name}");
        }
    }
}
