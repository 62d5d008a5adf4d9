//! The first pod of a change: noted, looked at, and the rest let go.

use assent_api::resources::RemediationPhase;
use assent_core::canary::{Trial, judge};
use assent_live::own_clock;
use serde_json::Value;

use super::{FIRST_POD, Journey, READING};
use crate::step::BLIND_MS;
use crate::writes::{Step, Writer};

impl Journey<'_> {
    /// What the readings of the first pod say.
    pub(super) fn trial(&mut self) -> Trial {
        let (Some(canary), Some(held_at)) = (&self.plan.canary, self.status.held_at()) else { return Trial::Watching };
        judge(self.readings.make_contiguous(), canary.watch_ms, held_at, own_clock())
    }

    pub(super) async fn note_held(&mut self) {
        self.status.held(own_clock()).await;
        // Once here, so that the record is prompt; if the ledger is away, it is recorded with the end.
        if let Err(refusal) = self.append("canary", RemediationPhase::Canary, FIRST_POD).await {
            tracing::warn!(plan.id = self.name, reason = refusal.reason, "the ledger will be told later");
        }
    }

    /// One reading of the first pod.
    pub(super) async fn look_at_first(&mut self, target: &Value) {
        let next = tokio::time::Instant::now() + READING;
        let held_at = self.status.held_at().unwrap_or(self.created_at);
        // What lies before a time in which nobody could look says nothing of how long it took.
        if self.readings.back().is_some_and(|last| own_clock().since(last.at) > BLIND_MS) {
            self.readings.clear();
        }
        for reading in self.carrier.signals.first(&self.carrier.live, target, held_at).await {
            tracing::debug!(plan.id = self.name, principal = ?reading.principal, healthy = ?reading.healthy, summary = reading.summary, "first pod");
            self.readings.push_back(reading);
        }
        // Figures are sampled: there is no event to wait for.
        tokio::time::sleep_until(next).await;
    }

    /// Lets the rest follow.
    pub(super) async fn release(&mut self, target: &Value) {
        let Some(canary) = &self.plan.canary else { return };
        let released = canary.release(target).and_then(|released| Ok((released, self.plan.proposal.write().map_err(|refusal| refusal.reason)?)));
        let (released, write) = match released {
            Ok(released) => released,
            Err(reason) => {
                self.against(&reason, true);
                return self.backoff.wait().await;
            }
        };
        let writer = Writer { client: self.carrier.live.client(), incident: &self.plan.incident };
        let answer = writer.send(&write, &self.plan.proposal, &released, Step::Release).await;
        self.hear(answer, "letting the rest follow", "the first pod is well; the rest follows").await;
    }
}
