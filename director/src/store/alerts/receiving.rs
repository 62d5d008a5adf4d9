//! One transaction's worth of deliveries. What routing asked for once it is not asked for again as long as no incident changed,
//! and rows are written together at the end: a storm is many alerts about few things.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assent_core::canonical::Digest;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{AlertSource, Calls, Effect, Event, Firing, Incident, Known, Picture, Symptom, is_new, route};
use assent_core::target::Service;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::super::database::{PARAMETERS, marks};
use super::super::writer::Writer;
use super::super::{Draft, Error, Record, Store, Value, canonical, incidents, read, uid, word};
use super::{Arrival, Delivery, NOTICES, Notice, Received};

/// Incidents that routing looks at, the open ones first.
const ROUTED: i64 = 64;
/// Incidents that are open, or ended lately: beyond, alerts of further services share one, which goes to a person at once.
const MOST: i64 = 128;
/// How long what ended counts.
const LATELY_MS: i64 = 10 * 60 * 1000;
/// Things said of one incident that are told apart; what comes after is nothing new.
const PICTURE: usize = 512;
/// Routes that are remembered.
const REMEMBERED: usize = 4096;
/// What stands for all services of alerts beyond.
const STORM: &str = "storm";
/// What an alert that names no workload counts as being in; no namespace can be called so.
const NOWHERE: &str = "-";

pub(super) struct Receiving<'a> {
    store: &'a Store,
    author: &'a str,
    writer: Writer,
    calls: Arc<Calls>,
    /// Alerts by their keys, as they were and as they are to be.
    alerts: BTreeMap<String, Row>,
    /// Where alerts of a service belong, if they are new and if they came before, routine or not; forgotten when an incident changes.
    routes: BTreeMap<(Service, bool, bool, i64), Option<IncidentUid>>,
    /// Incidents to which new evidence makes a difference.
    hearing: BTreeSet<IncidentUid>,
    /// What was said of an incident.
    pictures: BTreeMap<IncidentUid, Picture>,
    /// Incidents that count towards [`MOST`].
    incidents: i64,
}

#[derive(Default)]
struct Row {
    stored: bool,
    changed: bool,
    incident: Option<IncidentUid>,
    resolved: bool,
    deliveries: i64,
    novel: bool,
    /// Of the first copy: service, symptom, whether by a seat, body.
    first: Option<(Service, Symptom, bool, String)>,
}

// === impl Receiving ===

impl<'a> Receiving<'a> {
    pub(super) async fn begin(store: &'a Store, author: &'a str, deliveries: &[Delivery]) -> Result<Self, Error> {
        let mut writer = store.begin().await?;
        let calls = store.calls(&mut writer).await?;
        let lately = writer.at().plus(-LATELY_MS);
        let row = writer.row("count incidents", "SELECT count(*) FROM incidents WHERE over = 0 OR changed_at > $1", [lately.into()]).await?;
        let incidents = row.map_or(Ok(0), |row| row.integer(0))?;
        let alerts = known(&mut writer, deliveries).await?;
        Ok(Self { store, author, writer, calls, alerts, routes: BTreeMap::new(), hearing: BTreeSet::new(), pictures: BTreeMap::new(), incidents })
    }

