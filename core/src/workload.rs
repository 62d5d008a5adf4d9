//! The kinds of workload that actions are modelled for: where each is served, how far its pods are, when a change of its template
//! reaches them, and what keeps its earlier templates.
//!
//! To add one: a line in every table here, and its cases beside it.

mod revision;

use serde_json::{Value, json};

pub use revision::{Revision, kept_template, plain_template, revision};

/// A kind of workload of `apps/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pods that are all alike, new ones before old ones go.
    Deployment,
    /// Pods with an ordinal and, mostly, data of their own.
    StatefulSet,
    /// A pod on every node that it fits.
    DaemonSet,
}

/// How far a workload's pods are, as its controller says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The controller has seen the newest spec; until then nothing else here is about it.
    pub observed: bool,
    /// Pods that there should be.
    pub wanted: u32,
    /// Pods that there are.
    pub exist: u32,
    /// Pods of the newest template.
    pub updated: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that have been ready for as long as it takes to count.
    pub available: u32,
}

/// Counts that the API server adds to on every change of a DaemonSet's template, in an annotation.
const TEMPLATE_GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";

/// Whether the content of a pod's `volume` stands on its node and goes with the pod. What is in memory goes with the process in any case.
#[must_use]
pub fn is_on_node(volume: &Value) -> bool {
    volume.get("emptyDir").is_some_and(|dir| !dir.is_null() && dir.get("medium").and_then(Value::as_str) != Some("Memory"))
}

