//! The rows of incidents and of the effects that wait to be carried out.

use std::collections::BTreeSet;

use assent_core::ballot::Edge;
use assent_core::consensus::Outcome;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Effect, Event, Incident, Known, Symptom, parent};
use assent_core::target::Service;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::database::{Row, marks};
use super::writer::Writer;
use super::{Draft, Error, Store, Value, calls, canonical, read, uid};

/// What happened to one incident, with what has to be on record before anything follows from it.
#[derive(Debug)]
pub(crate) struct Advance {
    pub(crate) event: Option<Event>,
    /// Entries that are appended before those of the step itself.
    pub(crate) entries: Vec<Draft>,
    /// Calls between services that its ballots speak of.
    pub(crate) calls: BTreeSet<Edge>,
    /// The effect that is done with this.
    pub(crate) done: Option<String>,
    /// Name of the plan that the event speaks of.
    pub(crate) remediation: Option<String>,
}

/// An incident with all that is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) incident: Incident,
    pub(crate) source: String,
    pub(crate) symptom: String,
    pub(crate) summary: String,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) remediation: Option<String>,
    /// Counts every change; what was published is compared with it.
    pub(crate) revision: i64,
    /// When it came into its phase.
    pub(super) changed_at: UnixMillis,
}

/// An effect that waits.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) key: String,
    pub(crate) effect: Effect,
}

// === impl Store ===

impl Store {
    /// Steps one incident: state, ledger entries and effects in one transaction. Returns the record, and whether it changed.
    pub(crate) async fn advance(&self, uid: &IncidentUid, author: &str, what: Advance) -> Result<(Record, bool), Error> {
        let mut writer = self.begin().await?;
        let mut record = load(&mut writer, uid).await?;
        let before = record.clone();
        // Another director may have counted already; what decided stands on record, and nothing beside it.
        let late = matches!(&what.event, Some(Event::Tallied { epoch, .. }) if !record.incident.awaits(*epoch));
        if self.broken().is_none() && !late {
            for draft in &what.entries {
                writer.append(draft).await?;
            }
            calls::learn(&mut writer, &what.calls).await?;
        }
        if what.remediation.is_some() {
            record.remediation = what.remediation;
        }
        if let Some(event) = what.event {
            self.step(&mut writer, author, &mut record, event).await?;
        }
        if let Some(key) = what.done {
            writer.execute("finish an effect", "UPDATE outbox SET done = 1 WHERE key = $1", [key.into()]).await?;
        }
        let changed = self.keep(&mut writer, author, &before, &mut record).await?;
        writer.commit().await?;
        Ok((record, changed))
    }

    /// What follows from `event`, with its entries and effects. The row itself is kept by [`Store::keep`].
    pub(super) async fn step(&self, writer: &mut Writer, author: &str, record: &mut Record, event: Event) -> Result<(), Error> {
        let event = match event {
            Event::Tallied { epoch, outcome } if record.incident.awaits(epoch) => {
                record.outcome = Some((*outcome).clone());
                let near = acting(writer, &outcome).await?;
                match parent(&record.incident.uid, &outcome, &near) {
                    Some(by) => Event::Covered { epoch, by },
                    None => Event::Tallied { epoch, outcome },
                }
            }
            event => event,
        };
        let effects = record.incident.step(writer.at(), self.permitted(event, &record.incident));
        self.keep_effects(writer, author, &record.incident, effects).await
    }

    /// Keeps the row if anything changed since `before`, and ends those that wait for its end.
    pub(super) async fn keep(&self, writer: &mut Writer, author: &str, before: &Record, record: &mut Record) -> Result<bool, Error> {
        if record.incident == before.incident && record.outcome == before.outcome && record.remediation == before.remediation {
            return Ok(false);
        }
        record.revision = record.revision.saturating_add(1);
        let moved = record.incident.phase != before.incident.phase;
        if moved {
            record.changed_at = writer.at();
        }
        update(writer, record).await?;
        if let Some(end) = record.incident.end_for_covered().filter(|_| moved) {
            self.end_covered(writer, author, &record.incident.uid, end).await?;
        }
        Ok(true)
    }

