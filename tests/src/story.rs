//! One incident as it travels, told from the objects that the API server holds, with the seconds since the fault.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::bail;
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Ballot, Decision, Incident, Remediation, RemediationPhase};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use crate::install::SHOP;

/// When each part of the story was first seen, in seconds since the fault.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The Incident exists.
    pub incident: Option<f64>,
    /// A Decision to act exists.
    pub decision: Option<f64>,
    /// The write is done.
    pub write: Option<f64>,
    /// The incident is closed.
    pub closed: Option<f64>,
}

/// How an incident ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The incident.
    pub incident: Incident,
    /// Its final phase.
    pub phase: String,
    /// When what was seen.
    pub timeline: Timeline,
}

/// Follows the shop's first incident that is not in `known` until it is closed; `tell` gets each new line.
///
/// # Errors
/// If no incident is closed within `patience`.
pub async fn follow(
    client: &Client,
    known: &BTreeSet<String>,
    started: Instant,
    patience: Duration,
    tell: &(dyn Fn(f64, &str) + Sync),
) -> anyhow::Result<Ending> {
    let mut told = BTreeSet::new();
    let mut timeline = Timeline::default();
    let mut say = |key: String, line: String| {
        let at = started.elapsed().as_secs_f64();
        if told.insert(key) {
            tell(at, &line);
        }
        at
    };
    while started.elapsed() < patience {
        // The story is read again and again rather than watched: five kinds, told in their own order.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let Some(incident) = newest(client, known).await? else { continue };
        let uid = incident.name_any();
        let at = say("incident".into(), format!("incident {uid}: {} on {} ({})", incident.spec.symptom, incident.spec.service, incident.spec.summary));
        timeline.incident.get_or_insert(at);
        let of_incident = ListParams::default().labels(&format!("assent.dev/incident-uid={uid}"));
        let ballots: Api<Ballot> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let mut votes = ballots.list(&of_incident).await?.items;
        votes.sort_by_key(|vote| (vote.spec.epoch, vote.spec.round.clone(), vote.spec.seat.clone()));
        for vote in votes {
            say(vote.name_any(), format!("  vote  {:<6} {:<8} signed: {}", vote.spec.round, vote.spec.seat, vote.spec.summary));
        }
        let decisions: Api<Decision> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        for decision in decisions.list(&of_incident).await?.items {
            let at = say(
                format!("decision {}", decision.name_any()),
                format!("  decision {}: {} ({}): {}", decision.spec.verdict, decision.spec.cause, decision.spec.confidence, decision.spec.action),
            );
            if decision.spec.verdict == "Act" {
                timeline.decision.get_or_insert(at);
            }
        }
        let remediations: Api<Remediation> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        for plan in remediations.list(&of_incident).await?.items {
            say(plan.name_any(), format!("  remediation {} admitted: {} on {}", plan.name_any(), plan.spec.action, plan.spec.target));
            let Some(status) = &plan.status else { continue };
            if let Some(phase) = status.phase {
                let at = say(format!("{} {phase:?}", plan.name_any()), format!("  remediation {phase:?}: {}", status.message.as_deref().unwrap_or_default()));
                if matches!(
                    phase,
                    RemediationPhase::Canary
                        | RemediationPhase::Applied
                        | RemediationPhase::Verified
                        | RemediationPhase::Reverting
                        | RemediationPhase::Reverted
                ) {
                    timeline.write.get_or_insert(at);
                }
            }
        }
        let status = incident.status.clone().unwrap_or_default();
        let phase = status.phase.clone().unwrap_or_default();
        let closed = status.conditions.iter().any(|condition| condition.kind == "Closed" && condition.status == "True");
        if closed {
            let at = say("closed".into(), format!("incident {phase}: {}", status.outcome.as_deref().unwrap_or_default()));
            timeline.closed = Some(at);
            return Ok(Ending { incident, phase, timeline });
        }
    }
    bail!("no incident was closed within {} s", patience.as_secs())
}

/// Names of all incidents there are.
///
/// # Errors
/// If they cannot be listed.
pub async fn known(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let api: Api<Incident> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items.iter().map(kube::ResourceExt::name_any).collect())
}

async fn newest(client: &Client, known: &BTreeSet<String>) -> anyhow::Result<Option<Incident>> {
    let api: Api<Incident> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let mut fresh = api.list(&ListParams::default()).await?.items;
    // On somebody else's cluster other workloads may have incidents of their own.
    fresh.retain(|incident| !known.contains(&incident.name_any()) && incident.spec.service.starts_with(&format!("{SHOP}/")));
    // UUIDv7: names sort by time.
    fresh.sort_by_key(kube::ResourceExt::name_any);
    Ok(fresh.into_iter().next())
}
