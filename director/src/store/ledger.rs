//! The ledger's rows: appended inside the transaction of the state change they speak of, one per key, and verified from the
//! first entry at every start. Beside the entries stand the hashes of the perfect subtrees over them, so that a head or a proof
//! is one read of a few rows, however long the ledger is.

use std::collections::BTreeMap;

use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_core::ledger::{self, Entry, Frontier, Head, Proof, Subtree};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::database::{self, PARAMETERS, marks};
use super::writer::Writer;
use super::{Error, Store, read};

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
pub(super) type Known = BTreeMap<u64, Digest>;

impl Store {
    /// Appends one entry, if its key is new, and proves that the newest head extends the one at `since`.
    pub(crate) async fn append(&self, draft: Draft, since: u64) -> Result<Appended, Error> {
        if let Some(reason) = self.broken() {
            return Err(Error::Broken(reason));
        }
        let mut writer = self.begin().await?;
        super::incidents::load(&mut writer, &draft.incident).await?;
        // An entry that is only there because of a wrong question would be of use to nobody.
        let newest = newest(&mut writer).await?;
        if since > newest {
            return Err(Error::Ahead { asked: since, newest });
        }
        writer.append(&draft).await?;
        writer.flush().await?;
        let (head, proof) = extension(&mut writer, since).await?;
        writer.commit().await?;
        Ok(Appended { head, proof: proof.ok_or(Error::Ahead { asked: since, newest })? })
    }

    /// Appends one entry, if its key is new, of something that is no incident: its UID stands for its own story.
    pub(crate) async fn note(&self, draft: &Draft) -> Result<(), Error> {
        if let Some(reason) = self.broken() {
            return Err(Error::Broken(reason));
        }
        let mut writer = self.begin().await?;
        writer.append(draft).await?;
        writer.flush().await?;
        writer.commit().await
    }

    /// Entries whose key is `due` and a name, where none has the key of `done` and that name, oldest first; with these names.
    pub(crate) async fn outstanding(&self, due: &str, done: &str) -> Result<Vec<(String, Entry)>, Error> {
        let sql = "SELECT SUBSTR(key, CAST($3 AS INTEGER)), entry FROM ledger WHERE key LIKE $1 || '%' AND NOT EXISTS \
                   (SELECT 1 FROM ledger AS other WHERE other.key = $2 || SUBSTR(ledger.key, CAST($3 AS INTEGER))) ORDER BY sequence LIMIT $4";
        let after = i64::try_from(due.len()).unwrap_or(i64::MAX).saturating_add(1);
        let rows = self.database.rows("look for what is outstanding", sql, [due.into(), done.into(), after.into(), PAGE.into()]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, read("ledger entry", &row.text(1)?)?))).collect()
    }

    /// The newest head, and the proof that it extends the one at `since`, if the ledger is that long.
    pub(crate) async fn extension(&self, since: u64) -> Result<(Head, Option<Proof>), Error> {
        extension(&mut self.begin().await?, since).await
    }

    /// Entries after sequence `after`, of one incident or of all, as their canonical texts; empty at the end.
    pub(crate) async fn entries(&self, after: u64, incident: Option<&IncidentUid>) -> Result<Vec<(u64, String)>, Error> {
        let what = "read the ledger";
        let rows = match incident {
            Some(uid) => {
                let sql = "SELECT sequence, entry FROM ledger WHERE incident = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
                self.database.rows(what, sql, [uid.into(), signed(after).into(), PAGE.into()]).await?
            }
            None => {
                let sql = "SELECT sequence, entry FROM ledger WHERE sequence > $1 ORDER BY sequence LIMIT $2";
                self.database.rows(what, sql, [signed(after).into(), PAGE.into()]).await?
            }
        };
        rows.iter().map(|row| Ok((unsigned(row.integer(0)?), row.text(1)?))).collect()
    }

    /// The newest head.
    pub(crate) async fn head(&self) -> Result<Head, Error> {
        self.extension(0).await.map(|(head, _)| head)
    }

    /// The head as it was at `sequence`, if the ledger is that long.
    pub(crate) async fn head_at(&self, sequence: u64) -> Result<Option<Head>, Error> {
        let mut writer = self.begin().await?;
        if sequence > newest(&mut writer).await? {
            return Ok(None);
        }
        let known = read_subtrees(&mut writer, &ledger::peaks(sequence)).await?;
        Ok(Head::at(sequence, |subtree| known.get(&subtree.index()).cloned()))
    }

    /// Reads the whole ledger again. The inner error says where it does not hold.
    pub(super) async fn verify(&self) -> Result<Result<(), String>, Error> {
        let mut frontier = Frontier::default();
        loop {
            let sql = "SELECT entry, incident FROM ledger WHERE sequence > $1 ORDER BY sequence LIMIT $2";
            // Both reads in one transaction: another director may append meanwhile.
            let mut writer = self.begin().await?;
            let rows = writer.rows("read the ledger", sql, [signed(frontier.sequence()).into(), PAGE.into()]).await?;
            let rows = rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect::<Result<Vec<_>, Error>>()?;
            let (from, upto) = (frontier.sequence(), frontier.sequence().saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX)));
            // What lies beyond the newest entry was left behind by entries that are gone: one is enough to know.
            let most = ledger::subtrees(upto).saturating_sub(ledger::subtrees(from)).max(1);
            let sql = "SELECT position, hash FROM ledger_subtrees WHERE position > $1 ORDER BY position LIMIT $2";
            let kept = writer.rows("read subtrees", sql, [signed(ledger::subtrees(from)).into(), signed(most).into()]).await?;
            drop(writer);
            let kept = kept.iter().map(|row| Ok((row.integer(0)?, row.text(1)?))).collect::<Result<Vec<_>, Error>>()?;
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

