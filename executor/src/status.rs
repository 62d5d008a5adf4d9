//! The status of one Remediation: where it stands, for people, for the director and for whoever takes over. Written with the
//! executor's own account until it is stored, and never over what another executor wrote in between.

use assent_api::names;
use assent_api::resources::{Condition, Remediation, RemediationPhase, RemediationResult, RemediationStatus};
use assent_core::ids::UnixMillis;
use assent_core::verification::Effect;
use assent_live::own_clock;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::backoff;

/// Longest message; the definition allows more.
const MAX_MESSAGE: usize = 1000;

/// The status as it was last stored.
pub(crate) struct Status {
    api: Api<Remediation>,
    name: String,
    generation: Option<i64>,
    version: Option<String>,
    current: RemediationStatus,
}

// === impl Status ===

impl Status {
    pub(crate) fn of(client: &Client, stored: &Remediation) -> Self {
        Self {
            api: Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE),
            name: stored.name_any(),
            generation: stored.metadata.generation,
            version: stored.resource_version(),
            current: stored.status.clone().unwrap_or_default(),
        }
    }

    /// Reads it again; true if somebody changed it since.
    pub(crate) async fn refresh(&mut self) -> bool {
        let mut backoff = backoff();
        let stored = loop {
            match self.api.get_opt(&self.name).await {
                Ok(stored) => break stored,
                Err(error) => tracing::warn!(plan.id = self.name, error = %error, "cannot read the status"),
            }
            backoff.wait().await;
        };
        let Some(stored) = stored else {
            tracing::error!(plan.id = self.name, "the plan was deleted while it was carried out");
            self.current.phase = Some(RemediationPhase::Failed);
            return true;
        };
        let changed = stored.status.clone().unwrap_or_default() != self.current;
        self.version = stored.resource_version();
        self.current = stored.status.unwrap_or_default();
        changed
    }

    pub(crate) fn phase(&self) -> RemediationPhase {
        self.current.phase.unwrap_or(RemediationPhase::Planned)
    }

    /// When the write was noted as done.
    pub(crate) fn applied_at(&self) -> Option<UnixMillis> {
        self.since("Applied")
    }

    /// When it was noted that it begins with one pod.
    pub(crate) fn held_at(&self) -> Option<UnixMillis> {
        self.since("Canary")
    }

    fn since(&self, kind: &str) -> Option<UnixMillis> {
        let condition = self.current.conditions.iter().find(|condition| condition.kind == kind && condition.status == "True")?;
        let time: jiff::Timestamp = condition.last_transition_time.parse().ok()?;
        Some(UnixMillis(time.as_millisecond()))
    }

    /// Why the write must be undone, as it was noted.
    pub(crate) fn undone_because(&self) -> Option<&str> {
        let failed = self.current.conditions.iter().find(|condition| condition.kind == "Verified" && condition.status == "False")?;
        (self.phase() == RemediationPhase::Reverting).then_some(failed.message.as_str())
    }

    /// What the write did, as it was noted.
    pub(crate) fn result(&self) -> Option<RemediationResult> {
        self.current.result
    }

    /// What the write did, to be noted with what is noted next.
    pub(crate) fn set_result(&mut self, effect: Effect) {
        self.current.result = Some(effect.into());
    }

    /// Notes that it begins with one pod.
    pub(crate) async fn held(&mut self, at: UnixMillis) {
        self.write(RemediationPhase::Canary, "one pod runs the voted change; it is watched before the rest follows", at).await;
    }

    /// Notes that the write is done.
    pub(crate) async fn applied(&mut self, at: UnixMillis) {
        self.write(RemediationPhase::Applied, "the voted change is written; its effect is watched", at).await;
    }

    /// Notes where it stands now.
    pub(crate) async fn set(&mut self, phase: RemediationPhase, message: &str) {
        self.write(phase, message, own_clock()).await;
    }

    async fn write(&mut self, phase: RemediationPhase, message: &str, at: UnixMillis) {
        let message: String = message.chars().take(MAX_MESSAGE).collect();
        let mut wanted = self.current.clone();
        wanted.phase = Some(phase);
        wanted.message = Some(message.clone());
        wanted.observed_generation = self.generation;
        for (kind, status) in conditions(phase) {
            let condition = Condition {
                kind: kind.into(),
                status: status.into(),
                reason: format!("{phase:?}"),
                message: message.clone(),
                last_transition_time: time(at),
                observed_generation: self.generation,
            };
            condition.set_in(&mut wanted.conditions);
        }
        let patch = json!({"metadata": {"resourceVersion": self.version}, "status": wanted});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let mut backoff = backoff();
        // Without a stored status nobody knows where the plan stands, so there is nothing else to do meanwhile.
        loop {
            match self.api.patch_status(&self.name, &params, &Patch::Merge(&patch)).await {
                Ok(stored) => {
                    self.version = stored.resource_version();
                    self.current = wanted;
                    return;
                }
                // Whoever wrote it knows as much as we do: look again.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    self.refresh().await;
                    return;
                }
                Err(error) => tracing::warn!(plan.id = self.name, error = %error, "the status is not stored yet"),
            }
            backoff.wait().await;
        }
    }
}

/// Which conditions a phase settles.
fn conditions(phase: RemediationPhase) -> Vec<(&'static str, &'static str)> {
    match phase {
        RemediationPhase::Planned => vec![],
        RemediationPhase::Canary => vec![("Canary", "True")],
        RemediationPhase::Applied => vec![("Applied", "True")],
        RemediationPhase::Verified => vec![("Verified", "True")],
        RemediationPhase::Reverting => vec![("Verified", "False")],
        RemediationPhase::Reverted => vec![("Reverted", "True")],
        RemediationPhase::Refused => vec![("Applied", "False")],
        RemediationPhase::Failed => vec![("Verified", "False")],
    }
}

fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}
