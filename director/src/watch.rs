//! Follows the executor: what it says of its plans in their status becomes events of the incidents. The status proves
//! nothing; it only moves what people are shown and when an incident counts as over.

use std::pin::pin;
use std::time::Duration;

use assent_api::resources::{ApprovalPhase, ApprovalRequest, Remediation, RemediationPhase};
use assent_core::ids::IncidentUid;
use assent_core::incident::{Event, RemediationResult};
use assent_runtime::telemetry::chain;
use futures::stream::select;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::director::{Director, Error, created_at};
use crate::store::{self, Advance};

/// How often, and after what wait, the store is asked to keep one event.
const ATTEMPTS: u32 = 10;
const AGAIN: Duration = Duration::from_secs(1);

/// Until dropped.
pub(crate) async fn run(director: Director) {
    let plans = watcher(director.ours::<Remediation>(), watcher::Config::default()).default_backoff().applied_objects();
    let requests = watcher(director.ours::<ApprovalRequest>(), watcher::Config::default()).default_backoff().applied_objects();
    let mut said = pin!(select(plans.map_ok(Said::Plan), requests.map_ok(Said::Request)));
    while let Some(event) = said.next().await {
        match event {
            Ok(said) => {
                // The watch says it once, so a busy store is asked again.
                for _ in 0..ATTEMPTS {
                    let followed = match &said {
                        Said::Plan(plan) => follow(&director, plan).await,
                        Said::Request(request) => hear(&director, request).await,
                    };
                    let Err(error) = followed else { break };
                    tracing::warn!(error = chain(&error), "the executor's word is not followed");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            // The stream goes on after a wait of its own.
            Err(error) => tracing::warn!(error = chain(&error), "the executor cannot be watched"),
        }
    }
}

/// What the executor says something of.
enum Said {
    Plan(Remediation),
    Request(ApprovalRequest),
}

/// That people are asked, and that they agreed when the votes had expired. How else it ends is in the ledger or a plan.
async fn hear(director: &Director, request: &ApprovalRequest) -> Result<(), Error> {
    let Ok(uid) = IncidentUid::try_from(request.spec.incident.clone()) else { return Ok(()) };
    let record = match director.store.incident(&uid).await {
        Err(store::Error::Unknown(_)) => return Ok(()),
        record => record?,
    };
    if record.incident.epoch != request.spec.epoch {
        return Ok(());
    }
    let event = match request.status.as_ref().and_then(|status| status.phase) {
        None | Some(ApprovalPhase::Pending) => Event::Asked { until: created_at(request).plus(i64::from(request.spec.expires_after_seconds) * 1000) },
        Some(ApprovalPhase::Approved) => Event::Agreed,
        Some(ApprovalPhase::Used | ApprovalPhase::Denied | ApprovalPhase::Expired | ApprovalPhase::Dropped) => return Ok(()),
    };
    director.advance(&uid, Advance::by(event)).await.map(drop)
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
        // How it goes on is said by the next one.
        Some(RemediationPhase::Canary | RemediationPhase::Reverting) => None,
        Some(RemediationPhase::Reverted) => Some(Event::Finished(RemediationResult::Reverted(message))),
        Some(RemediationPhase::Refused) => Some(Event::Finished(RemediationResult::Refused(message))),
        Some(RemediationPhase::Failed) => Some(Event::Finished(RemediationResult::Failed(message))),
    }
}
