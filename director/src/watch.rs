//! Follows the executor: what it says of its plans in their status becomes events of the incidents. The status proves
//! nothing; it only moves what people are shown and when an incident counts as over.

use std::time::Duration;

use assent_api::resources::{Remediation, RemediationPhase};
use assent_core::ids::IncidentUid;
use assent_core::incident::{Event, RemediationResult};
use assent_runtime::telemetry::chain;
use futures::{StreamExt as _, pin_mut};
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::director::{Director, Error};
use crate::store::{self, Advance};

/// How often, and after what wait, the store is asked to keep one event.
const ATTEMPTS: u32 = 10;
const AGAIN: Duration = Duration::from_secs(1);

/// Until dropped.
pub(crate) async fn run(director: Director) {
    let events = watcher(director.ours::<Remediation>(), watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(plan) => {
                // The watch says it once, so a busy store is asked again.
                for _ in 0..ATTEMPTS {
                    let Err(error) = follow(&director, &plan).await else { break };
                    tracing::warn!(remediation = plan.name_any(), error = chain(&error), "remediation not followed");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            // The stream goes on after a wait of its own.
            Err(error) => tracing::warn!(error = chain(&error), "remediations cannot be watched"),
        }
    }
}

async fn follow(director: &Director, plan: &Remediation) -> Result<(), Error> {
    let Ok(uid) = IncidentUid::try_from(plan.spec.incident.clone()) else { return Ok(()) };
    let record = match director.store.incident(&uid).await {
        // A plan of an incident that was forgotten, or of another director's time.
        Err(store::Error::Unknown(_)) => return Ok(()),
        record => record?,
    };
    let same = record.remediation.as_deref() == Some(plan.name_any().as_str());
    if record.incident.epoch != plan.spec.epoch || (record.incident.phase.is_final() && same) {
        return Ok(());
    }
    let event = said(plan);
    director.advance(&uid, Advance { event, remediation: Some(plan.name_any()), ..Advance::nothing() }).await.map(drop)
}

/// What the status says, as an event.
fn said(plan: &Remediation) -> Option<Event> {
    let status = plan.status.clone().unwrap_or_default();
    let message = status.message.unwrap_or_else(|| "the executor gives no reason".into());
    match status.phase {
        None | Some(RemediationPhase::Planned) => Some(Event::Applying),
        Some(RemediationPhase::Applied) => Some(Event::Applied),
        Some(RemediationPhase::Verified) => Some(Event::Finished(RemediationResult::Verified)),
        // How it ends is said by the next one.
        Some(RemediationPhase::Reverting) => None,
        Some(RemediationPhase::Reverted) => Some(Event::Finished(RemediationResult::Reverted(message))),
        Some(RemediationPhase::Refused) => Some(Event::Finished(RemediationResult::Refused(message))),
        Some(RemediationPhase::Failed) => Some(Event::Finished(RemediationResult::Failed(message))),
    }
}
