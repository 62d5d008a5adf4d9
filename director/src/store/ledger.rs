//! The ledger's rows: appended inside the transaction of the state change they speak of, one per key, and verified from the
//! first entry at every start. Beside the entries stand the hashes of the perfect subtrees over them, so that a head or a proof
//! is one read of a few rows, however long the ledger is.

use std::collections::BTreeMap;

use assent_core::canonical::Digest;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::{self, Entry, Frontier, Head, Proof, Subtree};
use serde_json::Value;
use sqlx::{Sqlite, SqliteConnection, Transaction};

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
    /// That the head extends the one at the sequence that was asked for.
    pub(crate) proof: Proof,
}

/// Subtrees with their hashes.
type Known = BTreeMap<u64, Digest>;

impl Store {
    /// Appends one entry, if its key is new, and proves that the newest head extends the one at `since`.
    pub(crate) async fn append(&self, draft: Draft, since: u64) -> Result<Appended, Error> {
        if let Some(reason) = self.broken() {
            return Err(Error::Broken(reason));
        }
        let mut transaction = self.begin().await?;
        super::incidents::load(&mut transaction, &draft.incident).await?;
        // An entry that is only there because of a wrong question would be of use to nobody.
        let newest = newest(&mut transaction).await?;
        if since > newest {
            return Err(Error::Ahead { asked: since, newest });
        }
        append(&mut transaction, &draft, now()).await?;
        let (head, proof) = extension(&mut transaction, since).await?;
        commit(transaction).await?;
        Ok(Appended { head, proof: proof.ok_or(Error::Ahead { asked: since, newest })? })
    }

    /// The newest head, and the proof that it extends the one at `since`, if the ledger is that long.
    pub(crate) async fn extension(&self, since: u64) -> Result<(Head, Option<Proof>), Error> {
        extension(&mut self.begin().await?, since).await
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
        self.extension(0).await.map(|(head, _)| head)
    }

    /// The head as it was at `sequence`, if the ledger is that long.
    pub(crate) async fn head_at(&self, sequence: u64) -> Result<Option<Head>, Error> {
        let mut transaction = self.begin().await?;
        if sequence > newest(&mut transaction).await? {
            return Ok(None);
        }
        let known = read_subtrees(&mut transaction, &ledger::peaks(sequence)).await?;
        Ok(Head::at(sequence, |subtree| known.get(&subtree.index()).cloned()))
    }

    /// Reads the whole ledger again. The inner error says where it does not hold.
    pub(super) async fn verify(&self) -> Result<Result<(), String>, Error> {
        let mut frontier = Frontier::default();
        loop {
            let rows: Vec<(String, String)> = sqlx::query_as("SELECT entry, incident FROM ledger WHERE sequence > ? ORDER BY sequence LIMIT ?")
                .bind(signed(frontier.sequence()))
                .bind(PAGE)
                .fetch_all(&self.pool)
                .await
                .map_err(doing("read the ledger"))?;
            let (from, upto) = (frontier.sequence(), frontier.sequence().saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX)));
            // What lies beyond the newest entry was left behind by entries that are gone: one is enough to know.
            let most = ledger::subtrees(upto).saturating_sub(ledger::subtrees(from)).max(1);
            let kept: Vec<(i64, String)> = sqlx::query_as("SELECT position, hash FROM ledger_subtrees WHERE position > ? ORDER BY position LIMIT ?")
                .bind(signed(ledger::subtrees(from)))
                .bind(signed(most))
                .fetch_all(&self.pool)
                .await
                .map_err(doing("read subtrees"))?;
            if rows.is_empty() {
                return Ok(kept.first().map_or(Ok(()), |_| Err(format!("entries after {from} are gone"))));
            }
            let mut kept = kept.into_iter();
            for row in &rows {
                if let Err(reason) = verified(&mut frontier, row, &mut kept) {
                    return Ok(Err(reason));
                }
            }
        }
    }
}

/// Follows this row, if it is what was appended.
fn verified(frontier: &mut Frontier, (text, incident): &(String, String), kept: &mut impl Iterator<Item = (i64, String)>) -> Result<(), String> {
    let after = frontier.sequence().saturating_add(1);
    let mut position = ledger::subtrees(frontier.sequence());
    let entry: Entry = serde_json::from_str(text).map_err(|error| format!("entry {after} is not an entry: {error}"))?;
    let completed = frontier.follow(&entry)?;
    let same = completed.iter().all(|hash| {
        position = position.saturating_add(1);
        kept.next().is_some_and(|(at, kept)| unsigned(at) == position && kept == hash.as_str())
    });
    if !same || entry.incident.as_str() != incident {
        return Err(format!("entry {after} is not what was appended"));
    }
    Ok(())
}

/// Sequence of the newest entry.
async fn newest(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(sequence) FROM ledger").fetch_one(connection).await.map_err(doing("read the newest entry"))?;
    Ok(newest.map_or(0, unsigned))
}

/// These subtrees, in one read. One that is not there is left out.
async fn read_subtrees(connection: &mut SqliteConnection, subtrees: &[Subtree]) -> Result<Known, Error> {
    let positions: Vec<u64> = subtrees.iter().map(|subtree| subtree.index()).collect();
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT position, hash FROM ledger_subtrees WHERE position IN (SELECT value FROM json_each(?))")
        .bind(canonical("positions", &positions)?)
        .fetch_all(connection)
        .await
        .map_err(doing("read subtrees"))?;
    rows.into_iter().map(|(position, hash)| Ok((unsigned(position), digest(hash)?))).collect()
}

async fn extension(transaction: &mut Transaction<'static, Sqlite>, since: u64) -> Result<(Head, Option<Proof>), Error> {
    let size = newest(transaction).await?;
    let wanted = [ledger::peaks(size), ledger::wanted(since, size)].concat();
    let known = read_subtrees(transaction, &wanted).await?;
    let node = |subtree: Subtree| known.get(&subtree.index()).cloned();
    let lost = || Error::Broken(format!("subtrees over {size} entries are gone"));
    let head = Head::at(size, node).ok_or_else(lost)?;
    if since > size {
        return Ok((head, None));
    }
    Ok((head, Some(ledger::prove(since, size, node).ok_or_else(lost)?)))
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
    let size = newest(transaction).await?;
    let known = read_subtrees(transaction, &ledger::peaks(size)).await?;
    let frontier = Frontier::at(size, |subtree| known.get(&subtree.index()).cloned());
    let mut frontier = frontier.ok_or_else(|| Error::Broken(format!("subtrees over {size} entries are gone")))?;
    let entry = Entry {
        sequence: size.saturating_add(1),
        at,
        incident: draft.incident.clone(),
        author: draft.author.clone(),
        kind: draft.kind.clone(),
        body: draft.body.clone(),
    };
    sqlx::query("INSERT INTO ledger (sequence, incident, key, entry) VALUES (?, ?, ?, ?)")
        .bind(signed(entry.sequence))
        .bind(entry.incident.to_string())
        .bind(&draft.key)
        .bind(canonical("ledger entry", &entry)?)
        .execute(&mut **transaction)
        .await
        .map_err(doing("append to the ledger"))?;
    let leaf = ledger::leaf(&entry).map_err(|source| Error::Canonical { what: "ledger entry", source })?;
    for (hash, position) in frontier.append(leaf).into_iter().zip(ledger::subtrees(size)..) {
        sqlx::query("INSERT INTO ledger_subtrees (position, hash) VALUES (?, ?)")
            .bind(signed(position.saturating_add(1)))
            .bind(hash.to_string())
            .execute(&mut **transaction)
            .await
            .map_err(doing("keep a subtree"))?;
    }
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
