//! The rows of incidents and of the effects that wait to be carried out.

use assent_core::consensus::{Outcome, Verdict};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Effect, Event, Incident};
use serde_json::json;
use sqlx::{FromRow, Sqlite, Transaction};

use super::{Draft, Error, Store, canonical, commit, doing, ledger, now, read};

/// What happened to one incident, with what has to be on record before anything follows from it.
#[derive(Debug)]
pub(crate) struct Advance {
    pub(crate) event: Option<Event>,
    /// Entries that are appended before those of the step itself.
    pub(crate) entries: Vec<Draft>,
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
}

/// An effect that waits.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) key: String,
    pub(crate) effect: Effect,
}

#[derive(FromRow)]
struct Row {
    source: String,
    symptom: String,
    summary: String,
    revision: i64,
    state: String,
    outcome: Option<String>,
    remediation: Option<String>,
}

// === impl Store ===

impl Store {
    /// Steps one incident: state, ledger entries and effects in one transaction. Returns the record, and whether it changed.
    pub(crate) async fn advance(&self, uid: &IncidentUid, author: &str, what: Advance) -> Result<(Record, bool), Error> {
        let mut transaction = self.begin().await?;
        let before = load(&mut transaction, uid).await?;
        let mut record = before.clone();
        let at = now();
        if self.broken().is_none() {
            for draft in &what.entries {
                ledger::append(&mut transaction, draft, at).await?;
            }
        }
        if what.remediation.is_some() {
            record.remediation = what.remediation;
        }
        if let Some(mut event) = what.event {
            if let Event::Tallied(outcome) = &event {
                record.outcome = Some((**outcome).clone());
                if let Some(other) = acting(&mut transaction, uid, outcome).await? {
                    event = Event::Covered(other);
                }
            }
            let effects = record.incident.step(at, self.permitted(event, &record.incident));
            self.keep_effects(&mut transaction, author, &record.incident, effects, at).await?;
        }
        if let Some(key) = what.done {
            sqlx::query("UPDATE outbox SET done = 1 WHERE key = ?").bind(key).execute(&mut *transaction).await.map_err(doing("finish an effect"))?;
        }
        let changed = record.incident != before.incident || record.outcome != before.outcome || record.remediation != before.remediation;
        if changed {
            record.revision = record.revision.saturating_add(1);
            let moved = record.incident.phase != before.incident.phase;
            update(&mut transaction, &record, moved.then_some(at)).await?;
            if let Some(end) = record.incident.end_for_covered().filter(|_| moved) {
                self.end_covered(&mut transaction, author, uid, &end, at).await?;
            }
        }
        commit(transaction).await?;
        Ok((record, changed))
    }

    /// Ends the incidents that wait for `uid`.
    async fn end_covered(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        author: &str,
        uid: &IncidentUid,
        end: &Event,
        at: UnixMillis,
    ) -> Result<(), Error> {
        let rows = sqlx::query_scalar("SELECT uid FROM incidents WHERE over = 0 AND json_extract(state, '$.coveredBy') = ?")
            .bind(uid.to_string())
            .fetch_all(&mut **transaction)
            .await;
        for covered in uids(rows.map_err(doing("list covered incidents"))?)? {
            let mut record = load(transaction, &covered).await?;
            let effects = record.incident.step(at, end.clone());
            self.keep_effects(transaction, author, &record.incident, effects, at).await?;
            record.revision = record.revision.saturating_add(1);
            update(transaction, &record, Some(at)).await?;
        }
        Ok(())
    }

    /// Without a ledger that holds, only ends follow.
    fn permitted(&self, event: Event, incident: &Incident) -> Event {
        match self.broken() {
            Some(reason) if !incident.phase.is_final() => Event::Abandoned(format!("the ledger does not hold ({reason}), so nothing is decided")),
            _ => event,
        }
    }

    /// Writes what a step decided: entries now, effects for whoever carries them out.
    pub(super) async fn keep_effects(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        author: &str,
        incident: &Incident,
        effects: Vec<Effect>,
        at: UnixMillis,
    ) -> Result<(), Error> {
        for effect in effects {
            if let Effect::Record { kind, key, detail } = effect {
                if self.broken().is_none() {
                    let body = json!({"detail": detail, "phase": incident.phase.as_str(), "epoch": incident.epoch});
                    let draft = Draft { incident: incident.uid.clone(), author: author.to_owned(), kind, key, body };
                    ledger::append(transaction, &draft, at).await?;
                }
                continue;
            }
            sqlx::query("INSERT INTO outbox (key, incident, effect, done) VALUES (?, ?, ?, 0) ON CONFLICT (key) DO NOTHING")
                .bind(key(incident, &effect))
                .bind(incident.uid.to_string())
                .bind(canonical("effect", &effect)?)
                .execute(&mut **transaction)
                .await
                .map_err(doing("keep an effect"))?;
        }
        Ok(())
    }

    /// Takes every incident that is not over out of the hands of a director whose ledger does not hold.
    pub(crate) async fn abandon_all(&self, author: &str) -> Result<(), Error> {
        sqlx::query("UPDATE outbox SET done = 1 WHERE done = 0 AND effect NOT LIKE '{\"escalate\"%'")
            .execute(&self.pool)
            .await
            .map_err(doing("drop effects"))?;
        for uid in self.under_way().await? {
            let event = Some(Event::Abandoned(String::new()));
            self.advance(&uid, author, Advance { event, ..Advance::nothing() }).await?;
        }
        Ok(())
    }

    /// One incident.
    pub(crate) async fn incident(&self, uid: &IncidentUid) -> Result<Record, Error> {
        let mut transaction = self.begin().await?;
        load(&mut transaction, uid).await
    }