// === impl Kind ===

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];
    /// Their names.
    pub const NAMES: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

    /// The one of this name in `apps/v1`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The one of this API version and name.
    #[must_use]
    pub fn of(api_version: &str, name: &str) -> Option<Self> {
        Self::named(name).filter(|_| api_version == "apps/v1")
    }

    /// What `object` is.
    ///
    /// # Errors
    /// If no action is modelled for it.
    pub fn of_object(object: &Value) -> Result<Self, String> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        Self::of(text("apiVersion"), text("kind")).ok_or_else(|| format!("only {} of apps/v1 are modelled", Self::NAMES.join(", ")))
    }

    /// As objects and people name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// Its resource, as paths and rights name it.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }

    /// The resource of `apps/v1` that keeps its earlier templates.
    #[must_use]
    pub fn revisions(self) -> &'static str {
        match self {
            Self::Deployment => "replicasets",
            Self::StatefulSet | Self::DaemonSet => "controllerrevisions",
        }
    }

    /// Whether it has a number of replicas that somebody chooses.
    #[must_use]
    pub fn is_scaled(self) -> bool {
        self != Self::DaemonSet
    }

    /// How far its pods are.
    #[must_use]
    pub fn counts(self, workload: &Value) -> Counts {
        let at = |pointer: &str| workload.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let status = |field: &str| at(&format!("/status/{field}")).unwrap_or(0);
        let generation = |pointer: &str| workload.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let observed = generation("/status/observedGeneration") >= generation("/metadata/generation");
        let [wanted, exist, updated, ready, available] = match self {
            Self::Deployment | Self::StatefulSet => {
                [at("/spec/replicas").unwrap_or(1), status("replicas"), status("updatedReplicas"), status("readyReplicas"), status("availableReplicas")]
            }
            Self::DaemonSet => [
                status("desiredNumberScheduled"),
                status("currentNumberScheduled"),
                status("updatedNumberScheduled"),
                status("numberReady"),
                status("numberAvailable"),
            ],
        };
        Counts { observed, wanted, exist, updated, ready, available }
    }

    /// Whether a change of `workload`'s template makes its controller replace the pods, as it stands now.
    ///
    /// # Errors
    /// As [`Kind::replaces`], and if the controller waits for pods that are not ready.
    pub fn rolls(self, workload: &Value) -> Result<(), String> {
        self.replaces(workload)?;
        self.waits_for_none(workload, "replaces")
    }

    /// Whether a change of `workload`'s template makes its controller replace the pods, however they fare.
    ///
    /// # Errors
    /// If it does not, or takes them all at once.
    pub fn replaces(self, workload: &Value) -> Result<(), String> {
        let at = |pointer: &str| workload.pointer(pointer);
        let strategy = match self {
            Self::Deployment => at("/spec/strategy/type"),
            Self::StatefulSet | Self::DaemonSet => at("/spec/updateStrategy/type"),
        };
        match strategy.and_then(Value::as_str).unwrap_or("RollingUpdate") {
            "RollingUpdate" => {}
            "Recreate" => return Err("strategy `Recreate` takes every replica down at once and is not modelled".into()),
            "OnDelete" => return Err("strategy `OnDelete` leaves it to others to replace pods, so the write would change nothing".into()),
            other => return Err(format!("strategy `{other:.40}` is not modelled")),
        }
        if at("/spec/paused").and_then(Value::as_bool) == Some(true) {
            return Err("the rollout is paused, so the write would change nothing".into());
        }
        if at("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_u64).is_some_and(|partition| partition > 0) {
            return Err("the rollout has a partition: pods below it would keep what they run".into());
        }
        Ok(())
    }

    /// Whether the template can be put back whatever becomes of the pods.
    ///
    /// # Errors
    /// If a pod that does not become ready would hold up the way back.
    pub fn rolls_back(self, workload: &Value) -> Result<(), String> {
        if self.waits_in_order(workload) {
            return Err("`podManagementPolicy: OrderedReady` waits for a pod that does not become ready, also on the way back; `Parallel` does not".into());
        }
        // The API server keeps this field only where the controller goes by it.
        if self == Self::StatefulSet && workload.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable").is_some_and(|most| !most.is_null()) {
            return Err("with `rollingUpdate.maxUnavailable` as many pods that do not become ready hold up the way back".into());
        }
        Ok(())
    }

    /// Whether its controller makes more pods, as it stands now.
    ///
    /// # Errors
    /// If it has no number of replicas, or waits for pods that are not ready.
    pub fn grows(self, workload: &Value) -> Result<(), String> {
        if !self.is_scaled() {
            return Err(format!("a {self} has a pod on every node that it fits, and no number of replicas"));
        }
        self.waits_for_none(workload, "makes")
    }

    fn waits_for_none(self, workload: &Value, what: &str) -> Result<(), String> {
        let Counts { wanted, ready, .. } = self.counts(workload);
        if self.waits_in_order(workload) && ready < wanted {
            return Err(format!("{ready} of {wanted} pods are ready, and `OrderedReady` {what} none before all are"));
        }
        Ok(())
    }

    fn waits_in_order(self, workload: &Value) -> bool {
        self == Self::StatefulSet && workload.pointer("/spec/podManagementPolicy").and_then(Value::as_str) != Some("Parallel")
    }

    /// What the API server changes beside the template of `new` by itself.
    pub(crate) fn complete(self, old: &Value, new: &mut Value) {
        if self != Self::DaemonSet || old.pointer("/spec/template") == new.pointer("/spec/template") {
            return;
        }
        let count = old.pointer(TEMPLATE_GENERATION).and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
        if let (Some(count), Some(slot)) = (count, new.pointer_mut(TEMPLATE_GENERATION)) {
            *slot = json!(count.saturating_add(1).to_string());
        }
    }

    /// The path (JSON pointer) beside the template that changes with it.
    #[must_use]
    pub(crate) fn root_beside_template(self) -> Option<&'static str> {
        (self == Self::DaemonSet).then_some(TEMPLATE_GENERATION)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Counts ===

impl Counts {
    /// Whether every pod runs the newest template and is ready.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.observed && self.wanted > 0 && [self.exist, self.updated, self.ready] == [self.wanted; 3]
    }
}

#[cfg(test)]
mod cases;
