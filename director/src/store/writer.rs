//! One transaction that writes. Entries of the ledger and the hashes over them are collected and written together at its end, so
//! that a thousand alerts cost a handful of statements.

use std::collections::BTreeSet;

use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::ledger::{self, Entry, Frontier};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::database::{PARAMETERS, Row, Transaction, Value, tuples};
use super::ledger::{Draft, newest, read_subtrees, signed};
use super::{Error, canonical, now};

pub(super) struct Writer {
    transaction: Transaction,
    /// When it began, which is when all of it happened.
    at: UnixMillis,
    /// The end of the ledger with what is collected, once it was asked for.
    frontier: Option<Frontier>,
    keys: BTreeSet<String>,
    entries: Vec<Value>,
    subtrees: Vec<Value>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(transaction: Transaction) -> Self {
        Self { transaction, at: now(), frontier: None, keys: BTreeSet::new(), entries: Vec::new(), subtrees: Vec::new() }
    }

    pub(super) fn at(&self) -> UnixMillis {
        self.at
    }

    pub(super) async fn execute(&mut self, what: &'static str, sql: &'static str, values: impl IntoIterator<Item = Value>) -> Result<(), Error> {
        self.transaction.execute(what, sql, values).await
    }

    pub(super) async fn rows(&mut self, what: &'static str, sql: impl SqlSafeStr, values: impl IntoIterator<Item = Value>) -> Result<Vec<Row>, Error> {
        self.transaction.rows(what, sql, values).await
    }

    pub(super) async fn row(&mut self, what: &'static str, sql: &'static str, values: impl IntoIterator<Item = Value>) -> Result<Option<Row>, Error> {
        self.transaction.row(what, sql, values).await
    }

    /// `INSERT INTO … VALUES` with these rows of so many columns, a few statements for all of them; `after` ends each.
    pub(super) async fn insert(
        &mut self,
        what: &'static str,
        into: &'static str,
        columns: usize,
        after: &'static str,
        values: Vec<Value>,
    ) -> Result<(), Error> {
        let most = (PARAMETERS / columns.max(1)).max(1).saturating_mul(columns);
        for values in values.chunks(most) {
            // Nothing but numbers of parameters is put together here.
            let sql = format!("INSERT INTO {into} VALUES {} {after}", tuples(values.len() / columns.max(1), columns));
            self.transaction.execute(what, AssertSqlSafe(sql), values.iter().cloned()).await?;
        }
        Ok(())
    }

    /// Appends one entry unless its key is there.
    pub(super) async fn append(&mut self, draft: &Draft) -> Result<(), Error> {
        if self.keys.contains(&draft.key) {
            return Ok(());
        }
        if self.row("look for an entry", "SELECT sequence FROM ledger WHERE key = $1", [draft.key.as_str().into()]).await?.is_some() {
            return Ok(());
        }
        self.append_new(draft).await
    }

    /// Appends one entry of whose key it is known that it is new, but for this transaction.
    pub(super) async fn append_new(&mut self, draft: &Draft) -> Result<(), Error> {
        if !self.keys.insert(draft.key.clone()) {
            return Ok(());
        }
        let mut frontier = match self.frontier.take() {
            Some(frontier) => frontier,
            None => self.end_of_ledger().await?,
        };
        let size = frontier.sequence();
        let entry = Entry {
            sequence: size.saturating_add(1),
            at: self.at,
            incident: draft.incident.clone(),
            author: draft.author.clone(),
            kind: draft.kind.clone(),
            body: draft.body.clone(),
        };
        let text = canonical("ledger entry", &entry)?;
        let leaf = ledger::leaf(&entry).map_err(|source| Error::Canonical { what: "ledger entry", source })?;
        self.entries.extend([signed(entry.sequence).into(), (&entry.incident).into(), draft.key.as_str().into(), text.into()]);
        for (hash, position) in frontier.append(leaf).into_iter().zip(ledger::subtrees(size)..) {
            self.subtrees.extend([signed(position.saturating_add(1)).into(), Digest::to_string(&hash).into()]);
        }
        self.frontier = Some(frontier);
        Ok(())
    }

    async fn end_of_ledger(&mut self) -> Result<Frontier, Error> {
        let size = newest(self).await?;
        let known = read_subtrees(self, &ledger::peaks(size)).await?;
        let frontier = Frontier::at(size, |subtree| known.get(&subtree.index()).cloned());
        frontier.ok_or_else(|| Error::Broken(format!("subtrees over {size} entries are gone")))
    }

    /// Writes what was collected, so that it can be read in this transaction.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        let (entries, subtrees) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.subtrees));
        self.insert("append to the ledger", "ledger (sequence, incident, key, entry)", 4, "", entries).await?;
        self.insert("keep subtrees", "ledger_subtrees (position, hash)", 2, "", subtrees).await
    }

    /// All of it is durable when this returns, or none of it.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.flush().await?;
        self.transaction.commit().await
    }
}