    /// Ends the incidents that wait for `uid`, and those that wait for them.
    async fn end_covered(&self, writer: &mut Writer, author: &str, uid: &IncidentUid, end: Event) -> Result<(), Error> {
        let mut ended = vec![(uid.clone(), end)];
        while let Some((parent, end)) = ended.pop() {
            let rows = writer.rows("list covered incidents", "SELECT uid FROM incidents WHERE over = 0 AND covered_by = $1", [(&parent).into()]).await?;
            for covered in uids(&rows)? {
                let mut record = load(writer, &covered).await?;
                let effects = record.incident.step(writer.at(), end.clone());
                self.keep_effects(writer, author, &record.incident, effects).await?;
                record.revision = record.revision.saturating_add(1);
                record.changed_at = writer.at();
                update(writer, &record).await?;
                ended.extend(record.incident.end_for_covered().map(|end| (covered, end)));
            }
        }
        Ok(())
    }

    /// Without a ledger that holds, only ends follow.
    fn permitted(&self, event: Event, incident: &Incident) -> Event {
        match self.broken() {
            Some(reason) if !incident.phase.is_final() => Event::Abandoned(format!("the ledger does not hold ({reason}), so nothing is decided")),
            // Nothing is opened again either.
            Some(_) => Event::Tick,
            None => event,
        }
    }

    /// Writes what a step decided: entries now, effects for whoever carries them out.
    pub(super) async fn keep_effects(&self, writer: &mut Writer, author: &str, incident: &Incident, effects: Vec<Effect>) -> Result<(), Error> {
        for effect in effects {
            if let Effect::Record { kind, key, detail } = effect {
                if self.broken().is_none() {
                    let body = json!({"detail": detail, "phase": incident.phase.as_str(), "epoch": incident.epoch});
                    let draft = Draft { incident: incident.uid.clone(), author: author.to_owned(), kind, key, body };
                    writer.append(&draft).await?;
                }
                continue;
            }
            let sql = "INSERT INTO outbox (key, incident, effect, done) VALUES ($1, $2, $3, 0) ON CONFLICT (key) DO NOTHING";
            let values = [key(incident, &effect).into(), (&incident.uid).into(), canonical("effect", &effect)?.into()];
            writer.execute("keep an effect", sql, values).await?;
        }
        Ok(())
    }

    /// Takes every incident that is not over out of the hands of a director whose ledger does not hold.
    pub(crate) async fn abandon_all(&self, author: &str) -> Result<(), Error> {
        let sql = "UPDATE outbox SET done = 1 WHERE done = 0 AND effect NOT LIKE '{\"escalate\"%'";
        self.database.execute("drop effects", sql, []).await?;
        for uid in self.under_way().await? {
            let event = Some(Event::Abandoned(String::new()));
            self.advance(&uid, author, Advance { event, ..Advance::nothing() }).await?;
        }
        Ok(())
    }

    /// One incident.
    pub(crate) async fn incident(&self, uid: &IncidentUid) -> Result<Record, Error> {
        let rows = self.database.rows("read an incident", RECORD, [uid.into()]).await?;
        record(uid, rows.into_iter().next())
    }

    /// Incidents that are not over.
    pub(crate) async fn under_way(&self) -> Result<Vec<IncidentUid>, Error> {
        uids(&self.database.rows("list open incidents", "SELECT uid FROM incidents WHERE over = 0 ORDER BY uid", []).await?)
    }

    /// Incidents that are not over and whose deadline has passed.
    pub(crate) async fn overdue(&self, now: UnixMillis) -> Result<Vec<IncidentUid>, Error> {
        let sql = "SELECT uid FROM incidents WHERE over = 0 AND deadline < $1 ORDER BY uid";
        uids(&self.database.rows("list overdue incidents", sql, [now.into()]).await?)
    }

