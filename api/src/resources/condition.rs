//! The stock shape of a status condition, with a schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// As `metav1.Condition`, so that `kubectl wait --for=condition=…` works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// CamelCase name.
    #[serde(rename = "type")]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(length(max = 7))]
    pub status: String,
    /// CamelCase word.
    #[schemars(length(max = 256))]
    pub reason: String,
    /// For people.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// RFC 3339.
    #[schemars(length(max = 40))]
    pub last_transition_time: String,
    /// The generation it speaks of.
    pub observed_generation: Option<i64>,
}

// === impl Condition ===

impl Condition {
    /// Puts this condition into `conditions`, keeping the transition time of an equal status.
    pub fn set_in(mut self, conditions: &mut Vec<Self>) {
        match conditions.iter_mut().find(|other| other.kind == self.kind) {
            Some(other) => {
                if other.status == self.status {
                    self.last_transition_time.clone_from(&other.last_transition_time);
                }
                *other = self;
            }
            None => conditions.push(self),
        }
    }
}
