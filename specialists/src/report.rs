//! Anomalies of our own: each is signed and reported to the director once, and again after the service was well or when it lasts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assent_api::names::{self, accounts};
use assent_api::proto::AnomalyReport;
use assent_api::proto::anomalies_client::AnomaliesClient;
use assent_api::signed::ANOMALY_PAYLOAD_TYPE;
use assent_core::canonical;
use assent_core::ids::UnixMillis;
use assent_core::incident::Anomaly;
use assent_core::seats::{Finding, Seat};
use assent_core::target::Service;
use assent_runtime::mtls;
use assent_runtime::workload::Workload;
use tonic::transport::Channel;

use crate::ballots::sign;
use crate::held::{Held, now};
use crate::metrics::Metrics;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
const REPORT: Duration = Duration::from_secs(5);
/// A service must be well for so long before it is reported again.
const REARM_MS: i64 = 30_000;
/// Trouble that lasts is reported again after so long: the director may have taken the first report for the echo of an
/// incident that just ended, or lost it with its disk. It knows repeats.
const REPEAT_MS: i64 = 45_000;
const MAX_ALARMS: usize = 256;

/// Which services were reported, and when they were last seen ill.
#[derive(Debug, Default)]
struct Alarms(BTreeMap<Service, Alarm>);

#[derive(Debug)]
struct Alarm {
    reported: UnixMillis,
    seen: UnixMillis,
}

/// Looks at the view and reports, for the life of the process.
pub(crate) async fn report<V: Seat>(held: Arc<Held<V>>, workload: Workload, director: String, cluster: String, metrics: Metrics) -> anyhow::Result<()> {
    let identity = workload.own_name().sibling(names::SYSTEM_NAMESPACE, accounts::DIRECTOR)?;
    let channel = mtls::channel(&workload, &director, &identity)?;
    let seat = held.read(|view| view.entry().name);
    let mut alarms = Alarms::default();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let findings = held.update(|view| {
            view.tick(now());
            view.findings(now())
        });
        for finding in alarms.due(findings, now()) {
            let anomaly = Anomaly {
                cluster: cluster.clone(),
                seat: seat.into(),
                service: finding.service.clone(),
                symptom: finding.symptom,
                since: finding.since,
                at: now(),
                summary: finding.summary,
            };
            // What is routine is no reason to doubt what is usual.
            if !finding.symptom.is_routine() {
                held.update(|view| view.incident_began(finding.since));
            }
            match tokio::time::timeout(REPORT, deliver(&workload, channel.clone(), &anomaly)).await {
                Ok(Ok(incident)) => {
                    tracing::info!(incident.id = incident, service = %anomaly.service, symptom = ?anomaly.symptom, summary = anomaly.summary, "anomaly reported");
                    alarms.reported(&anomaly.service, now());
                    metrics.anomaly(true);
                }
                // Not marked as reported, so it is due again at the next look.
                Ok(Err(error)) => undelivered(&metrics, &anomaly, &format!("{error:#}")),
                Err(_) => undelivered(&metrics, &anomaly, "the director does not answer"),
            }
        }
    }
}

fn undelivered(metrics: &Metrics, anomaly: &Anomaly, error: &str) {
    tracing::warn!(service = %anomaly.service, error, "anomaly not delivered");
    metrics.anomaly(false);
}

async fn deliver(workload: &Workload, channel: Channel, anomaly: &Anomaly) -> anyhow::Result<String> {
    let signed = sign(workload, ANOMALY_PAYLOAD_TYPE, canonical::text(anomaly)?).await?;
    let report = AnomalyReport { envelope: serde_json::to_vec(&signed)? };
    Ok(AnomaliesClient::new(channel).report(report).await?.into_inner().incident_uid)
}

// === impl Alarms ===

impl Alarms {
    /// The findings that are to be reported now.
    fn due(&mut self, findings: Vec<Finding>, now: UnixMillis) -> Vec<Finding> {
        for finding in &findings {
            if let Some(alarm) = self.0.get_mut(&finding.service) {
                alarm.seen = now;
            }
        }
        self.0.retain(|_, alarm| now.since(alarm.seen) < REARM_MS && now.since(alarm.reported) < REPEAT_MS);
        let room = MAX_ALARMS.saturating_sub(self.0.len());
        findings.into_iter().filter(|finding| !self.0.contains_key(&finding.service)).take(room).collect()
    }

    fn reported(&mut self, service: &Service, now: UnixMillis) {
        self.0.insert(service.clone(), Alarm { reported: now, seen: now });
    }
}

#[cfg(test)]
mod tests {
    use assent_core::incident::Symptom;

    use super::*;

    fn finding(name: &str) -> Finding {
        Finding { service: Service { namespace: "n".into(), name: name.into() }, symptom: Symptom::Errors, since: UnixMillis(0), summary: String::new() }
    }

    #[test]
    fn trouble_is_reported_once_until_it_was_well_for_a_while() {
        let mut alarms = Alarms::default();
        let due = |alarms: &mut Alarms, at: i64, names: &[&str]| -> Vec<String> {
            alarms.due(names.iter().map(|name| finding(name)).collect(), UnixMillis(at)).into_iter().map(|f| f.service.name).collect()
        };
        assert_eq!(due(&mut alarms, 0, &["a"]), ["a"]);
        // Not delivered: due again.
        assert_eq!(due(&mut alarms, 1_000, &["a"]), ["a"]);
        alarms.reported(&finding("a").service, UnixMillis(1_000));
        assert_eq!(due(&mut alarms, 2_000, &["a", "b"]), ["b"]);
        // A short recovery is none.
        assert!(due(&mut alarms, 10_000, &[]).is_empty());
        assert!(due(&mut alarms, 20_000, &["a"]).is_empty());
        assert!(due(&mut alarms, 45_000, &["a"]).is_empty());
        assert!(due(&mut alarms, 80_000, &[]).is_empty());
        assert_eq!(due(&mut alarms, 81_000, &["a"]), ["a"]);
    }

    #[test]
    fn trouble_that_lasts_is_reported_again() {
        let mut alarms = Alarms::default();
        alarms.reported(&finding("a").service, UnixMillis(0));
        let times: Vec<i64> = (1..=400).filter(|s| !alarms.due(vec![finding("a")], UnixMillis(s * 1_000)).is_empty()).collect();
        assert_eq!(times.first(), Some(&45));
    }
}