    /// Incidents with effects to carry out, at most `most`.
    pub(crate) async fn waiting(&self, most: usize) -> Result<Vec<IncidentUid>, Error> {
        let sql = "SELECT incident FROM outbox WHERE done = 0 GROUP BY incident ORDER BY min(position) LIMIT $1";
        uids(&self.database.rows("list waiting effects", sql, [limit(most)]).await?)
    }

    /// The next effect of one incident.
    pub(crate) async fn next_effect(&self, uid: &IncidentUid) -> Result<Option<Pending>, Error> {
        let sql = "SELECT key, effect FROM outbox WHERE done = 0 AND incident = $1 ORDER BY position LIMIT 1";
        let rows = self.database.rows("read an effect", sql, [uid.into()]).await?;
        rows.first().map(|row| Ok(Pending { key: row.text(0)?, effect: read("effect", &row.text(1)?)? })).transpose()
    }

    /// Incidents whose newest state is not yet shown to people, at most `most`.
    pub(crate) async fn unpublished(&self, most: usize) -> Result<Vec<IncidentUid>, Error> {
        let sql = "SELECT uid FROM incidents WHERE published < revision ORDER BY changed_at LIMIT $1";
        uids(&self.database.rows("list unpublished incidents", sql, [limit(most)]).await?)
    }

    /// Remembers that `revision` is shown.
    pub(crate) async fn published(&self, uid: &IncidentUid, revision: i64) -> Result<(), Error> {
        let sql = "UPDATE incidents SET published = $1 WHERE uid = $2 AND published < $1";
        self.database.execute("remember what is published", sql, [revision.into(), uid.into()]).await
    }
}

// === impl Advance ===

impl Advance {
    pub(crate) fn nothing() -> Self {
        Self { event: None, entries: Vec::new(), calls: BTreeSet::new(), done: None, remediation: None }
    }

    pub(crate) fn by(event: Event) -> Self {
        Self { event: Some(event), ..Self::nothing() }
    }
}

/// The key under which an effect is carried out once.
fn key(incident: &Incident, effect: &Effect) -> String {
    let (epoch, what) = match effect {
        Effect::Gather => (incident.epoch, "gather"),
        Effect::Ask { epoch, .. } => (*epoch, "ask"),
        Effect::Decide { epoch, .. } => (*epoch, "decide"),
        Effect::Escalate(_) => (incident.epoch, "escalate"),
        Effect::Record { key, .. } => return key.clone(),
    };
    format!("{}/{epoch}/{what}", incident.uid)
}

const RECORD: &str = "SELECT source, symptom, summary, revision, state, outcome, remediation, changed_at FROM incidents WHERE uid = $1";

pub(super) async fn load(writer: &mut Writer, uid: &IncidentUid) -> Result<Record, Error> {
    let row = writer.row("read an incident", RECORD, [uid.into()]).await?;
    record(uid, row)
}

fn record(uid: &IncidentUid, row: Option<Row>) -> Result<Record, Error> {
    let row = row.ok_or_else(|| Error::Unknown(uid.clone()))?;
    Ok(Record {
        incident: read("incident", &row.text(4)?)?,
        source: row.text(0)?,
        symptom: row.text(1)?,
        summary: row.text(2)?,
        outcome: row.text_if_any(5)?.as_deref().map(|text| read("outcome", text)).transpose()?,
        remediation: row.text_if_any(6)?,
        revision: row.integer(3)?,
        changed_at: UnixMillis(row.integer(7)?),
    })
}

/// What routing is told of incidents: these columns.
pub(super) const KNOWN: &str = "uid, service, target, cause, phase, changed_at, covered_by, hears, symptom";