    pub(super) async fn receive(&mut self, arrival: &Arrival) -> Result<Received, Error> {
        let alert = &arrival.alert;
        let service = alert.service.clone().unwrap_or_else(|| unmapped(arrival));
        let row = self.alerts.entry(alert.key.clone()).or_default();
        let (before, owner, over) = (row.stored || row.changed, row.incident.clone(), row.resolved);
        row.changed = true;
        row.deliveries = row.deliveries.saturating_add(1);
        row.resolved |= alert.resolved;
        if !before {
            row.first = Some((service.clone(), alert.symptom, alert.source == AlertSource::Seat, canonical("alert", alert)?));
        }
        if alert.resolved || over {
            // A firing copy that arrives after the resolved one is an old copy.
            if let Some(uid) = owner.as_ref().filter(|_| alert.resolved && !over) {
                self.note(uid, "alert-resolved", arrival, false).await?;
            }
            return Ok(if before { Received::Known(owner) } else { Received::Kept });
        }
        let routine = alert.symptom.is_routine();
        let found = self.find(&Firing { service: &service, again: before, since: alert.since, routine }).await?;
        if let Some(uid) = found {
            // What is routine waits while something else goes on, and says nothing to it.
            if routine {
                return Ok(Received::Known(Some(uid)));
            }
            if owner.as_ref() == Some(&uid) {
                return Ok(Received::Known(owner));
            }
            self.note(&uid, "alert-joined", arrival, !before).await?;
            self.assign(arrival, &service, &uid).await?;
            return Ok(Received::Joined(uid));
        }
        if self.incidents >= MOST {
            return self.overflow(arrival, &service, before).await;
        }
        let uid = self.open(arrival, service.clone(), obstacle(arrival), !before).await?;
        self.assign(arrival, &service, &uid).await?;
        Ok(Received::Opened(uid))
    }

    /// The incident that an alert belongs to.
    async fn find(&mut self, firing: &Firing<'_>) -> Result<Option<IncidentUid>, Error> {
        let service = firing.service;
        // To the second, so that the alerts of a storm are looked up together.
        let asked = (service.clone(), firing.again, firing.routine, firing.since.0.div_euclid(1_000));
        if let Some(found) = self.routes.get(&asked) {
            return Ok(found.clone());
        }
        let near = near(&mut self.writer, service, &self.calls).await?;
        self.hearing.extend(near.iter().filter(|(_, hears)| *hears).map(|(known, _)| known.uid.clone()));
        let known: Vec<Known> = near.into_iter().map(|(known, _)| known).collect();
        let found = route(firing, &known, &self.calls, self.writer.at());
        if self.routes.len() >= REMEMBERED {
            self.routes.clear();
        }
        self.routes.insert(asked, found.clone());
        Ok(found)
    }

