//! What is known when the seats are asked: one bounded value with digests, so that a replay gets byte-equal input.
//!
//! Texts of strangers (alert summaries, event messages) are capped and stay data; no decision reads them.

use serde::{Deserialize, Serialize};

use crate::canonical::Digest;
use crate::ids::{IncidentUid, UnixMillis};
use crate::target::{Service, Target};

/// What went wrong, as a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Symptom {
    /// Requests are answered with errors.
    Errors,
    /// Requests are answered late.
    Latency,
    /// Requests are not answered.
    NoResponse,
    /// An alert that names no class.
    Unspecified,
    /// Nothing is wrong: a service has too many or too few replicas for its load. Only seats say so.
    Demand,
}

// === impl Symptom ===

impl Symptom {
    /// Whether it is routine and no trouble: people are not called for it, and trouble comes first.
    #[must_use]
    pub fn is_routine(self) -> bool {
        self == Self::Demand
    }
}

/// Who raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertSource {
    /// A seat's own detection, signed.
    Seat,
    /// Alertmanager's webhook.
    Alertmanager,
    /// GoAlert's webhook.
    GoAlert,
}

/// What a seat signs when it sees something wrong by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anomaly {
    /// The cluster it was seen in.
    pub cluster: String,
    /// The seat.
    pub seat: String,
    /// Where.
    pub service: Service,
    /// What.
    pub symptom: Symptom,
    /// When it began, by the seat's clock.
    pub since: UnixMillis,
    /// When it was reported.
    pub at: UnixMillis,
    /// One line of figures.
    pub summary: String,
}

/// An alert after its wire form was parsed; every intake ends in this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// Who raised it.
    pub source: AlertSource,
    /// Equal keys are the same alert (at-least-once senders repeat themselves).
    pub key: String,
    /// The service it names, if it names one.
    pub service: Option<Service>,
    /// What.
    pub symptom: Symptom,
    /// Whether it says that the trouble is over.
    pub resolved: bool,
    /// When it began.
    pub since: UnixMillis,
    /// Capped, untrusted.
    pub summary: String,
}

/// What the seats judge: the alerting service, what runs around it and what changed lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Context {
    /// The incident.
    pub incident: IncidentUid,
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// The service that alerted.
    pub service: Service,
    /// What went wrong there.
    pub symptom: Symptom,
    /// When it began, by whoever said so.
    pub since: UnixMillis,
    /// When this was gathered.
    pub gathered_at: UnixMillis,
    /// The alerts so far, at most 16.
    pub alerts: Vec<Alert>,
    /// Workloads of the namespace, at most 64.
    pub workloads: Vec<Workload>,
    /// Digests of `Warning` Events of the namespace, newest first, at most 32. Tenants can forge Events, so they are context
    /// for people and never evidence.
    pub events: Vec<Digest>,
}

/// One workload as the API server shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Kind, name, UID, generation, spec digest.
    pub target: Target,
    /// Its revisions, newest first, at most 8.
    pub revisions: Vec<Revision>,
    /// ConfigMaps its template refers to.
    pub configurations: Vec<Configuration>,
    /// Desired replicas.
    pub replicas: u32,
    /// Ready replicas.
    pub ready: u32,
}

/// One revision of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// Revision number.
    pub number: i64,
    /// Digest of its pod template, without the `pod-template-hash` label.
    pub template: Digest,
    /// When it was created, by the API server's clock.
    pub created_at: UnixMillis,
}

/// A ConfigMap by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// Name.
    pub name: String,
    /// Digest of `data` and `binaryData`.
    pub digest: Digest,
    /// When it last changed, as `managedFields` say.
    pub changed_at: UnixMillis,
}
