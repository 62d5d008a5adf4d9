//! The rows of alerts. An alert, the incident that it opens or joins, and their ledger entries are one transaction, so a
//! sender that was told "received" can forget it.

use assent_core::canonical::Digest;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Alert, AlertSource, Event, Incident, Known, route};
use assent_core::target::Service;
use serde_json::json;
use sqlx::{Sqlite, Transaction};

use super::{Draft, Error, Store, canonical, commit, doing, ledger, now, read};

/// Alerts that the seats are shown of one incident.
const SHOWN: i64 = 16;
/// Incidents that routing looks at, of the service and of its namespace.
const ROUTED: i64 = 16;
/// Notices that are kept.
const NOTICES: i64 = 1000;

/// An alert as it arrives, with what to call it if it names no workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) alert: Alert,
    /// In the sender's words; used only when `alert.service` is `None`.
    pub(crate) subject: String,
}

/// What became of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It opened this incident.
    Opened(IncidentUid),
    /// It joined this incident.
    Joined(IncidentUid),
    /// It was known already, and belongs to this incident, if any.
    Known(Option<IncidentUid>),
    /// It says that trouble is over that we never heard of.
    Kept,
}

/// Something that a sender said which is no alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Equal keys are the same notice.
    pub(crate) key: String,
    pub(crate) source: AlertSource,
    pub(crate) text: String,
}

// === impl Store ===

impl Store {
    /// Stores alerts and notices, and opens or joins incidents. All of it is durable when this returns, or none of it.
    pub(crate) async fn receive(&self, author: &str, arrivals: &[Arrival], notices: &[Notice]) -> Result<Vec<Received>, Error> {
        let mut transaction = self.begin().await?;
        let at = now();
        for notice in notices {
            keep_notice(&mut transaction, notice, at).await?;
        }
        let mut received = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            received.push(self.receive_one(&mut transaction, author, arrival, at).await?);
        }
        commit(transaction).await?;
        Ok(received)
    }

    async fn receive_one(&self, transaction: &mut Transaction<'static, Sqlite>, author: &str, arrival: &Arrival, at: UnixMillis) -> Result<Received, Error> {
        let alert = &arrival.alert;
        let before: Option<(Option<String>, bool)> = sqlx::query_as("SELECT incident, resolved FROM alerts WHERE key = ?")
            .bind(&alert.key)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(doing("look for an alert"))?;
        let owner = match &before {
            Some((Some(incident), _)) => Some(read::<IncidentUid>("incident uid", &format!("\"{incident}\""))?),
            _ => None,
        };
        let over = before.as_ref().is_some_and(|(_, resolved)| *resolved);
        keep(transaction, alert, at).await?;
        if alert.resolved || over {
            // A firing copy that arrives after the resolved one is an old copy.
            if let Some(uid) = owner.as_ref().filter(|_| alert.resolved && !over) {
                self.note(transaction, author, uid, "alert-resolved", alert, at).await?;
            }
            return Ok(if before.is_some() { Received::Known(owner) } else { Received::Kept });
        }
        let service = alert.service.clone().unwrap_or_else(|| unmapped(arrival));
        let known = known(transaction, &service).await?;
        if let Some(uid) = route(&service, &known, before.is_some(), at) {
            if owner.as_ref() == Some(&uid) {
                return Ok(Received::Known(owner));
            }
            assign(transaction, alert, &uid).await?;
            self.note(transaction, author, &uid, "alert-joined", alert, at).await?;
            return Ok(Received::Joined(uid));
        }
        let uid = self.open_incident(transaction, author, arrival, service, at).await?;
        assign(transaction, alert, &uid).await?;
        Ok(Received::Opened(uid))
    }

    async fn open_incident(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        author: &str,
        arrival: &Arrival,
        service: Service,
        at: UnixMillis,
    ) -> Result<IncidentUid, Error> {
        let alert = &arrival.alert;
        let uid: IncidentUid = read("incident uid", &format!("\"{}\"", uuid::Uuid::now_v7()))?;
        let (mut incident, mut effects) = Incident::open(uid.clone(), service, at);
        let obstacle = match (self.broken(), &alert.service) {
            (Some(reason), _) => Some(format!("the ledger does not hold ({reason}), so nothing is decided")),
            (None, None) => Some("the alert names no workload (labels `namespace` and one of `deployment`, `workload`, `service`, `app`, `job`)".into()),
            (None, Some(_)) => None,
        };
        if let Some(reason) = obstacle {
            effects.retain(|effect| matches!(effect, assent_core::incident::Effect::Record { .. }));
            effects.extend(incident.step(at, Event::Abandoned(reason)));
        }
        sqlx::query(
            "INSERT INTO incidents (uid, service, source, symptom, summary, over, deadline, changed_at, revision, published, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?)",
        )
        .bind(uid.to_string())
        .bind(incident.service.to_string())
        .bind(word("source", &alert.source)?)
        .bind(word("symptom", &alert.symptom)?)
        .bind(&alert.summary)
        .bind(incident.phase.is_final())
        .bind(incident.deadline.0)
        .bind(at.0)
        .bind(canonical("incident", &incident)?)
        .execute(&mut **transaction)
        .await
        .map_err(doing("open an incident"))?;
        self.note(transaction, author, &uid, "alert-received", alert, at).await?;
        self.keep_effects(transaction, author, &incident, effects, at).await?;
        Ok(uid)
    }

    async fn note(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        author: &str,
        uid: &IncidentUid,
        kind: &str,
        alert: &Alert,
        at: UnixMillis,
    ) -> Result<(), Error> {
        if self.broken().is_some() {
            return Ok(());
        }
        // The alert's key is a stranger's text, so the entry's key is its digest.
        let key = format!("{uid}/{kind}/{}", Digest::of_bytes(alert.key.as_bytes()));
        let draft = Draft { incident: uid.clone(), author: author.to_owned(), kind: kind.to_owned(), key, body: json!(alert) };
        ledger::append(transaction, &draft, at).await
    }

    /// The first alerts of one incident.
    pub(crate) async fn alerts(&self, uid: &IncidentUid) -> Result<Vec<Alert>, Error> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT body FROM alerts WHERE incident = ? ORDER BY received_at, key LIMIT ?")
            .bind(uid.to_string())
            .bind(SHOWN)
            .fetch_all(&self.pool)
            .await
            .map_err(doing("list alerts"))?;
        rows.iter().map(|text| read("alert", text)).collect()
    }
}

