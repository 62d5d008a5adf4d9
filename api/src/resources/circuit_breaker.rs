//! `CircuitBreaker`: how often a service was acted on and whether more may follow; and where plans enter, one after the other.

use assent_core::target::Service;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// Name of the one that stands for all services together.
pub const CLUSTER: &str = "cluster";
/// Most plans that are kept in the status.
const MAX_ENTRIES: usize = 16;

/// One service's circuit breaker. The specification is people's word; everything else is computed from the stored plans.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "CircuitBreaker",
    namespaced,
    shortname = "cb",
    category = "assent",
    status = "CircuitBreakerStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Service","type":"string","jsonPath":".status.service"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".status.until"}"#,
    printcolumn = r#"{"name":"Failures","type":"integer","jsonPath":".status.failures"}"#,
    printcolumn = r#"{"name":"Hour","type":"string","jsonPath":".status.hour"}"#,
    printcolumn = r#"{"name":"Plan","type":"string","jsonPath":".status.plan"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakerSpec {
    /// Namespace of the service; empty in `cluster`.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the service; empty in `cluster`.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub service: String,
    /// A person looked into it: what failed before is no reason any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Lifted>,
    /// How far people let a machine go with an action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub promotions: Vec<Promoted>,
    /// When everything stands still; only in `cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeSpec>,
}

/// A person's word on what failed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifted {
    /// Who, as the API server authenticates them.
    #[schemars(length(max = 253))]
    pub by: String,
    /// When, RFC 3339; within a minute of the API server's clock when it is written.
    #[schemars(length(max = 40))]
    pub at: String,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 300))]
    pub reason: String,
}

/// A person's word on how far an action may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promoted {
    /// Name of the action.
    #[schemars(length(max = 64))]
    pub action: String,
    /// `approve` or `autonomous`.
    pub to: PromotedTo,
    /// Who, as the API server authenticates them.
    #[schemars(length(max = 253))]
    pub by: String,
    /// When, RFC 3339.
    #[schemars(length(max = 40))]
    pub at: String,
}

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotedTo {
    /// It asks.
    Approve,
    /// As far as the Blueprint says.
    Autonomous,
}

/// When everything stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrakeSpec {
    /// So many failures of all services …
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// … within this time …
    #[schemars(range(min = 1, max = 604_800))]
    pub window_seconds: u32,
    /// … stop everything for this time.
    #[schemars(range(min = 1, max = 604_800))]
    pub stand_seconds: u32,
}

/// How it stands. Written by the executor. Of all this the gate believes which plans entered, since it judged each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakerStatus {
    /// `NAMESPACE/NAME`.
    pub service: Option<String>,
    /// Plans that entered, oldest first.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub entered: Vec<String>,
    /// `Closed`, `Open` or `HalfOpen`; `Braked` in `cluster`.
    pub state: Option<String>,
    /// Until when, RFC 3339.
    pub until: Option<String>,
    /// In a row.
    pub failures: Option<u32>,
    /// Operations of the last hour, of how many.
    pub hour: Option<String>,
    /// The last plan that entered.
    pub plan: Option<String>,
    /// In words.
    pub message: Option<String>,
}

/// The name of a service's CircuitBreaker: a namespace has no dot, so no two services have the same.
#[must_use]
pub fn name(service: &Service) -> String {
    let plain = format!("{}.{}", service.namespace, service.name);
    if plain.len() <= 253 {
        return plain;
    }
    let digest = assent_core::canonical::Digest::of_bytes(plain.as_bytes());
    format!("{}.{}", service.namespace, digest)
}

/// The plans that have entered once `plan` did.
#[must_use]
pub fn entered_with(before: &[String], plan: &str) -> Vec<String> {
    let mut entered: Vec<String> = before.to_vec();
    entered.push(plan.to_owned());
    entered.split_off(entered.len().saturating_sub(MAX_ENTRIES))
}

// === impl CircuitBreakerSpec ===

impl CircuitBreakerSpec {
    /// Whose it is; `None` for `cluster`.
    #[must_use]
    pub fn of(&self) -> Option<Service> {
        let service = Service { namespace: self.namespace.clone(), name: self.service.clone() };
        (!service.namespace.is_empty() && !service.name.is_empty()).then_some(service)
    }
}

// === impl CircuitBreaker ===

impl CircuitBreaker {
    /// A new one.
    #[must_use]
    pub fn for_service(service: &Service) -> Self {
        let spec = CircuitBreakerSpec { namespace: service.namespace.clone(), service: service.name.clone(), ..CircuitBreakerSpec::default() };
        let mut object = Self::new(&name(service), spec);
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        object
    }
}