/// Sequence of the newest entry that is written.
pub(super) async fn newest(writer: &mut Writer) -> Result<u64, Error> {
    let row = writer.row("read the newest entry", "SELECT coalesce(max(sequence), 0) FROM ledger", []).await?;
    row.map_or(Ok(0), |row| row.integer(0).map(unsigned))
}

/// These subtrees. One that is not there is left out.
pub(super) async fn read_subtrees(writer: &mut Writer, subtrees: &[Subtree]) -> Result<Known, Error> {
    let mut known = Known::new();
    for subtrees in subtrees.chunks(PARAMETERS) {
        let sql = format!("SELECT position, hash FROM ledger_subtrees WHERE position IN ({})", marks(1, subtrees.len()));
        let positions = subtrees.iter().map(|subtree| database::Value::from(signed(subtree.index())));
        for row in writer.rows("read subtrees", AssertSqlSafe(sql), positions).await? {
            known.insert(unsigned(row.integer(0)?), digest(&row.text(1)?)?);
        }
    }
    Ok(known)
}

async fn extension(writer: &mut Writer, since: u64) -> Result<(Head, Option<Proof>), Error> {
    let size = newest(writer).await?;
    let wanted = [ledger::peaks(size), ledger::wanted(since, size)].concat();
    let known = read_subtrees(writer, &wanted).await?;
    let node = |subtree: Subtree| known.get(&subtree.index()).cloned();
    let lost = || Error::Broken(format!("subtrees over {size} entries are gone"));
    let head = Head::at(size, node).ok_or_else(lost)?;
    if since > size {
        return Ok((head, None));
    }
    Ok((head, Some(ledger::prove(since, size, node).ok_or_else(lost)?)))
}

fn digest(text: &str) -> Result<Digest, Error> {
    read("digest", &format!("\"{text}\""))
}

/// Sequences start at 1 and rows are 64-bit signed; nobody appends 2^63 entries.
pub(super) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn unsigned(sequence: i64) -> u64 {
    u64::try_from(sequence).unwrap_or(0)
}