/// An incident as routing sees it, and whether new evidence would change what happens to it.
pub(super) fn known(row: &Row) -> Result<(Known, bool), Error> {
    let service = |text: String| text.split_once('/').map(|(namespace, name)| Service { namespace: namespace.into(), name: name.into() });
    let unreadable = || Error::Shape("the service of an incident");
    let known = Known {
        uid: uid(&row.text(0)?)?,
        service: service(row.text(1)?).ok_or_else(unreadable)?,
        target: row.text_if_any(2)?.and_then(service),
        cause: row.text_if_any(3)?.and_then(service),
        phase: read("phase", &format!("\"{}\"", row.text(4)?))?,
        changed_at: UnixMillis(row.integer(5)?),
        covered: row.text_if_any(6)?.is_some(),
        routine: read::<Symptom>("symptom", &format!("\"{}\"", row.text(8)?))?.is_routine(),
    };
    Ok((known, row.flag(7)?))
}

/// The open incidents that act on what `outcome` names.
async fn acting(writer: &mut Writer, outcome: &Outcome) -> Result<Vec<Known>, Error> {
    let [target, cause] = [outcome.target(), outcome.cause().cloned()].map(|service| service.map(|service| service.to_string()).unwrap_or_default());
    let acts = "over = 0 AND covered_by IS NULL AND (target IN ($1, $2) OR cause IN ($1, $2))";
    let sql = format!("SELECT {KNOWN} FROM incidents WHERE {acts} ORDER BY uid");
    let rows = writer.rows("look for an incident that acts", AssertSqlSafe(sql), [target.into(), cause.into()]).await?;
    rows.iter().map(|row| known(row).map(|(known, _)| known)).collect()
}

/// A new row.
pub(super) async fn insert(writer: &mut Writer, record: &Record) -> Result<(), Error> {
    let incident = &record.incident;
    let fixed = "uid, namespace, service, source, symptom, summary, published";
    let mut values: Vec<Value> = vec![
        (&incident.uid).into(),
        incident.service.namespace.as_str().into(),
        incident.service.to_string().into(),
        record.source.as_str().into(),
        record.symptom.as_str().into(),
        record.summary.as_str().into(),
        0_i64.into(),
    ];
    values.extend(moving(record)?);
    let places = marks(1, values.len());
    let sql = format!("INSERT INTO incidents ({fixed}, {MOVING}) VALUES ({places})");
    writer.rows("open an incident", AssertSqlSafe(sql), values).await.map(drop)
}

async fn update(writer: &mut Writer, record: &Record) -> Result<(), Error> {
    let mut values = moving(record)?;
    let places = marks(1, values.len());
    values.push((&record.incident.uid).into());
    let sql = format!("UPDATE incidents SET ({MOVING}) = ({places}) WHERE uid = ${}", values.len());
    writer.rows("keep an incident", AssertSqlSafe(sql), values).await.map(drop)
}

/// The columns that change, in the order of their values.
const MOVING: &str = "target, cause, phase, over, hears, covered_by, deadline, changed_at, revision, state, outcome, remediation";

fn moving(record: &Record) -> Result<Vec<Value>, Error> {
    let (incident, outcome) = (&record.incident, record.outcome.as_ref());
    let text = |service: Service| service.to_string();
    Ok(vec![
        outcome.and_then(Outcome::target).map(text).into(),
        outcome.and_then(Outcome::cause).cloned().map(text).into(),
        incident.phase.as_str().into(),
        incident.phase.is_final().into(),
        incident.hears_evidence().into(),
        incident.covered_by.as_ref().map(ToString::to_string).into(),
        incident.deadline.into(),
        record.changed_at.into(),
        record.revision.into(),
        canonical("incident", incident)?.into(),
        outcome.map(|outcome| canonical("outcome", outcome)).transpose()?.into(),
        record.remediation.clone().into(),
    ])
}

pub(super) fn limit(most: usize) -> Value {
    i64::try_from(most).unwrap_or(i64::MAX).into()
}

pub(super) fn uids(rows: &[Row]) -> Result<Vec<IncidentUid>, Error> {
    rows.iter().map(|row| uid(&row.text(0)?)).collect()
}
