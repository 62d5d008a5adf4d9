//! A PostgreSQL that several directors share. The address with its password comes from a file or the environment and is never
//! written anywhere, not even into an error.

use std::str::FromStr as _;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{PgPool, Postgres, SqlSafeStr, Transaction};

use super::super::{Error, FORMAT, PATIENCE, doing};
use super::Value;

/// Who holds it writes; a number of our own among the advisory locks of this database.
const WRITER: &str = "SELECT pg_advisory_xact_lock(6085031571410947)";
/// What is told after each commit.
pub(crate) const CHANNEL: &str = "assent_director";
/// Connections of one director: one writes at a time, the others read.
const CONNECTIONS: u32 = 6;
/// How long one statement may take; the server ends it then, also for a director that is gone.
const STATEMENT: &str = "10s";
/// How long a transaction may wait for its next statement: a director that hangs in the middle of one lets the others go on.
const IDLE: &str = "5s";
/// How long one transaction waits for another one's end.
const TURN: &str = "2s";

/// An address with its password. It is never shown.
#[derive(Clone)]
pub(crate) struct Url(PgConnectOptions);

impl Url {
    /// `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        // The parser's own error may quote what it was given.
        let options = PgConnectOptions::from_str(text.trim()).map_err(|_| Error::Address)?;
        let limits = [("statement_timeout", STATEMENT), ("idle_in_transaction_session_timeout", IDLE), ("lock_timeout", TURN)];
        Ok(Self(options.application_name("assent-director").options(limits)))
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Url(..)")
    }
}

pub(super) async fn open(url: &Url) -> Result<PgPool, Error> {
    let place = format!("on PostgreSQL at `{}`", url.0.get_host());
    let failed = |source| Error::Open { place: place.clone(), source };
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE).connect_with(url.0.clone()).await.map_err(failed)?;
    // Directors that start together make the tables once.
    let mut transaction = pool.begin().await.map_err(failed)?;
    sqlx::query(WRITER).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::raw_sql(include_str!("postgres.sql")).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query("INSERT INTO format (id, version) VALUES (0, $1) ON CONFLICT (id) DO NOTHING").bind(FORMAT).execute(&mut *transaction).await.map_err(failed)?;
    let found: i64 = sqlx::query_scalar("SELECT version FROM format").fetch_one(&mut *transaction).await.map_err(failed)?;
    if found != FORMAT {
        return Err(Error::Format { place, found });
    }
    transaction.commit().await.map_err(failed)?;
    Ok(pool)
}

pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    let mut transaction = pool.begin().await.map_err(doing("begin a transaction"))?;
    sqlx::query(WRITER).execute(&mut *transaction).await.map_err(doing("wait for other writers"))?;
    Ok(transaction)
}

/// Tells the other directors, once it is done.
pub(super) async fn commit(mut transaction: Transaction<'static, Postgres>) -> Result<(), Error> {
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut *transaction).await.map_err(doing("tell of a commit"))?;
    transaction.commit().await.map_err(doing("commit"))
}

pub(super) fn query(sql: impl SqlSafeStr, values: impl IntoIterator<Item = Value>) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(sql);
    values.into_iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Integer(integer) => query.bind(integer),
    })
}