    /// Incidents that are not over.
    pub(crate) async fn under_way(&self) -> Result<Vec<IncidentUid>, Error> {
        let rows = sqlx::query_scalar("SELECT uid FROM incidents WHERE over = 0 ORDER BY uid").fetch_all(&self.pool).await;
        uids(rows.map_err(doing("list open incidents"))?)
    }

    /// Incidents that are not over and whose deadline has passed.
    pub(crate) async fn overdue(&self, now: UnixMillis) -> Result<Vec<IncidentUid>, Error> {
        let rows = sqlx::query_scalar("SELECT uid FROM incidents WHERE over = 0 AND deadline < ? ORDER BY uid").bind(now.0).fetch_all(&self.pool).await;
        uids(rows.map_err(doing("list overdue incidents"))?)
    }

    /// Incidents with effects to carry out, at most `most`.
    pub(crate) async fn waiting(&self, most: usize) -> Result<Vec<IncidentUid>, Error> {
        let rows = sqlx::query_scalar("SELECT incident FROM outbox WHERE done = 0 GROUP BY incident ORDER BY min(position) LIMIT ?")
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await;
        uids(rows.map_err(doing("list waiting effects"))?)
    }

    /// The next effect of one incident.
    pub(crate) async fn next_effect(&self, uid: &IncidentUid) -> Result<Option<Pending>, Error> {
        let row: Option<(String, String)> = sqlx::query_as("SELECT key, effect FROM outbox WHERE done = 0 AND incident = ? ORDER BY position LIMIT 1")
            .bind(uid.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(doing("read an effect"))?;
        row.map(|(key, effect)| Ok(Pending { key, effect: read("effect", &effect)? })).transpose()
    }

    /// Incidents whose newest state is not yet shown to people, at most `most`.
    pub(crate) async fn unpublished(&self, most: usize) -> Result<Vec<IncidentUid>, Error> {
        let rows = sqlx::query_scalar("SELECT uid FROM incidents WHERE published < revision ORDER BY changed_at LIMIT ?")
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await;
        uids(rows.map_err(doing("list unpublished incidents"))?)
    }

    /// Remembers that `revision` is shown.
    pub(crate) async fn published(&self, uid: &IncidentUid, revision: i64) -> Result<(), Error> {
        let query = sqlx::query("UPDATE incidents SET published = max(published, ?) WHERE uid = ?").bind(revision).bind(uid.to_string());
        query.execute(&self.pool).await.map_err(doing("remember what is published")).map(drop)
    }
}

// === impl Advance ===

impl Advance {
    pub(crate) fn nothing() -> Self {
        Self { event: None, entries: Vec::new(), done: None, remediation: None }
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

pub(super) async fn load(transaction: &mut Transaction<'static, Sqlite>, uid: &IncidentUid) -> Result<Record, Error> {
    let row: Option<Row> = sqlx::query_as("SELECT source, symptom, summary, revision, state, outcome, remediation FROM incidents WHERE uid = ?")
        .bind(uid.to_string())
        .fetch_optional(&mut **transaction)
        .await
        .map_err(doing("read an incident"))?;
    let row = row.ok_or_else(|| Error::Unknown(uid.clone()))?;
    Ok(Record {
        incident: read("incident", &row.state)?,
        source: row.source,
        symptom: row.symptom,
        summary: row.summary,
        outcome: row.outcome.as_deref().map(|text| read("outcome", text)).transpose()?,
        remediation: row.remediation,
        revision: row.revision,
    })
}

/// The incident that already acts on what `outcome` chose, if there is one.
async fn acting(transaction: &mut Transaction<'static, Sqlite>, uid: &IncidentUid, outcome: &Outcome) -> Result<Option<IncidentUid>, Error> {
    let Some(target) = target(outcome) else { return Ok(None) };
    let other: Option<String> = sqlx::query_scalar(
        "SELECT uid FROM incidents WHERE over = 0 AND target = ? AND uid != ? AND json_extract(state, '$.coveredBy') IS NULL ORDER BY uid LIMIT 1",
    )
    .bind(target)
    .bind(uid.to_string())
    .fetch_optional(&mut **transaction)
    .await
    .map_err(doing("look for an incident that acts"))?;
    other.map(|uid| read("incident uid", &format!("\"{uid}\""))).transpose()
}

fn target(outcome: &Outcome) -> Option<String> {
    match &outcome.verdict {
        Verdict::Act { proposal, .. } => Some(proposal.target.service().to_string()),
        Verdict::Hold { .. } => None,
    }
}

async fn update(transaction: &mut Transaction<'static, Sqlite>, record: &Record, moved_at: Option<UnixMillis>) -> Result<(), Error> {
    let target = record.outcome.as_ref().and_then(target);
    sqlx::query(
        "UPDATE incidents SET target = ?, over = ?, deadline = ?, changed_at = coalesce(?, changed_at), revision = ?, state = ?, outcome = ?, remediation = ? WHERE uid = ?",
    )
    .bind(target)
    .bind(record.incident.phase.is_final())
    .bind(record.incident.deadline.0)
    .bind(moved_at.map(|at| at.0))
    .bind(record.revision)
    .bind(canonical("incident", &record.incident)?)
    .bind(record.outcome.as_ref().map(|outcome| canonical("outcome", outcome)).transpose()?)
    .bind(&record.remediation)
    .bind(record.incident.uid.to_string())
    .execute(&mut **transaction)
    .await
    .map_err(doing("keep an incident"))?;
    Ok(())
}

pub(super) fn uids(texts: Vec<String>) -> Result<Vec<IncidentUid>, Error> {
    texts.into_iter().map(|text| read("incident uid", &format!("\"{text}\""))).collect()
}