/// What stands for the service of an alert that names none; `-` is no namespace that can exist.
fn unmapped(arrival: &Arrival) -> Service {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "-_.:".contains(c) { c } else { '_' };
    let name: String = arrival.subject.chars().take(63).map(clean).collect();
    Service { namespace: "-".into(), name: if name.is_empty() { "unnamed".into() } else { name } }
}

async fn keep(transaction: &mut Transaction<'static, Sqlite>, alert: &Alert, at: UnixMillis) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO alerts (key, resolved, received_at, deliveries, body) VALUES (?, ?, ?, 1, ?)
         ON CONFLICT (key) DO UPDATE SET deliveries = deliveries + 1, resolved = max(resolved, excluded.resolved)",
    )
    .bind(&alert.key)
    .bind(alert.resolved)
    .bind(at.0)
    .bind(canonical("alert", alert)?)
    .execute(&mut **transaction)
    .await
    .map_err(doing("keep an alert"))?;
    Ok(())
}

async fn assign(transaction: &mut Transaction<'static, Sqlite>, alert: &Alert, uid: &IncidentUid) -> Result<(), Error> {
    let query = sqlx::query("UPDATE alerts SET incident = ? WHERE key = ?").bind(uid.to_string()).bind(&alert.key);
    query.execute(&mut **transaction).await.map_err(doing("assign an alert")).map(drop)
}

async fn known(transaction: &mut Transaction<'static, Sqlite>, service: &Service) -> Result<Vec<Known>, Error> {
    // Those about the service itself, and those of its namespace: what is open, and the newest of the rest.
    let rows: Vec<(String, i64, Option<String>)> = sqlx::query_as(
        "SELECT * FROM (SELECT state, changed_at, outcome FROM incidents WHERE service = ?1 OR target = ?1 ORDER BY over, changed_at DESC LIMIT ?4)
         UNION
         SELECT * FROM (SELECT state, changed_at, outcome FROM incidents WHERE service >= ?2 AND service < ?3 ORDER BY over, changed_at DESC LIMIT ?4)",
    )
    .bind(service.to_string())
    .bind(format!("{}/", service.namespace))
    // `0` is the character after `/`, so the range is the namespace and nothing else.
    .bind(format!("{}0", service.namespace))
    .bind(ROUTED)
    .fetch_all(&mut **transaction)
    .await
    .map_err(doing("list incidents near a service"))?;
    rows.into_iter()
        .map(|(state, changed_at, outcome)| {
            let incident: Incident = read("incident", &state)?;
            let outcome: Option<assent_core::consensus::Outcome> = outcome.map(|text| read("outcome", &text)).transpose()?;
            let target = outcome.and_then(|outcome| match outcome.verdict {
                assent_core::consensus::Verdict::Act { proposal, .. } => Some(proposal.target.service()),
                assent_core::consensus::Verdict::Hold { .. } => None,
            });
            Ok(Known { uid: incident.uid, service: incident.service, target, phase: incident.phase, changed_at: UnixMillis(changed_at) })
        })
        .collect()
}

async fn keep_notice(transaction: &mut Transaction<'static, Sqlite>, notice: &Notice, at: UnixMillis) -> Result<(), Error> {
    sqlx::query("INSERT INTO notices (key, at, source, text) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at")
        .bind(&notice.key)
        .bind(at.0)
        .bind(word("source", &notice.source)?)
        .bind(&notice.text)
        .execute(&mut **transaction)
        .await
        .map_err(doing("keep a notice"))?;
    sqlx::query("DELETE FROM notices WHERE key NOT IN (SELECT key FROM notices ORDER BY at DESC, key LIMIT ?)")
        .bind(NOTICES)
        .execute(&mut **transaction)
        .await
        .map_err(doing("drop old notices"))?;
    Ok(())
}

/// A unit variant as its word.
fn word<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, Error> {
    canonical(what, value).map(|text| text.trim_matches('"').to_owned())
}
