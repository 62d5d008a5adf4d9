//! The ledger's rows: appended inside the transaction of the state change they speak of, one per key, and verified from the
//! first entry at every start.

use assent_core::canonical::Digest;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::{self, Entry, Head, MAX_LINKS};
use serde_json::Value;
use sqlx::{Sqlite, Transaction};

use super::{Error, Store, canonical, commit, doing, now, read};

/// Rows that are read at once; an entry may hold a whole ballot.
const PAGE: i64 = 64;

/// An entry before it has its place.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) incident: IncidentUid,
    /// Who caused it, as a workload identity.
    pub(crate) author: String,
    pub(crate) kind: String,
    /// Equal keys are appended once.
    pub(crate) key: String,
    /// Integers only.
    pub(crate) body: Value,
}

/// Where the ledger stands after an append.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub(crate) head: Head,
    /// From the sequence that was asked for to the head; empty when they are more than a plan may carry.
    pub(crate) links: Vec<Digest>,
}

impl Store {
    /// Appends one entry, if its key is new, and returns the links since `since`.
    pub(crate) async fn append(&self, draft: Draft, since: u64) -> Result<Appended, Error> {
        if let Some(reason) = self.broken() {
            return Err(Error::Broken(reason.into()));
        }
        let mut transaction = self.begin().await?;
        super::incidents::load(&mut transaction, &draft.incident).await?;
        let newest = head(&mut transaction).await?.sequence;
        if since > newest {
            return Err(Error::Ahead { asked: since, newest });
        }
        append(&mut transaction, &draft, now()).await?;
        let head = head(&mut transaction).await?;
        let behind = head.sequence.saturating_sub(since);
        // More than a plan may carry is of use to nobody; the entry stands all the same.
        let from = if usize::try_from(behind).is_ok_and(|behind| behind <= MAX_LINKS) { since } else { head.sequence };
        let links: Vec<String> = sqlx::query_scalar("SELECT link FROM ledger WHERE sequence > ? ORDER BY sequence")
            .bind(signed(from))
            .fetch_all(&mut *transaction)
            .await
            .map_err(doing("read links"))?;
        commit(transaction).await?;
        let links = links.into_iter().map(digest).collect::<Result<_, _>>()?;
        Ok(Appended { head, links })
    }

    /// Entries after sequence `after`, of one incident or of all, as their canonical texts; empty at the end.
    pub(crate) async fn entries(&self, after: u64, incident: Option<&IncidentUid>) -> Result<Vec<(u64, String)>, Error> {
        let rows: Vec<(i64, String)> = match incident {
            Some(uid) => {
                let query = sqlx::query_as("SELECT sequence, entry FROM ledger WHERE incident = ? AND sequence > ? ORDER BY sequence LIMIT ?");
                query.bind(uid.to_string()).bind(signed(after)).bind(PAGE).fetch_all(&self.pool).await
            }
            None => {
                let query = sqlx::query_as("SELECT sequence, entry FROM ledger WHERE sequence > ? ORDER BY sequence LIMIT ?");
                query.bind(signed(after)).bind(PAGE).fetch_all(&self.pool).await
            }
        }
        .map_err(doing("read the ledger"))?;
        Ok(rows.into_iter().map(|(sequence, entry)| (unsigned(sequence), entry)).collect())
    }

    /// The newest head.
    pub(crate) async fn head(&self) -> Result<Head, Error> {
        let mut transaction = self.begin().await?;
        head(&mut transaction).await
    }

    /// The head as it was at `sequence`, if the ledger is that long.
    pub(crate) async fn head_at(&self, sequence: u64) -> Result<Option<Head>, Error> {
        if sequence == 0 {
            return Ok(Some(Head::empty()));
        }
        let hash: Option<String> = sqlx::query_scalar("SELECT head FROM ledger WHERE sequence = ?")
            .bind(signed(sequence))
            .fetch_optional(&self.pool)
            .await
            .map_err(doing("read a head"))?;
        hash.map(|hash| Ok(Head { sequence, hash: digest(hash)? })).transpose()
    }

    /// Folds the whole ledger again. The inner error says where it does not hold.
    pub(super) async fn verify(&self) -> Result<Result<(), String>, Error> {
        let mut head = Head::empty();
        loop {
            let rows: Vec<(String, String, String, String)> =
                sqlx::query_as("SELECT entry, incident, link, head FROM ledger WHERE sequence > ? ORDER BY sequence LIMIT ?")
                    .bind(signed(head.sequence))
                    .bind(PAGE)
                    .fetch_all(&self.pool)
                    .await
                    .map_err(doing("read the ledger"))?;
            if rows.is_empty() {
                return Ok(Ok(()));
            }
            for row in &rows {
                match verified(&head, row) {
                    Ok(next) => head = next,
                    Err(reason) => return Ok(Err(reason)),
                }
            }
        }
    }
}

/// The head after this row, if the row is what was appended.
fn verified(head: &Head, (text, incident, link, stored_head): &(String, String, String, String)) -> Result<Head, String> {
    let after = head.sequence.saturating_add(1);
    let entry: Entry = serde_json::from_str(text).map_err(|error| format!("entry {after} is not an entry: {error}"))?;
    let next = ledger::follow(head, &entry)?;
    let same = ledger::link(&entry).is_ok_and(|digest| digest.as_str() == link);
    if !same || next.hash.as_str() != stored_head || entry.incident.as_str() != incident {
        return Err(format!("entry {after} is not what was appended"));
    }
    Ok(next)
}

pub(super) async fn head(transaction: &mut Transaction<'static, Sqlite>) -> Result<Head, Error> {
    let newest: Option<(i64, String)> = sqlx::query_as("SELECT sequence, head FROM ledger ORDER BY sequence DESC LIMIT 1")
        .fetch_optional(&mut **transaction)
        .await
        .map_err(doing("read the head"))?;
    newest.map_or_else(|| Ok(Head::empty()), |(sequence, hash)| Ok(Head { sequence: unsigned(sequence), hash: digest(hash)? }))
}

/// Appends one entry unless its key is there.
pub(super) async fn append(transaction: &mut Transaction<'static, Sqlite>, draft: &Draft, at: UnixMillis) -> Result<(), Error> {
    let known: Option<i64> = sqlx::query_scalar("SELECT sequence FROM ledger WHERE key = ?")
        .bind(&draft.key)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(doing("look for an entry"))?;
    if known.is_some() {
        return Ok(());
    }
    let head = head(transaction).await?;
    let entry = Entry {
        sequence: head.sequence.saturating_add(1),
        at,
        incident: draft.incident.clone(),
        author: draft.author.clone(),
        kind: draft.kind.clone(),
        body: draft.body.clone(),
    };
    let link = ledger::link(&entry).map_err(|source| Error::Canonical { what: "ledger entry", source })?;
    let next = head.then(&link);
    sqlx::query("INSERT INTO ledger (sequence, incident, key, entry, link, head) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(signed(entry.sequence))
        .bind(entry.incident.to_string())
        .bind(&draft.key)
        .bind(canonical("ledger entry", &entry)?)
        .bind(link.to_string())
        .bind(next.hash.to_string())
        .execute(&mut **transaction)
        .await
        .map_err(doing("append to the ledger"))?;
    Ok(())
}

fn digest(text: String) -> Result<Digest, Error> {
    read("digest", &format!("\"{text}\""))
}

/// Sequences start at 1 and rows are 64-bit signed; nobody appends 2^63 entries.
fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn unsigned(sequence: i64) -> u64 {
    u64::try_from(sequence).unwrap_or(0)
}