    /// Gives the alert to `uid`, and tells the incident if that changes the picture.
    async fn assign(&mut self, arrival: &Arrival, service: &Service, uid: &IncidentUid) -> Result<(), Error> {
        if !self.pictures.contains_key(uid) {
            let picture = picture(&mut self.writer, uid).await?;
            self.pictures.insert(uid.clone(), picture);
        }
        let alert = &arrival.alert;
        let picture = self.pictures.entry(uid.clone()).or_default();
        let (first, new) = (picture.is_empty(), picture.len() < PICTURE && is_new(alert, service, picture));
        if new {
            picture.insert((service.clone(), alert.symptom, alert.source == AlertSource::Seat));
        }
        if let Some(row) = self.alerts.get_mut(&alert.key) {
            row.incident = Some(uid.clone());
            row.novel = new;
        }
        if new && !first && self.hearing.remove(uid) {
            self.tell(uid, format!("{service}: {}", word("symptom", &alert.symptom)?)).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, uid: &IncidentUid, what: String) -> Result<(), Error> {
        let mut record = incidents::load(&mut self.writer, uid).await?;
        let before = record.clone();
        self.store.step(&mut self.writer, self.author, &mut record, Event::Evidence(what)).await?;
        self.store.keep(&mut self.writer, self.author, &before, &mut record).await?;
        self.routes.clear();
        Ok(())
    }

    /// More incidents than anybody could look at: what is beyond is kept together, and a person is told once.
    async fn overflow(&mut self, arrival: &Arrival, service: &Service, again: bool) -> Result<Received, Error> {
        let storm = Service { namespace: NOWHERE.into(), name: STORM.into() };
        if let Some(uid) = self.find(&Firing { service: &storm, again: true, since: UnixMillis(0), routine: false }).await? {
            if self.alerts.get(&arrival.alert.key).and_then(|row| row.incident.as_ref()) == Some(&uid) {
                return Ok(Received::Known(Some(uid)));
            }
            self.note(&uid, "alert-joined", arrival, !again).await?;
            self.assign(arrival, service, &uid).await?;
            return Ok(Received::Joined(uid));
        }
        let reason = format!("{} incidents are open or ended lately; alerts of further services are kept here and nothing is decided for them", self.incidents);
        let uid = self.open(arrival, storm, Some(reason), !again).await?;
        self.assign(arrival, service, &uid).await?;
        Ok(Received::Opened(uid))
    }

    async fn open(&mut self, arrival: &Arrival, service: Service, obstacle: Option<String>, new: bool) -> Result<IncidentUid, Error> {
        let at = self.writer.at();
        let (mut incident, mut effects) = Incident::open(uid(&uuid::Uuid::now_v7().to_string())?, service, arrival.alert.symptom, at);
        let broken = self.store.broken().map(|reason| format!("the ledger does not hold ({reason}), so nothing is decided"));
        if let Some(reason) = broken.or(obstacle) {
            effects.retain(|effect| matches!(effect, Effect::Record { .. }));
            effects.extend(incident.step(at, Event::Abandoned(reason)));
        }
        let record = Record {
            source: word("source", &arrival.alert.source)?,
            symptom: word("symptom", &arrival.alert.symptom)?,
            summary: arrival.alert.summary.clone(),
            outcome: None,
            remediation: None,
            revision: 1,
            changed_at: at,
            incident,
        };
        incidents::insert(&mut self.writer, &record).await?;
        self.note(&record.incident.uid, "alert-received", arrival, new).await?;
        self.store.keep_effects(&mut self.writer, self.author, &record.incident, effects).await?;
        self.incidents = self.incidents.saturating_add(1);
        self.routes.clear();
        Ok(record.incident.uid)
    }

    /// Puts the alert on record. `new` is whether it was never received before, so that its key cannot be there.
    async fn note(&mut self, uid: &IncidentUid, kind: &str, arrival: &Arrival, new: bool) -> Result<(), Error> {
        if self.store.broken().is_some() {
            return Ok(());
        }
        // The alert's key is a stranger's text, so the entry's key is its digest.
        let key = format!("{uid}/{kind}/{}", Digest::of_bytes(arrival.alert.key.as_bytes()));
        let draft = Draft { incident: uid.clone(), author: self.author.to_owned(), kind: kind.to_owned(), key, body: json!(arrival.alert) };
        if new { self.writer.append_new(&draft).await } else { self.writer.append(&draft).await }
    }

    pub(super) async fn keep_notices(&mut self, notices: &[&Notice]) -> Result<(), Error> {
        if notices.is_empty() {
            return Ok(());
        }
        // A statement may not touch one row twice.
        let by_key: BTreeMap<&str, &&Notice> = notices.iter().map(|notice| (notice.key.as_str(), notice)).collect();
        let mut values = Vec::new();
        for notice in by_key.values() {
            values.extend(notice.row(self.writer.at().into())?);
        }
        let after = "ON CONFLICT (key) DO UPDATE SET at = excluded.at";
        self.writer.insert("keep notices", "notices (key, at, source, text)", 4, after, values).await?;
        let sql = "DELETE FROM notices WHERE key NOT IN (SELECT key FROM notices ORDER BY at DESC, key LIMIT $1)";
        self.writer.execute("drop old notices", sql, [NOTICES.into()]).await
    }

    pub(super) async fn commit(mut self) -> Result<(), Error> {
        let at = self.writer.at();
        let mut new: Vec<Value> = Vec::new();
        for (key, row) in std::mem::take(&mut self.alerts) {
            let incident = row.incident.as_ref().map(ToString::to_string);
            match row.first {
                Some((service, symptom, by_seat, body)) => new.extend([
                    key.into(),
                    incident.into(),
                    service.to_string().into(),
                    word("symptom", &symptom)?.into(),
                    by_seat.into(),
                    row.novel.into(),
                    row.resolved.into(),
                    at.into(),
                    row.deliveries.into(),
                    body.into(),
                ]),
                None if row.changed => {
                    let sql = "UPDATE alerts SET incident = $1, novel = $2, resolved = $3, deliveries = deliveries + $4 WHERE key = $5";
                    let values = [incident.into(), row.novel.into(), row.resolved.into(), row.deliveries.into(), key.into()];
                    self.writer.execute("keep an alert", sql, values).await?;
                }
                None => {}
            }
        }
        let into = "alerts (key, incident, service, symptom, by_seat, novel, resolved, received_at, deliveries, body)";
        self.writer.insert("keep alerts", into, 10, "", new).await?;
        self.writer.commit().await
    }
}

/// Why nothing can be decided for this alert.
fn obstacle(arrival: &Arrival) -> Option<String> {
    let missing = "the alert names no workload (labels `namespace` and one of `deployment`, `workload`, `service`, `app`, `job`)";
    arrival.alert.service.is_none().then(|| missing.to_owned())
}

/// What stands for the service of an alert that names none.
fn unmapped(arrival: &Arrival) -> Service {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "-_.:".contains(c) { c } else { '_' };
    let name: String = arrival.subject.chars().take(63).map(clean).collect();
    Service { namespace: NOWHERE.into(), name: if name.is_empty() { "unnamed".into() } else { name } }
}

/// Those of the alerts that are stored already.
async fn known(writer: &mut Writer, deliveries: &[Delivery]) -> Result<BTreeMap<String, Row>, Error> {
    let keys: BTreeSet<&str> = deliveries.iter().flat_map(|delivery| &delivery.arrivals).map(|arrival| arrival.alert.key.as_str()).collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    let mut known = BTreeMap::new();
    for keys in keys.chunks(PARAMETERS) {
        let sql = format!("SELECT key, incident, resolved, novel FROM alerts WHERE key IN ({})", marks(1, keys.len()));
        for row in writer.rows("look for alerts", AssertSqlSafe(sql), keys.iter().map(|key| Value::from(*key))).await? {
            let incident = row.text_if_any(1)?.as_deref().map(uid).transpose()?;
            let stored = Row { stored: true, incident, resolved: row.flag(2)?, novel: row.flag(3)?, ..Row::default() };
            known.insert(row.text(0)?, stored);
        }
    }
    Ok(known)
}

/// Incidents that may have to do with `service`: of its namespace, and of what it calls or who calls that.
async fn near(writer: &mut Writer, service: &Service, calls: &Calls) -> Result<Vec<(Known, bool)>, Error> {
    let names: Vec<Value> = calls.near(service).into_iter().map(|service| service.to_string().into()).collect();
    let (first, marks) = (names.len().saturating_add(1), marks(1, names.len()));
    let columns = incidents::KNOWN;
    let sql = format!(
        "SELECT {columns} FROM incidents WHERE namespace = ${first} OR service IN ({marks}) OR target IN ({marks}) OR cause IN ({marks})
         ORDER BY over, changed_at DESC, uid LIMIT ${}",
        first.saturating_add(1)
    );
    let values = names.into_iter().chain([service.namespace.as_str().into(), ROUTED.into()]);
    let rows = writer.rows("list incidents near a service", AssertSqlSafe(sql), values).await?;
    rows.iter().map(incidents::known).collect()
}

async fn picture(writer: &mut Writer, uid: &IncidentUid) -> Result<Picture, Error> {
    let sql = "SELECT service, symptom, by_seat FROM alerts WHERE incident = $1 AND novel = 1 LIMIT $2";
    let rows = writer.rows("read what was said of an incident", sql, [uid.into(), incidents::limit(PICTURE)]).await?;
    let mut picture = Picture::new();
    for row in rows {
        let service = row.text(0)?.split_once('/').map(|(namespace, name)| Service { namespace: namespace.into(), name: name.into() });
        let service = service.ok_or(Error::Shape("the service of an alert"))?;
        picture.insert((service, read("symptom", &format!("\"{}\"", row.text(1)?))?, row.flag(2)?));
    }
    Ok(picture)
}
