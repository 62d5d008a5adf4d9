//! SQLite or PostgreSQL behind one small face. Every statement is written once, in what both of them understand: parameters are
//! `$1`, `$2`…, values are texts and 64-bit integers. Only the tables themselves are written twice.
//!
//! Whoever writes is alone: SQLite by its lock on the file, PostgreSQL by one advisory lock that lives as long as the
//! transaction. So each transaction sees the newest head of the ledger, however many directors there are.

mod postgres;
mod sqlite;

use std::path::Path;

use assent_core::ids::{IncidentUid, UnixMillis};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{PgPool, Postgres, Row as _, SqlSafeStr, Sqlite, SqlitePool};

use super::{Error, doing};
pub(super) use postgres::CHANNEL;
pub(crate) use postgres::Url;

/// A pool of connections.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One transaction that may write. Dropped before its commit it leaves nothing.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// What a statement is given.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Option<String>),
    Integer(i64),
}

/// What a statement returns.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

// === impl Database ===

impl Database {
    /// The one file, created if it is missing.
    pub(super) async fn file(path: &Path) -> Result<Self, Error> {
        sqlite::open(path).await.map(Self::Sqlite)
    }

    /// The server.
    pub(super) async fn server(url: &Url) -> Result<Self, Error> {
        postgres::open(url).await.map(Self::Postgres)
    }

    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        match self {
            Self::Sqlite(pool) => pool.begin_with("BEGIN IMMEDIATE").await.map(Transaction::Sqlite).map_err(doing("begin a transaction")),
            Self::Postgres(pool) => postgres::begin(pool).await.map(Transaction::Postgres),
        }
    }

    /// One statement by itself.
    pub(super) async fn execute<const N: usize>(&self, what: &'static str, sql: &'static str, values: [Value; N]) -> Result<(), Error> {
        let done = match self {
            Self::Sqlite(pool) => sqlite::query(sql, values).execute(pool).await.map(drop),
            Self::Postgres(pool) => postgres::query(sql, values).execute(pool).await.map(drop),
        };
        done.map_err(doing(what))
    }

    /// What is committed.
    pub(super) async fn rows<const N: usize>(&self, what: &'static str, sql: &'static str, values: [Value; N]) -> Result<Vec<Row>, Error> {
        let rows = match self {
            Self::Sqlite(pool) => sqlite::query(sql, values).fetch_all(pool).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(pool) => postgres::query(sql, values).fetch_all(pool).await.map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        rows.map_err(doing(what))
    }

    /// The pool that hears what others commit, where there are others.
    pub(super) fn shared(&self) -> Option<&PgPool> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(pool) => Some(pool),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

// === impl Transaction ===

impl Transaction {
    pub(super) async fn execute(&mut self, what: &'static str, sql: impl SqlSafeStr, values: impl IntoIterator<Item = Value>) -> Result<(), Error> {
        let done = match self {
            Self::Sqlite(transaction) => sqlite::query(sql, values).execute(&mut **transaction).await.map(drop),
            Self::Postgres(transaction) => postgres::query(sql, values).execute(&mut **transaction).await.map(drop),
        };
        done.map_err(doing(what))
    }

    pub(super) async fn rows(&mut self, what: &'static str, sql: impl SqlSafeStr, values: impl IntoIterator<Item = Value>) -> Result<Vec<Row>, Error> {
        let rows = match self {
            Self::Sqlite(transaction) => sqlite::query(sql, values).fetch_all(&mut **transaction).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(transaction) => {
                postgres::query(sql, values).fetch_all(&mut **transaction).await.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        };
        rows.map_err(doing(what))
    }

    /// The first row.
    pub(super) async fn row(&mut self, what: &'static str, sql: &'static str, values: impl IntoIterator<Item = Value>) -> Result<Option<Row>, Error> {
        Ok(self.rows(what, sql, values).await?.into_iter().next())
    }

    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await.map_err(doing("commit")),
            Self::Postgres(transaction) => postgres::commit(transaction).await,
        }
    }
}

// === impl Row ===

impl Row {
    pub(super) fn text(&self, at: usize) -> Result<String, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
        .map_err(doing("read a text"))
    }

    pub(super) fn text_if_any(&self, at: usize) -> Result<Option<String>, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
        .map_err(doing("read a text"))
    }

    pub(super) fn integer(&self, at: usize) -> Result<i64, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
        .map_err(doing("read an integer"))
    }

    pub(super) fn flag(&self, at: usize) -> Result<bool, Error> {
        self.integer(at).map(|flag| flag != 0)
    }
}

// === impl Value ===

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<&IncidentUid> for Value {
    fn from(uid: &IncidentUid) -> Self {
        Self::Text(Some(uid.to_string()))
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<UnixMillis> for Value {
    fn from(at: UnixMillis) -> Self {
        Self::Integer(at.0)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Integer(i64::from(flag))
    }
}

/// Most parameters of one statement; both systems take more.
pub(super) const PARAMETERS: usize = 600;

/// `$3, $4, $5`: so many parameters from the third on.
pub(super) fn marks(from: usize, count: usize) -> String {
    (from..from.saturating_add(count)).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// `($1, $2), ($3, $4)`: the parameters of `rows` rows of `columns` columns.
pub(super) fn tuples(rows: usize, columns: usize) -> String {
    (0..rows).map(|row| format!("({})", marks(row.saturating_mul(columns).saturating_add(1), columns))).collect::<Vec<_>>().join(", ")
}
